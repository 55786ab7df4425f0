package breaker_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/breaker"
)

func set(t *testing.T, b *breaker.Breaker, o breaker.Override) {
	t.Helper()
	require.NoError(t, b.Set(key, o))
}

func TestByHandIsolate(t *testing.T) {
	migration := breaker.Override{Mode: breaker.Isolated, Reason: "migration", TTL: time.Minute}
	bubble(t, "until exactly its time is over", func(t *testing.T) {
		b := circuitOf(nil)
		set(t, b, migration)
		assert.Equal(t, breaker.Closed, b.State(key), "the state is another matter")
		for _, left := range []time.Duration{time.Minute, time.Second, 1} {
			time.Sleep(shot(t, b, key).Override.TTL - left)
			want := migration
			want.TTL = left
			err := refused(t, b)
			assert.Equal(t, want, err.Override)
			assert.Equal(t, left, err.RetryAfter())
			assert.Equal(t, want, shot(t, b, key).Override)
		}
		time.Sleep(time.Nanosecond)
		allowed(t, b).Done(nil)
		assert.Equal(t, breaker.Auto, shot(t, b, key).Override.Mode)
	})
	bubble(t, "until it is lifted", func(t *testing.T) {
		b := circuitOf(nil)
		set(t, b, breaker.Override{Mode: breaker.Isolated})
		time.Sleep(1000 * time.Hour)
		assert.Zero(t, refused(t, b).RetryAfter(), "nobody knows when")
		set(t, b, breaker.Override{})
		allowed(t, b).Done(nil)
	})
	bubble(t, "before the first call", func(t *testing.T) {
		b := circuitOf(nil)
		require.NoError(t, b.Set("new", breaker.Override{Mode: breaker.Isolated}))
		require.ErrorIs(t, b.Run(t.Context(), "new", func(context.Context) error { return nil }), breaker.ErrOpen)
	})
	bubble(t, "in every state, which goes on below", func(t *testing.T) {
		b := circuitOf(nil)
		require.NoError(t, b.Trip(key))
		set(t, b, migration)
		err := refused(t, b)
		assert.Equal(t, breaker.Open, err.State)
		assert.Equal(t, breaker.Isolated, err.Override.Mode)
		time.Sleep(time.Second)
		assert.Equal(t, breaker.HalfOpen, refused(t, b).State)
		time.Sleep(time.Minute)
		assert.Equal(t, breaker.HalfOpen, b.State(key))
		results(t, b, 2, breaker.Success)
		assert.Equal(t, breaker.Closed, b.State(key))
	})
	bubble(t, "changes nothing by the results of calls under way", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.Consecutive = 1 })
		call := allowed(t, b)
		set(t, b, migration)
		call.DoneAs(breaker.Failure)
		assert.Equal(t, breaker.Closed, b.State(key))
	})
	bubble(t, "extended, and its end with it", func(t *testing.T) {
		b := circuitOf(nil)
		set(t, b, migration)
		time.Sleep(time.Minute - 1)
		set(t, b, migration)
		time.Sleep(time.Minute - 1)
		_ = refused(t, b)
		time.Sleep(time.Nanosecond)
		allowed(t, b)
	})
}

func TestByHandForceClosed(t *testing.T) {
	bubble(t, "lets all pass and counts none", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) {
			r.Consecutive, r.FailureRate, r.StalledAfter, r.StalledMin = 1, 0.1, time.Second, 1
		})
		set(t, b, breaker.Override{Mode: breaker.ForceClosed, TTL: time.Minute})
		hung := allowed(t, b)
		results(t, b, 100, breaker.Failure)
		time.Sleep(time.Minute - 1)
		results(t, b, 1, breaker.Failure)
		got := shot(t, b, key)
		assert.Equal(t, breaker.Closed, got.State)
		assert.Zero(t, got.Window)
		assert.EqualValues(t, 101, got.Counts.Failures, "since it is known, they are seen")
		hung.Headers()
		time.Sleep(time.Nanosecond)
		results(t, b, 1, breaker.Failure)
		assert.Equal(t, breaker.Open, b.State(key), "when its time is over, the rules hold")
	})
	bubble(t, "lets all pass an open circuit, which stays it", func(t *testing.T) {
		b := circuitOf(nil)
		halfOpen(t, b)
		set(t, b, breaker.Override{Mode: breaker.ForceClosed})
		for range 100 {
			allowed(t, b)
		}
		results(t, b, 100, breaker.Success)
		assert.Equal(t, breaker.HalfOpen, b.State(key), "none of them is a probe")
	})
	bubble(t, "does not count them after its end either", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.Consecutive = 1 })
		set(t, b, breaker.Override{Mode: breaker.ForceClosed})
		call := allowed(t, b)
		set(t, b, breaker.Override{})
		call.DoneAs(breaker.Failure)
		assert.Equal(t, breaker.Closed, b.State(key))
	})
}

func TestByHandShadow(t *testing.T) {
	bubble(t, "counts, changes state, and never refuses", func(t *testing.T) {
		seen := new(log)
		b := breaker.MustNew(breaker.Config{Observe: seen.observe, Rules: only(func(r *breaker.Rules) {
			r.Consecutive, r.Probes = 2, 1
		})})
		set(t, b, breaker.Override{Mode: breaker.Shadow, Reason: "trial"})
		results(t, b, 2, breaker.Failure)
		require.Equal(t, breaker.Open, b.State(key))
		results(t, b, 10, breaker.Success)
		require.Equal(t, breaker.Open, b.State(key), "by time only")
		rejected := seen.of(breaker.Rejected)
		require.Len(t, rejected, 10, "as they would have been")
		assert.Equal(t, breaker.Shadow, rejected[0].Override)
		assert.Equal(t, "trial", rejected[0].Reason)
		assert.ErrorIs(t, rejected[0].Err, breaker.ErrOpen)
		assert.Zero(t, shot(t, b, key).Counts.Rejected, "but were not")
		sitOut(t, b)
		probe := allowed(t, b)
		results(t, b, 10, breaker.Failure)
		require.Equal(t, breaker.HalfOpen, b.State(key), "those beside the probe decide nothing")
		probe.Done(nil)
		assert.Equal(t, breaker.Closed, b.State(key))
	})
}

func TestByHandTrip(t *testing.T) {
	for name, before := range map[string]func(t *testing.T, b *breaker.Breaker){
		"an unknown circuit": func(*testing.T, *breaker.Breaker) {},
		"a closed one":       func(t *testing.T, b *breaker.Breaker) { results(t, b, 5, breaker.Success) },
		"a half-open one":    halfOpen,
		"a ramping one": func(t *testing.T, b *breaker.Breaker) {
			halfOpen(t, b)
			results(t, b, 2, breaker.Success)
			require.Equal(t, breaker.Ramping, b.State(key))
		},
	} {
		bubble(t, name, func(t *testing.T) {
			b := circuitOf(func(r *breaker.Rules) { r.Ramp = time.Minute })
			before(t, b)
			require.NoError(t, b.Trip(key))
			err := refused(t, b)
			assert.Equal(t, breaker.Open, err.State)
			assert.Equal(t, breaker.CauseManual, err.Cause)
			sitOut(t, b)
			results(t, b, 2, breaker.Success)
			time.Sleep(time.Minute)
			assert.Equal(t, breaker.Closed, b.State(key), "it recovers as usual")
		})
	}
	bubble(t, "an open one changes nothing", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.Consecutive = 1 })
		results(t, b, 1, breaker.Failure)
		before := shot(t, b, key)
		require.NoError(t, b.Trip(key))
		assert.Equal(t, before, shot(t, b, key))
	})
}

func TestByHandReset(t *testing.T) {
	bubble(t, "closes at once and forgets", func(t *testing.T) {
		f := newFleet(nil)
		f.trip(t)
		f.probe(t, breaker.Failure)
		f.probe(t, breaker.Failure)
		for _, k := range f.keys {
			require.NoError(t, f.Reset(k))
			require.Equal(t, breaker.Closed, f.State(k))
		}
		f.trip(t)
		f.requireOpenTimes(t, time.Second)
	})
	bubble(t, "empties the window", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.FailureRate, r.Consecutive = 0.5, 30 })
		results(t, b, 19, breaker.Failure)
		require.NoError(t, b.Reset(key))
		assert.Zero(t, shot(t, b, key).Window)
		results(t, b, 19, breaker.Failure)
		assert.Equal(t, breaker.Closed, b.State(key))
	})
	bubble(t, "leaves the override", func(t *testing.T) {
		b := circuitOf(nil)
		require.NoError(t, b.Trip(key))
		set(t, b, breaker.Override{Mode: breaker.Isolated, Reason: "still"})
		require.NoError(t, b.Reset(key))
		assert.Equal(t, "still", refused(t, b).Override.Reason)
	})
	bubble(t, "makes probes that are under way count no more", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.Probes, r.Consecutive = 1, 1 })
		halfOpen(t, b)
		probe := allowed(t, b)
		require.NoError(t, b.Reset(key))
		probe.DoneAs(breaker.Failure)
		assert.Equal(t, breaker.Closed, b.State(key))
	})
}

func TestByHandIsSeenInEvents(t *testing.T) {
	bubble(t, "with its reason, to its end", func(t *testing.T) {
		seen := new(log)
		b := breaker.MustNew(breaker.Config{Observe: seen.observe, Rules: only(nil)})
		set(t, b, breaker.Override{Mode: breaker.Isolated, Reason: "migration", TTL: time.Second})
		_ = refused(t, b)
		require.NoError(t, b.Trip(key))
		time.Sleep(time.Second)
		require.Equal(t, breaker.HalfOpen, b.State(key))
		got := seen.of(breaker.Overridden, breaker.Rejected, breaker.Changed)
		require.Len(t, got, 5)
		assert.Equal(t, breaker.Event{
			Kind: breaker.Overridden, Key: key, Seq: 1, Override: breaker.Isolated, Reason: "migration",
		}, got[0])
		assert.Equal(t, breaker.Rejected, got[1].Kind)
		assert.Equal(t, breaker.Isolated, got[1].Override)
		assert.Equal(t, "migration", got[1].Reason)
		assert.Equal(t, breaker.Event{
			Kind: breaker.Changed, Key: key, Seq: 2, State: breaker.Open, Cause: breaker.CauseManual, Override: breaker.Isolated,
		}, got[2])
		assert.Equal(t, breaker.Overridden, got[3].Kind)
		assert.Equal(t, breaker.Auto, got[3].Override)
		assert.Equal(t, "expired", got[3].Reason)
		assert.Equal(t, breaker.HalfOpen, got[4].State)
	})
}

func TestByHandWrongCommandsAreErrors(t *testing.T) {
	b := circuitOf(nil)
	for name, tt := range map[string]struct {
		override breaker.Override
		want     string
	}{
		"unknown mode":      {breaker.Override{Mode: 99}, "Override.Mode"},
		"negative time":     {breaker.Override{Mode: breaker.Isolated, TTL: -1}, "Override.TTL"},
		"time without end":  {breaker.Override{Mode: breaker.Isolated, TTL: 1 << 62}, "Override.TTL"},
		"time without mode": {breaker.Override{TTL: time.Second}, "Override.TTL"},
	} {
		assert.ErrorContains(t, b.Set(key, tt.override), "breaker: "+tt.want, name)
	}
	assert.Empty(t, b.Snapshot().Circuits, "nothing was done")
}
