package breaker

import (
	"errors"
	"time"

	"github.com/sony/gobreaker/v2"
)

// steps is the number of steps in a rolling window.
const steps = 10

// core is sony/gobreaker as this package uses it: the rolling window of
// successes and failures, asked whether to trip at each failure, and the flip
// between closed and open. Its user holds a lock around all methods, and owns
// everything that gobreaker would do by itself with time:
//
//   - A result is given when the call has ended, so that it lands in the window
//     in which it finished. gobreaker's own Execute around a call puts it where
//     the call started, and drops failures that took longer than the window.
//   - The open time is one nanosecond, so that open and half-open are the
//     user's to end.
//   - Rates are taken over successes and failures only: its count of requests
//     includes those under way, its consecutive counts do not outlive a window.
type core struct {
	gb      *gobreaker.CircuitBreaker[struct{}]
	tripped bool
	forced  bool // trip at the next failure, whatever the counts
}

// newCore returns an empty, closed core that asks trip at each failure.
func newCore(window time.Duration, trip func(successes, failures int) bool) *core {
	c := new(core)
	c.gb = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Interval:     window,
		BucketPeriod: window / steps,
		Timeout:      time.Nanosecond,
		MaxRequests:  1,
		ReadyToTrip: func(counts gobreaker.Counts) bool {
			c.tripped = c.forced || trip(int(counts.TotalSuccesses), int(counts.TotalFailures))
			return c.tripped
		},
	})
	return c
}

var errFailure = errors.New("failure")

func succeed() (struct{}, error) { return struct{}{}, nil }
func fail() (struct{}, error)    { return struct{}{}, errFailure }

// success records one.
func (c *core) success() { _, _ = c.gb.Execute(succeed) }

// failure records one and reports whether it has tripped the core.
func (c *core) failure() bool {
	_, _ = c.gb.Execute(fail)
	return c.tripped
}

// trip opens the core, if it has not tripped by itself.
func (c *core) trip() {
	if c.tripped {
		return
	}
	c.forced = true
	_, _ = c.gb.Execute(fail)
	c.forced = false
}

// reclose closes a tripped core, with an empty window. Time must have passed
// since it tripped.
func (c *core) reclose() {
	c.tripped = false
	c.success()
}

// counts returns those of the window as it is now, of a core that has not
// tripped: asking for the state is what makes gobreaker's window roll.
func (c *core) counts() (successes, failures int) {
	c.gb.State()
	counts := c.gb.Counts()
	return int(counts.TotalSuccesses), int(counts.TotalFailures)
}

// tally counts one kind of result over the same window. It starts at any time,
// never goes back, and forgets in steps.
type tally struct {
	step   int64 // ns
	latest int64 // number of the latest step
	counts [steps]int
	total  int
}

func (t *tally) roll(now int64) {
	current := now / t.step
	for n := min(current-t.latest, steps); n > 0; n-- {
		slot := (current - n + 1) % steps
		t.total -= t.counts[slot]
		t.counts[slot] = 0
	}
	t.latest = max(t.latest, current)
}

func (t *tally) add(now int64) {
	t.roll(now)
	t.counts[t.latest%steps]++
	t.total++
}

func (t *tally) sum(now int64) int {
	t.roll(now)
	return t.total
}

func (t *tally) clear() {
	t.counts, t.total = [steps]int{}, 0
}
