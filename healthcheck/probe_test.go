package healthcheck_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
)

func TestProbeRunsInAGoroutineOfItsOwn(t *testing.T) {
	bubble(t, "with the Checker's context, once at a time", func(t *testing.T) {
		type key struct{}
		var stacks []string
		var seen []context.Context
		c := begin(t, healthcheck.Config{Authorize: everybody}, map[string]healthcheck.Check{name: {
			OnDemand: time.Second,
			Probe: func(ctx context.Context) healthcheck.Result {
				stacks = append(stacks, string(debug.Stack()))
				seen = append(seen, ctx)
				return healthcheck.Result{}
			},
		}})
		// The caller has a value and is as good as gone: neither is the probe's.
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "caller"))
		cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/readyz", http.NoBody)
		require.NoError(t, err)
		c.Handler(healthcheck.Ready).ServeHTTP(httptest.NewRecorder(), r)
		synctest.Wait()
		require.Len(t, seen, 1)
		assert.Nil(t, seen[0].Value(key{}))
		assert.NotContains(t, stacks[0], "ServeHTTP", "the goroutine of a request")
		is(t, c, name, healthcheck.Pass, "the caller's end is none of the probe's")
	})

	bubble(t, "the context ends with the Checker", func(t *testing.T) {
		var cause error
		c := single(t, healthcheck.Check{
			Timeout: 10 * time.Second,
			Probe: func(ctx context.Context) healthcheck.Result {
				<-ctx.Done()
				cause = ctx.Err()
				return healthcheck.Result{Err: cause}
			},
		})
		time.Sleep(time.Second)
		require.NoError(t, c.Close(t.Context()))
		require.ErrorIs(t, cause, context.Canceled)
		is(t, c, name, healthcheck.Unknown, "what it found is the Checker's own end")
	})

	bubble(t, "whatever asks for it", func(t *testing.T) {
		f := new(fake)
		f.slow(900 * time.Millisecond)
		c := single(t, healthcheck.Check{Probe: f.probe, Period: 2 * time.Second})
		h := c.Handler(healthcheck.Ready)
		for range 200 {
			go ask(t, h, "/readyz")
			time.Sleep(50 * time.Millisecond)
		}
		_, most := f.atOnce()
		assert.Equal(t, 1, most, "probes at once")
	})
}

func TestProbeContextEndsATenthBeforeTheTimeout(t *testing.T) {
	for _, timeout := range []time.Duration{time.Millisecond, time.Second, 7 * time.Second} {
		bubble(t, timeout.String(), func(t *testing.T) {
			left := make(chan time.Duration, 1)
			over := make(chan time.Duration, 1)
			seen := new(log)
			begun := time.Now()
			begin(t, healthcheck.Config{Observe: seen.observe}, map[string]healthcheck.Check{name: {
				Timeout: timeout, Period: time.Hour,
				Probe: func(ctx context.Context) healthcheck.Result {
					deadline, _ := ctx.Deadline()
					left <- time.Until(deadline)
					<-ctx.Done()
					over <- time.Since(begun)
					return healthcheck.Result{Err: fmt.Errorf("waiting for a connection: %w", ctx.Err())}
				},
			}})
			time.Sleep(timeout)
			assert.Equal(t, timeout-timeout/10, <-left)
			assert.Equal(t, timeout-timeout/10, <-over)
			assert.Empty(t, seen.of(healthcheck.Stuck), "it heeds its context")
			probed := seen.of(healthcheck.Probed)
			require.Len(t, probed, 1)
			require.ErrorIs(t, probed[0].Err, context.DeadlineExceeded)
			assert.Equal(t, timeout-timeout/10, probed[0].Elapsed)
		})
	}
}

// TestProbeStuck: a probe that hangs without heeding its context, after it was well.
func TestProbeStuck(t *testing.T) {
	const period, timeout = 10 * time.Second, time.Second
	hanging := func(t *testing.T, seen *log) (*healthcheck.Checker, *fake, func()) {
		t.Helper()
		f := new(fake)
		c := begin(t, healthcheck.Config{Observe: seen.observe}, map[string]healthcheck.Check{name: {
			Probe: f.probe, Period: period, Timeout: timeout,
		}})
		synctest.Wait()
		is(t, c, name, healthcheck.Pass)
		return c, f, f.hang(t)
	}

	bubble(t, "fails within period and timeout, at once", func(t *testing.T) {
		seen := new(log)
		c, f, _ := hanging(t, seen)
		begun := time.Now()
		for f.count() == 1 {
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		f.mu.Lock()
		hangs := f.starts[1]
		f.mu.Unlock()
		time.Sleep(time.Until(hangs.Add(timeout - 1)))
		synctest.Wait()
		is(t, c, name, healthcheck.Pass, "1 ns before the timeout")
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		is(t, c, name, healthcheck.Fail, "at the timeout, without Fall")
		assert.LessOrEqual(t, time.Since(begun), period+timeout)

		s := shot(t, c, name)
		assert.True(t, s.Stuck)
		assert.True(t, s.Running)
		stuck, ok := errors.AsType[*healthcheck.StuckError](s.Result.Err)
		require.True(t, ok)
		assert.Equal(t, healthcheck.StuckError{Check: name, For: timeout}, *stuck)
		assert.True(t, stuck.Timeout())
		assert.ErrorContains(t, stuck, name)
		assert.Equal(t, []healthcheck.Event{{Kind: healthcheck.Stuck, Check: name}}, seen.of(healthcheck.Stuck))
	})

	bubble(t, "stays failed, with one probe, for as long as it hangs", func(t *testing.T) {
		seen := new(log)
		c, f, _ := hanging(t, seen)
		time.Sleep(period + timeout)
		for range 1000 {
			time.Sleep(time.Minute)
			is(t, c, name, healthcheck.Fail)
			is(t, c, healthcheck.Ready, healthcheck.Warn)
		}
		now, most := f.atOnce()
		assert.Equal(t, 1, now)
		assert.Equal(t, 1, most)
		assert.Equal(t, 2, f.count(), "no second one is started")
		assert.Len(t, seen.of(healthcheck.Stuck), 1)
	})

	bubble(t, "says that it has come back, and is probed again", func(t *testing.T) {
		seen := new(log)
		c, f, release := hanging(t, seen)
		time.Sleep(time.Hour)
		release()
		synctest.Wait()
		status := c.Status(name)
		assert.NotEqual(t, healthcheck.Pass, status, "what it came back with is of a time that is over")
		assert.Equal(t, status, shot(t, c, name).Status, "whoever reads it")
		assert.Equal(t, status, c.Status(name), "whatever was read before")
		back := seen.of(healthcheck.Unstuck)
		require.Len(t, back, 1)
		assert.Equal(t, name, back[0].Check)
		assert.InDelta(t, time.Hour-period, back[0].Elapsed, float64(period))
		s := shot(t, c, name)
		assert.False(t, s.Stuck)
		assert.False(t, s.Running)
		time.Sleep(period / 8)
		synctest.Wait()
		assert.Equal(t, 3, f.count(), "it is probed again after an eighth of the period")
		is(t, c, name, healthcheck.Fail, "one good result of two")
		time.Sleep(period)
		synctest.Wait()
		is(t, c, name, healthcheck.Pass)
		assert.Len(t, seen.of(healthcheck.Unstuck), 1)
	})

	bubble(t, "ages like any other once it has come back", func(t *testing.T) {
		c, _, release := hanging(t, new(log))
		time.Sleep(time.Hour)
		require.Error(t, c.Close(expired(t)))
		is(t, c, name, healthcheck.Fail, "it still hangs")
		release()
		synctest.Wait()
		time.Sleep(3*period + timeout)
		is(t, c, name, healthcheck.Unknown, "nothing was found out any more")
	})

	bubble(t, "is no matter of being told well by others", func(t *testing.T) {
		c, _, _ := hanging(t, new(log))
		time.Sleep(period + timeout)
		for range 10 {
			require.NoError(t, c.Feed(name, nil))
		}
		require.NoError(t, c.Report(name, healthcheck.Result{}))
		time.Sleep(time.Hour)
		got := c.Status(name)
		assert.NotEqual(t, healthcheck.Pass.String(), got.String(), "on the word of an hour ago")
	})

	bubble(t, "on demand is probed again once it has come back", func(t *testing.T) {
		f := new(fake)
		c := single(t, healthcheck.Check{Probe: f.probe, OnDemand: period, Timeout: timeout, Rise: 1})
		h := c.Handler(healthcheck.Ready)
		release := f.hang(t)
		assert.Equal(t, http.StatusOK, ask(t, h, "/readyz").Code, "a check that degrades")
		time.Sleep(timeout)
		synctest.Wait()
		is(t, c, name, healthcheck.Fail)
		time.Sleep(period)
		ask(t, h, "/readyz")
		assert.Equal(t, 1, f.count(), "it still hangs")
		release()
		time.Sleep(time.Hour)
		ask(t, h, "/readyz")
		synctest.Wait()
		assert.Equal(t, 2, f.count())
		is(t, c, name, healthcheck.Pass)
	})
}

// TestProbeThatEndsBadly: a panic and the end of the goroutine are results like
// others, and probing goes on.
func TestProbeThatEndsBadly(t *testing.T) {
	tests := map[string]struct {
		end  func()
		says string
		is   error
	}{
		"panics":                {func() { panic("boom") }, "boom", nil},
		"panics with an error":  {func() { panic(fmt.Errorf("deep down: %w", errDown)) }, "deep down", errDown},
		"panics with nothing":   {func() { panic(nil) }, "nil", nil}, //nolint:govet // what a user may do
		"ends its goroutine":    {runtime.Goexit, "nil", nil},
		"dereferences nil":      {func() { _ = *(*int)(nil) }, "nil pointer", nil}, //nolint:govet // likewise
		"panics with a pointer": {func() { panic(new(strings.Builder)) }, "panicked", nil},
	}
	for title, tt := range tests {
		bubble(t, title, func(t *testing.T) {
			f, seen := new(fake), new(log)
			var mended atomic.Bool
			c := begin(t, healthcheck.Config{Observe: seen.observe}, map[string]healthcheck.Check{name: {
				Probe: func(ctx context.Context) healthcheck.Result {
					if res := f.probe(ctx); mended.Load() {
						return res
					}
					tt.end()
					return healthcheck.Result{}
				},
				Rise: 1,
			}})
			synctest.Wait()
			is(t, c, name, healthcheck.Fail)
			err, ok := errors.AsType[*healthcheck.PanicError](shot(t, c, name).Result.Err)
			require.True(t, ok)
			require.ErrorContains(t, err, tt.says)
			assert.Contains(t, string(err.Stack), "probe_test.go", "where it happened")
			if tt.is != nil {
				require.ErrorIs(t, err, tt.is)
			}
			require.Len(t, seen.of(healthcheck.Probed), 1)
			time.Sleep(time.Minute)
			assert.Greater(t, f.count(), 3, "it is probed on")
			mended.Store(true)
			time.Sleep(11 * time.Second)
			is(t, c, name, healthcheck.Pass)
			assert.Empty(t, seen.of(healthcheck.Stuck))
		})
	}
}

// TestProbeThatPanicsWhenStuck: the late panic of a stuck probe is contained too.
func TestProbeThatPanicsWhenStuck(t *testing.T) {
	bubble(t, "late", func(t *testing.T) {
		seen := new(log)
		probes := 0
		c := begin(t, healthcheck.Config{Observe: seen.observe}, map[string]healthcheck.Check{name: {
			Rise: 1,
			Probe: func(context.Context) healthcheck.Result {
				if probes++; probes == 1 {
					time.Sleep(time.Minute)
					panic("late")
				}
				return healthcheck.Result{}
			},
		}})
		time.Sleep(time.Minute - 1)
		is(t, c, name, healthcheck.Fail)
		time.Sleep(11 * time.Second)
		assert.Len(t, seen.of(healthcheck.Unstuck), 1)
		is(t, c, name, healthcheck.Pass)
	})
}

// TestProbeResults: what a probe may leave out.
func TestProbeResults(t *testing.T) {
	tests := map[string]struct {
		found healthcheck.Result
		want  healthcheck.Status
	}{
		"nothing":               {healthcheck.Result{}, healthcheck.Pass},
		"an error":              {healthcheck.Result{Err: errDown}, healthcheck.Fail},
		"a warning":             {healthcheck.Result{Status: healthcheck.Warn}, healthcheck.Warn},
		"a warning with error":  {healthcheck.Result{Status: healthcheck.Warn, Err: errDown}, healthcheck.Warn},
		"a failure":             {healthcheck.Result{Status: healthcheck.Fail}, healthcheck.Fail},
		"a pass with an error":  {healthcheck.Result{Status: healthcheck.Pass, Err: errDown}, healthcheck.Pass},
		"a pass with a reading": {healthcheck.Result{Observed: 3.5, Unit: "ms"}, healthcheck.Pass},
	}
	for title, tt := range tests {
		bubble(t, title, func(t *testing.T) {
			c := single(t, healthcheck.Check{
				Probe: func(context.Context) healthcheck.Result { return tt.found },
			})
			synctest.Wait()
			is(t, c, name, tt.want)
			got := shot(t, c, name)
			assert.Equal(t, tt.want, got.Result.Status)
			assert.Equal(t, tt.found.Err, got.Result.Err)
			assert.Equal(t, tt.found.Observed, got.Result.Observed)
			assert.Equal(t, tt.found.Unit, got.Result.Unit)
		})
	}
}

// grid is what the times of probes are rounded down by, so that those of many
// checks share a wake-up.
const grid = 10 * time.Millisecond

// TestProbePauses: up to a tenth of the period is left to chance, evenly, from the
// end of a probe.
func TestProbePauses(t *testing.T) {
	const period = 10 * time.Second
	bubble(t, "while it is well", func(t *testing.T) {
		f := new(fake)
		f.slow(500 * time.Millisecond)
		single(t, healthcheck.Check{Probe: f.probe, Period: period})
		time.Sleep(2000 * period)
		all := f.pauses()[1:]
		require.Greater(t, len(all), 1800)
		least, most := all[0], all[0]
		var sum time.Duration
		for _, pause := range all {
			least, most, sum = min(least, pause), max(most, pause), sum+pause
		}
		assert.GreaterOrEqual(t, least, period-period/10-grid)
		assert.Less(t, least, period-period/11, "the range is used")
		assert.LessOrEqual(t, most, period)
		assert.Greater(t, most, period-period/100)
		assert.InDelta(t, period-period/20, sum/time.Duration(len(all)), float64(period)/200)
	})

	bubble(t, "while it fails", func(t *testing.T) {
		for range 50 {
			f := new(fake)
			f.fail(errDown)
			c := single(t, healthcheck.Check{Probe: f.probe, Period: period})
			time.Sleep(10 * period)
			all := f.pauses()
			require.Greater(t, len(all), 6)
			for i, share := range []time.Duration{8, 4, 2, 1, 1, 1} {
				want := period / share
				assert.LessOrEqual(t, all[i], want, "pause %d", i)
				assert.GreaterOrEqual(t, all[i], want-want/10-grid, "pause %d", i)
			}
			f.fail(nil)
			before := f.count()
			time.Sleep(10 * period)
			for i, pause := range f.pauses()[before+1:] {
				assert.GreaterOrEqual(t, pause, period-period/10, "pause %d after it recovered", i)
			}
			require.NoError(t, c.Close(t.Context()))
		}
	})

	bubble(t, "a failure of later begins at an eighth again", func(t *testing.T) {
		f := new(fake)
		single(t, healthcheck.Check{Probe: f.probe, Period: period})
		for range 5 {
			f.fail(nil)
			time.Sleep(10 * period)
			f.fail(errDown)
			before := f.count()
			time.Sleep(period + period/8)
			require.GreaterOrEqual(t, f.count(), before+2)
			assert.LessOrEqual(t, f.pauses()[before], period/8)
			time.Sleep(5 * period)
		}
	})

	bubble(t, "a warning is not backed off", func(t *testing.T) {
		f := new(fake)
		f.find(healthcheck.Result{Status: healthcheck.Warn})
		single(t, healthcheck.Check{Probe: f.probe, Period: period})
		time.Sleep(10 * period)
		for _, pause := range f.pauses()[1:] {
			assert.GreaterOrEqual(t, pause, period-period/10-grid)
		}
	})

	bubble(t, "a fleet that starts together is in step no longer", func(t *testing.T) {
		fleet := make([]*fake, 200)
		for i := range fleet {
			fleet[i] = new(fake)
			single(t, healthcheck.Check{Probe: fleet[i].probe, Period: period})
		}
		time.Sleep(period + period/8)
		var seconds [10]int
		for _, f := range fleet {
			first := f.pauses()[0]
			assert.LessOrEqual(t, first, period)
			seconds[min(first/time.Second, 9)]++
		}
		for at, n := range seconds {
			assert.InDelta(t, 20, n, 19, "probes in second %d of the first period", at)
		}
	})
}

// TestProbeTenThousandChecks: idle checks have no goroutine and no timer of their own.
func TestProbeTenThousandChecks(t *testing.T) {
	bubble(t, "without goroutines", func(t *testing.T) {
		n := 10_000
		if testing.Short() {
			n = 1000
		}
		before := runtime.NumGoroutine()
		var probes atomic.Int32
		c := healthcheck.MustNew(healthcheck.Config{})
		for i := range n {
			c.MustAdd("check-"+strconv.Itoa(i), healthcheck.Check{
				Groups: []string{"group-" + strconv.Itoa(i%100)},
				Probe: func(context.Context) healthcheck.Result {
					probes.Add(1)
					return healthcheck.Result{}
				},
			})
		}
		start(t, c)
		synctest.Wait()
		assert.InDelta(t, n, probes.Load(), float64(n)/100, "all at once at the start")
		assert.Less(t, runtime.NumGoroutine()-before, 100, "the schedule, and what has not quite gone yet")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		made := int(probes.Load())
		assert.GreaterOrEqual(t, made, 2*n)
		assert.LessOrEqual(t, made, 2*n+n/5, "none is probed twice in a period, but for the jitter")
		assert.Less(t, runtime.NumGoroutine()-before, 100)
		is(t, c, "group-7", healthcheck.Pass)
	})
}

// TestProbeCloseNamesWhatHangs: Close waits for probes, and names those that it has
// waited for in vain.
func TestProbeCloseNamesWhatHangs(t *testing.T) {
	bubble(t, "by its error", func(t *testing.T) {
		f := new(fake)
		c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{
			name: {Probe: f.probe}, "cache": {Probe: passing},
		})
		synctest.Wait()
		release := f.hang(t)
		time.Sleep(20 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := c.Close(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		stuck, ok := errors.AsType[*healthcheck.StuckError](err)
		require.True(t, ok)
		assert.Equal(t, name, stuck.Check)
		assert.Greater(t, stuck.For, 10*time.Second)
		assert.NotContains(t, err.Error(), "cache")
		require.ErrorIs(t, c.Close(t.Context()), healthcheck.ErrClosed)
		release()
	})

	bubble(t, "and that is no failure of theirs", func(t *testing.T) {
		f, seen := new(fake), new(log)
		c := begin(t, healthcheck.Config{Observe: seen.observe}, map[string]healthcheck.Check{name: {Probe: f.probe}})
		synctest.Wait()
		release := f.hang(t)
		for f.count() == 1 {
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		require.Error(t, c.Close(expired(t)))
		time.Sleep(2 * time.Second)
		assert.Empty(t, seen.of(healthcheck.Stuck))
		is(t, c, name, healthcheck.Pass)
		release()
	})

	bubble(t, "and nothing is probed after it", func(t *testing.T) {
		f := new(fake)
		c := single(t, healthcheck.Check{Probe: f.probe})
		synctest.Wait()
		require.NoError(t, c.Close(t.Context()))
		time.Sleep(time.Hour)
		ask(t, c.Handler(healthcheck.Ready), "/readyz")
		assert.Equal(t, 1, f.count())
	})
}
