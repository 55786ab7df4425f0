package backpressure

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tenanted is a request of the default class of a tenant, which has all of the share.
func tenanted(tenant uint64) *request {
	return &request{class: Default, share: 1, known: true, tenant: tenant}
}

// turns is the queue as one would write it down without any thought of speed: a line of
// tenants, each with its calls in the order in which they came.
type turns struct {
	newest bool
	line   []line
}

type line struct {
	tenant  uint64
	waiters []*waiter
}

func (m *turns) clone() *turns {
	c := &turns{newest: m.newest}
	for _, l := range m.line {
		c.line = append(c.line, line{l.tenant, slices.Clone(l.waiters)})
	}
	return c
}

func (m *turns) push(tenant uint64, w *waiter) {
	for i := range m.line {
		if m.line[i].tenant == tenant {
			m.line[i].waiters = append(m.line[i].waiters, w)
			return
		}
	}
	at := len(m.line)
	if m.newest {
		at = 0
	}
	m.line = slices.Insert(m.line, at, line{tenant, []*waiter{w}})
}

func (m *turns) serve() *waiter {
	first := m.line[0]
	m.line = m.line[1:]
	at := 0
	if m.newest {
		at = len(first.waiters) - 1
	}
	w := first.waiters[at]
	if first.waiters = slices.Delete(first.waiters, at, at+1); len(first.waiters) > 0 {
		m.line = append(m.line, first)
	}
	return w
}

func (m *turns) remove(w *waiter) {
	for i := range m.line {
		if at := slices.Index(m.line[i].waiters, w); at >= 0 {
			m.line[i].waiters = slices.Delete(m.line[i].waiters, at, at+1)
		}
	}
	m.line = slices.DeleteFunc(m.line, func(l line) bool { return len(l.waiters) == 0 })
}

// place is how many are served before w if nobody else comes.
func (m *turns) place(w *waiter) (n int) {
	for c := m.clone(); c.serve() != w; {
		n++
	}
	return n
}

func FuzzFairQueue(f *testing.F) {
	f.Add(false, []byte{0, 0, 0, 1, 0, 0, 3, 0, 4, 0})
	f.Add(true, []byte{0, 0, 0, 1, 0, 0, 3, 0, 4, 0, 0, 5, 0, 5, 3, 0, 3, 0})
	f.Add(false, []byte{0, 1, 0, 1, 0, 1, 3, 0, 3, 0, 0, 2, 0, 3, 4, 1, 0, 3, 3, 0, 3, 0, 0, 4, 3, 0})
	f.Fuzz(func(t *testing.T, newest bool, steps []byte) {
		var q queue
		m := &turns{newest: newest}
		var all []*waiter
		serve := func() {
			w := q.peek(newest)
			require.Same(t, m.serve(), w)
			q.serve(w)
			all = slices.DeleteFunc(all, func(other *waiter) bool { return other == w })
		}
		for i := 0; i+1 < min(len(steps), 400); i += 2 {
			op, arg := steps[i]%5, steps[i+1]
			switch {
			case op <= 2 && len(all) < 40:
				req, w := &request{tenant: uint64(arg % 6), known: arg%6 != 0}, &waiter{}
				before := q.before(req, newest)
				q.push(req, w, newest)
				m.push(req.tenant, w)
				all = append(all, w)
				if w.flow.waiters.Len() == 1 || newest || q.flows.Len() == 1 {
					require.Equal(t, m.place(w), before, "the prediction of who comes first")
				}
				require.LessOrEqual(t, m.place(w), before, "nobody waits for longer, of those whose turn is not the next")
			case op == 3 && len(all) > 0:
				serve()
			case op == 4 && len(all) > 0:
				w := all[int(arg)%len(all)]
				m.remove(w)
				q.remove(w)
				require.Nil(t, w.flow)
				all = slices.DeleteFunc(all, func(other *waiter) bool { return other == w })
			}
			require.Equal(t, len(all), q.len)
			require.Equal(t, len(m.line), q.flows.Len())
			for _, l := range m.line {
				require.LessOrEqual(t, len(l.waiters), q.longest().waiters.Len())
			}
		}
		for len(all) > 0 {
			serve()
		}
		q.tenants = nil
		assert.Zero(t, q, "nothing is kept of who waits no more")
	})
}

// Two tenants that wait all the time are served equally often, over any stretch of time,
// however often each of them asks, and however many of its calls give up.
func TestRequirement1FairQueueServesTenantsThatWaitAlike(t *testing.T) {
	for _, newest := range []bool{false, true} {
		random := rand.New(rand.NewPCG(1, 2))
		var q queue
		var waiting [2][]*waiter
		served := [2]int{}
		least, most := 0, 0
		for range 20_000 {
			for tenant, often := range []int{1, 100} {
				for range often {
					if len(waiting[tenant]) >= 3*often { // the busy one has a hundred times as many that wait
						continue
					}
					w := &waiter{class: Class(tenant)}
					q.push(tenanted(uint64(tenant)), w, newest)
					waiting[tenant] = append(waiting[tenant], w)
				}
			}
			if gone := waiting[1]; random.IntN(3) == 0 {
				q.remove(gone[random.IntN(len(gone))])
			} else {
				w := q.peek(newest)
				served[w.class]++
				q.serve(w)
			}
			for tenant := range waiting {
				waiting[tenant] = slices.DeleteFunc(waiting[tenant], func(w *waiter) bool { return w.flow == nil })
			}
			least, most = min(least, served[1]-served[0]), max(most, served[1]-served[0])
		}
		assert.LessOrEqual(t, most-least, 2, "newest first: %v, served %v", newest, served)
		assert.Greater(t, served[0], 5000)
	}
}

func TestRequirement1WhoWasAwaySavesNothingUp(t *testing.T) {
	var q queue
	serve := func() uint64 {
		w := q.peek(false)
		tenant := uint64(w.class)
		q.serve(w)
		return tenant
	}
	push := func(tenant uint64, n int) {
		for range n {
			q.push(tenanted(tenant), &waiter{class: Class(tenant)}, false)
		}
	}
	push(0, 100)
	for range 100 {
		require.Zero(t, serve())
	}
	push(0, 3)
	push(1, 3) // comes for the first time, and does not get a hundred turns
	var order []uint64
	for range 6 {
		order = append(order, serve())
	}
	assert.Equal(t, []uint64{0, 1, 0, 1, 0, 1}, order)
}

func TestRequirement1QueueWithoutTenantsIsTheOneThatItWas(t *testing.T) {
	for _, newest := range []bool{false, true} {
		var q queue
		var all []*waiter
		for n := range 100 {
			w := &waiter{}
			want := n
			if newest {
				want = 0
			}
			assert.Equal(t, want, q.before(of(Default), newest))
			q.push(of(Default), w, newest)
			all = append(all, w)
		}
		if newest {
			slices.Reverse(all)
		}
		for _, w := range all {
			require.Same(t, w, q.peek(newest))
			q.serve(w)
		}
		assert.Nil(t, q.tenants, "nothing is allocated for tenants that there are not")
		w := &waiter{}
		assert.Zero(t, testing.AllocsPerRun(100, func() {
			q.push(of(Default), w, newest)
			q.serve(q.peek(newest))
		}))
	}
}

func TestRequirement1MillionTenantsInBoundedMemory(t *testing.T) {
	c := fixedCell(1, Config{})
	fill(t, c, 1, 0)
	for tenant := range uint64(1_000_000) {
		req := &request{class: Default, share: 1, known: true, tenant: mix(tenant)}
		a := c.ask(req, 0, time.Hour)
		require.NotNil(t, a.waiter)
		if tenant >= 5000 {
			require.True(t, c.withdraw(a.waiter, 0))
		}
	}
	q := &c.queues[Default.rank()]
	assert.Equal(t, 5000, q.flows.Len())
	assert.Len(t, q.tenants, 5000, "one for each that waits, and none for the others")
	for c.queued > 0 {
		require.True(t, c.withdraw(q.flows.First().waiters.First(), 0))
	}
	assert.Empty(t, q.tenants)
}

func TestRequirement1NoisyTenantIsRefusedByItsOwnBacklog(t *testing.T) {
	c, in, now := busy(t, 10, Config{})
	const patience = 20 * time.Millisecond
	noisy := 0
	for c.ask(tenanted(1), now, patience).waiter != nil {
		noisy++
	}
	assert.InDelta(t, 18, noisy, 1)
	quiet := c.ask(tenanted(2), now, patience)
	require.NotNil(t, quiet.waiter)
	assert.InDelta(t, 3*ms, int64(c.waitLocked(tenanted(3), now)), float64(ms)/2, "behind the oldest of each")
	assert.NotZero(t, c.ask(tenanted(1), now, patience).reason)
	c.release(in[0].slot, in[0].gen, Success, now)
	c.release(in[1].slot, in[1].gen, Success, now)
	assert.Len(t, quiet.waiter.ready, 1, "the second to be served, of all that wait")
}

func TestRequirement1FullQueueRefusesTheNoisyTenant(t *testing.T) {
	for _, newest := range []bool{false, true} {
		c := fixedCell(1, Config{NewestFirst: newest})
		fill(t, c, 1, 0)
		var first, last *waiter
		for n := range maxQueued {
			last = c.ask(tenanted(1), 0, time.Hour).waiter
			if n == 0 {
				first = last
			}
		}
		assert.NotZero(t, c.ask(tenanted(1), 0, time.Hour).reason, "nobody gives way to it")
		for range 100 {
			require.NotNil(t, c.ask(tenanted(2), 0, time.Hour).waiter)
		}
		gone := last
		if newest {
			gone = first
		}
		assert.True(t, (<-gone.ready).refused, "who would be served last, newest first: %v", newest)
		assert.Equal(t, maxQueued, c.queued)
	}
}

// The time for which a call has waited for its client can be counted twice: for its
// body, and for the answer to be taken.
func TestPitfallExcusedForLongerThanItTook(t *testing.T) {
	c := fixedCell(1, Config{})
	a := fill(t, c, 1, 0)[0]
	c.excuse(a.slot, a.gen, 2*second)
	_, ok := c.release(a.slot, a.gen, Success, second)
	require.True(t, ok)
	assert.Zero(t, c.latency, "it tells nothing")
	a = fill(t, c, 1, 2*second)[0]
	c.release(a.slot, a.gen, Success, 2*second+ms)
	assert.InDelta(t, ms, c.latency, 1)
}

func TestDimmerThatNobodyLooksAt(t *testing.T) {
	var d dimmer
	now := int64(0)
	for range 10 {
		now += dimEvery
		steps, _ := d.due(now)
		d.move(steps, true)
	}
	assert.InDelta(t, 1, d.read(now), 1e-9)
	assert.InDelta(t, 1, d.read(now+dimIdle*dimEvery), 1e-9, "where requests are few, what was seen last holds")
	assert.InDelta(t, 0.5, d.read(now+(dimIdle+25)*dimEvery), 1e-9)
	assert.InDelta(t, 1, d.read(now), 1e-9, "to read changes nothing")
	assert.Zero(t, d.read(now+3600*second))
	now += (dimIdle + 25) * dimEvery
	steps, _ := d.due(now)
	_, is := d.move(steps, true)
	assert.InDelta(t, 0.5+dimUp, is, 1e-9, "nor does the first look see what was long ago")
}
