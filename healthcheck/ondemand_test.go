package healthcheck_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
)

const demandTTL = 10 * time.Second

// onDemand returns a Checker with one critical check that is probed on demand, and
// the endpoint that demands it.
func onDemand(t *testing.T, f *fake, cfg healthcheck.Config) (*healthcheck.Checker, http.Handler) {
	t.Helper()
	c := begin(t, cfg, map[string]healthcheck.Check{
		name: {Probe: f.probe, OnDemand: demandTTL, Impact: healthcheck.Critical},
	})
	return c, c.Handler(healthcheck.Ready)
}

func TestOnDemandFirstCaller(t *testing.T) {
	bubble(t, "nobody asks, nothing is probed", func(t *testing.T) {
		f := new(fake)
		c, _ := onDemand(t, f, healthcheck.Config{})
		time.Sleep(24 * time.Hour)
		assert.Zero(t, f.count())
		is(t, c, name, healthcheck.Unknown)
		assert.Zero(t, f.count(), "Status does not ask")
	})

	bubble(t, "waits for the result", func(t *testing.T) {
		for _, want := range []int{http.StatusOK, http.StatusServiceUnavailable} {
			f := new(fake)
			f.slow(300 * time.Millisecond)
			if want != http.StatusOK {
				f.fail(errDown)
			}
			_, h := onDemand(t, f, healthcheck.Config{})
			begun := time.Now()
			assert.Equal(t, want, ask(t, h, "/readyz").Code)
			assert.Equal(t, 300*time.Millisecond, time.Since(begun))
			assert.Equal(t, want, ask(t, h, "/readyz").Code)
			assert.Equal(t, 300*time.Millisecond, time.Since(begun), "the second does not")
			assert.Equal(t, 1, f.count())
		}
	})

	bubble(t, "waits MaxWait at most", func(t *testing.T) {
		f := new(fake)
		f.slow(800 * time.Millisecond)
		_, h := onDemand(t, f, healthcheck.Config{MaxWait: 200 * time.Millisecond})
		begun := time.Now()
		assert.Equal(t, http.StatusServiceUnavailable, ask(t, h, "/readyz").Code, "never pass before a success")
		assert.Equal(t, 200*time.Millisecond, time.Since(begun))
		time.Sleep(600 * time.Millisecond)
		synctest.Wait()
		assert.Equal(t, http.StatusOK, ask(t, h, "/readyz").Code, "the probe went on")
		assert.Equal(t, 800*time.Millisecond, time.Since(begun))
		assert.Equal(t, 1, f.count())
	})

	bubble(t, "and nobody waits for what somebody has waited for in vain", func(t *testing.T) {
		f := new(fake)
		f.slow(800 * time.Millisecond)
		c, h := onDemand(t, f, healthcheck.Config{MaxWait: 200 * time.Millisecond})
		ask(t, h, "/readyz")
		begun := time.Now()
		for _, endpoint := range []http.Handler{h, c.Details()} {
			assert.Equal(t, http.StatusServiceUnavailable, ask(t, endpoint, "/").Code)
		}
		assert.Zero(t, time.Since(begun))
	})

	bubble(t, "waits no longer than a probe that hangs may", func(t *testing.T) {
		f := new(fake)
		c, h := onDemand(t, f, healthcheck.Config{MaxWait: time.Minute})
		f.hang(t)
		begun := time.Now()
		assert.Equal(t, http.StatusServiceUnavailable, ask(t, h, "/readyz").Code)
		assert.Equal(t, healthcheck.DefaultTimeout, time.Since(begun))
		is(t, c, name, healthcheck.Fail)
		assert.Equal(t, http.StatusServiceUnavailable, ask(t, h, "/readyz").Code)
		assert.Equal(t, healthcheck.DefaultTimeout, time.Since(begun), "the next does not wait at all")
	})

	bubble(t, "may leave, and the probe stays", func(t *testing.T) {
		f := new(fake)
		f.slow(400 * time.Millisecond)
		_, h := onDemand(t, f, healthcheck.Config{})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		begun := time.Now()
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/readyz", http.NoBody)
		h.ServeHTTP(httptest.NewRecorder(), r)
		assert.Equal(t, 100*time.Millisecond, time.Since(begun))
		assert.Equal(t, http.StatusOK, ask(t, h, "/readyz").Code)
		assert.Equal(t, 400*time.Millisecond, time.Since(begun))
		assert.Equal(t, 1, f.count())
	})
}

func TestOnDemandOneProbeForAll(t *testing.T) {
	const callers = 1000
	bubble(t, "a thousand cold callers", func(t *testing.T) {
		f := new(fake)
		f.slow(50 * time.Millisecond)
		_, h := onDemand(t, f, healthcheck.Config{})
		begun := time.Now()
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() { assert.Equal(t, http.StatusOK, ask(t, h, "/readyz").Code) })
		}
		wg.Wait()
		assert.Equal(t, 50*time.Millisecond, time.Since(begun))
		assert.Equal(t, 1, f.count())
	})

	bubble(t, "a thousand whenever it is due, for an hour", func(t *testing.T) {
		f := new(fake)
		f.slow(50 * time.Millisecond)
		_, h := onDemand(t, f, healthcheck.Config{})
		ask(t, h, "/readyz")
		for range 100 {
			time.Sleep(demandTTL)
			var wg sync.WaitGroup
			for range callers / 10 {
				wg.Go(func() { ask(t, h, "/readyz") })
			}
			wg.Wait()
			time.Sleep(time.Second)
		}
		_, most := f.atOnce()
		assert.Equal(t, 1, most)
		assert.Equal(t, 101, f.count())
	})

	bubble(t, "for all endpoints that it is in", func(t *testing.T) {
		f := new(fake)
		f.slow(50 * time.Millisecond)
		c, h := onDemand(t, f, healthcheck.Config{Authorize: everybody})
		var wg sync.WaitGroup
		for _, endpoint := range []http.Handler{h, c.Details(), c.Handler(healthcheck.Ready)} {
			for _, accept := range []string{"application/json", "text/plain"} {
				wg.Go(func() { ask(t, endpoint, "/", "Accept", accept) })
			}
		}
		wg.Wait()
		assert.Equal(t, 1, f.count())
	})
}

func TestOnDemandRefresh(t *testing.T) {
	bubble(t, "the last value is the answer while one probe runs", func(t *testing.T) {
		f := new(fake)
		c, h := onDemand(t, f, healthcheck.Config{Authorize: everybody})
		f.find(healthcheck.Result{Observed: "first"})
		assert.Contains(t, ask(t, h, "/readyz").Body.String(), "first")

		f.find(healthcheck.Result{Observed: "second"})
		f.slow(500 * time.Millisecond)
		time.Sleep(demandTTL - 1)
		assert.Contains(t, ask(t, h, "/readyz").Body.String(), "first")
		synctest.Wait()
		assert.Equal(t, 1, f.count(), "1 ns before it is due")
		time.Sleep(time.Nanosecond)
		begun := time.Now()
		for range 100 {
			assert.Contains(t, ask(t, h, "/readyz").Body.String(), "first")
			is(t, c, name, healthcheck.Pass)
		}
		assert.Zero(t, time.Since(begun), "nobody waits")
		synctest.Wait()
		assert.Equal(t, 2, f.count())
		time.Sleep(time.Second)
		assert.Contains(t, ask(t, h, "/readyz").Body.String(), "second")
		assert.Equal(t, 2, f.count())
	})

	bubble(t, "each check by its own time", func(t *testing.T) {
		often, seldom := new(fake), new(fake)
		c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{
			"often":  {Probe: often.probe, OnDemand: demandTTL},
			"seldom": {Probe: seldom.probe, OnDemand: 6 * demandTTL},
		})
		h := c.Handler(healthcheck.Ready)
		for range 60 {
			ask(t, h, "/readyz")
			ask(t, c.Details(), "/health")
			synctest.Wait()
			time.Sleep(demandTTL)
		}
		assert.Equal(t, 60, often.count())
		assert.Equal(t, 10, seldom.count())
	})

	bubble(t, "three failures in a row fail it, as everywhere", func(t *testing.T) {
		f := new(fake)
		_, h := onDemand(t, f, healthcheck.Config{})
		require.Equal(t, http.StatusOK, ask(t, h, "/readyz").Code)
		f.fail(errDown)
		codes := make([]int, 0, 4)
		for range 4 {
			time.Sleep(demandTTL)
			ask(t, h, "/readyz")
			synctest.Wait()
			codes = append(codes, ask(t, h, "/readyz").Code)
		}
		assert.Equal(t, []int{200, 200, 503, 503}, codes)
	})
}

// TestOnDemandAfterIdleness: a result that is too old to say anything is none, and
// the first caller waits as the first ever does.
func TestOnDemandAfterIdleness(t *testing.T) {
	lifetime := 3*demandTTL + healthcheck.DefaultTimeout

	bubble(t, "the first caller waits again", func(t *testing.T) {
		f := new(fake)
		f.slow(300 * time.Millisecond)
		c, h := onDemand(t, f, healthcheck.Config{})
		require.Equal(t, http.StatusOK, ask(t, h, "/readyz").Code)
		time.Sleep(lifetime - 1)
		is(t, c, name, healthcheck.Pass)
		time.Sleep(time.Nanosecond)
		is(t, c, name, healthcheck.Unknown)
		is(t, c, healthcheck.Ready, healthcheck.Unknown)
		time.Sleep(24 * time.Hour)
		assert.Equal(t, 1, f.count())
		begun := time.Now()
		assert.Equal(t, http.StatusOK, ask(t, h, "/readyz").Code)
		assert.Equal(t, 300*time.Millisecond, time.Since(begun))
		assert.Equal(t, 2, f.count())
	})

	bubble(t, "and is told the truth, without Fall", func(t *testing.T) {
		f := new(fake)
		c, h := onDemand(t, f, healthcheck.Config{})
		require.Equal(t, http.StatusOK, ask(t, h, "/readyz").Code)
		f.fail(errDown)
		time.Sleep(24 * time.Hour)
		is(t, c, name, healthcheck.Unknown)
		assert.Equal(t, http.StatusServiceUnavailable, ask(t, h, "/readyz").Code,
			"all that is known is that it is down")
		is(t, c, name, healthcheck.Fail)
	})

	bubble(t, "good news counts at once as well", func(t *testing.T) {
		f := new(fake)
		f.fail(errDown)
		_, h := onDemand(t, f, healthcheck.Config{})
		require.Equal(t, http.StatusServiceUnavailable, ask(t, h, "/readyz").Code)
		f.fail(nil)
		time.Sleep(24 * time.Hour)
		assert.Equal(t, http.StatusOK, ask(t, h, "/readyz").Code)
	})
}
