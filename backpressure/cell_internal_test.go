package backpressure

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const second = int64(time.Second)

func fixedCell(limit int, cfg Config) *cell {
	return &cell{cfg: &cfg, fixed: true, limit: limit, calc: newAdaptive(limit, 1, 1000, 0)}
}

func of(class Class) *request { return &request{class: class, share: share(class, 0, false)} }

// fill lets in so many calls of the default class.
func fill(t *testing.T, c *cell, n int, now int64) (in []admission) {
	t.Helper()
	for range n {
		a := c.ask(of(Default), now, 0)
		require.Zero(t, a.reason)
		require.Nil(t, a.waiter)
		in = append(in, a)
	}
	return in
}

// busy is a full cell that gives a place back each millisecond.
func busy(t *testing.T, limit int, cfg Config) (c *cell, in []admission, now int64) {
	t.Helper()
	c = fixedCell(limit, cfg)
	in = fill(t, c, limit, 0)
	for range 100 {
		now += ms
		c.release(in[0].slot, in[0].gen, Success, now)
		in = append(in[1:], fill(t, c, 1, now)...)
	}
	return c, in, now
}

func TestCellPredictsTheWait(t *testing.T) {
	c, in, now := busy(t, 10, Config{})
	for n := range 20 {
		assert.InDelta(t, (n+1)*int(ms), int(c.predictLocked()), float64(ms)/10)
		require.NotNil(t, c.ask(of(Default), now, time.Hour).waiter)
	}
	refused := c.ask(of(Default), now, 20*time.Millisecond)
	assert.Equal(t, AtLimit, refused.reason, "the 21st would wait for 21 ms")
	assert.InDelta(t, 21*ms, int64(refused.after), float64(ms)/2)
	c.release(in[0].slot, in[0].gen, Success, now+ms)
	assert.Equal(t, 19, c.queued)
	assert.Equal(t, 10, c.inFlight)
}

func TestCellIdlenessIsNoWait(t *testing.T) {
	c, in, now := busy(t, 2, Config{})
	for _, a := range in {
		c.release(a.slot, a.gen, Success, now)
	}
	now += 3600 * second
	in = fill(t, c, 2, now)
	c.release(in[0].slot, in[0].gen, Success, now+ms)
	fill(t, c, 1, now+ms)
	assert.Less(t, c.predictLocked(), 5*time.Millisecond)
}

func TestCellServesByClassThenByAge(t *testing.T) {
	for _, newest := range []bool{false, true} {
		c, in, now := busy(t, 10, Config{NewestFirst: newest})
		var waiters []*waiter
		for _, class := range []Class{Background, Sheddable, Default, Default} {
			waiters = append(waiters, c.ask(of(class), now, time.Hour).waiter)
		}
		expected := []int{2, 3, 1, 0}
		if newest {
			expected = []int{3, 2, 1, 0}
		}
		var served []int
		for _, a := range in {
			c.release(a.slot, a.gen, Success, now)
			for i, w := range waiters {
				if len(w.ready) > 0 {
					<-w.ready
					served = append(served, i)
				}
			}
		}
		assert.Equal(t, expected, served, "newest first: %v", newest)
	}
}

func TestCellSharesKeepPlacesForWhoMattersMore(t *testing.T) {
	for class, places := range map[Class]int{Critical: 110, Default: 100, Sheddable: 90, Background: 80} {
		c := fixedCell(100, Config{})
		n := 0
		for c.ask(of(class), 0, 0).reason == 0 {
			n++
		}
		assert.Equal(t, places, n, "%v", class)
	}
	c := fixedCell(100, Config{})
	fill(t, c, 100, 0)
	assert.NotZero(t, c.ask(of(Default), 0, 0).reason)
	assert.Zero(t, c.ask(of(Critical), 0, 0).reason)
}

func TestSharesFallByCohortAndNeverCrossClasses(t *testing.T) {
	for class := range classes {
		last := math.Inf(1)
		for cohort := range uint64(cohorts) {
			s := share(class, cohort, true)
			assert.Less(t, s, last)
			assert.LessOrEqual(t, s, share(class, 0, false))
			last = s
		}
		if rank := class.rank(); rank < int(classes)-1 {
			assert.Greater(t, last, shares[rank+1])
		}
	}
	assert.InDelta(t, share(Default, 5, true), share(Default, 5+cohorts, true), 0)
}

func TestCellBackgroundDoesNotStarveForEver(t *testing.T) {
	c := fixedCell(10, Config{})
	fill(t, c, 9, 0)
	assert.NotZero(t, c.ask(of(Background), second-1, 0).reason)
	assert.Zero(t, c.ask(of(Background), second, 0).reason)
	c.release(0, 1, Success, second)
	assert.NotZero(t, c.ask(of(Background), 2*second-1, 0).reason, "one a second")
}

func TestCellFullQueueGivesWayToWhoMattersMore(t *testing.T) {
	c := fixedCell(1, Config{})
	fill(t, c, 1, 0)
	var last *waiter
	for range maxQueued {
		last = c.ask(of(Background), 0, time.Hour).waiter
	}
	assert.NotZero(t, c.ask(of(Background), 0, time.Hour).reason)
	assert.Empty(t, last.ready)
	require.NotNil(t, c.ask(of(Default), 0, time.Hour).waiter)
	assert.True(t, (<-last.ready).refused, "the newest of the least important")
	assert.False(t, c.withdraw(last, 0))
	assert.Equal(t, maxQueued, c.queued)
}

func TestCellReleaseCountsOnce(t *testing.T) {
	c := fixedCell(2, Config{})
	in := fill(t, c, 2, 0)
	_, ok := c.release(in[0].slot, in[0].gen, Success, 1)
	assert.True(t, ok)
	_, ok = c.release(in[0].slot, in[0].gen, Success, 1)
	assert.False(t, ok)
	again := fill(t, c, 1, 2)[0]
	assert.Equal(t, in[0].slot, again.slot, "the slot is used again")
	_, ok = c.release(in[0].slot, in[0].gen, Success, 3)
	assert.False(t, ok, "by another call")
	assert.Equal(t, 2, c.inFlight)
}

func TestCellWithdrawnWaiterHoldsNobodyUp(t *testing.T) {
	c := fixedCell(10, Config{})
	in := fill(t, c, 10, 0)
	small := c.ask(&request{class: Default, share: 0.5}, 0, time.Hour).waiter
	large := c.ask(&request{class: Default, share: 1}, 0, time.Hour).waiter
	c.release(in[0].slot, in[0].gen, Success, 1)
	require.Empty(t, large.ready, "it came later")
	require.True(t, c.withdraw(small, 1))
	assert.Len(t, large.ready, 1)
	assert.False(t, c.withdraw(large, 1), "it has a place by now")
}

func TestRefusalsAreSharedWithinAMillisecond(t *testing.T) {
	c := fixedCell(1, Config{})
	why := admission{reason: AtLimit, after: time.Millisecond}
	first := c.refusal(&Request{Key: "a"}, why, 0)
	assert.Same(t, first, c.refusal(&Request{Key: "a"}, why, ms-1))
	for name, other := range map[string]error{
		"key":    c.refusal(&Request{Key: "b"}, why, 0),
		"class":  c.refusal(&Request{Key: "a", Class: Critical}, why, 0),
		"reason": c.refusal(&Request{Key: "a"}, admission{reason: CPU}, 0),
		"time":   c.refusal(&Request{Key: "a"}, why, ms),
	} {
		assert.NotSame(t, first, other, name)
	}
	require.ErrorIs(t, first, ErrLimited)
	assert.Equal(t, &LimitedError{Key: "a", Refusal: AtLimit, After: time.Millisecond}, first)
}

func TestQueueKeepsItsOrder(t *testing.T) {
	var q queue
	var all []*waiter
	for range 5 {
		w := &waiter{}
		q.push(of(Default), w, false)
		all = append(all, w)
	}
	for _, i := range []int{2, 4, 0} { // middle, newest, oldest
		q.remove(all[i])
		assert.Nil(t, all[i].flow)
	}
	assert.Equal(t, 2, q.len)
	assert.Same(t, all[1], q.peek(false))
	assert.Same(t, all[3], q.peek(true))
	q.remove(all[1])
	q.remove(all[3])
	assert.Zero(t, q)
}
