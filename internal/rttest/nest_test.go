package rttest_test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/breaker"
	"github.com/failsoft/failsoft/budget"
	"github.com/failsoft/failsoft/hedge"
	"github.com/failsoft/failsoft/internal/rttest"
	"github.com/failsoft/failsoft/retry"
	"github.com/failsoft/failsoft/stale"
)

func rich() *budget.Budget { return budget.MustNew(budget.Config{Ratio: 1, Floor: 10_000}) }

// unmoved is a breaker whose rules the contract's scripts do not meet.
func unmoved() *breaker.Breaker {
	return breaker.MustNew(breaker.Config{Rules: breaker.Rules{
		FailureRate: breaker.Off, OverloadRate: breaker.Off, Consecutive: breaker.Off,
		StalledAfter: breaker.Off,
	}})
}

// patient is a retrier whose attempts take their time, as some clauses have servers that do.
func patient(b *budget.Budget) *retry.Retrier {
	return retry.MustNew(retry.Config{TryTimeout: 24 * time.Hour, Budget: b})
}

func restless(b *budget.Budget) *hedge.Hedger {
	return hedge.MustNew(hedge.Config{Delay: 10 * time.Millisecond, Percent: 100, Budget: b})
}

// cached is a cache that is as patient, for one user agent or for all.
func cached(shared bool) *stale.Cache {
	return stale.MustNew(stale.Config{Shared: shared, FetchTimeout: 90 * time.Minute})
}

// The policies do not know each other. Here they meet.
func TestNestKeepsTheContract(t *testing.T) {
	nests := map[string]func(next http.RoundTripper) http.RoundTripper{
		"retry over breaker": func(next http.RoundTripper) http.RoundTripper {
			return patient(rich()).Transport(unmoved().Transport(next))
		},
		"retry over hedge": func(next http.RoundTripper) http.RoundTripper {
			shared := rich()
			return patient(shared).Transport(restless(shared.SpendOnly()).Transport(next))
		},
		"hedge over retry": func(next http.RoundTripper) http.RoundTripper {
			shared := rich()
			return restless(shared).Transport(patient(shared.SpendOnly()).Transport(next))
		},
		"hedge over breaker": func(next http.RoundTripper) http.RoundTripper {
			return restless(rich()).Transport(unmoved().Transport(next))
		},
		"retry over hedge over breaker": func(next http.RoundTripper) http.RoundTripper {
			shared := rich()
			hedged := restless(shared.SpendOnly()).Transport(unmoved().Transport(next))
			return patient(shared).Transport(hedged)
		},
		"stale over retry": func(next http.RoundTripper) http.RoundTripper {
			return cached(false).Transport(patient(rich()).Transport(next))
		},
		"stale over hedge": func(next http.RoundTripper) http.RoundTripper {
			return cached(true).Transport(restless(rich()).Transport(next))
		},
		"stale over breaker": func(next http.RoundTripper) http.RoundTripper {
			return cached(true).Transport(unmoved().Transport(next))
		},
		"stale over retry over hedge over breaker": func(next http.RoundTripper) http.RoundTripper {
			shared := rich()
			hedged := restless(shared.SpendOnly()).Transport(unmoved().Transport(next))
			return cached(false).Transport(patient(shared).Transport(hedged))
		},
		"stale over stale": func(next http.RoundTripper) http.RoundTripper {
			return cached(false).Transport(cached(true).Transport(next))
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
	t.Run("retry over hedge with grace over breaker", func(t *testing.T) {
		rttest.Client(t, func(next http.RoundTripper) http.RoundTripper {
			shared := rich()
			hedger := hedge.MustNew(hedge.Config{
				Delay: 10 * time.Millisecond, Percent: 100, Budget: shared.SpendOnly(),
				LoserGrace: 20 * time.Millisecond,
			})
			return patient(shared).Transport(hedger.Transport(unmoved().Transport(next)))
		}, rttest.Overlaps, rttest.Lingers)
	})
}

// open is an open circuit below a retrier, with or without a time to come back.
func open(retryAfter string) (transport http.RoundTripper, sent *int, mend func()) {
	sent = new(int)
	var mended atomic.Bool
	server := base(func(req *http.Request) (*http.Response, error) {
		*sent++
		resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: req}
		if !mended.Load() {
			resp.StatusCode = http.StatusServiceUnavailable
			resp.Header.Set("Retry-After", retryAfter)
		}
		return resp, nil
	})
	breakers := breaker.MustNew(breaker.Config{Rules: breaker.Rules{Consecutive: 1, Probes: 1}})
	retrier := retry.MustNew(retry.Config{Budget: rich()})
	return retrier.Transport(breakers.Transport(server)), sent, func() { mended.Store(true) }
}

type base func(*http.Request) (*http.Response, error)

func (b base) RoundTrip(req *http.Request) (*http.Response, error) { return b(req) }

func TestRetryWaitsForAnOpenCircuitOrStopsAtIt(t *testing.T) {
	get := func(t *testing.T, transport http.RoundTripper) (*http.Response, error) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://shop.test", nil)
		require.NoError(t, err)
		return transport.RoundTrip(req)
	}
	t.Run("waits where the open time fits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			transport, sent, mend := open("2")
			mendLater := time.AfterFunc(time.Second, mend)
			defer mendLater.Stop()
			start := time.Now()
			resp, err := get(t, transport)
			require.NoError(t, err)
			assert.Equal(t, 200, resp.StatusCode)
			assert.Equal(t, 2, *sent, "the refusals in between are not sent")
			assert.GreaterOrEqual(t, time.Since(start), 2*time.Second)
		})
	})
	t.Run("stops where it does not", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			transport, sent, _ := open("30")
			_, err := get(t, transport) // 503, handed over
			require.NoError(t, err)
			start := time.Now()
			_, err = get(t, transport)
			require.ErrorIs(t, err, breaker.ErrOpen)
			assert.Zero(t, time.Since(start))
			assert.Equal(t, 1, *sent)
			failed, ok := errors.AsType[*retry.Error](err)
			require.True(t, ok)
			assert.Equal(t, retry.RetryAfterTooLong, failed.Reason)
		})
	})
}
