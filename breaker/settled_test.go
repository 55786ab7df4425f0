package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/breaker"
)

// What a review has broken once stays mended.

func TestEventsSurviveAnObserverThatEndsItsGoroutine(t *testing.T) {
	ended := 0
	b := breaker.MustNew(breaker.Config{Rules: openForLong(), Observe: func(context.Context, breaker.Event) {
		if ended++; ended == 1 {
			runtime.Goexit()
		}
	}})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.Trip("a")
	}()
	<-done
	require.NoError(t, b.Reset("a"))
	assert.Equal(t, 2, ended)
}

type badError struct{}

func (*badError) Error() string { panic("no text") }

func TestSnapshotOfAnErrorThatPanics(t *testing.T) {
	b := breaker.MustNew(breaker.Config{})
	call, err := b.Allow(t.Context(), "a")
	require.NoError(t, err)
	call.Done((*badError)(nil))
	assert.Contains(t, b.Snapshot().Circuits[0].LastErr, "panics")
	assert.Equal(t, breaker.Closed, b.State("a"), "and no lock is held")
}

func TestPerKeyOverflowIsProbedByCallers(t *testing.T) {
	t.Run("as its key is no host", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := breaker.MustNew(breaker.Config{
				MaxKeys: 1, Rules: breaker.Rules{Consecutive: 1, Probes: 1, Ramp: breaker.Off},
				Probe: func(context.Context, string) error { return errors.New("no such host") },
			})
			require.NoError(t, b.Set("busy", breaker.Override{Mode: breaker.Shadow}))
			fail := func(context.Context) error { return errors.New("down") }
			fine := func(context.Context) error { return nil }
			require.Error(t, b.Run(t.Context(), "other", fail))
			err := b.Run(t.Context(), "third", fine)
			refused, ok := errors.AsType[*breaker.OpenError](err)
			require.True(t, ok)
			assert.Equal(t, "third", refused.Key, "as the caller knows it")
			assert.Equal(t, breaker.Open, b.State("third"), "which it shares")
			time.Sleep(time.Second)
			require.NoError(t, b.Run(t.Context(), "third", fine))
			assert.Equal(t, breaker.Closed, b.State("third"))
		})
	})
}

func TestByHandCommandsDoNotHitTheSharedCircuit(t *testing.T) {
	b := breaker.MustNew(breaker.Config{MaxKeys: 1})
	require.NoError(t, b.Set("busy", breaker.Override{Mode: breaker.Shadow}))
	require.ErrorIs(t, b.Set("bad", breaker.Override{Mode: breaker.Isolated, Reason: "x"}), breaker.ErrTooManyKeys)
	require.ErrorIs(t, b.Trip("bad"), breaker.ErrTooManyKeys)
	require.ErrorIs(t, b.Reset("bad"), breaker.ErrTooManyKeys)
	require.NoError(t, b.Run(t.Context(), "good", func(context.Context) error { return nil }))
}

func TestWindowIsNeverNegative(t *testing.T) {
	t.Run("whenever the steps turn", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := breaker.MustNew(breaker.Config{Window: 1037 * time.Millisecond, Rules: breaker.Rules{
				SlowAfter: time.Millisecond, SlowRate: 1, SlowMin: 1000, OverloadRate: breaker.Off,
			}})
			for n := range 300 {
				call, err := b.Allow(t.Context(), "a")
				require.NoError(t, err)
				call.DoneAs([]breaker.Outcome{breaker.Slow, breaker.Success, breaker.Overload}[n%3])
				time.Sleep(time.Duration(7*n%61) * time.Millisecond)
				in := b.Snapshot().Circuits[0].Window
				for _, count := range []int{in.Successes, in.Failures, in.Slow, in.Overload} {
					require.GreaterOrEqual(t, count, 0)
				}
			}
		})
	})
}

func TestOutcomesOfCallersWhoCameTooLate(t *testing.T) {
	t.Run("prove nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := breaker.MustNew(breaker.Config{Rules: breaker.Rules{Consecutive: 1}})
			ctx, cancel := context.WithDeadline(t.Context(), time.Now())
			defer cancel()
			err := b.Run(ctx, "a", func(ctx context.Context) error {
				<-ctx.Done()
				return ctx.Err()
			})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, breaker.Closed, b.State("a"))
		})
	})
}

func TestOutcomesOfAPanickingJudge(t *testing.T) {
	b := breaker.MustNew(breaker.Config{Judge: func(*http.Response, error) breaker.Outcome { panic("judge") }})
	closed := false
	transport := b.Transport(roundTrip(func(req *http.Request) (*http.Response, error) {
		resp := reply(req, 200, "x")
		resp.Body = closing{resp.Body, &closed}
		return resp, nil
	}))
	assert.PanicsWithValue(t, "judge", func() { _, _ = transport.RoundTrip(newRequest(t, "")) })
	shot := b.Snapshot().Circuits[0]
	assert.Zero(t, shot.InFlight)
	assert.EqualValues(t, 1, shot.Counts.Failures)
	assert.True(t, closed)
}

func TestHalfOpenProbeThatEndsTooLateIsNoGoodOne(t *testing.T) {
	t.Run("even if nobody has looked", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := breaker.MustNew(breaker.Config{Rules: breaker.Rules{Probes: 1}})
			require.NoError(t, b.Trip("a"))
			time.Sleep(time.Second)
			call, err := b.Allow(t.Context(), "a")
			require.NoError(t, err)
			time.Sleep(time.Hour)
			call.DoneAs(breaker.Success)
			assert.NotEqual(t, breaker.Closed, b.State("a"))
			assert.NotEqual(t, breaker.Ramping, b.State("a"))
		})
	})
}

func TestHalfOpenIsLeftByStreamsToo(t *testing.T) {
	t.Run("that have shown good headers for long enough", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := breaker.MustNew(breaker.Config{Rules: breaker.Rules{Probes: 2, Ramp: breaker.Off}})
			require.NoError(t, b.Trip("shop.test"))
			time.Sleep(time.Second)
			transport := b.Transport(roundTrip(func(req *http.Request) (*http.Response, error) {
				return reply(req, 200, "an endless stream"), nil
			}))
			var streams []io.Closer
			for range 100 {
				if resp, err := transport.RoundTrip(newRequest(t, "")); err == nil {
					streams = append(streams, resp.Body)
				}
			}
			assert.Len(t, streams, 20, "behind headers without an end there is a bound")
			time.Sleep(5 * time.Second)
			assert.Equal(t, breaker.Closed, b.State("shop.test"))
			for _, stream := range streams {
				require.NoError(t, stream.Close())
			}
		})
	})
}

func TestRampResultsCountAfterItsEnd(t *testing.T) {
	t.Run("as the window goes on", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := breaker.MustNew(breaker.Config{Rules: breaker.Rules{
				Probes: 1, Ramp: time.Second, Consecutive: breaker.Off, FailureMin: 4,
			}})
			require.NoError(t, b.Trip("a"))
			time.Sleep(time.Second)
			probe, err := b.Allow(t.Context(), "a")
			require.NoError(t, err)
			probe.DoneAs(breaker.Success)
			var slow []breaker.Call
			for range 100 {
				if call, err := b.Allow(t.Context(), "a"); err == nil {
					slow = append(slow, call)
				}
			}
			require.GreaterOrEqual(t, len(slow), 4)
			time.Sleep(2 * time.Second)
			require.Equal(t, breaker.Closed, b.State("a"))
			for _, call := range slow {
				call.DoneAs(breaker.Failure)
			}
			assert.Equal(t, breaker.Open, b.State("a"))
		})
	})
}

func TestRampGoesOnWhateverTheOthersDo(t *testing.T) {
	t.Run("after an outage of all", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := breaker.MustNew(breaker.Config{Rules: breaker.Rules{Probes: 1, OpenTime: 100 * time.Millisecond}})
			for n := range 8 {
				require.NoError(t, b.Trip(fmt.Sprint(n)))
			}
			time.Sleep(time.Second)
			for n := range 8 {
				require.NoError(t, b.Run(t.Context(), fmt.Sprint(n), func(context.Context) error { return nil }))
			}
			passed := 0
			for range 100 {
				if call, err := b.Allow(t.Context(), "0"); err == nil {
					call.Done(nil)
					passed++
				} else {
					refused, ok := errors.AsType[*breaker.OpenError](err)
					require.True(t, ok)
					require.Positive(t, refused.RetryAfter())
				}
			}
			assert.InDelta(t, 10, passed, 1, "a tenth")
		})
	})
}

func TestByHandResetForgetsWhatIsUnderWay(t *testing.T) {
	b := breaker.MustNew(breaker.Config{Rules: breaker.Rules{Consecutive: 1}})
	call, err := b.Allow(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, b.Reset("a"))
	call.DoneAs(breaker.Failure)
	assert.Equal(t, breaker.Closed, b.State("a"))
}

func TestOpenErrorKeepsTheCause(t *testing.T) {
	rules := openForLong()
	rules.Consecutive = 2
	b := breaker.MustNew(breaker.Config{Rules: rules})
	errDown := errors.New("down")
	_ = b.Run(t.Context(), "a", func(context.Context) error { return errDown })
	assert.Panics(t, func() { _ = b.Run(t.Context(), "a", func(context.Context) error { panic("fn") }) })
	err := b.Run(t.Context(), "a", func(context.Context) error { return nil })
	assert.ErrorContains(t, err, "last failure: the call panicked")
}

func TestByHandExpiredOverrideLeavesNoTrace(t *testing.T) {
	t.Run("but its event", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var reasons []string
			b := breaker.MustNew(breaker.Config{Observe: func(_ context.Context, e breaker.Event) {
				if e.Kind == breaker.Overridden {
					reasons = append(reasons, e.Reason)
				}
			}})
			require.NoError(t, b.Set("a", breaker.Override{Mode: breaker.Isolated, Reason: "moving", TTL: time.Second}))
			time.Sleep(time.Second)
			assert.Equal(t, breaker.Override{}, b.Snapshot().Circuits[0].Override)
			require.NoError(t, b.Set("a", breaker.Override{}))
			assert.Equal(t, []string{"moving", "expired"}, reasons)
		})
	})
}

func TestTripRulesStalledIsNotFoundOutByTheAnswer(t *testing.T) {
	ends := map[string]func(breaker.Call){
		"headers": breaker.Call.Headers,
		"result":  func(call breaker.Call) { call.Done(nil) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := breaker.MustNew(breaker.Config{Rules: breaker.Rules{StalledAfter: time.Second, StalledMin: 2}})
				var calls []breaker.Call
				for range 5 {
					call, err := b.Allow(t.Context(), "batch")
					require.NoError(t, err)
					calls = append(calls, call)
				}
				time.Sleep(time.Minute)
				end(calls[0])
				assert.Equal(t, breaker.Closed, b.State("batch"))
			})
		})
	}
}
