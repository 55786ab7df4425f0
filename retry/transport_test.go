package retry_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/budget"
	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/retry"
)

// bubble runs test in virtual time.
func bubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

func TestAttemptsAreThreeByDefault(t *testing.T) {
	bubble(t, "503 for ever", func(t *testing.T) {
		got, seen := send(t, retry.Config{}, always(503), request(t, "GET", ""))
		assert.EqualValues(t, 3, seen)
		assert.Equal(t, 503, got.status)
		assert.LessOrEqual(t, got.took, 150*time.Millisecond, "waits of at most 50 and 100 ms")
	})
	bubble(t, "503 once", func(t *testing.T) {
		got, seen := send(t, retry.Config{}, thenOK(1, 503), request(t, "GET", ""))
		assert.EqualValues(t, 2, seen)
		assert.Equal(t, reply{status: 200, body: "fine", took: got.took}, got)
	})
}

func TestWhatIsRetriedIsDecidedByOutcomeAndRequest(t *testing.T) {
	dialed := &net.OpError{Op: "dial", Err: errBoom}
	status := func(code int) script { return always(code) }
	tests := map[string]struct {
		method, body string
		script       script
		attempts     int64
	}{
		"GET 502":                   {"GET", "", status(502), 3},
		"GET 503":                   {"GET", "", status(503), 3},
		"GET 504":                   {"GET", "", status(504), 3},
		"GET 429":                   {"GET", "", status(429), 3},
		"GET 500":                   {"GET", "", status(500), 1},
		"GET 501":                   {"GET", "", status(501), 1},
		"GET 404":                   {"GET", "", status(404), 1},
		"GET 200":                   {"GET", "", status(200), 1},
		"GET transport error":       {"GET", "", failing(errBoom), 3},
		"PUT with body 503":         {"PUT", "x", status(503), 3},
		"DELETE 503":                {"DELETE", "", status(503), 3},
		"POST 503":                  {"POST", "x", status(503), 1},
		"PATCH 503":                 {"PATCH", "x", status(503), 1},
		"POST transport error":      {"POST", "x", failing(errBoom), 1},
		"POST not sent":             {"POST", "x", failing(dialed), 3},
		"POST refused with a hint":  {"POST", "x", failing(refusal{time.Millisecond}), 3},
		"unknown method 503":        {"BREW", "", status(503), 1},
		"unknown method, not sent":  {"BREW", "", failing(dialed), 3},
		"permanent transport error": {"GET", "", failing(retry.Permanent(errBoom)), 1},
	}
	for name, tt := range tests {
		bubble(t, name, func(t *testing.T) {
			_, seen := send(t, retry.Config{}, tt.script, request(t, tt.method, tt.body))
			assert.Equal(t, tt.attempts, seen)
		})
	}
	bubble(t, "POST with an Idempotency-Key", func(t *testing.T) {
		req := request(t, "POST", "x")
		req.Header.Set("Idempotency-Key", "7")
		_, seen := send(t, retry.Config{}, always(503), req)
		assert.EqualValues(t, 3, seen)
	})
	bubble(t, "POST by the user's rule", func(t *testing.T) {
		rule := func(req *http.Request) bool { return req.URL.Path == "/prices" }
		_, seen := send(t, retry.Config{Repeatable: rule}, always(503), request(t, "POST", "x"))
		assert.EqualValues(t, 3, seen)
	})
	bubble(t, "GET against the user's rule", func(t *testing.T) {
		rule := func(*http.Request) bool { return false }
		_, seen := send(t, retry.Config{Repeatable: rule}, always(503), request(t, "GET", ""))
		assert.EqualValues(t, 1, seen)
	})
}

func TestJudgeOverridesTheRule(t *testing.T) {
	bubble(t, "again", func(t *testing.T) {
		judge := func(resp *http.Response, _ error) retry.Outcome {
			if resp != nil && resp.Header.Get("X-Partial") != "" {
				return retry.Again
			}
			return retry.ByRule
		}
		got, seen := send(t, retry.Config{Judge: judge}, func(n int, req *http.Request) (*http.Response, error) {
			if n == 1 {
				return answer(req, 200, "half", "X-Partial", "yes"), nil
			}
			return answer(req, 200, "whole"), nil
		}, request(t, "GET", ""))
		assert.EqualValues(t, 2, seen)
		assert.Equal(t, "whole", got.body)
	})
	bubble(t, "accept", func(t *testing.T) {
		judge := func(*http.Response, error) retry.Outcome { return retry.Accept }
		got, seen := send(t, retry.Config{Judge: judge}, always(503), request(t, "GET", ""))
		assert.EqualValues(t, 1, seen)
		assert.Equal(t, 503, got.status)
	})
	bubble(t, "a panic closes the response and surfaces", func(t *testing.T) {
		closed := false
		base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
			resp := answer(req, 200, "")
			resp.Body = closeFunc{resp.Body, func() { closed = true }}
			return resp, nil
		})
		judge := func(*http.Response, error) retry.Outcome { panic("judge") }
		r := retry.MustNew(retry.Config{Judge: judge})
		assert.PanicsWithValue(t, "judge", func() {
			_, _ = r.Transport(base).RoundTrip(request(t, "GET", ""))
		})
		assert.True(t, closed)
	})
}

type closeFunc struct {
	io.ReadCloser

	onClose func()
}

func (c closeFunc) Close() error {
	c.onClose()
	return c.ReadCloser.Close()
}

func TestRetryAfterIsWaitedForInEveryForm(t *testing.T) {
	tests := map[string]struct {
		value    func() string
		min, max time.Duration
		attempts int64
	}{
		"seconds":              {func() string { return "2" }, 2 * time.Second, 2200 * time.Millisecond, 2},
		"fraction of a second": {func() string { return "0.25" }, 250 * time.Millisecond, 300 * time.Millisecond, 2},
		"HTTP date": {
			func() string { return time.Now().Add(3 * time.Second).UTC().Format(http.TimeFormat) },
			3 * time.Second, 3300 * time.Millisecond, 2,
		},
		"date in the past": {
			func() string { return time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat) },
			0, 50 * time.Millisecond, 2,
		},
		"zero":        {func() string { return "0" }, 0, 50 * time.Millisecond, 2},
		"negative":    {func() string { return "-5" }, 0, 50 * time.Millisecond, 2},
		"garbage":     {func() string { return "soon" }, 0, 50 * time.Millisecond, 2},
		"at bound":    {func() string { return "5" }, 5 * time.Second, 5500 * time.Millisecond, 2},
		"above bound": {func() string { return "6" }, 0, 0, 1},
		"10^12":       {func() string { return "1000000000000" }, 0, 0, 1},
		"10^400":      {func() string { return strings.Repeat("9", 400) }, 0, 0, 1},
		"far date":    {func() string { return "Fri, 31 Dec 9999 23:59:59 GMT" }, 0, 0, 1},
	}
	for name, tt := range tests {
		bubble(t, name, func(t *testing.T) {
			got, seen := send(t, retry.Config{}, thenOK(1, 503, "Retry-After", tt.value()), request(t, "GET", ""))
			assert.Equal(t, tt.attempts, seen)
			assert.GreaterOrEqual(t, got.took, tt.min)
			assert.LessOrEqual(t, got.took, tt.max)
			if seen == 1 {
				assert.Equal(t, reply{status: 503, body: "busy"}, got, "handed over at once, readable")
			}
		})
	}
}

func TestRefusalOfOurOwnIsNotHammered(t *testing.T) {
	tests := map[string]struct {
		err      error
		attempts int64
		wait     time.Duration
		reason   retry.Reason
	}{
		"hint that fits":     {refusal{time.Second}, 3, 2 * time.Second, retry.OutOfAttempts},
		"hint above the max": {refusal{time.Minute}, 1, 0, retry.RetryAfterTooLong},
		"no hint":            {refusal{0}, 1, 0, retry.Refused},
	}
	for name, tt := range tests {
		bubble(t, name, func(t *testing.T) {
			got, seen := send(t, retry.Config{}, failing(tt.err), request(t, "GET", ""))
			assert.Equal(t, tt.attempts, seen)
			assert.GreaterOrEqual(t, got.took, tt.wait)
			assert.LessOrEqual(t, got.took, tt.wait*12/10)
			assert.ErrorIs(t, got.err, tt.err, "the refusal itself comes back")
			var failed *retry.Error
			require.ErrorAs(t, got.err, &failed)
			assert.Equal(t, tt.reason, failed.Reason)
		})
	}
	bubble(t, "hint past the caller's deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		got, seen := send(t, retry.Config{}, failing(refusal{time.Second}), request(t, "GET", "").WithContext(ctx))
		assert.EqualValues(t, 1, seen)
		assert.Zero(t, got.took)
	})
}

func TestNeverSleepsPastTheDeadline(t *testing.T) {
	bubble(t, "the last response comes back at once", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		got, seen := send(t, retry.Config{}, always(503, "Retry-After", "1"), request(t, "GET", "").WithContext(ctx))
		assert.EqualValues(t, 1, seen)
		assert.Equal(t, reply{status: 503, body: "body of a Service Unavailable"}, got)
	})
	bubble(t, "nor does the last error wait", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		cfg := retry.Config{BaseDelay: time.Hour, MaxDelay: time.Hour, Jitter: retry.DecorrelatedJitter}
		got, seen := send(t, cfg, failing(errBoom), request(t, "GET", "").WithContext(ctx))
		assert.EqualValues(t, 1, seen)
		assert.Zero(t, got.took)
		assert.ErrorIs(t, got.err, errBoom)
		var failed *retry.Error
		require.ErrorAs(t, got.err, &failed)
		assert.Equal(t, retry.DeadlineTooNear, failed.Reason)
	})
}

func TestNothingIsRetriedAfterTheCallersEnd(t *testing.T) {
	ends := map[string]func(t *testing.T, req *http.Request) *http.Request{
		"canceled": func(t *testing.T, req *http.Request) *http.Request {
			ctx, cancel := context.WithCancel(req.Context())
			time.AfterFunc(time.Second, cancel)
			t.Cleanup(cancel)
			return req.WithContext(ctx)
		},
		"deadline": func(t *testing.T, req *http.Request) *http.Request {
			ctx, cancel := context.WithTimeout(req.Context(), time.Second)
			t.Cleanup(cancel)
			return req.WithContext(ctx)
		},
		"Request.Cancel": func(_ *testing.T, req *http.Request) *http.Request {
			end := make(chan struct{})
			time.AfterFunc(time.Second, func() { close(end) })
			req.Cancel = end //nolint:staticcheck // http.Client still sets it
			return req
		},
	}
	for name, end := range ends {
		bubble(t, name+" during a wait", func(t *testing.T) {
			cfg := retry.Config{BaseDelay: time.Hour, MaxDelay: time.Hour, Jitter: retry.DecorrelatedJitter}
			req := end(t, request(t, "GET", ""))
			if name == "deadline" { // which is never slept past: let the wait look short enough
				cfg = retry.Config{BaseDelay: 900 * time.Millisecond, Jitter: retry.DecorrelatedJitter, MaxDelay: 900 * time.Millisecond}
			}
			got, seen := send(t, cfg, always(503), req)
			if name == "deadline" {
				assert.Equal(t, 503, got.status)
				return
			}
			assert.EqualValues(t, 1, seen)
			assert.Equal(t, time.Second, got.took)
			require.ErrorIs(t, got.err, context.Canceled)
			var failed *retry.Error
			require.ErrorAs(t, got.err, &failed)
			assert.Equal(t, retry.CallerEnded, failed.Reason)
			assert.ErrorContains(t, got.err, "after status 503")
		})
		bubble(t, name+" during an attempt", func(t *testing.T) {
			req := end(t, request(t, "GET", ""))
			got, seen := send(t, retry.Config{}, func(_ int, sent *http.Request) (*http.Response, error) {
				select {
				case <-sent.Context().Done():
				case <-req.Cancel: //nolint:staticcheck // as above
				}
				return nil, errBoom
			}, req)
			assert.EqualValues(t, 1, seen)
			assert.Equal(t, time.Second, got.took)
			assert.Equal(t, errBoom, got.err, "the transport's own error")
		})
	}
}

func TestLastErrorIsNeverReplaced(t *testing.T) {
	bubble(t, "history and last error", func(t *testing.T) {
		got, _ := send(t, retry.Config{}, func(n int, req *http.Request) (*http.Response, error) {
			if n == 1 {
				return answer(req, 503, "busy"), nil
			}
			return nil, &net.OpError{Op: "read", Err: timeoutError{}}
		}, request(t, "GET", ""))
		assert.ErrorIs(t, got.err, timeoutError{})
		assert.ErrorContains(t, got.err, "retry: 3 attempts, out of attempts: read: slow")
		var failed *retry.Error
		require.ErrorAs(t, got.err, &failed)
		assert.True(t, failed.Timeout())
		assert.Equal(t, "shop.test", failed.Host())
		require.Len(t, failed.Tries, 3)
		assert.Equal(t, 503, failed.Tries[0].Status)
		assert.ErrorIs(t, failed.Tries[1].Err, timeoutError{})
		assert.Equal(t, 3, failed.Tries[2].Number)
		assert.Zero(t, failed.Tries[0].Wait)
		assert.Positive(t, failed.Tries[2].Wait)
	})
	bubble(t, "a single attempt's error comes as it is", func(t *testing.T) {
		got, _ := send(t, retry.Config{MaxAttempts: 1}, failing(errBoom), request(t, "GET", ""))
		assert.Equal(t, errBoom, got.err)
		got, _ = send(t, retry.Config{}, failing(errBoom), request(t, "POST", "x"))
		assert.Equal(t, errBoom, got.err)
	})
}

type timeoutError struct{}

func (timeoutError) Error() string { return "slow" }
func (timeoutError) Timeout() bool { return true }

func TestAttemptNumberIsVisibleBelow(t *testing.T) {
	numbers := func(header *[]string, ctx *[]int) script {
		return func(_ int, req *http.Request) (*http.Response, error) {
			*header = append(*header, req.Header.Get("Retry-Attempt"))
			*ctx = append(*ctx, retry.Attempt(req.Context()))
			return answer(req, 503, ""), nil
		}
	}
	bubble(t, "context", func(t *testing.T) {
		var header []string
		var ctx []int
		_, _ = send(t, retry.Config{}, numbers(&header, &ctx), request(t, "GET", ""))
		assert.Equal(t, []int{1, 2, 3}, ctx)
		assert.Equal(t, []string{"", "", ""}, header, "not unless asked for")
	})
	bubble(t, "header, on request", func(t *testing.T) {
		var header []string
		var ctx []int
		req := request(t, "GET", "")
		_, _ = send(t, retry.Config{AttemptHeader: true}, numbers(&header, &ctx), req)
		assert.Equal(t, []string{"", "2", "3"}, header)
		assert.Empty(t, req.Header, "the caller's is not written to")
	})
	bubble(t, "header of a request without any", func(t *testing.T) {
		req := request(t, "GET", "")
		req.Header = nil
		var header []string
		var ctx []int
		_, _ = send(t, retry.Config{AttemptHeader: true}, numbers(&header, &ctx), req)
		assert.Equal(t, []string{"", "2", "3"}, header)
	})
	bubble(t, "nested retriers count on", func(t *testing.T) {
		var header []string
		var ctx []int
		base, _ := numbers(&header, &ctx).base()
		inner := retry.MustNew(retry.Config{MaxAttempts: 2, Budget: rich()})
		outer := retry.MustNew(retry.Config{MaxAttempts: 2, Budget: rich()})
		resp, err := outer.Transport(inner.Transport(base)).RoundTrip(request(t, "GET", ""))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, []int{1, 2, 2, 3}, ctx)
	})
}

func TestServerReadsTheAttemptNumber(t *testing.T) {
	for value, want := range map[string]int{"": 1, "2": 2, "17": 17, "1000": 100, "-1": 1, "x": 1} {
		req := &http.Request{Header: make(http.Header)}
		if value != "" {
			req.Header.Set("Retry-Attempt", value)
		}
		assert.Equal(t, want, retry.RequestAttempt(req), strconv.Quote(value))
	}
}

func TestHostsTriedAreHandedDown(t *testing.T) {
	bubble(t, "as responses and errors tell them", func(t *testing.T) {
		var ranks [][]int
		_, _ = send(t, retry.Config{MaxAttempts: 4}, func(n int, req *http.Request) (*http.Response, error) {
			tried := attempt.Tried(req.Context())
			ranks = append(ranks, []int{tried.Rank("a"), tried.Rank("b"), tried.Rank("shop.test")})
			switch n {
			case 1: // a router below says where it went by the response's request
				routed := req.Clone(req.Context())
				routed.URL.Host = "a"
				return answer(routed, 503, ""), nil
			case 2: // or by the error
				return nil, hostError("b")
			default: // or there is no router
				return nil, errBoom
			}
		}, request(t, "GET", ""))
		assert.Equal(t, [][]int{{-1, -1, -1}, {0, -1, -1}, {0, 1, -1}, {0, 1, 2}}, ranks)
	})
}

type hostError string

func (e hostError) Error() string { return "failed at " + string(e) }
func (e hostError) Host() string  { return string(e) }

func TestOverrideOfOneCall(t *testing.T) {
	tests := map[string]struct {
		override retry.Override
		method   string
		attempts int64
	}{
		"none":                    {retry.Override{}, "GET", 3},
		"fewer attempts":          {retry.Override{MaxAttempts: 2}, "GET", 2},
		"more attempts":           {retry.Override{MaxAttempts: 5}, "GET", 5},
		"absurd value is ignored": {retry.Override{MaxAttempts: -5, TryTimeout: -5}, "GET", 3},
		"repeatable POST":         {retry.Override{Repeatable: true}, "POST", 3},
		"POST":                    {retry.Override{}, "POST", 1},
	}
	for name, tt := range tests {
		bubble(t, name, func(t *testing.T) {
			ctx := retry.With(t.Context(), tt.override)
			_, seen := send(t, retry.Config{}, always(503), request(t, tt.method, "").WithContext(ctx))
			assert.Equal(t, tt.attempts, seen)
		})
	}
	bubble(t, "off", func(t *testing.T) {
		_, seen := send(t, retry.Config{}, always(503), request(t, "GET", "").WithContext(retry.Off(t.Context())))
		assert.EqualValues(t, 1, seen)
	})
	bubble(t, "try timeout", func(t *testing.T) {
		ctx := retry.With(t.Context(), retry.Override{TryTimeout: time.Second, MaxAttempts: 1})
		got, _ := send(t, retry.Config{}, hang, request(t, "GET", "").WithContext(ctx))
		assert.Equal(t, time.Second, got.took)
	})
}

func TestBudgetBoundsExtraAttempts(t *testing.T) {
	bubble(t, "an empty one allows none, and the response comes as it is", func(t *testing.T) {
		none := budget.MustNew(budget.Config{Ratio: budget.NoRatio, Floor: budget.NoFloor})
		got, seen := send(t, retry.Config{Budget: none}, always(503), request(t, "GET", ""))
		assert.EqualValues(t, 1, seen)
		assert.Equal(t, reply{status: 503, body: "body of a Service Unavailable"}, got)
	})
	bubble(t, "an error names it", func(t *testing.T) {
		none := budget.MustNew(budget.Config{Ratio: budget.NoRatio, Floor: budget.NoFloor})
		got, _ := send(t, retry.Config{Budget: none}, failing(errBoom), request(t, "GET", ""))
		assert.ErrorIs(t, got.err, errBoom)
		assert.ErrorContains(t, got.err, "out of budget")
	})
	bubble(t, "emptied during the wait, the kept response is handed over", func(t *testing.T) {
		b := budget.MustNew(budget.Config{Floor: 0.1}) // one attempt
		drain := func(_ context.Context, e retry.Event) {
			if e.Kind == retry.Waiting {
				assert.True(t, b.Withdraw(e.Key))
			}
		}
		got, seen := send(t, retry.Config{Budget: b, Observe: drain}, always(503), request(t, "GET", ""))
		assert.EqualValues(t, 1, seen)
		assert.Equal(t, 503, got.status)
		assert.Equal(t, "body of a Service Unavailable", got.body)
		require.NoError(t, got.readErr)
	})
	bubble(t, "a total outage costs 1.15 attempts per request", func(t *testing.T) {
		base, seen := always(503).base()
		transport := retry.MustNew(retry.Config{}).Transport(base)
		call := func() {
			resp, err := transport.RoundTrip(request(t, "GET", ""))
			if assert.NoError(t, err) {
				_ = resp.Body.Close()
			}
		}
		const rate = 200
		storm := func(seconds int) {
			for range seconds * rate {
				go call()
				time.Sleep(time.Second / rate)
			}
		}
		storm(10) // the floor's burst
		before := seen.Load()
		storm(30)
		time.Sleep(time.Minute)
		assert.LessOrEqual(t, float64(seen.Load()-before)/(30*rate), 1.15)
		assert.Greater(t, float64(seen.Load()-before)/(30*rate), 1.08, "what there is, is used")
	})
	bubble(t, "per host", func(t *testing.T) {
		base, seen := always(503).base()
		b := budget.MustNew(budget.Config{Floor: 0.1})
		transport := retry.MustNew(retry.Config{Budget: b}).Transport(base)
		for _, host := range []string{"dead", "dead", "live"} {
			req := request(t, "GET", "")
			req.URL.Host = host
			resp, err := transport.RoundTrip(req)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		}
		assert.EqualValues(t, 2+1+2, seen.Load())
	})
	bubble(t, "attempts above 1 of an outer retrier deposit nothing", func(t *testing.T) {
		base, _ := always(503).base()
		b := budget.MustNew(budget.Config{Floor: budget.NoFloor, Ratio: 1})
		inner := retry.MustNew(retry.Config{Budget: b, MaxAttempts: 1})
		outer := retry.MustNew(retry.Config{Budget: rich(), MaxAttempts: 3})
		resp, err := outer.Transport(inner.Transport(base)).RoundTrip(request(t, "GET", ""))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.InDelta(t, 1.0, b.Snapshot().Keys[0].Balance, 1e-9, "one request, not three")
	})
}

func TestDeadlineThatPassesWhileTheResponseIsDiscarded(t *testing.T) {
	bubble(t, "the response is handed over all the same", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		cfg := retry.Config{BaseDelay: 40 * time.Millisecond, MaxDelay: 40 * time.Millisecond, Jitter: retry.DecorrelatedJitter}
		got, seen := send(t, cfg, func(_ int, req *http.Request) (*http.Response, error) {
			time.Sleep(55 * time.Millisecond) // the wait fits, but not beside the drain of a stalled body
			resp := answer(req, 503, "")
			body, stall := io.Pipe()
			go func() { _, _ = stall.Write([]byte("busy")) }()
			resp.Body, resp.ContentLength = body, -1
			return resp, nil
		}, request(t, "GET", "").WithContext(ctx))
		assert.EqualValues(t, 1, seen)
		assert.Equal(t, 503, got.status)
		assert.Equal(t, "busy", got.body)
		assert.Equal(t, 100*time.Millisecond, got.took)
	})
}

func TestDiscardingIsPartOfTheWait(t *testing.T) {
	bubble(t, "a stalled body", func(t *testing.T) {
		cfg := retry.Config{BaseDelay: time.Second, MaxDelay: time.Second, Jitter: retry.DecorrelatedJitter}
		got, _ := send(t, cfg, func(n int, req *http.Request) (*http.Response, error) {
			resp := answer(req, 503, "")
			if n == 1 {
				resp.Body, _ = io.Pipe()
				resp.ContentLength = -1
			}
			return resp, nil
		}, request(t, "GET", "").WithContext(retry.With(t.Context(), retry.Override{MaxAttempts: 2})))
		assert.Equal(t, time.Second, got.took)
	})
}

func TestEndedCallerIsNoticedWithoutAWaitToo(t *testing.T) {
	bubble(t, "canceled by the observer", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cfg := retry.Config{BaseDelay: retry.Immediately, Observe: func(_ context.Context, e retry.Event) {
			if e.Kind == retry.Waiting {
				cancel()
			}
		}}
		got, seen := send(t, cfg, always(503), request(t, "GET", "").WithContext(ctx))
		assert.EqualValues(t, 1, seen)
		assert.ErrorIs(t, got.err, context.Canceled)
	})
}

func TestCallOfSeveralAttemptsIsUnsentOnlyIfAllWere(t *testing.T) {
	dialed := &net.OpError{Op: "dial", Err: errBoom}
	yes := func(*http.Request) bool { return true }
	post := func(t *testing.T, s script) int64 {
		t.Helper()
		base, seen := s.base()
		inner := retry.MustNew(retry.Config{MaxAttempts: 2, Repeatable: yes, Budget: rich()})
		outer := retry.MustNew(retry.Config{MaxAttempts: 2, Budget: rich()})
		_, err := outer.Transport(inner.Transport(base)).RoundTrip(request(t, "POST", "x"))
		require.ErrorIs(t, err, errBoom)
		return seen.Load()
	}
	bubble(t, "all", func(t *testing.T) {
		assert.EqualValues(t, 4, post(t, failing(dialed)))
	})
	bubble(t, "only the last", func(t *testing.T) {
		assert.EqualValues(t, 2, post(t, func(n int, _ *http.Request) (*http.Response, error) {
			if n == 1 {
				return nil, io.ErrUnexpectedEOF
			}
			return nil, dialed
		}))
	})
}

func TestClaimsAreLetGoWhateverPanics(t *testing.T) {
	bubble(t, "GetBody, and the discarded body", func(t *testing.T) {
		b := budget.MustNew(budget.Config{Floor: 0.1}) // one attempt
		transport := retry.MustNew(retry.Config{Budget: b}).Transport(roundTripFunc(
			func(req *http.Request) (*http.Response, error) {
				resp := answer(req, 503, "")
				if req.Header.Get("Close-Panics") != "" {
					resp.Body = closeFunc{resp.Body, func() { panic("close") }}
				}
				return resp, nil
			}))
		req := request(t, "PUT", "x")
		req.GetBody = func() (io.ReadCloser, error) { panic("body") }
		assert.PanicsWithValue(t, "body", func() { _, _ = transport.RoundTrip(req) })
		req = request(t, "GET", "")
		req.Header.Set("Close-Panics", "yes")
		assert.PanicsWithValue(t, "close", func() { _, _ = transport.RoundTrip(req) })
		_, ok := b.Claim("shop.test")
		assert.True(t, ok, "nobody holds it any more")
	})
}

func TestLostBodyIsToldToTheObserver(t *testing.T) {
	bubble(t, "although the caller gets the response", func(t *testing.T) {
		var lost error
		cfg := retry.Config{Observe: func(_ context.Context, e retry.Event) {
			if e.Kind == retry.Stopped {
				lost = e.Err
			}
		}}
		req := request(t, "PUT", "x")
		req.GetBody = func() (io.ReadCloser, error) { return nil, errBoom }
		got, _ := send(t, cfg, always(503), req)
		assert.Equal(t, 503, got.status)
		assert.ErrorIs(t, lost, errBoom)
	})
}

func TestSnapshotDoesNotDependOnObserve(t *testing.T) {
	bubble(t, "the caller's end", func(t *testing.T) {
		for _, observe := range []func(context.Context, retry.Event){nil, func(context.Context, retry.Event) {}} {
			r := retry.MustNew(retry.Config{Observe: observe})
			base, _ := script(hang).base()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := r.Transport(base).RoundTrip(request(t, "GET", "").WithContext(ctx))
			cancel()
			require.Error(t, err)
			assert.Equal(t, map[retry.Reason]uint64{retry.CallerEnded: 1}, r.Snapshot().Stopped)
		}
	})
}

func TestSnapshotCountsWhatWasSent(t *testing.T) {
	bubble(t, "not what had no body", func(t *testing.T) {
		base, _ := always(503).base()
		r := retry.MustNew(retry.Config{Budget: rich()})
		req := request(t, "PUT", "x")
		req.GetBody = func() (io.ReadCloser, error) { return nil, errBoom }
		resp, err := r.Transport(base).RoundTrip(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		s := r.Snapshot()
		assert.Zero(t, s.Retries)
		assert.Zero(t, s.Budget.Keys[0].Granted)
		assert.Equal(t, map[retry.Reason]uint64{retry.BodyLost: 1}, s.Stopped)
	})
	bubble(t, "an end in 500 is no recovery", func(t *testing.T) {
		base, _ := script(func(n int, req *http.Request) (*http.Response, error) {
			return answer(req, map[bool]int{true: 503, false: 500}[n == 1], ""), nil
		}).base()
		r := retry.MustNew(retry.Config{Budget: rich()})
		resp, err := r.Transport(base).RoundTrip(request(t, "GET", ""))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Zero(t, r.Snapshot().Recovered)
	})
	bubble(t, "and reads well as JSON", func(t *testing.T) {
		r := retry.MustNew(retry.Config{MaxAttempts: 1})
		_ = r.Run(t.Context(), "db", func(context.Context) error { return errBoom })
		text, err := json.Marshal(r.Snapshot())
		require.NoError(t, err)
		assert.Contains(t, string(text), `"Stopped":{"out_of_attempts":1}`)
	})
}

func TestSnapshotCounts(t *testing.T) {
	bubble(t, "retries, recoveries and losses", func(t *testing.T) {
		r := retry.MustNew(retry.Config{Budget: rich()})
		for _, s := range []script{thenOK(1, 503), always(503), always(200), failing(refusal{})} {
			base, _ := s.base()
			resp, err := r.Transport(base).RoundTrip(request(t, "GET", ""))
			if err == nil {
				require.NoError(t, resp.Body.Close())
			}
		}
		s := r.Snapshot()
		assert.EqualValues(t, 3, s.Retries)
		assert.EqualValues(t, 1, s.Recovered)
		assert.Equal(t, map[retry.Reason]uint64{retry.OutOfAttempts: 1, retry.Refused: 1}, s.Stopped)
		assert.EqualValues(t, 3, s.Budget.Keys[0].Granted)
	})
}

func TestBadInput(t *testing.T) {
	bubble(t, "GetBody fails for the second attempt, after a response", func(t *testing.T) {
		req := request(t, "PUT", "x")
		req.GetBody = func() (io.ReadCloser, error) { return nil, errBoom }
		got, seen := send(t, retry.Config{}, always(503), req)
		assert.EqualValues(t, 1, seen)
		assert.Equal(t, 503, got.status)
		assert.Equal(t, "body of a Service Unavailable", got.body)
	})
	bubble(t, "GetBody fails for the second attempt, after an error", func(t *testing.T) {
		broken := errors.New("broken pipe")
		req := request(t, "PUT", "x")
		req.GetBody = func() (io.ReadCloser, error) { return nil, errBoom }
		got, _ := send(t, retry.Config{}, failing(broken), req)
		assert.ErrorIs(t, got.err, broken)
		assert.ErrorIs(t, got.err, errBoom)
		assert.ErrorContains(t, got.err, "body lost")
		assert.ErrorContains(t, got.err, "get the request body again")
	})
	bubble(t, "GetBody fails for the third attempt", func(t *testing.T) {
		req := request(t, "PUT", "x")
		calls := 0
		req.GetBody = func() (io.ReadCloser, error) {
			if calls++; calls == 2 {
				return nil, errBoom
			}
			return io.NopCloser(strings.NewReader("x")), nil
		}
		got, seen := send(t, retry.Config{}, always(503), req)
		assert.EqualValues(t, 2, seen)
		assert.Equal(t, 503, got.status)
	})
	for name, body := range map[string]io.ReadCloser{"nil": nil, "NoBody": http.NoBody} {
		bubble(t, "request body "+name, func(t *testing.T) {
			req := request(t, "PUT", "")
			req.Body = body
			_, seen := send(t, retry.Config{}, func(_ int, sent *http.Request) (*http.Response, error) {
				assert.Equal(t, body, sent.Body)
				return answer(sent, 503, ""), nil
			}, req)
			assert.EqualValues(t, 3, seen)
		})
	}
	bubble(t, "a base that returns nothing", func(t *testing.T) {
		for _, cfg := range []retry.Config{{}, {TryTimeout: retry.NoTimeout}} {
			got, seen := send(t, cfg, func(int, *http.Request) (*http.Response, error) { return nil, nil }, request(t, "GET", ""))
			assert.EqualValues(t, 3, seen)
			assert.ErrorContains(t, got.err, "neither a response nor an error")
		}
	})
	bubble(t, "a response without a Body", func(t *testing.T) {
		got, seen := send(t, retry.Config{TryTimeout: time.Second}, func(n int, req *http.Request) (*http.Response, error) {
			if n == 1 {
				time.Sleep(2 * time.Second)
			}
			return &http.Response{StatusCode: 200, Request: req}, nil
		}, request(t, "GET", ""))
		assert.EqualValues(t, 2, seen)
		assert.Equal(t, 200, got.status)
	})
	bubble(t, "a Repeatable that panics", func(t *testing.T) {
		closed := false
		base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
			resp := answer(req, 503, "")
			resp.Body = closeFunc{resp.Body, func() { closed = true }}
			return resp, nil
		})
		r := retry.MustNew(retry.Config{Repeatable: func(*http.Request) bool { panic("rule") }})
		assert.PanicsWithValue(t, "rule", func() { _, _ = r.Transport(base).RoundTrip(request(t, "GET", "")) })
		assert.True(t, closed)
	})
	bubble(t, "a Key that panics", func(t *testing.T) {
		closed := false
		req := request(t, "PUT", "x")
		req.Body = closeFunc{req.Body, func() { closed = true }}
		r := retry.MustNew(retry.Config{Key: func(*http.Request) string { panic("key") }})
		assert.PanicsWithValue(t, "key", func() { _, _ = r.Transport(nil).RoundTrip(req) })
		assert.True(t, closed)
	})
	t.Run("nil base is http.DefaultTransport", func(t *testing.T) {
		server := &http.Request{Method: "GET"} // no URL: the base says so
		_, err := retry.MustNew(retry.Config{}).Transport(nil).RoundTrip(server)
		assert.ErrorContains(t, err, "nil Request.URL")
	})
}
