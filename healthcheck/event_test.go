package healthcheck_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
)

func TestEventsTellTheWholeOutage(t *testing.T) {
	bubble(t, "in order", func(t *testing.T) {
		f, seen := new(fake), new(log)
		f.slow(100 * time.Millisecond)
		c := begin(t, healthcheck.Config{Observe: seen.observe}, map[string]healthcheck.Check{
			name: {Probe: f.probe, Fall: 2, Rise: 1},
		})
		await := func(want healthcheck.Status) {
			for range 2000 {
				time.Sleep(10 * time.Millisecond)
				synctest.Wait()
				if c.Status(name) == want {
					return
				}
			}
			require.Failf(t, "it does not come to be", "%v", want)
		}
		await(healthcheck.Pass)
		f.fail(errDown)
		await(healthcheck.Fail)
		f.slow(0)
		release := f.hang(t)
		time.Sleep(10 * time.Second)
		f.fail(nil)
		release()
		await(healthcheck.Pass)
		require.NoError(t, c.Close(t.Context()))

		var got []healthcheck.Event
		for _, e := range seen.of() {
			if e.Kind == healthcheck.Unstuck {
				assert.Greater(t, e.Elapsed, healthcheck.DefaultTimeout)
				e.Elapsed = 0
			}
			got = append(got, e)
		}
		require.GreaterOrEqual(t, len(got), 9)
		probed := func(found healthcheck.Status, took time.Duration, err error) healthcheck.Event {
			return healthcheck.Event{Kind: healthcheck.Probed, Check: name, Found: found, Elapsed: took, Err: err}
		}
		changed := func(from, to healthcheck.Status, err error) healthcheck.Event {
			return healthcheck.Event{Kind: healthcheck.Changed, Check: name, From: from, Status: to, Err: err}
		}
		const took = 100 * time.Millisecond
		assert.Equal(t, []healthcheck.Event{
			probed(healthcheck.Pass, took, nil),
			changed(healthcheck.Unknown, healthcheck.Pass, nil),
			probed(healthcheck.Fail, took, errDown),
			probed(healthcheck.Fail, took, errDown),
			changed(healthcheck.Pass, healthcheck.Fail, errDown),
			{Kind: healthcheck.Stuck, Check: name},
			{Kind: healthcheck.Unstuck, Check: name},
			probed(healthcheck.Pass, 0, nil),
			changed(healthcheck.Fail, healthcheck.Pass, nil),
		}, got[:9])
	})

	bubble(t, "a hang that fails it is told before the change", func(t *testing.T) {
		f, seen := new(fake), new(log)
		begin(t, healthcheck.Config{Observe: seen.observe}, map[string]healthcheck.Check{name: {Probe: f.probe}})
		synctest.Wait()
		f.hang(t)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		got := seen.of()[2:]
		require.Len(t, got, 2)
		assert.Equal(t, healthcheck.Event{Kind: healthcheck.Stuck, Check: name}, got[0])
		assert.Equal(t, healthcheck.Changed, got[1].Kind)
		assert.Equal(t, healthcheck.Fail, got[1].Status)
		assert.Equal(t, &healthcheck.StuckError{Check: name, For: healthcheck.DefaultTimeout}, got[1].Err)
	})

	bubble(t, "hands and the end", func(t *testing.T) {
		seen := new(log)
		c := begin(t, healthcheck.Config{Observe: seen.observe}, map[string]healthcheck.Check{name: {}})
		require.NoError(t, c.Override(name, healthcheck.Override{Status: healthcheck.Fail, Reason: "moving"}))
		require.NoError(t, c.Lift(name))
		require.NoError(t, c.Override(healthcheck.Ready, healthcheck.Override{Status: healthcheck.Warn}))
		c.Drain()
		c.Drain()
		assert.Equal(t, []healthcheck.Event{
			{Kind: healthcheck.Overridden, Scope: name, Status: healthcheck.Fail, Reason: "moving"},
			{Kind: healthcheck.Overridden, Scope: name},
			{Kind: healthcheck.Overridden, Scope: healthcheck.Ready, Status: healthcheck.Warn},
			{Kind: healthcheck.Draining},
		}, seen.of())
	})
}

// TestEventsComeInOrderPerCheck: with many who tell at once, changes of a check link
// up, and no two events of a check are told at a time.
func TestEventsComeInOrderPerCheck(t *testing.T) {
	const workers, rounds, checks = 8, 400, 3
	var mu sync.Mutex
	latest := make(map[string]healthcheck.Status)
	telling := make(map[string]bool)
	observe := func(_ context.Context, e healthcheck.Event) {
		if e.Kind != healthcheck.Changed {
			return
		}
		mu.Lock()
		assert.False(t, telling[e.Check], "two events of a check at a time")
		telling[e.Check] = true
		assert.Equal(t, latest[e.Check].String(), e.From.String())
		latest[e.Check] = e.Status
		mu.Unlock()
		runtime.Gosched()
		mu.Lock()
		telling[e.Check] = false
		mu.Unlock()
	}
	c := healthcheck.MustNew(healthcheck.Config{Observe: observe})
	for i := range checks {
		c.MustAdd("check-"+strconv.Itoa(i), healthcheck.Check{})
	}
	start(t, c)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range rounds {
				status := healthcheck.Pass + healthcheck.Status(rand.N(3))
				of := "check-" + strconv.Itoa(rand.N(checks))
				assert.NoError(t, c.Report(of, healthcheck.Result{Status: status}))
			}
		})
	}
	wg.Wait()
	for of, status := range latest {
		is(t, c, of, status, "the last that was told is what it is")
	}
}

func TestEventsObserverMisbehaves(t *testing.T) {
	bubble(t, "panics are contained", func(t *testing.T) {
		f := new(fake)
		var told atomic.Int32
		c := begin(t, healthcheck.Config{Observe: func(context.Context, healthcheck.Event) {
			told.Add(1)
			panic("observer")
		}}, map[string]healthcheck.Check{name: {Probe: f.probe}})
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Greater(t, f.count(), 5)
		is(t, c, name, healthcheck.Pass)
		assert.NotPanics(t, func() {
			assert.NoError(t, c.Report(name, healthcheck.Result{Err: errDown}))
			assert.NoError(t, c.Override(name, healthcheck.Override{Status: healthcheck.Warn}))
			c.Drain()
		})
		f.hang(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Greater(t, int(told.Load()), 8)
	})

	bubble(t, "it may call back in", func(t *testing.T) {
		var c *healthcheck.Checker
		var told []healthcheck.Kind
		c = healthcheck.MustNew(healthcheck.Config{Authorize: everybody, Observe: func(_ context.Context, e healthcheck.Event) {
			told = append(told, e.Kind)
			_ = c.Status(name)
			_ = c.Status(healthcheck.Ready)
			_ = c.Snapshot()
			_ = c.Overrides()
			ask(t, c.Handler(healthcheck.Ready), "/")
			ask(t, c.Details(), "/")
			_, stop, err := c.Watch(healthcheck.Ready)
			if assert.NoError(t, err) {
				stop()
			}
			switch {
			case e.Kind == healthcheck.Changed && e.Status == healthcheck.Pass:
				assert.NoError(t, c.Report(name, healthcheck.Result{Err: errDown}))
			case e.Kind == healthcheck.Changed && e.Status == healthcheck.Fail:
				assert.NoError(t, c.Override(name, healthcheck.Override{Status: healthcheck.Warn, Reason: "hook"}))
			case e.Kind == healthcheck.Overridden && e.Status == healthcheck.Warn:
				assert.NoError(t, c.Lift(name))
				c.Drain()
			}
		}})
		c.MustAdd(name, healthcheck.Check{Probe: passing})
		start(t, c)
		synctest.Wait()
		require.Len(t, told, 6)
		assert.Equal(t, []healthcheck.Kind{
			healthcheck.Probed, healthcheck.Changed, healthcheck.Changed, healthcheck.Overridden,
		}, told[:4])
		assert.ElementsMatch(t, []healthcheck.Kind{healthcheck.Overridden, healthcheck.Draining}, told[4:],
			"of the check, and of all")
		is(t, c, name, healthcheck.Fail)
	})

	bubble(t, "it may end its goroutine, and probing goes on", func(t *testing.T) {
		f := new(fake)
		c := begin(t, healthcheck.Config{Observe: func(context.Context, healthcheck.Event) {
			runtime.Goexit() // as require does, where it fails in a test's observer
		}}, map[string]healthcheck.Check{name: {Probe: f.probe}})
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Greater(t, f.count(), 5)
		is(t, c, name, healthcheck.Pass)
	})

	bubble(t, "a slow one holds up neither status nor endpoint", func(t *testing.T) {
		f := new(fake)
		c := begin(t, healthcheck.Config{Observe: func(_ context.Context, e healthcheck.Event) {
			if e.Check == name {
				time.Sleep(5 * time.Second)
			}
		}}, map[string]healthcheck.Check{name: {Probe: f.probe}, "cache": {Probe: passing}})
		synctest.Wait()
		begun := time.Now()
		is(t, c, name, healthcheck.Pass)
		is(t, c, "cache", healthcheck.Pass)
		assert.Equal(t, 200, ask(t, c.Handler(healthcheck.Ready), "/").Code)
		assert.Zero(t, time.Since(begun))
	})
}

func TestEventsAreReadable(t *testing.T) {
	kinds := map[healthcheck.Kind]string{
		healthcheck.Probed: "probed", healthcheck.Changed: "changed", healthcheck.Stuck: "stuck",
		healthcheck.Unstuck: "unstuck", healthcheck.Overridden: "overridden", healthcheck.Draining: "draining",
		0: "unknown", 200: "unknown",
	}
	for kind, want := range kinds {
		readable(t, kind, want)
	}
	for status, want := range map[healthcheck.Status]string{
		healthcheck.Unknown: "unknown", healthcheck.Pass: "pass", healthcheck.Warn: "warn",
		healthcheck.Fail: "fail", 77: "unknown",
	} {
		readable(t, status, want)
	}
	for impact, want := range map[healthcheck.Impact]string{
		healthcheck.Degrades: "degrades", healthcheck.Critical: "critical",
		healthcheck.Informational: "informational", 77: "unknown",
	} {
		readable(t, impact, want)
	}
}

// readable asserts how a value is printed, and stands in JSON.
func readable(t *testing.T, value fmt.Stringer, want string) {
	t.Helper()
	assert.Equal(t, want, value.String())
	text, err := json.Marshal(value)
	require.NoError(t, err)
	assert.JSONEq(t, strconv.Quote(want), string(text))
}

func TestEventLogValue(t *testing.T) {
	tests := map[string]healthcheck.Event{
		`"kind":"probed","check":"db","found":"fail","elapsed":250000000,"error":"connection to db-7.internal refused"`: {
			Kind: healthcheck.Probed, Check: name, Found: healthcheck.Fail, Elapsed: 250 * time.Millisecond, Err: errDown,
		},
		`"kind":"changed","check":"db","from":"unknown","status":"pass"`: {
			Kind: healthcheck.Changed, Check: name, Status: healthcheck.Pass,
		},
		`"kind":"stuck","check":"db"`: {Kind: healthcheck.Stuck, Check: name},
		`"kind":"unstuck","check":"db","elapsed":1000000000`: {
			Kind: healthcheck.Unstuck, Check: name, Elapsed: time.Second,
		},
		`"kind":"overridden","scope":"ready","status":"fail","reason":"moving"`: {
			Kind: healthcheck.Overridden, Scope: "ready", Status: healthcheck.Fail, Reason: "moving",
		},
		`"kind":"overridden","scope":"ready","status":"unknown"`: {Kind: healthcheck.Overridden, Scope: "ready"},
		`"kind":"draining"`: {Kind: healthcheck.Draining},
	}
	for want, e := range tests {
		t.Run(e.Kind.String(), func(t *testing.T) {
			var out bytes.Buffer
			slog.New(slog.NewJSONHandler(&out, nil)).Info("health", "event", e)
			assert.Contains(t, out.String(), `"event":{`+want+`}`)
		})
	}
}
