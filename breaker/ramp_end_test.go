package breaker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/breaker"
)

// rampOf returns a Breaker whose circuit is in its ramp, with calls under way that
// are never answered.
func rampOf(t *testing.T, ramp time.Duration) *breaker.Breaker {
	t.Helper()
	b := circuitOf(func(r *breaker.Rules) {
		r.Probes, r.Ramp, r.StalledAfter, r.StalledMin = 1, ramp, 2*time.Second, 3
	})
	halfOpen(t, b)
	results(t, b, 1, breaker.Success)
	require.Equal(t, breaker.Ramping, b.State(key))
	for range 45 {
		_, _ = b.Allow(t.Context(), key)
	}
	return b
}

func TestTheEndOfARampHidesNoStalledCalls(t *testing.T) {
	bubble(t, "state and call agree", func(t *testing.T) {
		b := rampOf(t, 2*time.Second)
		time.Sleep(3 * time.Second)
		assert.Equal(t, breaker.Open, b.State(key))
		_, err := b.Allow(t.Context(), key)
		require.ErrorIs(t, err, breaker.ErrOpen)
	})
}

func TestARampIsolatedAndReleasedHasTheBenefitOfTheDoubt(t *testing.T) {
	bubble(t, "released", func(t *testing.T) {
		b := rampOf(t, 10*time.Second)
		require.NoError(t, b.Set(key, breaker.Override{Mode: breaker.Isolated}))
		time.Sleep(3 * time.Second)
		require.NoError(t, b.Set(key, breaker.Override{}))
		assert.Equal(t, breaker.Ramping, b.State(key))
	})
}
