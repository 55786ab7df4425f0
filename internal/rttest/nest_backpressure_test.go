package rttest_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/backpressure"
	"github.com/failsoft/failsoft/breaker"
	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/internal/rttest"
	"github.com/failsoft/failsoft/retry"
)

// roomy is a limiter that has a place for every script of the contract.
func roomy() *backpressure.Limiter {
	return backpressure.MustNew(backpressure.Config{Limit: backpressure.Fixed(500), CPUThreshold: backpressure.Off})
}

// lenient is a throttle to which nothing is a refusal.
func lenient() *backpressure.Throttle {
	return backpressure.MustNewThrottle(backpressure.ThrottleConfig{
		Judge: func(*http.Response, error) backpressure.Outcome { return backpressure.Success },
	})
}

func quick() *backpressure.Rate {
	return backpressure.MustNewRate(backpressure.RateConfig{PerSecond: 1e6, Burst: 1e6})
}

func TestNestOfBackpressureKeepsTheContract(t *testing.T) {
	nests := map[string]func(next http.RoundTripper) http.RoundTripper{
		"retry over limiter": func(next http.RoundTripper) http.RoundTripper {
			return patient(rich()).Transport(roomy().Transport(next))
		},
		"retry over throttle": func(next http.RoundTripper) http.RoundTripper {
			return patient(rich()).Transport(lenient().Transport(next))
		},
		"retry over rate": func(next http.RoundTripper) http.RoundTripper {
			return patient(rich()).Transport(quick().Transport(next))
		},
		"hedge over limiter": func(next http.RoundTripper) http.RoundTripper {
			return restless(rich()).Transport(roomy().Transport(next))
		},
		"limiter over hedge": func(next http.RoundTripper) http.RoundTripper {
			return roomy().Transport(restless(rich()).Transport(next))
		},
		"breaker over limiter": func(next http.RoundTripper) http.RoundTripper {
			return unmoved().Transport(roomy().Transport(next))
		},
		"stale over limiter": func(next http.RoundTripper) http.RoundTripper {
			return cached(false).Transport(roomy().Transport(next))
		},
		"stale over retry over hedge over breaker over throttle over limiter": func(next http.RoundTripper) http.RoundTripper {
			shared := rich()
			limited := lenient().Transport(roomy().Transport(next))
			hedged := restless(shared.SpendOnly()).Transport(unmoved().Transport(limited))
			return cached(false).Transport(patient(shared).Transport(hedged))
		},
	}
	for name, wrap := range nests {
		t.Run(name, func(t *testing.T) {
			var facts []rttest.Fact
			if strings.Contains(name, "hedge") {
				facts = append(facts, rttest.Overlaps)
			}
			if strings.Contains(name, "stale") {
				facts = append(facts, rttest.Detaches)
			}
			rttest.Client(t, wrap, facts...)
		})
	}
}

// fullUp is a limiter without a place.
func fullUp(t *testing.T) *backpressure.Limiter {
	t.Helper()
	l := backpressure.MustNew(backpressure.Config{
		Key:   func(*http.Request) string { return "" },
		Limit: backpressure.Fixed(1), MaxWait: backpressure.Off, CPUThreshold: backpressure.Off,
	})
	_, err := l.Acquire(t.Context(), backpressure.Request{})
	require.NoError(t, err)
	return l
}

func fine(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

func ask(ctx context.Context, t *testing.T, rt http.RoundTripper) error {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://shop.test", nil)
	require.NoError(t, err)
	resp, err := rt.RoundTrip(req)
	if err == nil {
		err = resp.Body.Close()
	}
	return err
}

// What a limiter refuses says nothing of the server.
func TestBreakerDoesNotCountRefusalsOfALimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		breakers := breaker.MustNew(breaker.Config{Rules: breaker.Rules{Consecutive: 1}})
		rt := breakers.Transport(fullUp(t).Transport(base(fine)))
		for range 100 {
			require.ErrorIs(t, ask(t.Context(), t, rt), backpressure.ErrLimited)
		}
		assert.Equal(t, breaker.Closed, breakers.State("shop.test"))
	})
}

// A circuit that opens inside of a limiter says nothing of load.
func TestLimiterDoesNotSampleRefusalsOfABreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		breakers := breaker.MustNew(breaker.Config{Rules: breaker.Rules{OpenTime: 24 * time.Hour, MaxOpenTime: 24 * time.Hour}})
		require.NoError(t, breakers.Trip("shop.test"))
		l := backpressure.MustNew(backpressure.Config{CPUThreshold: backpressure.Off, StartLimit: 4})
		rt := l.Transport(breakers.Transport(base(fine)))
		for range 1000 {
			require.ErrorIs(t, ask(t.Context(), t, rt), breaker.ErrOpen)
			time.Sleep(time.Millisecond)
		}
		for _, k := range l.Snapshot().Keys {
			assert.Equal(t, 4, k.Limit)
			assert.Zero(t, k.InFlight)
			assert.Zero(t, k.Latency)
		}
	})
}

// Who is told to come back later comes back later, if at all, and not more often than
// attempts are allowed.
func TestRetryDoesNotHammerALimiter(t *testing.T) {
	for name, limit := range map[string]func(t *testing.T, next http.RoundTripper) http.RoundTripper{
		"a limiter": func(t *testing.T, next http.RoundTripper) http.RoundTripper {
			t.Helper()
			return fullUp(t).Transport(next)
		},
		"a throttle": func(t *testing.T, next http.RoundTripper) http.RoundTripper {
			t.Helper()
			th := backpressure.MustNewThrottle(backpressure.ThrottleConfig{Key: func(*http.Request) string { return "" }})
			for range 1000 {
				if a, err := th.Allow(t.Context(), "", backpressure.Default); err == nil {
					a.Done(false, 0)
				}
			}
			return th.Transport(next)
		},
		"a rate": func(t *testing.T, next http.RoundTripper) http.RoundTripper {
			t.Helper()
			r := backpressure.MustNewRate(backpressure.RateConfig{
				Key: func(*http.Request) string { return "" }, PerSecond: 0.001, MaxWait: backpressure.Off,
			})
			require.NoError(t, r.Allow(t.Context(), ""))
			return r.Transport(next)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked, refused := 0, 0
				limited := limit(t, base(fine))
				counting := base(func(req *http.Request) (*http.Response, error) {
					asked++
					resp, err := limited.RoundTrip(req)
					if errors.Is(err, backpressure.ErrLimited) {
						refused++
					}
					return resp, err
				})
				retrier := retry.MustNew(retry.Config{Budget: rich()})
				const calls = 100
				for range calls {
					_ = ask(t.Context(), t, retrier.Transport(counting))
				}
				assert.Greater(t, refused, calls/20)
				assert.LessOrEqual(t, asked, 3*calls)
			})
		})
	}
}

// A second attempt may be told from a first, and matter less, on both sides.
func TestRetriesAreDemotedByALimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := backpressure.MustNew(backpressure.Config{
			DemoteRetries: true, CPUThreshold: backpressure.Off, Limit: backpressure.Fixed(10),
		})
		tries := 0
		server := base(func(req *http.Request) (*http.Response, error) {
			resp, err := fine(req)
			if tries++; tries == 1 {
				resp.StatusCode = 503
			}
			assert.Equal(t, tries, attempt.Retry(req.Context()))
			return resp, err
		})
		retrier := retry.MustNew(retry.Config{Budget: rich()})
		require.NoError(t, ask(t.Context(), t, retrier.Transport(l.Transport(server))))
		for _, k := range l.Snapshot().Keys {
			if k.Key == "shop.test" {
				assert.Equal(t, uint64(1), k.Counts.Admitted[backpressure.Default])
				assert.Equal(t, uint64(1), k.Counts.Admitted[backpressure.Sheddable])
			}
		}
		assert.Equal(t, 2, tries)
	})
}
