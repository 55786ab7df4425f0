package backpressure

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// program runs a cell beside a model that knows who is in, who waits, and what may be
// relied on, but no rule of when to refuse.
type program struct {
	t       *testing.T
	c       *cell
	now     int64
	in      []admission
	out     []admission
	waiters []*waiter
}

const fuzzWait = 20 * time.Millisecond

// next reads one step from a byte, with another byte for how.
func (p *program) next(op, arg byte) {
	switch op % 5 {
	case 0, 1:
		p.ask(arg)
	case 2:
		p.release(arg)
	case 3:
		p.withdraw(int(arg) % max(len(p.waiters), 1))
	default:
		p.pass(int64(arg) * ms / 4)
	}
	p.check()
}

func (p *program) ask(arg byte) {
	class := Class(arg % byte(classes))
	req := request{class: class, tenant: uint64(arg), known: arg >= 128}
	req.share = share(class, req.tenant, req.known)
	inFlight, queued := p.c.inFlight, p.c.queued
	a := p.c.ask(&req, p.now, fuzzWait)
	switch {
	case a.waiter != nil:
		p.waiters = append(p.waiters, a.waiter)
		p.collect()
	case a.reason == 0:
		p.in = append(p.in, a)
		require.LessOrEqual(p.t, p.c.inFlight, p.most(), "let in above the limit")
	default:
		const rounding = 1e-9 // 1.1 of 50 is a little more than 55
		require.Equal(p.t, AtLimit, a.reason)
		require.True(p.t, queued > 0 || float64(inFlight) >= float64(p.c.limit)*req.share-rounding, "refused for nothing")
	}
	if inFlight == 0 && queued == 0 {
		require.True(p.t, a.waiter == nil && a.reason == 0, "an empty cell lets everybody in")
	}
}

// most is the bound that is documented: a tenth above the limit, rounded up.
func (p *program) most() int { return (p.c.limit*11 + 9) / 10 }

func (p *program) release(arg byte) {
	if len(p.out) > 0 && arg%4 == 0 { // once more
		a := p.out[int(arg)%len(p.out)]
		_, ok := p.c.release(a.slot, a.gen, Success, p.now)
		require.False(p.t, ok, "released twice")
	}
	if len(p.in) == 0 {
		return
	}
	i := int(arg) % len(p.in)
	a := p.in[i]
	_, ok := p.c.release(a.slot, a.gen, Success+Outcome(arg%3), p.now)
	require.True(p.t, ok, "a place is lost")
	p.in, p.out = slices.Delete(p.in, i, i+1), append(p.out, a)
	p.collect()
}

// collect takes what waiters were given.
func (p *program) collect() {
	p.waiters = slices.DeleteFunc(p.waiters, func(w *waiter) bool {
		if len(w.ready) == 0 {
			return false
		}
		v := <-w.ready
		require.Nil(p.t, w.flow)
		if !v.refused {
			p.in = append(p.in, admission{slot: v.slot, gen: v.gen})
			require.LessOrEqual(p.t, p.c.inFlight, p.most(), "served above the limit")
		}
		return true
	})
}

func (p *program) withdraw(i int) {
	if len(p.waiters) == 0 {
		return
	}
	require.True(p.t, p.c.withdraw(p.waiters[i], p.now), "a waiter is lost")
	p.waiters = slices.Delete(p.waiters, i, i+1)
	p.collect()
}

// pass lets time pass, and those leave who have waited for long enough.
func (p *program) pass(d int64) {
	p.now += d
	for i := 0; i < len(p.waiters); {
		if p.now-p.waiters[i].since < int64(fuzzWait) {
			i++
			continue
		}
		p.withdraw(i)
		i = 0 // others may have been served
	}
}

func (p *program) check() {
	c := p.c
	require.Equal(p.t, len(p.in), c.inFlight)
	require.Equal(p.t, len(p.waiters), c.queued)
	require.Equal(p.t, len(c.slots), len(c.free)+len(p.in))
	require.GreaterOrEqual(p.t, c.limit, 2)
	require.LessOrEqual(p.t, c.limit, 50)
	wait := c.predictLocked()
	require.GreaterOrEqual(p.t, wait, time.Duration(0))
	if c.queued > 0 { // nobody waits beside a place that is free for everybody
		least := 1.0
		for _, w := range p.waiters {
			least = min(least, w.share)
		}
		require.GreaterOrEqual(p.t, float64(c.inFlight), min(float64(c.limit)*least, float64(c.limit)), "a place is not given")
	}
}

// highest brings the limit up to 50, and asks until one is refused there.
func highest() []byte {
	ask, release := []byte{0, 1}, []byte{2, 0}
	unhurried := slices.Concat(bytes.Repeat(ask, 20), []byte{4, 240}, bytes.Repeat(release, 20))
	return slices.Concat(bytes.Repeat(unhurried, 5), bytes.Repeat(ask, 34),
		bytes.Repeat([]byte{4, 6, 2, 0, 0, 1, 0, 1}, 370), bytes.Repeat([]byte{4, 255, 2, 0, 0, 1, 0, 1}, 20))
}

func FuzzCell(f *testing.F) {
	f.Add(byte(3), false, []byte{0, 1, 0, 2, 0, 3, 1, 0, 4, 9, 2, 0, 3, 0, 2, 1})
	f.Add(byte(20), true, []byte{0, 200, 0, 130, 0, 140, 1, 0, 4, 255, 2, 1, 2, 4, 3, 0})
	f.Add(byte(0), true, []byte{0, 0, 0, 1, 4, 80, 2, 0, 0, 2, 4, 255, 4, 255, 2, 0, 2, 0})
	f.Add(byte(29), false, highest())
	f.Fuzz(func(t *testing.T, limit byte, newest bool, steps []byte) {
		cfg := Config{NewestFirst: newest}
		start := 2 + int(limit)%30
		c := &cell{cfg: &cfg, limit: start, calc: newAdaptive(start, 2, 50, 0)}
		p := &program{t: t, c: c}
		for i := 0; i+1 < min(len(steps), 4000); i += 2 {
			p.next(steps[i], steps[i+1])
		}
		for len(p.in) > 0 {
			p.release(1)
		}
		p.pass(int64(fuzzWait))
		require.Zero(t, c.inFlight)
		require.Zero(t, c.queued, "nobody is left behind")
		require.True(t, c.retire(0))
	})
}
