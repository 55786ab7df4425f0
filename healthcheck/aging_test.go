package healthcheck_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
)

// TestAging: a result says nothing after three periods and a timeout, to the
// nanosecond, whatever it was and whoever asks, with nobody left to tell: the scheduler
// of a Checker that was closed is dead.
func TestAging(t *testing.T) {
	const period, timeout = 7*time.Second + 3, time.Second + 2
	const lifetime = 3*period + timeout
	found := map[string]healthcheck.Result{
		"of a pass":    {},
		"of a warning": {Status: healthcheck.Warn},
		"of a failure": {Err: errDown},
	}
	for title, res := range found {
		bubble(t, title, func(t *testing.T) {
			time.Sleep(3 * time.Nanosecond) // off the beat of any unit that is coarser than a nanosecond
			c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{name: {
				Probe:  func(context.Context) healthcheck.Result { return res },
				Period: period, Timeout: timeout, Impact: healthcheck.Critical,
				Groups: []string{healthcheck.Live, healthcheck.Ready, "own"},
			}})
			synctest.Wait()
			before := c.Status(name)
			require.NotEqual(t, healthcheck.Unknown, before)
			require.NoError(t, c.Close(t.Context()))

			time.Sleep(lifetime - 1)
			is(t, c, name, before, "at d-1ns")
			is(t, c, healthcheck.Ready, before)
			is(t, c, "own", before)
			assert.Equal(t, before, shot(t, c, name).Status)
			time.Sleep(time.Nanosecond)
			is(t, c, name, healthcheck.Unknown, "at d")
			is(t, c, healthcheck.Ready, healthcheck.Unknown)
			is(t, c, "own", healthcheck.Unknown)
			is(t, c, healthcheck.Live, healthcheck.Pass, "a process that nobody has asked is no dead one")
			s := shot(t, c, name)
			assert.Equal(t, healthcheck.Unknown, s.Status)
			assert.Equal(t, lifetime, s.Age)
			assert.Equal(t, healthcheck.Unknown, c.Snapshot().Groups[healthcheck.Ready])
			time.Sleep(1000 * time.Hour)
			is(t, c, name, healthcheck.Unknown)
		})
	}
}

// TestAgingOfEndpoints: an answer that was rendered before does not outlive what it
// says.
func TestAgingOfEndpoints(t *testing.T) {
	const lifetime = 3*healthcheck.DefaultPeriod + healthcheck.DefaultTimeout
	closed := func(t *testing.T) *healthcheck.Checker {
		t.Helper()
		c := begin(t, healthcheck.Config{Authorize: everybody}, map[string]healthcheck.Check{
			name: {
				Probe: passing, Impact: healthcheck.Critical,
				Groups: []string{healthcheck.Live, healthcheck.Ready, healthcheck.Startup},
			},
		})
		synctest.Wait()
		require.NoError(t, c.Close(t.Context()))
		return c
	}

	for _, often := range []bool{false, true} {
		title := "that nobody read since"
		if often {
			title = "that are read all the time"
		}
		bubble(t, title, func(t *testing.T) {
			c := closed(t)
			live, ready, startup := c.Handler(healthcheck.Live), c.Handler(healthcheck.Ready), c.Handler(healthcheck.Startup)
			codes := func() []int {
				return []int{ask(t, live, "/").Code, ask(t, ready, "/").Code, ask(t, startup, "/").Code, ask(t, c.Details(), "/").Code}
			}
			assert.Equal(t, []int{200, 200, 200, 200}, codes())
			steps := 1
			if often {
				steps = 30
			}
			for i := range steps {
				next := (lifetime - 1) / time.Duration(steps)
				if i == steps-1 {
					next = lifetime - 1 - next*time.Duration(steps-1)
				}
				time.Sleep(next)
				assert.Equal(t, []int{200, 200, 200, 200}, codes())
			}
			time.Sleep(time.Nanosecond)
			assert.Equal(t, []int{200, 503, 200, 503}, codes(), "Startup has come up for good")
		})
	}

	bubble(t, "the page tells the same as the code", func(t *testing.T) {
		c := closed(t)
		h := c.Handler(healthcheck.Ready)
		ask(t, h, "/")
		time.Sleep(lifetime)
		w := ask(t, h, "/")
		var page struct {
			Status string
			Checks map[string][]struct{ Status, Output string }
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &page))
		assert.Equal(t, http.StatusServiceUnavailable, w.Code)
		assert.Equal(t, "fail", page.Status, "the draft has no word for unknown")
		assert.Equal(t, "warn", page.Checks[name][0].Status, "a check that nobody knows has not failed")
		assert.NotEmpty(t, page.Checks[name][0].Output, "why, although nothing failed")
	})

	bubble(t, "Require serves again", func(t *testing.T) {
		c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{name: {Probe: failing}})
		synctest.Wait()
		require.NoError(t, c.Close(t.Context()))
		h := c.Require(name)(http.NotFoundHandler())
		time.Sleep(lifetime - 1)
		assert.Equal(t, http.StatusServiceUnavailable, ask(t, h, "/").Code)
		time.Sleep(time.Nanosecond)
		assert.Equal(t, http.StatusNotFound, ask(t, h, "/").Code, "what is unknown is tried")
	})
}

// TestAgingDegrades: what is unknown weighs by impact.
func TestAgingDegrades(t *testing.T) {
	tests := map[healthcheck.Impact]healthcheck.Status{
		healthcheck.Critical:      healthcheck.Unknown,
		healthcheck.Degrades:      healthcheck.Warn,
		healthcheck.Informational: healthcheck.Pass,
	}
	for impact, want := range tests {
		bubble(t, impact.String(), func(t *testing.T) {
			c := single(t, healthcheck.Check{Probe: passing, Impact: impact})
			synctest.Wait()
			require.NoError(t, c.Close(t.Context()))
			time.Sleep(time.Hour)
			is(t, c, healthcheck.Ready, want)
		})
	}
}

// TestAgingOfFeeds: what traffic told ages likewise, and a check that lives by it
// counts for nothing then.
func TestAgingOfFeeds(t *testing.T) {
	bubble(t, "fed until now", func(t *testing.T) {
		c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{
			name: {Impact: healthcheck.Critical},
		})
		for range 3 {
			require.NoError(t, c.Feed(name, errDown))
		}
		is(t, c, healthcheck.Ready, healthcheck.Fail)
		time.Sleep(31*time.Second - 1)
		is(t, c, name, healthcheck.Fail)
		time.Sleep(time.Nanosecond)
		is(t, c, name, healthcheck.Unknown)
		is(t, c, healthcheck.Ready, healthcheck.Pass)
	})
}

// TestAgingStartsAnew: the first result after an aged one counts at once, as the
// first ever does: there is nothing that it would have to outweigh.
func TestAgingStartsAnew(t *testing.T) {
	tests := map[string]struct{ before, after error }{
		"a failure after a pass": {nil, errDown},
		"a pass after a failure": {errDown, nil},
	}
	for title, tt := range tests {
		bubble(t, title, func(t *testing.T) {
			c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{name: {Fall: 1, Rise: 3}})
			want := healthcheck.Pass
			if tt.after != nil {
				want = healthcheck.Fail
			}
			for range 3 {
				require.NoError(t, c.Feed(name, tt.before))
			}
			time.Sleep(time.Hour)
			is(t, c, name, healthcheck.Unknown)
			require.NoError(t, c.Feed(name, tt.after))
			is(t, c, name, want)
		})
	}
}
