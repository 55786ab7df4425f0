package checks

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/healthcheck"
)

// The defaults of Counts.
const (
	DefaultGoroutinesWarn = 10_000
	DefaultGoroutinesFail = 100_000
)

// Counts say how many of something there may be.
type Counts struct {
	// Warn and Fail are the numbers from which on the result is that. Zero means
	// 10,000 and 100,000; or Off.
	Warn, Fail int

	_ struct{}
}

// Goroutines returns a probe that counts the goroutines of this process: it sees a
// leak before memory does.
func Goroutines(limits Counts) Probe {
	t, err := rising("Counts", limits.Warn, limits.Fail, DefaultGoroutinesWarn, DefaultGoroutinesFail)
	if err != nil {
		return misconfigured(err)
	}
	return func(context.Context) healthcheck.Result {
		n := runtime.NumGoroutine()
		return measured(t.atLeast(n), n, "goroutines", fmt.Sprintf("there are %d goroutines", n))
	}
}

// Heartbeat watches a worker of this process: a loop that calls Beat each time
// around. It works by a clock that nobody sets. All methods are safe for concurrent
// use.
type Heartbeat struct {
	ttl  time.Duration
	born time.Time
	last atomic.Int64 // time from born to the last beat, plus one; 0 is none
}

// NewHeartbeat returns a Heartbeat that fails when there was no Beat for ttl. Until
// the first, which has ttl from now on, it warns: nothing has gone wrong, and nothing
// is known to work.
func NewHeartbeat(ttl time.Duration) *Heartbeat { return &Heartbeat{ttl: ttl, born: time.Now()} }

// Beat says that the worker is alive. It costs no more than reading the clock.
func (h *Heartbeat) Beat() {
	now := int64(time.Since(h.born)) + 1
	for { // a beat that was overtaken by a later one must not set it back
		last := h.last.Load()
		if now <= last || h.last.CompareAndSwap(last, now) {
			return
		}
	}
}

// Probe tells how long ago the last beat was. The ttl is all the patience there is to
// be: with it belongs a Check.Fall of 1.
func (h *Heartbeat) Probe(context.Context) healthcheck.Result {
	if h.ttl <= 0 || h.born.IsZero() {
		return failed(wrong("the time to live of a Heartbeat is %v", h.ttl), "the check is misconfigured")
	}
	last := h.last.Load()
	age := time.Since(h.born) - time.Duration(max(0, last-1))
	switch {
	case age < h.ttl && last == 0:
		return healthcheck.Result{Status: healthcheck.Warn, Err: errNoBeat, Public: "no heartbeat yet"}
	case age < h.ttl:
		return passed(seconds(age), "s")
	default:
		public := fmt.Sprintf("no heartbeat for %v", age.Round(time.Millisecond))
		return measured(healthcheck.Fail, seconds(age), "s", public)
	}
}

var errNoBeat = errors.New("checks: no heartbeat yet")
