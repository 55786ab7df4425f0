package checks_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/healthcheck/checks"
)

func TestGoroutines(t *testing.T) {
	bubble(t, "counts them", func(t *testing.T) {
		probe := checks.Goroutines(checks.Counts{})
		before := finds(t, probe, healthcheck.Pass, nil, "").Observed.(int)
		stop := make(chan struct{})
		for range 10 {
			go func() { <-stop }()
		}
		after := finds(t, probe, healthcheck.Pass, nil, "").Observed.(int)
		assert.GreaterOrEqual(t, after, 11)
		assert.GreaterOrEqual(t, after-before, 5, "others come and go")
		close(stop)
	})
	t.Run("thresholds", func(t *testing.T) {
		n := runtime.NumGoroutine()
		assert.Equal(t, healthcheck.Warn, checks.Goroutines(checks.Counts{Warn: 1})(t.Context()).Status)
		res := checks.Goroutines(checks.Counts{Fail: 1})(t.Context())
		assert.Equal(t, healthcheck.Fail, res.Status)
		assert.Regexp(t, `^there are \d+ goroutines$`, res.Public)
		assert.Equal(t, healthcheck.Pass, checks.Goroutines(checks.Counts{Warn: n + 1000, Fail: checks.Off})(t.Context()).Status)
		assert.Equal(t, healthcheck.Pass, checks.Goroutines(checks.Counts{Warn: checks.Off, Fail: n + 1000})(t.Context()).Status)
	})
	t.Run("bad input", func(t *testing.T) {
		refuses(t, checks.Goroutines(checks.Counts{Warn: 20, Fail: 10}), "Counts.Warn is 20, above Fail, 10")
		refuses(t, checks.Goroutines(checks.Counts{Warn: -3, Fail: -2}), "Counts.Warn is -3", "Counts.Fail is -2")
	})
}

func TestHeartbeat(t *testing.T) {
	bubble(t, "a worker must report within its time to live", func(t *testing.T) {
		h := checks.NewHeartbeat(time.Minute)
		finds(t, h.Probe, healthcheck.Warn, nil, "no heartbeat yet")
		time.Sleep(time.Minute - 1)
		finds(t, h.Probe, healthcheck.Warn, nil, "no heartbeat yet")
		time.Sleep(time.Nanosecond)
		finds(t, h.Probe, healthcheck.Fail, 60.0, "no heartbeat for 1m0s")

		h.Beat()
		finds(t, h.Probe, healthcheck.Pass, 0.0, "")
		time.Sleep(time.Minute - 1)
		finds(t, h.Probe, healthcheck.Pass, 60.0, "")
		time.Sleep(time.Nanosecond)
		finds(t, h.Probe, healthcheck.Fail, 60.0, "no heartbeat for 1m0s")
		time.Sleep(12 * time.Second)
		finds(t, h.Probe, healthcheck.Fail, 72.0, "no heartbeat for 1m12s")
		h.Beat()
		time.Sleep(3 * time.Second)
		finds(t, h.Probe, healthcheck.Pass, 3.0, "")
	})
	bubble(t, "a beat at the very beginning is one", func(t *testing.T) {
		h := checks.NewHeartbeat(time.Second)
		h.Beat()
		finds(t, h.Probe, healthcheck.Pass, 0.0, "")
	})
	bubble(t, "beats and probes at the same time", func(t *testing.T) {
		h := checks.NewHeartbeat(time.Second)
		h.Beat()
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 100 {
					time.Sleep(time.Millisecond)
					h.Beat()
					assert.Equal(t, healthcheck.Pass, h.Probe(t.Context()).Status)
				}
			})
		}
		all.Wait()
	})
	t.Run("a beat allocates nothing", func(t *testing.T) {
		h := checks.NewHeartbeat(time.Second)
		assert.Zero(t, testing.AllocsPerRun(100, h.Beat))
	})
	t.Run("bad input", func(t *testing.T) {
		refuses(t, checks.NewHeartbeat(0).Probe, "time to live")
		refuses(t, checks.NewHeartbeat(-time.Second).Probe, "-1s")
		var zero checks.Heartbeat
		zero.Beat()
		refuses(t, zero.Probe, "time to live")
	})
}
