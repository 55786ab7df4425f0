package rttest_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/backpressure"
	"github.com/failsoft/failsoft/breaker"
	"github.com/failsoft/failsoft/retry"
)

// upset is a throttle that has seen n refusals with a Retry-After, 0 for none.
func upset(t *testing.T, n int, retryAfter time.Duration) *backpressure.Throttle {
	t.Helper()
	th := backpressure.MustNewThrottle(backpressure.ThrottleConfig{})
	for seen := 0; seen < n; {
		if a, err := th.Allow(t.Context(), "shop.test", backpressure.Default); err == nil {
			a.Done(false, retryAfter)
			seen++
		}
	}
	return th
}

// What a throttle or a rate refuses says nothing of the server.
func TestBreakerDoesNotCountRefusalsOfAThrottleOrARate(t *testing.T) {
	for name, limit := range map[string]func(*testing.T) func(http.RoundTripper) http.RoundTripper{
		"throttled": func(t *testing.T) func(http.RoundTripper) http.RoundTripper {
			t.Helper()
			return upset(t, 20, 0).Transport
		},
		"paused": func(t *testing.T) func(http.RoundTripper) http.RoundTripper {
			t.Helper()
			return upset(t, 20, 10*time.Second).Transport
		},
		"over rate": func(t *testing.T) func(http.RoundTripper) http.RoundTripper {
			t.Helper()
			r := backpressure.MustNewRate(backpressure.RateConfig{PerSecond: 1e-9, MaxWait: backpressure.Off})
			require.NoError(t, r.Allow(t.Context(), "shop.test"))
			return r.Transport
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				breakers := breaker.MustNew(breaker.Config{Rules: breaker.Rules{Consecutive: 1}})
				rt := breakers.Transport(limit(t)(base(fine)))
				refused := 0
				for range 20 {
					err := ask(t.Context(), t, rt)
					if err != nil {
						require.ErrorIs(t, err, backpressure.ErrLimited)
						refused++
					}
				}
				assert.Greater(t, refused, 5)
				assert.Equal(t, breaker.Closed, breakers.State("shop.test"))
			})
		})
	}
}

// Retry comes back when a refusal has said so, or not at all.
func TestRetryHeedsTheHintOfAThrottle(t *testing.T) {
	for name, pause := range map[string]time.Duration{"throttled": 0, "paused": 20 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var hint time.Duration
				var at time.Time
				asked, refused := 0, 0
				limited := upset(t, 50, pause).Transport(base(fine))
				rt := retry.MustNew(retry.Config{Budget: rich()}).Transport(base(func(req *http.Request) (*http.Response, error) {
					assert.GreaterOrEqual(t, time.Since(at), hint)
					resp, err := limited.RoundTrip(req)
					at, hint = time.Now(), 0
					asked++
					if refusal, ok := errors.AsType[*backpressure.LimitedError](err); ok {
						hint = refusal.RetryAfter()
						assert.Positive(t, hint)
						refused++
					}
					return resp, err
				}))
				for range 10 {
					asked, hint = 0, 0
					_ = ask(t.Context(), t, rt)
					assert.LessOrEqual(t, asked, 3)
				}
				assert.Positive(t, refused)
			})
		})
	}
}

// One Retry-After is for one call: the next does not wait for it.
func TestRetryAfterDelaysNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		th := backpressure.MustNewThrottle(backpressure.ThrottleConfig{})
		rt := retry.MustNew(retry.Config{Budget: rich()}).Transport(th.Transport(base(func(req *http.Request) (*http.Response, error) {
			resp, err := fine(req)
			if asked++; asked == 1 {
				resp.StatusCode = http.StatusServiceUnavailable
				resp.Header.Set("Retry-After", "4")
			}
			return resp, err
		})))
		start := time.Now()
		first := make(chan time.Duration)
		go func() {
			assert.NoError(t, ask(t.Context(), t, rt))
			first <- time.Since(start)
		}()
		synctest.Wait()
		for range 100 {
			require.NoError(t, ask(t.Context(), t, rt))
		}
		assert.Zero(t, time.Since(start))
		assert.GreaterOrEqual(t, <-first, 4*time.Second)
	})
}

// Retries of what is held back are held back as well, and do not keep the throttle
// from finding out that the server is well again.
func TestThrottleRecoversBelowARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down, sent := true, 0
		server := base(func(req *http.Request) (*http.Response, error) {
			sent++
			resp, err := fine(req)
			if down {
				resp.StatusCode = http.StatusServiceUnavailable
				resp.Header.Set("Retry-After", "30")
			}
			return resp, err
		})
		th := backpressure.MustNewThrottle(backpressure.ThrottleConfig{})
		rt := retry.MustNew(retry.Config{}).Transport(th.Transport(server))
		offer := func(d time.Duration) (failed float64) {
			results := make(chan error, 10_000)
			n := 0
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				n++
				go func() { results <- ask(t.Context(), t, rt) }() //nolint:testifylint // its request cannot fail
			}
			for range n {
				if err := <-results; err != nil {
					failed++
				}
			}
			return failed / float64(n)
		}
		offer(20 * time.Second)
		sent = 0
		offer(20 * time.Second)
		assert.Less(t, sent, 20*200/8, "an eighth of what is asked for, retries included")
		down = false
		offer(15 * time.Second)
		assert.Less(t, offer(5*time.Second), 0.01)
	})
}
