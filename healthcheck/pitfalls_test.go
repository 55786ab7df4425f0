package healthcheck_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
)

// What health checks are known to get wrong, a test for each, in the numbering of
// our notes. The numbers that are missing are about choosing hosts and about attempts
// (08, 17, 19, 21 to 23: route's tests) and about who answers a probe (20: that of
// checks).

func TestPitfall01HangsIgnoringContext(t *testing.T) {
	bubble(t, "one goroutine for ever, and the check fails", func(t *testing.T) {
		const period, timeout = 100 * time.Millisecond, 50 * time.Millisecond
		f := new(fake)
		c := single(t, healthcheck.Check{
			Probe: f.probe, Period: period, Timeout: timeout, Impact: healthcheck.Critical,
		})
		h := c.Handler(healthcheck.Ready)
		require.Equal(t, http.StatusOK, ask(t, h, "/").Code)
		f.hang(t)
		time.Sleep(period + timeout)
		synctest.Wait()
		for range 30 {
			assert.Equal(t, http.StatusServiceUnavailable, ask(t, h, "/").Code)
			time.Sleep(period)
		}
		now, most := f.atOnce()
		assert.Equal(t, 1, now)
		assert.Equal(t, 1, most)
		assert.True(t, shot(t, c, name).Stuck, "it is named")
	})
}

func TestPitfall02Stale(t *testing.T) {
	bubble(t, "age is judged by who reads", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: passing, Impact: healthcheck.Critical})
		h := c.Handler(healthcheck.Ready)
		require.Equal(t, http.StatusOK, ask(t, h, "/").Code)
		require.NoError(t, c.Close(t.Context())) // nothing is scheduled any more
		time.Sleep(31*time.Second - 1)
		assert.Equal(t, http.StatusOK, ask(t, h, "/").Code)
		time.Sleep(time.Nanosecond)
		assert.Equal(t, http.StatusServiceUnavailable, ask(t, h, "/").Code)
		is(t, c, name, healthcheck.Unknown)
	})
}

func TestPitfall03Panic(t *testing.T) {
	bubble(t, "is a failure with a type, and its stack is not for callers", func(t *testing.T) {
		seen := new(log)
		c := begin(t, healthcheck.Config{Authorize: everybody, ShowErrors: true, Observe: seen.observe},
			map[string]healthcheck.Check{name: {Probe: func(context.Context) healthcheck.Result { panic("boom") }}})
		synctest.Wait()
		is(t, c, name, healthcheck.Fail)
		told := seen.of(healthcheck.Probed)
		require.Len(t, told, 1)
		err, ok := errors.AsType[*healthcheck.PanicError](told[0].Err)
		require.True(t, ok)
		assert.Equal(t, "boom", err.Value)
		assert.NotEmpty(t, err.Stack)
		for _, accept := range []string{"application/json", "text/plain"} {
			body := ask(t, c.Details(), "/", "Accept", accept).Body.String()
			assert.Contains(t, body, "boom")
			assert.NotContains(t, body, "goroutine")
			assert.NotContains(t, body, ".go:")
		}
	})
}

func TestPitfall04Overlap(t *testing.T) {
	bubble(t, "the delay begins when a probe ends, and who asks joins it", func(t *testing.T) {
		f := new(fake)
		f.slow(850 * time.Millisecond)
		c := single(t, healthcheck.Check{Probe: f.probe, Period: time.Second})
		h := c.Handler(healthcheck.Ready)
		for range 100 {
			go ask(t, h, "/")
			time.Sleep(time.Second)
		}
		_, most := f.atOnce()
		assert.Equal(t, 1, most)
		for _, pause := range f.pauses()[1:] {
			assert.GreaterOrEqual(t, pause, 900*time.Millisecond)
		}
	})
}

func TestPitfall05ClientCancel(t *testing.T) {
	bubble(t, "the caller goes, the probe stays, and so do those who wait with it", func(t *testing.T) {
		f := new(fake)
		f.slow(400 * time.Millisecond)
		c := single(t, healthcheck.Check{Probe: f.probe, OnDemand: 10 * time.Second, Impact: healthcheck.Critical})
		h := c.Handler(healthcheck.Ready)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		begun := time.Now()
		wg.Go(func() {
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/readyz", http.NoBody)
			h.ServeHTTP(httptest.NewRecorder(), r)
			assert.Equal(t, 100*time.Millisecond, time.Since(begun), "who leaves is not kept")
		})
		wg.Go(func() {
			assert.Equal(t, http.StatusOK, ask(t, h, "/readyz").Code)
			assert.Equal(t, 400*time.Millisecond, time.Since(begun))
		})
		time.Sleep(100 * time.Millisecond)
		cancel()
		wg.Wait()
		assert.Equal(t, 1, f.count())
		synctest.Wait()
		is(t, c, name, healthcheck.Pass, "nobody's cancel is a failure of the dependency")
	})
}

func TestPitfall06Flapping(t *testing.T) {
	bubble(t, "every other probe fails, and nothing changes", func(t *testing.T) {
		f, seen := new(fake), new(log)
		n := 0
		c := begin(t, healthcheck.Config{Observe: seen.observe}, map[string]healthcheck.Check{name: {
			Probe: func(ctx context.Context) healthcheck.Result {
				res := f.probe(ctx)
				if n++; n%2 == 0 {
					res.Err = errDown
				}
				return res
			},
		}})
		time.Sleep(time.Hour)
		assert.Greater(t, f.count(), 300)
		assert.Len(t, seen.of(healthcheck.Changed), 1, "from unknown to pass, by the first")
		is(t, c, name, healthcheck.Pass)
	})

	bubble(t, "never pass before a success", func(t *testing.T) {
		f := new(fake)
		f.fail(errDown)
		f.slow(400 * time.Millisecond)
		c := single(t, healthcheck.Check{Probe: f.probe, Impact: healthcheck.Critical})
		for range 300 {
			assert.NotContains(t, []healthcheck.Status{healthcheck.Pass, healthcheck.Warn}, c.Status(name))
			assert.Equal(t, http.StatusServiceUnavailable, ask(t, c.Handler(healthcheck.Ready), "/").Code)
			time.Sleep(100 * time.Millisecond)
		}
	})
}

func TestPitfall07SharedDependencyCascade(t *testing.T) {
	bubble(t, "the database is down: every instance stays in, and only its routes fail, fast", func(t *testing.T) {
		served := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
		for range 10 {
			c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{
				name: {Probe: failing, Affects: []string{"GET /orders/{id}"}}, "cache": {Probe: passing},
			})
			mux := http.NewServeMux()
			mux.Handle("GET /readyz", c.Handler(healthcheck.Ready))
			mux.Handle("GET /orders/{id}", c.Require(name)(served))
			mux.Handle("GET /static/", served)
			assert.Equal(t, http.StatusOK, ask(t, mux, "/readyz").Code)
			is(t, c, healthcheck.Ready, healthcheck.Warn)
			begun := time.Now()
			refused := ask(t, mux, "/orders/7")
			assert.Equal(t, http.StatusServiceUnavailable, refused.Code)
			assert.NotEmpty(t, refused.Header().Get("Retry-After"))
			assert.NotContains(t, refused.Body.String(), "db-7.internal")
			assert.Zero(t, time.Since(begun))
			assert.Equal(t, http.StatusNoContent, ask(t, mux, "/static/a.css").Code)
		}
	})
}

func TestPitfall09Leak(t *testing.T) {
	bubble(t, "anonymous callers get the status only", func(t *testing.T) {
		c := begin(t, healthcheck.Config{Service: "shop-eu-7", Version: "1.2.3-dirty", ShowErrors: true},
			map[string]healthcheck.Check{name: {
				Probe: func(context.Context) healthcheck.Result {
					return healthcheck.Result{Err: errDown, Public: "orders are slow", Observed: 4711}
				},
				Affects: []string{"GET /secret-orders"},
			}})
		synctest.Wait()
		for _, accept := range []string{"", "text/plain", "*/*", "application/health+json"} {
			for _, target := range []string{"/", "/?verbose", "/?exclude=" + name, "/?full=1&details=true", "/?no-cache"} {
				for _, h := range []http.Handler{c.Handler(healthcheck.Ready), c.Details()} {
					w := ask(t, h, target, "Accept", accept, "Cache-Control", "no-cache", "Authorization", "Basic YTpi")
					all := w.Body.String() + fmt.Sprint(w.Header())
					for _, secret := range []string{"db", "internal", "refused", "4711", "orders", "shop", "1.2.3"} {
						assert.NotContains(t, all, secret)
					}
				}
			}
		}
	})

	bubble(t, "and have no power over probes", func(t *testing.T) {
		f := new(fake)
		c := single(t, healthcheck.Check{Probe: f.probe, OnDemand: 10 * time.Second})
		for range 1000 {
			ask(t, c.Handler(healthcheck.Ready), "/?refresh", "Cache-Control", "no-cache")
		}
		synctest.Wait()
		assert.Equal(t, 1, f.count())
	})
}

func TestPitfall10Startup(t *testing.T) {
	bubble(t, "comes up once and for good", func(t *testing.T) {
		f := new(fake)
		f.fail(errDown)
		c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{name: {
			Probe: f.probe, Impact: healthcheck.Critical, Rise: 1,
			Groups: []string{healthcheck.Startup, healthcheck.Ready},
		}})
		startup, ready, live := c.Handler(healthcheck.Startup), c.Handler(healthcheck.Ready), c.Handler(healthcheck.Live)
		assert.Equal(t, http.StatusServiceUnavailable, ask(t, startup, "/").Code)
		assert.Equal(t, http.StatusOK, ask(t, live, "/").Code)
		f.fail(nil)
		time.Sleep(20 * time.Second)
		assert.Equal(t, http.StatusOK, ask(t, startup, "/").Code)
		f.fail(errDown)
		time.Sleep(time.Hour)
		assert.Equal(t, http.StatusServiceUnavailable, ask(t, ready, "/").Code)
		assert.Equal(t, http.StatusOK, ask(t, startup, "/").Code, "an outage of later restarts nothing")
	})

	bubble(t, "the first caller waits for the first result, for so long and no longer", func(t *testing.T) {
		for takes, want := range map[time.Duration]int{
			400 * time.Millisecond: http.StatusOK, 4 * time.Second: http.StatusServiceUnavailable,
		} {
			f := new(fake)
			f.slow(takes)
			c := single(t, healthcheck.Check{Probe: f.probe, Timeout: 9 * time.Second, Impact: healthcheck.Critical})
			begun := time.Now()
			assert.Equal(t, want, ask(t, c.Handler(healthcheck.Ready), "/").Code)
			assert.Equal(t, min(takes, healthcheck.DefaultMaxWait), time.Since(begun))
		}
	})

	bubble(t, "what is not started is not ready, and lives", func(t *testing.T) {
		c := healthcheck.MustNew(healthcheck.Config{})
		c.MustAdd(name, healthcheck.Check{Probe: passing})
		assert.Equal(t, http.StatusServiceUnavailable, ask(t, c.Handler(healthcheck.Ready), "/").Code)
		assert.Equal(t, http.StatusServiceUnavailable, ask(t, c.Handler(healthcheck.Startup), "/").Code)
		assert.Equal(t, http.StatusOK, ask(t, c.Handler(healthcheck.Live), "/").Code)
		start(t, c)
		assert.Equal(t, http.StatusOK, ask(t, c.Handler(healthcheck.Ready), "/").Code)
	})
}

func TestPitfall11ShutdownOrder(t *testing.T) {
	bubble(t, "readiness first, dependencies last, liveness never", func(t *testing.T) {
		f := new(fake)
		c := single(t, healthcheck.Check{Probe: f.probe, Period: time.Second})
		synctest.Wait()
		ready, live := c.Handler(healthcheck.Ready), c.Handler(healthcheck.Live)
		app := c.InBand(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
		begun := time.Now()
		over := make(chan error)
		closed := 0
		go func() {
			over <- c.Shutdown(t.Context(), nil, 5*time.Second, func(context.Context) error {
				closed++
				assert.Equal(t, 5*time.Second, time.Since(begun))
				return nil
			})
		}()
		for range 5 {
			synctest.Wait()
			assert.Equal(t, http.StatusServiceUnavailable, ask(t, ready, "/").Code)
			assert.Equal(t, http.StatusOK, ask(t, live, "/").Code)
			w := ask(t, app, "/")
			assert.Equal(t, http.StatusNoContent, w.Code, "it serves on")
			assert.Equal(t, "drain", w.Header().Get(healthcheck.HealthHeader))
			assert.Equal(t, "close", w.Header().Get("Connection"))
			time.Sleep(time.Second)
		}
		assert.GreaterOrEqual(t, f.count(), 5, "it probes on as well")
		require.NoError(t, <-over)
		assert.Equal(t, 1, closed)
		probes := f.count()
		time.Sleep(time.Minute)
		assert.Equal(t, probes, f.count())
		assert.Equal(t, http.StatusOK, ask(t, live, "/").Code)
		assert.Equal(t, http.StatusServiceUnavailable, ask(t, ready, "/").Code, "there is no way back")
	})
}

func TestPitfall12LivenessIsOfTheProcessAlone(t *testing.T) {
	bubble(t, "everything that it depends on is down, and it lives", func(t *testing.T) {
		c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{
			name: {Probe: failing, Impact: healthcheck.Critical}, "cache": {Probe: failing},
		})
		synctest.Wait()
		assert.Equal(t, http.StatusOK, ask(t, c.Handler(healthcheck.Live), "/").Code)
		assert.Equal(t, http.StatusServiceUnavailable, ask(t, c.Handler(healthcheck.Ready), "/").Code)
	})

	bubble(t, "what it watches over in itself counts", func(t *testing.T) {
		f := new(fake)
		c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{"worker": {
			Probe: f.probe, Impact: healthcheck.Critical, Groups: []string{healthcheck.Live}, Period: time.Second,
		}})
		synctest.Wait()
		assert.Equal(t, http.StatusOK, ask(t, c.Handler(healthcheck.Live), "/").Code)
		f.fail(errors.New("the worker has not reported"))
		time.Sleep(4 * time.Second)
		assert.Equal(t, http.StatusServiceUnavailable, ask(t, c.Handler(healthcheck.Live), "/").Code)
	})
}

func TestPitfall13GoroutineLeaks(t *testing.T) {
	// That nothing at all is left is what leaving a bubble proves.
	bubble(t, "Close waits for everything", func(t *testing.T) {
		f := new(fake)
		f.slow(400 * time.Millisecond)
		f.fail(errDown)
		c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{
			name: {Probe: f.probe}, "lazy": {Probe: f.probe, OnDemand: time.Minute},
		})
		for range 100 {
			go ask(t, c.Handler(healthcheck.Ready), "/")
		}
		time.Sleep(10*time.Minute + 100*time.Millisecond)
		require.NoError(t, c.Close(t.Context()))
		now, _ := f.atOnce()
		assert.Zero(t, now)
	})

	bubble(t, "and names the probe that hangs", func(t *testing.T) {
		f := new(fake)
		c := single(t, healthcheck.Check{Probe: f.probe})
		f.hang(t)
		time.Sleep(2 * healthcheck.DefaultPeriod) // if it was not too late for the first probe, then the second
		assert.ErrorContains(t, c.Close(expired(t)), name)
	})
}

func TestPitfall14Clock(t *testing.T) {
	bubble(t, "ages are counted from the start, not read off the wall", func(t *testing.T) {
		f := new(fake)
		c := begin(t, healthcheck.Config{Authorize: everybody}, map[string]healthcheck.Check{name: {Probe: f.probe}})
		synctest.Wait()
		at := time.Now()
		require.NoError(t, c.Close(t.Context()))
		time.Sleep(7 * time.Second)
		assert.Equal(t, 7*time.Second, shot(t, c, name).Age)
		body := ask(t, c.Details(), "/").Body.String()
		assert.Contains(t, body, at.UTC().Format(time.RFC3339), "the wall is for people")
	})
}

func TestPitfall15Jitter(t *testing.T) {
	bubble(t, "a fleet spreads out, and looks sooner while it fails", func(t *testing.T) {
		const fleet, period = 50, 10 * time.Second
		all := make([]*fake, fleet)
		for i := range all {
			all[i] = new(fake)
			single(t, healthcheck.Check{Probe: all[i].probe, Period: period})
		}
		synctest.Wait()
		for _, f := range all {
			require.Positive(t, f.count(), "the first at once")
			f.fail(errDown)
		}
		time.Sleep(3 * period)
		seconds := make(map[time.Duration]bool)
		for _, f := range all {
			pauses := f.pauses()
			require.GreaterOrEqual(t, len(pauses), 4)
			seconds[pauses[0].Truncate(time.Second)] = true
			next := slices.IndexFunc(pauses[1:], func(pause time.Duration) bool { return pause <= period/8 })
			require.GreaterOrEqual(t, next, 0, "it looks sooner than after a period")
			assert.LessOrEqual(t, pauses[next+2], period/4)
			assert.Greater(t, pauses[next+2], period/8)
		}
		assert.Greater(t, len(seconds), 5, "of the 10 seconds of the period, those in which somebody probes")
	})
}

func TestPitfall16Overload(t *testing.T) {
	bubble(t, "the answer about health takes no slot, no lock and no probe", func(t *testing.T) {
		f := new(fake)
		c := single(t, healthcheck.Check{Probe: f.probe, OnDemand: time.Hour})
		slots := make(chan struct{}, 1)
		slots <- struct{}{} // the service is full
		mux := http.NewServeMux()
		mux.Handle("GET /readyz", c.Handler(healthcheck.Ready))
		mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
			select {
			case slots <- struct{}{}:
			default:
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		begun := time.Now()
		for range 1000 {
			assert.Equal(t, http.StatusOK, ask(t, mux, "/readyz").Code)
		}
		assert.Equal(t, http.StatusServiceUnavailable, ask(t, mux, "/").Code)
		assert.Zero(t, time.Since(begun))
		assert.Equal(t, 1, f.count())
	})
}

// TestPitfall18CancelsAreNeutral: net/http returns the cause of a canceled context, which
// need not look like a cancellation. That of a hedge that lost is one.
func TestPitfall18CancelsAreNeutral(t *testing.T) {
	bubble(t, "whatever their cause", func(t *testing.T) {
		c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{name: {Impact: healthcheck.Critical}})
		require.NoError(t, c.Feed(name, nil))
		overtaken := errors.New("another attempt was the answer")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(overtaken)
		for range 100 {
			require.NoError(t, c.FeedResponse(ctx, name, nil, overtaken))
		}
		is(t, c, name, healthcheck.Pass)
		for range 100 {
			require.NoError(t, c.FeedResponse(t.Context(), name, nil, overtaken))
		}
		is(t, c, name, healthcheck.Fail, "while nobody has canceled it is an error")
	})
}
