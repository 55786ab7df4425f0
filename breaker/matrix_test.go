package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/breaker"
)

func TestOutcomesOfStatuses(t *testing.T) {
	doors := map[string]func(t *testing.T, b *breaker.Breaker, status int){
		"Transport": func(t *testing.T, b *breaker.Breaker, status int) {
			require.NoError(t, exchange(t.Context(), t, b, answers(status)))
		},
		"Handler": func(_ *testing.T, b *breaker.Breaker, status int) {
			req := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
			b.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(status)
			})).ServeHTTP(httptest.NewRecorder(), req)
		},
	}
	for status, want := range map[int]breaker.Counts{
		200: {Successes: 1}, 204: {Successes: 1}, 304: {Successes: 1}, 400: {Successes: 1}, 401: {Successes: 1},
		404: {Successes: 1}, 408: {Successes: 1}, 429: {Overload: 1}, 500: {Failures: 1}, 501: {Successes: 1},
		502: {Failures: 1}, 503: {Failures: 1}, 504: {Failures: 1}, 599: {Failures: 1},
	} {
		for door, call := range doors {
			want := want
			if status == http.StatusTooManyRequests && door == "Handler" {
				want = breaker.Counts{Ignored: 1} // its own limit for one caller, no trouble of all
			}
			t.Run(door+" "+strconv.Itoa(status), func(t *testing.T) {
				b := circuitOf(nil)
				call(t, b, status)
				assert.Equal(t, want, b.Snapshot().Circuits[0].Counts)
			})
		}
	}
}

func TestOutcomesAreJudgedByTheUserFirst(t *testing.T) {
	judge := func(resp *http.Response, err error) breaker.Outcome {
		switch {
		case err != nil:
			return breaker.Ignored
		case resp.StatusCode == http.StatusNotFound:
			return breaker.Failure
		default:
			return breaker.ByRule
		}
	}
	b := breaker.MustNew(breaker.Config{
		Judge: judge, JudgeError: func(error) breaker.Outcome { return breaker.Overload }, Rules: only(nil),
	})
	require.NoError(t, exchange(t.Context(), t, b, answers(404)))
	require.NoError(t, exchange(t.Context(), t, b, answers(503)))
	require.ErrorIs(t, exchange(t.Context(), t, b, func(*http.Request) (*http.Response, error) {
		return nil, errDown
	}), errDown)
	require.ErrorIs(t, b.Run(t.Context(), key, func(context.Context) error { return errDown }), errDown)
	assert.Equal(t, breaker.Counts{Failures: 2, Ignored: 1, Overload: 1}, shot(t, b, key).Counts)
}

func TestOutcomesOfRefusalsByOtherPoliciesAreIgnored(t *testing.T) {
	other := breaker.MustNew(breaker.Config{Rules: openForLong()})
	require.NoError(t, other.Trip("other"))
	b := circuitOf(nil)
	err := b.Run(t.Context(), key, func(ctx context.Context) error {
		return other.Run(ctx, "other", func(context.Context) error { return nil })
	})
	require.ErrorIs(t, err, breaker.ErrOpen)
	assert.Equal(t, breaker.Counts{Ignored: 1}, shot(t, b, key).Counts)
}

// breaking is a body that ends with an error.
type breaking struct {
	io.Reader

	err error
}

func (b breaking) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = b.err
	}
	return n, err
}

func (breaking) Close() error { return nil }

func TestOutcomesOfBodiesThatBreakOffAreFailures(t *testing.T) {
	for name, broken := range map[string]error{
		"truncated": io.ErrUnexpectedEOF, "reset": syscall.ECONNRESET, "any": errDown,
	} {
		bubble(t, name, func(t *testing.T) {
			b := circuitOf(func(r *breaker.Rules) { r.Consecutive = 3 })
			for range 3 {
				err := exchange(t.Context(), t, b, func(req *http.Request) (*http.Response, error) {
					resp := reply(req, http.StatusOK, "")
					resp.Body = breaking{strings.NewReader("half of i"), broken}
					return resp, nil
				})
				require.ErrorIs(t, err, broken)
			}
			assert.Equal(t, breaker.Open, b.State(key))
			assert.Equal(t, breaker.Counts{Failures: 3}, shot(t, b, key).Counts)
			assert.ErrorIs(t, refused(t, b).Err, broken)
		})
	}
	t.Run("but not where the caller has left", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.Consecutive = 1 })
		ctx, cancel := context.WithCancelCause(t.Context())
		require.Error(t, exchange(ctx, t, b, func(req *http.Request) (*http.Response, error) {
			resp := reply(req, http.StatusOK, "")
			cancel(errors.New("another was faster"))
			resp.Body = breaking{strings.NewReader("half of i"), context.Canceled}
			return resp, nil
		}))
		assert.Equal(t, breaker.Counts{Ignored: 1}, shot(t, b, key).Counts)
	})
}

func TestOutcomesOfCallsThatTheCallerCancels(t *testing.T) {
	for name, cause := range map[string]error{
		"canceled": nil, "a hedge that lost, with a cause of its own": errors.New("another was faster"),
	} {
		bubble(t, name, func(t *testing.T) {
			b := breaker.MustNew(breaker.Config{})
			var calls sync.WaitGroup
			for range 1000 {
				calls.Go(func() {
					ctx, cancel := context.WithCancelCause(t.Context())
					time.AfterFunc(time.Second, func() { cancel(cause) })
					assert.Error(t, exchange(ctx, t, b, hangs))
				})
			}
			calls.Wait()
			got := shot(t, b, key)
			assert.Equal(t, breaker.Closed, got.State)
			assert.Equal(t, breaker.Counts{Ignored: 1000}, got.Counts)
			assert.Zero(t, got.Window, "they prove nothing")
			assert.Zero(t, got.InFlight)
		})
	}
}

type tryTimeoutError struct{}

func (tryTimeoutError) Error() string { return "no answer within the time of a try" }
func (tryTimeoutError) Timeout() bool { return true }

func TestOutcomesOfDeadlines(t *testing.T) {
	tests := map[string]struct {
		slowAfter, time time.Duration
		want            breaker.Counts
	}{
		"are failures": {0, time.Second, breaker.Counts{Failures: 1}},
		"are failures of a call with time enough":   {time.Second, time.Second, breaker.Counts{Failures: 1}},
		"prove nothing of an impatient caller":      {time.Second, time.Second - 1, breaker.Counts{Ignored: 1}},
		"are failures however short without a rule": {0, time.Nanosecond, breaker.Counts{Failures: 1}},
	}
	for name, tt := range tests {
		bubble(t, name, func(t *testing.T) {
			b := circuitOf(func(r *breaker.Rules) { r.SlowAfter = tt.slowAfter })
			ctx, cancel := context.WithTimeout(t.Context(), tt.time)
			defer cancel()
			require.ErrorIs(t, exchange(ctx, t, b, hangs), context.DeadlineExceeded)
			assert.Equal(t, tt.want, shot(t, b, key).Counts)
		})
	}
	bubble(t, "are failures as the cause of a cancellation", func(t *testing.T) {
		b := circuitOf(nil)
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(tryTimeoutError{}) })
		require.ErrorIs(t, exchange(ctx, t, b, hangs), tryTimeoutError{})
		assert.Equal(t, breaker.Counts{Failures: 1}, shot(t, b, key).Counts)
	})
}

func TestOutcomesAreSlowByTheirHeadersOrTheirBody(t *testing.T) {
	tests := map[string]struct {
		headers, body time.Duration
		whole         bool
		want          breaker.Counts
	}{
		"in time":                     {time.Second, 0, false, breaker.Counts{Successes: 1}},
		"late headers":                {time.Second + 1, 0, false, breaker.Counts{Slow: 1}},
		"long stream":                 {time.Second, time.Hour, false, breaker.Counts{Successes: 1}},
		"long body, where it counts":  {time.Second / 2, time.Second/2 + 1, true, breaker.Counts{Slow: 1}},
		"short body, where it counts": {time.Second / 2, time.Second / 2, true, breaker.Counts{Successes: 1}},
	}
	for name, tt := range tests {
		bubble(t, name, func(t *testing.T) {
			b := circuitOf(func(r *breaker.Rules) { r.SlowAfter, r.SlowBody = time.Second, tt.whole })
			require.NoError(t, exchange(t.Context(), t, b, func(req *http.Request) (*http.Response, error) {
				time.Sleep(tt.headers)
				resp := reply(req, http.StatusOK, "")
				resp.Body = slowBody{resp.Body, tt.body}
				return resp, nil
			}))
			assert.Equal(t, tt.want, shot(t, b, key).Counts)
		})
	}
}

// slowBody takes its time before it ends.
type slowBody struct {
	io.ReadCloser

	takes time.Duration
}

func (s slowBody) Read(p []byte) (int, error) {
	time.Sleep(s.takes)
	return s.ReadCloser.Read(p)
}

func TestTripRulesFailureRate(t *testing.T) {
	bubble(t, "half of at least twenty", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.FailureRate = 0.5 })
		results(t, b, 10, breaker.Success)
		results(t, b, 9, breaker.Failure)
		require.Equal(t, breaker.Closed, b.State(key), "9 of 19")
		results(t, b, 1, breaker.Failure)
		assert.Equal(t, breaker.Open, b.State(key), "10 of 20")
		assert.Equal(t, breaker.CauseFailureRate, shot(t, b, key).Cause)
	})
	bubble(t, "is forgotten with the window", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.FailureRate = 0.5 })
		results(t, b, 19, breaker.Failure)
		time.Sleep(breaker.DefaultWindow)
		results(t, b, 19, breaker.Failure)
		assert.Equal(t, breaker.Closed, b.State(key))
	})
	bubble(t, "is not diluted by calls under way, nor by ignored ones", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.FailureRate = 0.5 })
		for range 100 {
			allowed(t, b)
		}
		results(t, b, 100, breaker.Ignored)
		results(t, b, 19, breaker.Failure)
		require.Equal(t, breaker.Closed, b.State(key))
		results(t, b, 1, breaker.Failure)
		assert.Equal(t, breaker.Open, b.State(key))
	})
	bubble(t, "sees failures that take longer than the window", func(t *testing.T) {
		cfg := breaker.Config{Window: 5 * time.Second}
		cfg.Rules = only(func(r *breaker.Rules) {
			r.FailureRate, r.OpenTime, r.MaxOpenTime = 0.5, time.Hour, time.Hour
		})
		b := breaker.MustNew(cfg)
		start := time.Now()
		for range 100 {
			time.AfterFunc(0, func() {
				_ = b.Run(context.Background(), key, func(context.Context) error {
					time.Sleep(6 * time.Second)
					return errDown
				})
			})
			time.Sleep(100 * time.Millisecond)
			if b.State(key) == breaker.Open {
				break
			}
		}
		assert.Equal(t, breaker.CauseFailureRate, shot(t, b, key).Cause)
		assert.Equal(t, 7900*time.Millisecond, shot(t, b, key).Since.Sub(start), "when the 20th has failed")
		time.Sleep(6 * time.Second)
	})
}

func TestTripRulesConsecutive(t *testing.T) {
	bubble(t, "however far apart", func(t *testing.T) {
		b := breaker.MustNew(breaker.Config{})
		for range 9 {
			results(t, b, 1, breaker.Failure)
			time.Sleep(3 * time.Second)
		}
		require.Equal(t, breaker.Closed, b.State(key))
		results(t, b, 1, breaker.Failure)
		assert.Equal(t, breaker.Open, b.State(key))
		assert.Equal(t, breaker.CauseConsecutive, shot(t, b, key).Cause)
	})
	bubble(t, "a success starts again, an ignored call and an overload do not", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.Consecutive = 3 })
		results(t, b, 2, breaker.Failure)
		results(t, b, 1, breaker.Success)
		results(t, b, 2, breaker.Failure)
		results(t, b, 1, breaker.Ignored)
		results(t, b, 1, breaker.Overload)
		require.Equal(t, breaker.Closed, b.State(key))
		results(t, b, 1, breaker.Failure)
		assert.Equal(t, breaker.Open, b.State(key))
	})
}

func TestTripRulesSlowRate(t *testing.T) {
	bubble(t, "by the time that calls take", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.SlowAfter, r.SlowRate, r.SlowMin = 100*time.Millisecond, 0.8, 10 })
		call := func(takes time.Duration) {
			require.NoError(t, b.Run(t.Context(), key, func(context.Context) error {
				time.Sleep(takes)
				return nil
			}))
		}
		for range 2 {
			call(100 * time.Millisecond)
		}
		for range 7 {
			call(101 * time.Millisecond)
		}
		require.Equal(t, breaker.Closed, b.State(key), "7 of 9")
		call(101 * time.Millisecond)
		assert.Equal(t, breaker.Open, b.State(key), "8 of 10")
		assert.Equal(t, breaker.CauseSlowRate, shot(t, b, key).Cause)
	})
	bubble(t, "by calls that come back late, once they are four fifths of the window", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.SlowAfter = time.Second })
		var lost []breaker.Call
		for range 80 {
			lost = append(lost, allowed(t, b))
		}
		time.Sleep(time.Minute)
		results(t, b, 20, breaker.Success)
		for _, call := range lost[1:] {
			call.DoneAs(breaker.Success)
		}
		require.Equal(t, breaker.Closed, b.State(key), "79 of 99")
		lost[0].DoneAs(breaker.Success)
		assert.Equal(t, breaker.Open, b.State(key), "80 of 100")
		assert.Equal(t, breaker.CauseSlowRate, shot(t, b, key).Cause)
	})
	bubble(t, "not by calls that come back late, but from before an opening", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.SlowAfter, r.Probes = time.Second, 1 })
		var lost []breaker.Call
		for range 100 {
			lost = append(lost, allowed(t, b))
		}
		halfOpen(t, b)
		results(t, b, 1, breaker.Success)
		time.Sleep(time.Minute)
		for _, call := range lost {
			call.DoneAs(breaker.Success)
		}
		assert.Equal(t, breaker.Closed, b.State(key))
		assert.Zero(t, shot(t, b, key).Window)
	})
	bubble(t, "never, where no call is slow", func(t *testing.T) {
		b := circuitOf(nil)
		for range 100 {
			require.NoError(t, b.Run(t.Context(), key, func(context.Context) error {
				time.Sleep(time.Hour)
				return nil
			}))
		}
		assert.Equal(t, breaker.Closed, b.State(key))
	})
}

func TestTripRulesOverload(t *testing.T) {
	bubble(t, "by a rule of its own", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.OverloadRate, r.OverloadMin, r.Consecutive = 0.5, 10, 5 })
		results(t, b, 5, breaker.Success)
		for range 4 {
			require.NoError(t, exchange(t.Context(), t, b, answers(429)))
		}
		require.Equal(t, breaker.Closed, b.State(key), "4 of 9")
		require.NoError(t, exchange(t.Context(), t, b, answers(429)))
		assert.Equal(t, breaker.Open, b.State(key), "5 of 10")
		assert.Equal(t, breaker.CauseOverload, shot(t, b, key).Cause)
	})
	bubble(t, "off", func(t *testing.T) {
		b := circuitOf(nil)
		results(t, b, 1000, breaker.Overload)
		assert.Equal(t, breaker.Closed, b.State(key))
	})
}

func TestTripRulesStalled(t *testing.T) {
	rules := func(r *breaker.Rules) { r.StalledAfter, r.StalledMin = 2*time.Second, 5 }
	bubble(t, "before any call has ended", func(t *testing.T) {
		b := circuitOf(rules)
		for range 5 {
			allowed(t, b)
		}
		time.Sleep(2*time.Second - 1)
		require.Equal(t, breaker.Closed, b.State(key))
		time.Sleep(time.Nanosecond)
		assert.Equal(t, breaker.CauseStalled, refused(t, b).Cause, "the next call finds out")
		assert.Equal(t, breaker.Counts{Rejected: 1}, shot(t, b, key).Counts)
	})
	for name, alive := range map[string]func(t *testing.T, b *breaker.Breaker){
		"not by one too few":                  func(*testing.T, *breaker.Breaker) {},
		"not where one has shown its headers": func(t *testing.T, b *breaker.Breaker) { allowed(t, b).Headers() },
		"not where one has succeeded since": func(t *testing.T, b *breaker.Breaker) {
			allowed(t, b)
			call := allowed(t, b)
			time.AfterFunc(1, func() { call.Done(nil) })
		},
	} {
		bubble(t, name, func(t *testing.T) {
			b := circuitOf(rules)
			for range 4 {
				allowed(t, b)
			}
			alive(t, b)
			time.Sleep(2*time.Second - 1)
			assert.Equal(t, breaker.Closed, b.State(key))
		})
	}
	// They prove nothing about a later epoch than the one in which they started.
	bubble(t, "not again by the same calls once it has closed", func(t *testing.T) {
		b := circuitOf(rules)
		for range 5 {
			allowed(t, b) // never ended
		}
		time.Sleep(2 * time.Second)
		require.Equal(t, breaker.Open, b.State(key))
		sitOut(t, b)
		results(t, b, 2, breaker.Success)
		require.Equal(t, breaker.Closed, b.State(key))
		time.Sleep(time.Minute)
		assert.Equal(t, breaker.Closed, b.State(key), "nothing has happened since it closed")
	})
}

func TestHalfOpenAdmitsTheCap(t *testing.T) {
	for _, probes := range []int{1, 3, 10} {
		bubble(t, strconv.Itoa(probes), func(t *testing.T) {
			b := circuitOf(func(r *breaker.Rules) { r.Probes = probes })
			halfOpen(t, b)
			var admitted atomic.Int64
			release := make(chan struct{})
			var arrivals sync.WaitGroup
			for range 100 {
				arrivals.Go(func() {
					_ = b.Run(t.Context(), key, func(context.Context) error {
						admitted.Add(1)
						<-release
						return nil
					})
				})
			}
			synctest.Wait()
			assert.EqualValues(t, probes, admitted.Load())
			assert.EqualValues(t, 100-probes, shot(t, b, key).Counts.Rejected)
			close(release)
			arrivals.Wait()
			assert.Equal(t, breaker.Closed, b.State(key))
		})
	}
}

func TestHalfOpenCannotBeWedged(t *testing.T) {
	probes := map[string]func(t *testing.T, b *breaker.Breaker){
		"by a probe that hangs": func(t *testing.T, b *breaker.Breaker) {
			go func() {
				_ = b.Run(t.Context(), key, func(context.Context) error {
					time.Sleep(time.Hour)
					return nil
				})
			}()
			synctest.Wait()
		},
		"by a probe that is lost": func(t *testing.T, b *breaker.Breaker) { allowed(t, b) },
	}
	for name, start := range probes {
		bubble(t, name, func(t *testing.T) {
			b := circuitOf(func(r *breaker.Rules) { r.Probes, r.ProbeTimeout = 1, 5*time.Second })
			halfOpen(t, b)
			start(t, b)
			assert.Equal(t, 5*time.Second, refused(t, b).After)
			time.Sleep(5*time.Second - 1)
			require.Equal(t, breaker.HalfOpen, b.State(key))
			require.Equal(t, time.Nanosecond, refused(t, b).After)
			time.Sleep(time.Nanosecond)
			require.Equal(t, breaker.Open, b.State(key))
			require.Equal(t, breaker.CauseProbes, refused(t, b).Cause)
			sitOut(t, b)
			results(t, b, 1, breaker.Success)
			assert.Equal(t, breaker.Closed, b.State(key))
			time.Sleep(time.Hour)
		})
	}
	for name, ends := range map[string]func(){
		"by a probe that panics":             func() { panic("probe") },
		"by a probe that ends its goroutine": runtime.Goexit,
	} {
		bubble(t, name, func(t *testing.T) {
			b := circuitOf(func(r *breaker.Rules) { r.Probes = 1 })
			halfOpen(t, b)
			var probe sync.WaitGroup
			probe.Go(func() {
				defer func() { _ = recover() }()
				_ = exchange(t.Context(), t, b, func(*http.Request) (*http.Response, error) {
					ends()
					return nil, errDown
				})
			})
			probe.Wait()
			got := shot(t, b, key)
			assert.Equal(t, breaker.Open, got.State)
			assert.Equal(t, breaker.Counts{Failures: 1}, got.Counts)
			assert.Zero(t, got.InFlight)
			sitOut(t, b)
			results(t, b, 1, breaker.Success)
			assert.Equal(t, breaker.Closed, b.State(key))
		})
	}
	bubble(t, "by probes whose callers leave", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.Probes = 1 })
		halfOpen(t, b)
		results(t, b, 100, breaker.Ignored)
		assert.Equal(t, breaker.HalfOpen, b.State(key), "which prove nothing")
		results(t, b, 1, breaker.Success)
		assert.Equal(t, breaker.Closed, b.State(key))
	})
}

func TestHalfOpenIgnoresWhatStartedBefore(t *testing.T) {
	for _, o := range []breaker.Outcome{breaker.Success, breaker.Failure, breaker.Overload} {
		bubble(t, o.String(), func(t *testing.T) {
			b := circuitOf(func(r *breaker.Rules) { r.Probes, r.StalledAfter = 1, time.Hour })
			calls := make([]breaker.Call, 20)
			for i := range calls {
				calls[i] = allowed(t, b)
			}
			halfOpen(t, b)
			for _, call := range calls {
				call.DoneAs(o)
			}
			require.Equal(t, breaker.HalfOpen, b.State(key))
			results(t, b, 1, breaker.Success)
			assert.Equal(t, breaker.Closed, b.State(key))
			assert.Zero(t, shot(t, b, key).Window, "neither there nor here")
		})
	}
	bubble(t, "late probes of an earlier time included", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.Probes, r.ProbeTimeout = 1, time.Second })
		halfOpen(t, b)
		late := allowed(t, b)
		time.Sleep(time.Second)
		require.Equal(t, breaker.Open, b.State(key))
		sitOut(t, b)
		late.DoneAs(breaker.Success)
		assert.Equal(t, breaker.HalfOpen, b.State(key))
	})
}

func TestOpenTimeFollowsRetryAfter(t *testing.T) {
	tests := map[string]struct {
		header func() string
		status int
		want   time.Duration
	}{
		"in seconds":           {func() string { return "20" }, 503, 20 * time.Second},
		"as a date":            {func() string { return httpDate(30 * time.Second) }, 503, 30 * time.Second},
		"of an overload":       {func() string { return "20" }, 429, 20 * time.Second},
		"capped":               {func() string { return "86400" }, 503, time.Minute},
		"as a date, capped":    {func() string { return httpDate(time.Hour) }, 503, time.Minute},
		"with a huge number":   {func() string { return strings.Repeat("9", 30) }, 503, time.Minute},
		"of the past":          {func() string { return httpDate(-time.Hour) }, 503, 0},
		"that makes no sense":  {func() string { return "soon" }, 503, 0},
		"below the open time":  {func() string { return "0" }, 503, 0},
		"of a success at last": {func() string { return "20" }, 200, 0},
	}
	for name, tt := range tests {
		bubble(t, name, func(t *testing.T) {
			b := circuitOf(func(r *breaker.Rules) { r.OpenTime, r.OverloadRate, r.OverloadMin = time.Second, 1, 100 })
			require.NoError(t, exchange(t.Context(), t, b, answers(tt.status, "Retry-After", tt.header())))
			require.NoError(t, b.Trip(key))
			left := refused(t, b).RetryAfter()
			if tt.want == 0 {
				assert.LessOrEqual(t, left, time.Second)
			} else {
				assert.Equal(t, tt.want, left)
			}
		})
	}
	bubble(t, "of a probe", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.Probes = 1 })
		halfOpen(t, b)
		require.NoError(t, exchange(t.Context(), t, b, answers(503, "Retry-After", "45")))
		assert.Equal(t, 45*time.Second, refused(t, b).RetryAfter())
	})
	bubble(t, "of a handler", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.Consecutive = 1 })
		h := b.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "45")
			w.WriteHeader(http.StatusServiceUnavailable)
		}))
		for range 2 {
			answer := httptest.NewRecorder()
			h.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
			assert.Equal(t, "45", answer.Header().Get("Retry-After"), "its own, then ours")
		}
	})
}

func httpDate(in time.Duration) string { return time.Now().Add(in).UTC().Format(http.TimeFormat) }

func TestStateIsWhatACallWouldMeetNow(t *testing.T) {
	bubble(t, "through all of them", func(t *testing.T) {
		b := breaker.MustNew(breaker.Config{Rules: breaker.Rules{Consecutive: 2, Probes: 1}})
		assert.Equal(t, breaker.Closed, b.State(key), "of an unknown key")
		assert.Empty(t, b.Snapshot().Circuits, "which asking does not make known")
		results(t, b, 2, breaker.Failure)
		assert.Equal(t, breaker.Open, b.State(key))
		sitOut(t, b)
		results(t, b, 1, breaker.Success)
		assert.Equal(t, breaker.Ramping, b.State(key))
		time.Sleep(10*time.Second - 1)
		assert.Equal(t, breaker.Ramping, b.State(key))
		time.Sleep(time.Nanosecond)
		assert.Equal(t, breaker.Closed, b.State(key))
	})
	bubble(t, "in snapshots too", func(t *testing.T) {
		b := circuitOf(nil)
		require.NoError(t, b.Trip(key))
		time.Sleep(shot(t, b, key).RetryAfter)
		assert.Equal(t, breaker.HalfOpen, shot(t, b, key).State)
		assert.Equal(t, 1, b.Snapshot().Open)
	})
}

func TestStateCountsAreNeverNegative(t *testing.T) {
	// The circuit is younger than its Breaker, so that windows that begin with
	// one or the other would not roll together.
	for _, o := range []breaker.Outcome{breaker.Slow, breaker.Overload} {
		bubble(t, o.String(), func(t *testing.T) {
			b := circuitOf(nil)
			time.Sleep(500 * time.Millisecond)
			results(t, b, 1, breaker.Ignored)
			time.Sleep(900 * time.Millisecond)
			results(t, b, 1, o)
			for range 130 {
				require.GreaterOrEqual(t, shot(t, b, key).Window.Successes, 0)
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
}

func TestOpenErrorSaysAllThatIsKnown(t *testing.T) {
	bubble(t, "while open", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.Consecutive = 1 })
		require.ErrorIs(t, b.Run(t.Context(), key, func(context.Context) error { return errDown }), errDown)
		err := refused(t, b)
		assert.Equal(t, &breaker.OpenError{
			Key: key, State: breaker.Open, Cause: breaker.CauseConsecutive, After: shot(t, b, key).RetryAfter, Err: errDown,
		}, err)
		assert.True(t, err.Unsent())
		text := fmt.Errorf("load the cart: %w", err)
		require.ErrorIs(t, text, breaker.ErrOpen)
		assert.ErrorContains(t, text, `breaker: "shop.test" is open (consecutive failures), try again in `)
		assert.ErrorContains(t, text, "last failure: down")
	})
	bubble(t, "while isolated", func(t *testing.T) {
		b := circuitOf(nil)
		why := breaker.Override{Mode: breaker.Isolated, Reason: "migration", TTL: time.Minute}
		require.NoError(t, b.Set(key, why))
		err := refused(t, b)
		assert.Equal(t, &breaker.OpenError{Key: key, Override: why, After: time.Minute}, err)
		assert.EqualError(t, err, `breaker: "shop.test" is isolated: migration`)
	})
}
