package backpressure

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// A token that has come is that of the first in line, even if it has not woken up yet.
func TestNobodyJumpsTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := MustNewRate(RateConfig{PerSecond: 1, Burst: 3})
		b := r.lock("k")
		defer b.mu.Unlock()
		w := &turn{wake: make(chan struct{}, 1)}
		b.line.PushBack(&w.place, w)
		for want := 1; want >= 0; want-- {
			state := b.takeLocked(time.Now())
			assert.True(t, state.Allowed)
			assert.Equal(t, want, state.Remaining)
		}
		state := b.takeLocked(time.Now())
		assert.Equal(t, RateState{After: time.Second}, state)
		b.leaveLocked(w, true)
		assert.True(t, b.takeLocked(time.Now()).Allowed)
		assert.False(t, b.takeLocked(time.Now()).Allowed)
	})
}
