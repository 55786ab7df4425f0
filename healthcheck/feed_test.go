package healthcheck_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
)

const feedPeriod = 10 * time.Second

// feedOnly returns a Checker whose check lives by Feed. Time stands at the
// beginning of a half of its window.
func feedOnly(t *testing.T, cfg healthcheck.Config) *healthcheck.Checker {
	t.Helper()
	return begin(t, cfg, map[string]healthcheck.Check{name: {Period: feedPeriod}})
}

// feed feeds n calls.
func feed(t *testing.T, c *healthcheck.Checker, n int, err error) {
	t.Helper()
	for range n {
		require.NoError(t, c.Feed(name, err))
	}
}

func TestFeedRatio(t *testing.T) {
	bubble(t, "half of the calls and as many as Fall fail it", func(t *testing.T) {
		c := feedOnly(t, healthcheck.Config{})
		is(t, c, name, healthcheck.Unknown)
		is(t, c, healthcheck.Ready, healthcheck.Pass, "nobody has called it yet")
		feed(t, c, 10, nil)
		is(t, c, name, healthcheck.Pass)
		feed(t, c, 9, errDown)
		is(t, c, name, healthcheck.Pass, "9 of 19")
		feed(t, c, 1, errDown)
		is(t, c, name, healthcheck.Fail, "10 of 20, at once")
		is(t, c, healthcheck.Ready, healthcheck.Warn)
		assert.Equal(t, errDown, shot(t, c, name).Result.Err)
	})

	bubble(t, "fewer than Fall do not", func(t *testing.T) {
		c := feedOnly(t, healthcheck.Config{})
		feed(t, c, 1, nil)
		feed(t, c, 2, errDown)
		is(t, c, name, healthcheck.Pass, "2 of 3 are too few")
		feed(t, c, 1, errDown)
		is(t, c, name, healthcheck.Fail, "3 of 4")
	})

	bubble(t, "the first good call counts at once, bad ones like all", func(t *testing.T) {
		c := feedOnly(t, healthcheck.Config{})
		feed(t, c, 2, errDown)
		is(t, c, name, healthcheck.Unknown)
		feed(t, c, 1, errDown)
		is(t, c, name, healthcheck.Fail)
	})

	bubble(t, "calls of two periods ago are forgotten", func(t *testing.T) {
		c := feedOnly(t, healthcheck.Config{})
		feed(t, c, 1, nil)
		feed(t, c, 2, errDown)
		time.Sleep(2*feedPeriod - time.Millisecond)
		feed(t, c, 1, nil)
		time.Sleep(time.Millisecond)
		feed(t, c, 1, errDown)
		is(t, c, name, healthcheck.Pass, "1 of 2 in the window, 3 of 5 since ever")
		feed(t, c, 1, errDown)
		is(t, c, name, healthcheck.Pass)
		feed(t, c, 1, errDown)
		is(t, c, name, healthcheck.Fail, "3 of 4 in the window")
	})

	bubble(t, "also those of a time after which nobody called for long", func(t *testing.T) {
		c := feedOnly(t, healthcheck.Config{})
		feed(t, c, 1, nil)
		feed(t, c, 2, errDown)
		time.Sleep(feedPeriod)
		feed(t, c, 1, nil)
		time.Sleep(2 * feedPeriod)
		feed(t, c, 2, errDown)
		is(t, c, name, healthcheck.Pass, "2 in the window")
		feed(t, c, 1, errDown)
		is(t, c, name, healthcheck.Fail)
	})

	bubble(t, "calls of the last period are not", func(t *testing.T) {
		c := feedOnly(t, healthcheck.Config{})
		feed(t, c, 1, nil)
		time.Sleep(feedPeriod - 1)
		feed(t, c, 2, errDown)
		time.Sleep(time.Nanosecond)
		is(t, c, name, healthcheck.Pass)
		feed(t, c, 1, errDown)
		is(t, c, name, healthcheck.Fail)
	})
}

func TestFeedRecovery(t *testing.T) {
	failed := func(t *testing.T) *healthcheck.Checker {
		t.Helper()
		c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{name: {Period: feedPeriod, Rise: 3}})
		feed(t, c, 100, errDown)
		is(t, c, name, healthcheck.Fail)
		return c
	}

	bubble(t, "by Rise good calls of which fewer than half fail, when a period is over", func(t *testing.T) {
		c := failed(t)
		feed(t, c, 50, nil)
		is(t, c, name, healthcheck.Fail, "at once would be flapping")
		time.Sleep(feedPeriod - 1)
		feed(t, c, 60, nil)
		is(t, c, name, healthcheck.Fail, "1 ns before the period is over")
		time.Sleep(time.Nanosecond)
		feed(t, c, 1, nil)
		is(t, c, name, healthcheck.Pass)
	})

	bubble(t, "what failed it does not count against it", func(t *testing.T) {
		c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{name: {Period: feedPeriod, Rise: 3}})
		feed(t, c, 3, errDown)
		time.Sleep(feedPeriod)
		feed(t, c, 2, nil)
		is(t, c, name, healthcheck.Fail, "too few")
		feed(t, c, 1, nil)
		is(t, c, name, healthcheck.Pass)
		feed(t, c, 2, errDown)
		is(t, c, name, healthcheck.Pass, "nor does it fail it again")
	})

	bubble(t, "not while half of them fail", func(t *testing.T) {
		c := failed(t)
		time.Sleep(2 * feedPeriod)
		for range 20 {
			feed(t, c, 1, errDown)
			feed(t, c, 1, nil)
		}
		is(t, c, name, healthcheck.Fail)
		feed(t, c, 1, nil)
		is(t, c, name, healthcheck.Pass, "21 of 41 were good")
	})

	bubble(t, "a warning is the probe's to lift, and traffic may fail it", func(t *testing.T) {
		c := single(t, healthcheck.Check{Period: feedPeriod, Probe: func(context.Context) healthcheck.Result {
			return healthcheck.Result{Status: healthcheck.Warn}
		}})
		synctest.Wait()
		feed(t, c, 100, nil)
		is(t, c, name, healthcheck.Warn)
	})
}

func TestFeedNeutral(t *testing.T) {
	neutral := map[string]func(c *healthcheck.Checker) error{
		"a cancel": func(c *healthcheck.Checker) error { return c.Feed(name, context.Canceled) },
		"a wrapped cancel": func(c *healthcheck.Checker) error {
			return c.Feed(name, fmt.Errorf("query: %w", context.Canceled))
		},
		"a cancel of HTTP": func(c *healthcheck.Checker) error {
			return c.FeedResponse(context.Background(), name, nil, fmt.Errorf("get: %w", context.Canceled))
		},
		"400": response(http.StatusBadRequest),
		"404": response(http.StatusNotFound),
		"429": response(http.StatusTooManyRequests),
		"a call whose caller has gone": func(c *healthcheck.Checker) error {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			return c.FeedResponse(ctx, name, nil, errDown)
		},
	}
	for title, call := range neutral {
		bubble(t, title, func(t *testing.T) {
			f := new(fake)
			c := single(t, healthcheck.Check{Probe: f.probe, Period: feedPeriod})
			synctest.Wait()
			for range 100 {
				require.NoError(t, call(c))
			}
			is(t, c, name, healthcheck.Pass)
			feed(t, c, 3, errDown)
			is(t, c, name, healthcheck.Fail, "it counts for nothing good either")
		})
		bubble(t, title+" does not stop probes", func(t *testing.T) {
			f := new(fake)
			c := single(t, healthcheck.Check{Probe: f.probe, Period: feedPeriod})
			for range 100 {
				time.Sleep(time.Second)
				require.NoError(t, call(c))
			}
			assert.GreaterOrEqual(t, f.count(), 10)
		})
	}
}

// response feeds an answer with this code.
func response(code int) func(c *healthcheck.Checker) error {
	return func(c *healthcheck.Checker) error {
		return c.FeedResponse(context.Background(), name, &http.Response{StatusCode: code}, nil)
	}
}

func TestFeedResponse(t *testing.T) {
	tests := map[string]struct {
		call func(c *healthcheck.Checker) error
		want healthcheck.Status
	}{
		"200":       {response(http.StatusOK), healthcheck.Pass},
		"204":       {response(http.StatusNoContent), healthcheck.Pass},
		"304":       {response(http.StatusNotModified), healthcheck.Pass},
		"500":       {response(http.StatusInternalServerError), healthcheck.Fail},
		"503":       {response(http.StatusServiceUnavailable), healthcheck.Fail},
		"an error":  {func(c *healthcheck.Checker) error { return c.FeedResponse(context.Background(), name, nil, errDown) }, healthcheck.Fail},
		"a timeout": {func(c *healthcheck.Checker) error { return c.Feed(name, context.DeadlineExceeded) }, healthcheck.Fail},
		"404":       {response(http.StatusNotFound), healthcheck.Unknown},
	}
	for title, tt := range tests {
		bubble(t, title, func(t *testing.T) {
			c := feedOnly(t, healthcheck.Config{})
			for range 3 {
				require.NoError(t, tt.call(c))
			}
			is(t, c, name, tt.want)
		})
	}
	bubble(t, "the code is in the error", func(t *testing.T) {
		c := feedOnly(t, healthcheck.Config{})
		for range 3 {
			require.NoError(t, response(http.StatusBadGateway)(c))
		}
		assert.ErrorContains(t, shot(t, c, name).Result.Err, "502")
	})
}

func TestFeedBadInput(t *testing.T) {
	bubble(t, "names and order", func(t *testing.T) {
		c := healthcheck.MustNew(healthcheck.Config{})
		c.MustAdd(name, healthcheck.Check{})
		require.ErrorIs(t, c.Feed(name, nil), healthcheck.ErrNotStarted)
		require.ErrorIs(t, c.FeedResponse(context.Background(), name, nil, errDown), healthcheck.ErrNotStarted)
		require.ErrorIs(t, c.Report(name, healthcheck.Result{}), healthcheck.ErrNotStarted)
		start(t, c)
		for _, wrong := range []string{"cache", "", healthcheck.Ready} {
			err := c.Feed(wrong, nil)
			require.ErrorIs(t, err, healthcheck.ErrUnknownName)
			require.ErrorContains(t, err, fmt.Sprintf("%q", wrong))
			require.ErrorIs(t, c.FeedResponse(context.Background(), wrong, nil, errDown), healthcheck.ErrUnknownName)
			require.ErrorIs(t, c.Report(wrong, healthcheck.Result{}), healthcheck.ErrUnknownName)
		}
	})
}

// TestFeedSuppressesProbes: where traffic tells that it is well, and then only.
func TestFeedSuppressesProbes(t *testing.T) {
	// traffic feeds a call every second, for n periods.
	traffic := func(t *testing.T, c *healthcheck.Checker, n int, err error) {
		t.Helper()
		for range n * 10 {
			time.Sleep(feedPeriod / 10)
			feed(t, c, 1, err)
		}
		synctest.Wait()
	}

	bubble(t, "while it passes and the traffic is younger than a period", func(t *testing.T) {
		f := new(fake)
		c := single(t, healthcheck.Check{Probe: f.probe, Period: feedPeriod})
		synctest.Wait()
		require.Equal(t, 1, f.count())
		feed(t, c, 1, nil)
		traffic(t, c, 100, nil)
		assert.Equal(t, 1, f.count(), "no probe")
		assert.Less(t, shot(t, c, name).Age, time.Second, "what traffic tells is as good as a probe")
		time.Sleep(2 * feedPeriod)
		assert.GreaterOrEqual(t, f.count(), 2, "nobody calls any more")
	})

	bubble(t, "a failed one is probed", func(t *testing.T) {
		f := new(fake)
		f.fail(errDown)
		c := single(t, healthcheck.Check{Probe: f.probe, Period: feedPeriod})
		synctest.Wait()
		traffic(t, c, 10, errDown)
		assert.GreaterOrEqual(t, f.count(), 10)
		is(t, c, name, healthcheck.Fail)
	})

	bubble(t, "one that warns is probed", func(t *testing.T) {
		f := new(fake)
		f.find(healthcheck.Result{Status: healthcheck.Warn})
		c := single(t, healthcheck.Check{Probe: f.probe, Period: feedPeriod, Rise: 1000})
		synctest.Wait()
		traffic(t, c, 10, nil)
		assert.GreaterOrEqual(t, f.count(), 9)
	})

	bubble(t, "calls that fail, and too few of them to fail it, do not say that it is well", func(t *testing.T) {
		f := new(fake)
		c := single(t, healthcheck.Check{Probe: f.probe, Period: feedPeriod, Fall: 5})
		synctest.Wait()
		f.fail(errDown)
		for range 6 {
			feed(t, c, 1, errDown)
			time.Sleep(feedPeriod / 2)
		}
		assert.GreaterOrEqual(t, f.count(), 5, "nothing good was heard for 3 periods")
		is(t, c, name, healthcheck.Fail)
	})

	bubble(t, "a report is no traffic", func(t *testing.T) {
		f := new(fake)
		c := single(t, healthcheck.Check{Probe: f.probe, Period: feedPeriod})
		synctest.Wait()
		for range 50 {
			time.Sleep(feedPeriod / 2)
			require.NoError(t, c.Report(name, healthcheck.Result{}))
		}
		assert.GreaterOrEqual(t, f.count(), 24)
	})
}

func TestFeedConcurrently(t *testing.T) {
	f := new(fake)
	seen := new(log)
	c := begin(t, healthcheck.Config{Observe: seen.observe}, map[string]healthcheck.Check{
		name: {Probe: f.probe, Period: 100 * time.Millisecond, Timeout: 10 * time.Millisecond},
	})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 500 {
				var err error
				if (n/50+i)%2 == 0 {
					err = errDown
				}
				assert.NoError(t, c.Feed(name, err))
				_ = c.Status(healthcheck.Ready)
				if n%100 == 0 {
					assert.NoError(t, c.Report(name, healthcheck.Result{Err: err}))
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, c.Close(t.Context()))
	last := healthcheck.Unknown
	for i, e := range seen.of(healthcheck.Changed) {
		if e.From != healthcheck.Unknown { // as after a pause in which it has aged
			require.Equal(t, last, e.From, "change %d begins where the one before ended", i)
		}
		require.NotEqual(t, e.From, e.Status)
		last = e.Status
	}
	if got := shot(t, c, name).Status; got != healthcheck.Unknown { // likewise
		assert.Equal(t, last, got)
	}
}

func TestReport(t *testing.T) {
	bubble(t, "counts at once", func(t *testing.T) {
		c := feedOnly(t, healthcheck.Config{})
		for _, want := range []healthcheck.Status{
			healthcheck.Pass, healthcheck.Fail, healthcheck.Warn, healthcheck.Fail, healthcheck.Pass,
		} {
			require.NoError(t, c.Report(name, healthcheck.Result{Status: want, Observed: 7, Unit: "connections"}))
			is(t, c, name, want)
			assert.Equal(t, 7, shot(t, c, name).Result.Observed)
		}
		require.NoError(t, c.Report(name, healthcheck.Result{Err: errDown}))
		is(t, c, name, healthcheck.Fail)
	})

	bubble(t, "holds until there is another result, however long that takes", func(t *testing.T) {
		c := feedOnly(t, healthcheck.Config{})
		require.NoError(t, c.Report(name, healthcheck.Result{Err: errDown}))
		time.Sleep(1000 * time.Hour)
		is(t, c, name, healthcheck.Fail, "a breaker tells of changes only")
		feed(t, c, 1, nil)
		is(t, c, name, healthcheck.Fail, "one call outweighs no breaker")
		require.NoError(t, c.Report(name, healthcheck.Result{}))
		time.Sleep(1000 * time.Hour)
		is(t, c, name, healthcheck.Pass)
	})

	bubble(t, "a probe is another result, and ages", func(t *testing.T) {
		f := new(fake)
		c := single(t, healthcheck.Check{Probe: f.probe, Period: feedPeriod})
		synctest.Wait()
		require.NoError(t, c.Report(name, healthcheck.Result{Err: errDown}))
		is(t, c, name, healthcheck.Fail)
		time.Sleep(2 * feedPeriod)
		is(t, c, name, healthcheck.Pass, "Rise probes say so")
		require.NoError(t, c.Close(t.Context()))
		time.Sleep(4 * feedPeriod)
		is(t, c, name, healthcheck.Unknown)
	})
}

// circuitEvent is what a breaker's events look like.
type circuitEvent struct {
	Key   string
	State string
	Err   error
}

func TestObserver(t *testing.T) {
	bubble(t, "a breaker's events are reports", func(t *testing.T) {
		c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{
			"payments": {Period: feedPeriod}, "stock": {Period: feedPeriod},
		})
		observe := healthcheck.Observer(c, func(e circuitEvent) (string, healthcheck.Result, bool) {
			switch e.State {
			case "open":
				return e.Key, healthcheck.Result{Err: e.Err}, true
			case "half-open":
				return e.Key, healthcheck.Result{Status: healthcheck.Warn}, true
			case "closed":
				return e.Key, healthcheck.Result{}, true
			}
			return "", healthcheck.Result{}, false
		})
		observe(t.Context(), circuitEvent{Key: "payments", State: "open", Err: errDown})
		is(t, c, "payments", healthcheck.Fail)
		is(t, c, "stock", healthcheck.Unknown)
		observe(t.Context(), circuitEvent{Key: "payments", State: "half-open"})
		is(t, c, "payments", healthcheck.Warn)
		observe(t.Context(), circuitEvent{Key: "payments", State: "rejected"})
		is(t, c, "payments", healthcheck.Warn, "an event that tells nothing")
		observe(t.Context(), circuitEvent{Key: "payments", State: "closed"})
		is(t, c, "payments", healthcheck.Pass)
		assert.NotPanics(t, func() { observe(t.Context(), circuitEvent{Key: "nobody", State: "open"}) })
	})
}

// TestFeedTrials: Require lets a request past a failed check that nobody probes, one
// a Period, or it would be shut for ever.
func TestFeedTrials(t *testing.T) {
	served := func(c *healthcheck.Checker, answer func() error) http.Handler {
		return c.Require(name)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if err := answer(); err != nil {
				assert.NoError(t, c.Feed(name, err))
				http.Error(w, "no", http.StatusBadGateway)
				return
			}
			assert.NoError(t, c.Feed(name, nil))
		}))
	}

	bubble(t, "one per Period finds out", func(t *testing.T) {
		c := feedOnly(t, healthcheck.Config{})
		down := errDown
		trials := 0
		h := served(c, func() error { trials++; return down })
		for range 3 {
			assert.Equal(t, http.StatusBadGateway, ask(t, h, "/").Code)
		}
		is(t, c, name, healthcheck.Fail)
		trials = 0
		for range 100 { // 10 periods
			for range 20 {
				ask(t, h, "/")
			}
			time.Sleep(feedPeriod / 10)
		}
		assert.InDelta(t, 10, trials, 1, "trials in 10 periods")
		down = nil
		for range 21 {
			time.Sleep(feedPeriod / 10)
			ask(t, h, "/")
		}
		is(t, c, name, healthcheck.Pass, "two trials")
		assert.Equal(t, http.StatusOK, ask(t, h, "/").Code)
	})

	bubble(t, "one at a time, of all that come at once", func(t *testing.T) {
		c := feedOnly(t, healthcheck.Config{})
		feed(t, c, 3, errDown)
		var mu sync.Mutex
		passed := 0
		h := c.Require(name)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			passed++
		}))
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() { ask(t, h, "/") })
		}
		wg.Wait()
		assert.Equal(t, 1, passed)
		time.Sleep(feedPeriod - 1)
		ask(t, h, "/")
		assert.Equal(t, 1, passed, "1 ns before the Period is over")
		time.Sleep(time.Nanosecond)
		ask(t, h, "/")
		assert.Equal(t, 2, passed)
	})

	bubble(t, "not where there is a probe", func(t *testing.T) {
		f := new(fake)
		f.fail(errDown)
		c := single(t, healthcheck.Check{Probe: f.probe, Period: feedPeriod})
		synctest.Wait()
		h := served(c, func() error { return errors.New("it was called") })
		for range 100 {
			assert.Equal(t, http.StatusServiceUnavailable, ask(t, h, "/").Code)
			time.Sleep(feedPeriod)
		}
	})

	bubble(t, "not past an override", func(t *testing.T) {
		c := feedOnly(t, healthcheck.Config{})
		require.NoError(t, c.Override(name, healthcheck.Override{Status: healthcheck.Fail, Reason: "by hand"}))
		h := served(c, func() error { return nil })
		for range 10 {
			assert.Equal(t, http.StatusServiceUnavailable, ask(t, h, "/").Code)
			time.Sleep(feedPeriod)
		}
	})
}
