package rttest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/breaker"
	"github.com/failsoft/failsoft/budget"
	"github.com/failsoft/failsoft/hedge"
	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/internal/outcome"
	"github.com/failsoft/failsoft/retry"
)

func replyWith(req *http.Request, status int) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: req, ProtoMajor: 1, ProtoMinor: 1,
	}
}

func fetch(t *testing.T, transport http.RoundTripper) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://shop.test", nil)
	require.NoError(t, err)
	return transport.RoundTrip(req)
}

func TestAttemptsOfANestAreNumbered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var seen []string
		sets := map[*attempt.Hosts]bool{}
		server := base(func(req *http.Request) (*http.Response, error) {
			ctx := req.Context()
			mu.Lock()
			seen = append(seen, fmt.Sprintf("%d/%d", retry.Attempt(ctx), hedge.Attempt(ctx)))
			sets[attempt.Tried(ctx)] = true
			mu.Unlock()
			time.Sleep(20 * time.Millisecond)
			if retry.Attempt(ctx) == 1 {
				return replyWith(req, http.StatusBadGateway), nil
			}
			return replyWith(req, http.StatusOK), nil
		})
		shared := rich()
		resp, err := fetch(t, patient(shared).Transport(restless(shared.SpendOnly()).Transport(server)))
		require.NoError(t, err)
		assert.Equal(t, 200, resp.StatusCode)
		time.Sleep(time.Second) // this server does not hear of cancellations
		mu.Lock()
		defer mu.Unlock()
		assert.Equal(t, []string{"1/1", "1/2", "2/1", "2/2"}, seen)
		assert.NotContains(t, sets, (*attempt.Hosts)(nil))
	})
}

// Each call pays for a tenth of an attempt, whoever spends it: two policies of a tenth each are not
// a fifth, and the inner one's calls are not demand a second time.
func TestNestWithOneBudgetAddsItsShareOnce(t *testing.T) {
	const calls = 2000
	for name, server := range map[string]base{
		"all fail": func(req *http.Request) (*http.Response, error) {
			return replyWith(req, http.StatusBadGateway), nil
		},
		"one in ten fails": everyTenth(http.StatusBadGateway),
		"all are slow": func(req *http.Request) (*http.Response, error) {
			timer := time.NewTimer(time.Second)
			defer timer.Stop()
			select {
			case <-timer.C:
				return replyWith(req, http.StatusOK), nil
			case <-req.Context().Done():
				return nil, req.Context().Err()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sent atomic.Int64
				counting := base(func(req *http.Request) (*http.Response, error) {
					sent.Add(1)
					return server(req)
				})
				shared := budget.MustNew(budget.Config{Floor: budget.NoFloor})
				nest := patient(shared).Transport(restless(shared.SpendOnly()).Transport(unmoved().Transport(counting)))
				var all sync.WaitGroup
				for range calls {
					all.Go(func() {
						resp, err := fetch(t, nest)
						if assert.NoError(t, err) {
							assert.NoError(t, resp.Body.Close())
						}
					})
					time.Sleep(10 * time.Millisecond)
				}
				all.Wait()
				extra := sent.Load() - calls
				t.Logf("%d extra attempts", extra)
				assert.LessOrEqual(t, extra, int64(calls/10))
				assert.Positive(t, extra)
			})
		})
	}
}

// everyTenth answers most requests, and every tenth with status.
func everyTenth(status int) base {
	var n atomic.Int64
	return func(req *http.Request) (*http.Response, error) {
		if n.Add(1)%10 == 0 {
			return replyWith(req, status), nil
		}
		return replyWith(req, http.StatusOK), nil
	}
}

// What was canceled because another attempt was faster says nothing of the server.
func TestLosersDoNotTripABreaker(t *testing.T) {
	for name, grace := range map[string]time.Duration{"canceled at once": 0, "canceled later": 5 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const calls = 50
				server := base(func(req *http.Request) (*http.Response, error) {
					if hedge.Attempt(req.Context()) == 1 {
						<-req.Context().Done()
						return nil, req.Context().Err()
					}
					return replyWith(req, http.StatusOK), nil
				})
				breakers := breaker.MustNew(breaker.Config{Rules: breaker.Rules{Consecutive: 1}})
				hedger := hedge.MustNew(hedge.Config{
					Delay: 10 * time.Millisecond, Percent: 100, Budget: rich(), LoserGrace: grace,
				})
				for range calls {
					resp, err := fetch(t, hedger.Transport(breakers.Transport(server)))
					require.NoError(t, err)
					require.Equal(t, 200, resp.StatusCode)
					require.NoError(t, resp.Body.Close())
				}
				time.Sleep(time.Second)
				circuit := breakers.Snapshot().Circuits[0]
				assert.Equal(t, breaker.Closed, circuit.State)
				assert.Zero(t, circuit.Counts.Failures)
				assert.EqualValues(t, calls, circuit.Counts.Successes)
			})
		})
	}
}

// The refusals of an open circuit pass through a hedger as what they are: nothing was sent, the
// circuit says when to come back, and a hedge does not know better.
func TestRefusalsPassThroughAHedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		breakers := breaker.MustNew(breaker.Config{Rules: breaker.Rules{
			Consecutive: 1, OpenTime: time.Minute, MaxOpenTime: time.Hour,
		}})
		answered := 0
		server := base(func(req *http.Request) (*http.Response, error) {
			answered++
			resp := replyWith(req, http.StatusInternalServerError)
			resp.Header = http.Header{"Retry-After": {"1800"}} // or the open time might be drawn short
			return resp, nil
		})
		hedger := restless(rich())
		hedged := hedger.Transport(breakers.Transport(server))
		resp, err := fetch(t, hedged)
		require.NoError(t, err)
		require.Equal(t, 500, resp.StatusCode)

		_, err = fetch(t, hedged)
		require.ErrorIs(t, err, breaker.ErrOpen)
		_, wrapped := errors.AsType[*hedge.Error](err)
		assert.False(t, wrapped, "one attempt is refused, and a second would be")
		assert.Equal(t, outcome.Refused, outcome.OfError(context.Background(), err))

		start := time.Now()
		_, err = fetch(t, patient(rich()).Transport(hedged))
		require.ErrorIs(t, err, breaker.ErrOpen)
		assert.Zero(t, time.Since(start))
		gaveUp, ok := errors.AsType[*retry.Error](err)
		require.True(t, ok, "%T", err)
		assert.Equal(t, retry.RetryAfterTooLong, gaveUp.Reason)
		assert.Equal(t, 1, answered, "nothing else was sent")

		shot := hedger.Snapshot().Keys
		at := slices.IndexFunc(shot, func(k hedge.KeySnapshot) bool { return k.Key == "shop.test" })
		require.GreaterOrEqual(t, at, 0)
		assert.Empty(t, shot[at].Refused, "a refusal by the breaker is no pushback by the server")
	})
}

// A try that has timed out has hedged before, and its hedge ends with it.
func TestTimeoutOfATryEndsItsHedges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent, ended atomic.Int64
		server := base(func(req *http.Request) (*http.Response, error) {
			sent.Add(1)
			<-req.Context().Done()
			ended.Add(1)
			return nil, req.Context().Err()
		})
		retrier := retry.MustNew(retry.Config{
			TryTimeout: 50 * time.Millisecond, MaxAttempts: 2, BaseDelay: retry.Immediately, Budget: rich(),
		})
		start := time.Now()
		_, err := fetch(t, retrier.Transport(restless(rich()).Transport(server)))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 100*time.Millisecond, time.Since(start))
		synctest.Wait()
		assert.EqualValues(t, 4, sent.Load())
		assert.EqualValues(t, 4, ended.Load())
	})
}

// A connection that is refused is no refusal of ours: a retrier goes on, also when a hedger has
// wrapped what it got.
func TestRetryGoesOnWhereAHedgerFoundNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		nobody := base(func(*http.Request) (*http.Response, error) {
			attempts++
			return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
		})
		retrier := retry.MustNew(retry.Config{BaseDelay: time.Millisecond, MaxAttempts: 3, Budget: rich()})
		hedger := hedge.MustNew(hedge.Config{Budget: rich()})
		_, err := fetch(t, retrier.Transport(hedger.Transport(nobody)))
		require.Error(t, err)
		assert.Equal(t, 6, attempts, "%v", err)
	})
}
