package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/breaker"
)

var errDownAgain = errors.New("down")

func succeeding(context.Context) error { return nil }

// inBubble runs a test that needs virtual time.
func inBubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

type panickingContext struct{ context.Context }

func (panickingContext) Done() <-chan struct{} { panic("context") }

func TestAllowHoldsNoLockOverTheCallersContext(t *testing.T) {
	b := breaker.MustNew(breaker.Config{})
	assert.Panics(t, func() { _, _ = b.Allow(panickingContext{t.Context()}, "a") })
	_, err := b.Allow(t.Context(), "a")
	assert.NoError(t, err)
}

func TestTripRulesStalledCountsOnlyCallsOfThisState(t *testing.T) {
	for name, before := range map[string]func(t *testing.T, b *breaker.Breaker){
		"not those from before a reset": func(t *testing.T, b *breaker.Breaker) {
			t.Helper()
			hang(t, b)
			require.NoError(t, b.Reset("a"))
		},
		"not those of a forced-closed circuit": func(t *testing.T, b *breaker.Breaker) {
			t.Helper()
			require.NoError(t, b.Set("a", breaker.Override{Mode: breaker.ForceClosed}))
			hang(t, b)
			require.NoError(t, b.Set("a", breaker.Override{}))
		},
	} {
		inBubble(t, name, func(t *testing.T) {
			b := breaker.MustNew(breaker.Config{})
			before(t, b)
			time.Sleep(31 * time.Second)
			assert.Equal(t, breaker.Closed, b.State("a"))
		})
	}
	inBubble(t, "and a 500 is an answer", func(t *testing.T) {
		b := breaker.MustNew(breaker.Config{Rules: breaker.Rules{Consecutive: breaker.Off}})
		for range 10 {
			_, err := b.Allow(t.Context(), "shop.test")
			require.NoError(t, err)
		}
		transport := b.Transport(roundTrip(func(req *http.Request) (*http.Response, error) {
			return reply(req, http.StatusInternalServerError, "x"), nil
		}))
		for range 15 {
			time.Sleep(5 * time.Second)
			resp, err := transport.RoundTrip(newRequest(t, ""))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		}
	})
}

// hang starts ten calls that do not end, ten seconds ago.
func hang(t *testing.T, b *breaker.Breaker) {
	t.Helper()
	for range 10 {
		_, err := b.Allow(t.Context(), "a")
		require.NoError(t, err)
	}
	time.Sleep(10 * time.Second)
}

func TestHalfOpenTakesAKnownResultOverTime(t *testing.T) {
	halfOpened := func(t *testing.T, key string, slowAfter time.Duration) *breaker.Breaker {
		t.Helper()
		b := breaker.MustNew(breaker.Config{Rules: breaker.Rules{Probes: 1, Ramp: breaker.Off, SlowAfter: slowAfter}})
		require.NoError(t, b.Trip(key))
		time.Sleep(2 * time.Second)
		return b
	}
	inBubble(t, "a body that fails late", func(t *testing.T) {
		b := halfOpened(t, "a", 0)
		call, err := b.Allow(t.Context(), "a")
		require.NoError(t, err)
		call.Headers()
		time.Sleep(10 * time.Second)
		call.Done(errDownAgain)
		assert.NotEqual(t, breaker.Closed, b.State("a"))
	})
	inBubble(t, "a handler that works on after a 500", func(t *testing.T) {
		b := halfOpened(t, "", 0)
		b.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			time.Sleep(6 * time.Second)
		})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
		assert.NotEqual(t, breaker.Closed, b.State(""))
	})
	inBubble(t, "headers that came too late", func(t *testing.T) {
		b := halfOpened(t, "a", time.Second)
		call, err := b.Allow(t.Context(), "a")
		require.NoError(t, err)
		time.Sleep(4 * time.Second)
		call.Headers()
		time.Sleep(6 * time.Second)
		call.Done(nil)
		assert.NotEqual(t, breaker.Closed, b.State("a"))
	})
}

func TestPerKeyHalfOpenCircuitInUseStays(t *testing.T) {
	inBubble(t, "however long it was idle before", func(t *testing.T) {
		b := breaker.MustNew(breaker.Config{MaxKeys: 1})
		require.NoError(t, b.Trip("a"))
		time.Sleep(2 * time.Minute)
		require.Error(t, b.Run(t.Context(), "a", func(context.Context) error { return errDownAgain }))
		time.Sleep(2 * time.Millisecond)
		_, err := b.Allow(t.Context(), "b")
		require.NoError(t, err)
		var keys []string
		for _, c := range b.Snapshot().Circuits {
			keys = append(keys, c.Key)
		}
		assert.Contains(t, keys, "a")
	})
}

func TestPerKeyGuardCountsSurviveEvictionDuringASnapshot(t *testing.T) {
	inBubble(t, "by keys that come while it is taken", func(t *testing.T) {
		var b *breaker.Breaker
		fresh := -1 // not yet
		b = breaker.MustNew(breaker.Config{
			MaxKeys: 8, Rules: breaker.Rules{Probes: 1, Consecutive: 1},
			Observe: func(ctx context.Context, e breaker.Event) {
				for e.State == breaker.Closed && fresh >= 0 && fresh < 4 {
					fresh++
					if call, err := b.Allow(ctx, fmt.Sprint("new", fresh)); err == nil {
						call.DoneAs(breaker.Ignored)
					}
				}
			},
		})
		for n := range 8 {
			require.NoError(t, b.Trip(fmt.Sprint(n)))
		}
		time.Sleep(2 * time.Second)
		for n := range 8 {
			time.Sleep(2 * time.Millisecond)
			require.NoError(t, b.Run(t.Context(), fmt.Sprint(n), succeeding)) // ramping
		}
		time.Sleep(2 * time.Minute)
		fresh = 0
		b.Snapshot()
		require.Equal(t, 4, fresh)
		for _, c := range b.Snapshot().Circuits[:6] {
			require.NoError(t, b.Trip(c.Key))
		}
		time.Sleep(200 * time.Millisecond)
		assert.True(t, b.Snapshot().Unguarded, "6 of 8 are open")
	})
}
