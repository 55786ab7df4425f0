package breaker_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/breaker"
)

func TestPerKeyCircuitsAreApart(t *testing.T) {
	bubble(t, "one opens, the other does not", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.Consecutive = 1 })
		require.Error(t, b.Run(t.Context(), "a", func(context.Context) error { return errDown }))
		require.ErrorIs(t, b.Run(t.Context(), "a", func(context.Context) error { return nil }), breaker.ErrOpen)
		require.NoError(t, b.Run(t.Context(), "b", func(context.Context) error { return nil }))
	})
}

// visit makes a circuit known and leaves it at rest.
func visit(t *testing.T, b *breaker.Breaker, k string) {
	t.Helper()
	call, err := b.Allow(t.Context(), k)
	require.NoError(t, err)
	call.DoneAs(breaker.Ignored)
}

func keysOf(b *breaker.Breaker) (keys []string) {
	for _, c := range b.Snapshot().Circuits {
		keys = append(keys, c.Key)
	}
	return keys
}

func TestPerKeyWhatIsNotAtRestStays(t *testing.T) {
	for name, busy := range map[string]func(t *testing.T, b *breaker.Breaker){
		"open":     func(t *testing.T, b *breaker.Breaker) { require.NoError(t, b.Trip(key)) },
		"isolated": func(_ *testing.T, b *breaker.Breaker) { _ = b.Set(key, breaker.Override{Mode: breaker.Isolated}) },
		"in shadow mode": func(_ *testing.T, b *breaker.Breaker) {
			_ = b.Set(key, breaker.Override{Mode: breaker.Shadow})
		},
		"with a call under way": func(t *testing.T, b *breaker.Breaker) { allowed(t, b) },
		"with a stream": func(t *testing.T, b *breaker.Breaker) {
			allowed(t, b).Headers()
		},
		"with a success in its window": func(t *testing.T, b *breaker.Breaker) { results(t, b, 1, breaker.Success) },
		"with a failure in its window": func(t *testing.T, b *breaker.Breaker) { results(t, b, 1, breaker.Failure) },
		"whose open time grew": func(t *testing.T, b *breaker.Breaker) {
			halfOpen(t, b)
			results(t, b, 2, breaker.Success)
			time.Sleep(breaker.DefaultWindow)
			require.Equal(t, breaker.Closed, b.State(key))
		},
	} {
		bubble(t, name, func(t *testing.T) {
			b := breaker.MustNew(breaker.Config{MaxKeys: 2, Rules: only(nil)})
			busy(t, b)
			time.Sleep(time.Second)
			visit(t, b, "younger")
			time.Sleep(time.Second)
			visit(t, b, "youngest")
			assert.Equal(t, []string{key, "youngest"}, keysOf(b), "the younger one was at rest")
		})
	}
	bubble(t, "and gives way once it is at rest", func(t *testing.T) {
		b := breaker.MustNew(breaker.Config{MaxKeys: 1, Rules: only(nil)})
		results(t, b, 1, breaker.Failure)
		time.Sleep(breaker.DefaultWindow)
		visit(t, b, "next")
		assert.Equal(t, []string{"next"}, keysOf(b))
	})
	// A host that is gone for good leaves its circuit open. It must not take a
	// place for ever, or a rollout of hosts fills the map with dead ones.
	bubble(t, "but not for ever where nobody calls any more", func(t *testing.T) {
		b := breaker.MustNew(breaker.Config{MaxKeys: 1, Rules: only(nil)})
		require.NoError(t, b.Trip("gone"))
		time.Sleep(30 * 24 * time.Hour)
		visit(t, b, "next")
		assert.Equal(t, []string{"next"}, keysOf(b))
	})
}

func TestPerKeyOverflowSharesOneCircuit(t *testing.T) {
	bubble(t, "which works as any other", func(t *testing.T) {
		b := breaker.MustNew(breaker.Config{MaxKeys: 2, Rules: only(func(r *breaker.Rules) { r.Consecutive = 2 })})
		require.NoError(t, b.Trip("a"))
		require.NoError(t, b.Trip("b"))
		fails := func(context.Context) error { return errDown }
		require.ErrorIs(t, b.Run(t.Context(), "c", fails), errDown)
		require.ErrorIs(t, b.Run(t.Context(), "d", fails), errDown)
		err := b.Run(t.Context(), "e", fails)
		require.ErrorIs(t, err, breaker.ErrOpen, "c, d and e are one")
		got := b.Snapshot()
		assert.EqualValues(t, 3, got.Overflow)
		require.Len(t, got.Circuits, 3)
		assert.Equal(t, breaker.Counts{Failures: 2, Rejected: 1}, got.Circuits[0].Counts)
	})
}

func TestPerKeyGuardFailsOpen(t *testing.T) {
	keys := []string{"a", "b", "c", "d", "e", "f"}
	watched := func(t *testing.T, fraction float64) (*breaker.Breaker, *log) {
		t.Helper()
		seen := new(log)
		b := breaker.MustNew(breaker.Config{
			MaxOpenFraction: fraction, Observe: seen.observe, Rules: only(func(r *breaker.Rules) { r.Probes = 1 }),
		})
		for _, k := range keys {
			visit(t, b, k)
		}
		return b, seen
	}
	passes := func(b *breaker.Breaker, k string) bool {
		return b.Run(context.Background(), k, func(context.Context) error { return nil }) == nil
	}
	bubble(t, "past half of the circuits, and closes again", func(t *testing.T) {
		b, seen := watched(t, 0)
		for _, k := range keys[:3] {
			require.NoError(t, b.Trip(k))
		}
		require.False(t, passes(b, "a"), "3 of 6")
		require.False(t, b.Snapshot().Unguarded)
		require.NoError(t, b.Trip("d"))
		require.True(t, passes(b, "a"), "4 of 6")
		require.True(t, b.Snapshot().Unguarded)
		require.Equal(t, breaker.Open, b.State("a"), "which changes no state")
		events := seen.of(breaker.Unguarded)
		require.Len(t, events, 1)
		assert.Equal(t, "a", events[0].Key)
		require.NoError(t, b.Reset("d"))
		assert.False(t, passes(b, "a"))
		assert.False(t, b.Snapshot().Unguarded)
	})
	bubble(t, "and lets circuits recover", func(t *testing.T) {
		b, _ := watched(t, 0)
		for _, k := range keys {
			require.NoError(t, b.Trip(k))
		}
		time.Sleep(time.Second)
		for _, k := range keys {
			require.True(t, passes(b, k))
		}
		assert.Zero(t, b.Snapshot().Open)
	})
	bubble(t, "but not against an operator's will", func(t *testing.T) {
		b, _ := watched(t, 0)
		require.NoError(t, b.Set("f", breaker.Override{Mode: breaker.Isolated}))
		for _, k := range keys[:5] {
			require.NoError(t, b.Trip(k))
		}
		assert.True(t, passes(b, "a"))
		assert.False(t, passes(b, "f"))
	})
	bubble(t, "nor if off", func(t *testing.T) {
		b, _ := watched(t, breaker.Off)
		for _, k := range keys {
			require.NoError(t, b.Trip(k))
		}
		assert.False(t, passes(b, "a"))
	})
	bubble(t, "nor among fewer than five", func(t *testing.T) {
		b := circuitOf(nil)
		for _, k := range keys[:4] {
			require.NoError(t, b.Trip(k))
		}
		assert.False(t, passes(b, "a"))
		require.NoError(t, b.Trip("e"))
		assert.True(t, passes(b, "a"))
	})
	// Hosts that are gone for good must not switch the breaker off for the rest.
	bubble(t, "nor by circuits that nobody calls any more", func(t *testing.T) {
		b, _ := watched(t, 0)
		for _, k := range keys[:4] {
			require.NoError(t, b.Trip(k))
		}
		for range 30 {
			time.Sleep(24 * time.Hour)
			require.True(t, passes(b, "e"))
		}
		require.NoError(t, b.Trip("f"))
		assert.False(t, passes(b, "f"), "one of the two that are in use is open")
	})
}
