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
func newCore(step time.Duration, trip func(successes, failures int) bool) *core {
	c := new(core)
	c.gb = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Interval:     step * steps,
		BucketPeriod: step,
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

// tally counts results of all kinds over the same time as the core, which knows
// two kinds only, and in steps of its own: rates are taken over one tally, never
// over a mixture of both.
type tally struct {
	step   int64 // ns
	latest int64 // number of the latest step
	until  int64 // when it ends
	steps  [steps]results
	sum    results
}

// results are numbers of calls by outcome.
type results struct{ success, failure, slow, overload int }

func (r *results) add(o Outcome, n int) {
	switch o {
	case Failure:
		r.failure += n
	case Slow:
		r.slow += n
	case Overload:
		r.overload += n
	case Success, ByRule, Ignored:
		r.success += n
	}
}

func (r *results) remove(other results) {
	r.success -= other.success
	r.failure -= other.failure
	r.slow -= other.slow
	r.overload -= other.overload
}

func (r *results) all() int { return r.success + r.failure + r.slow + r.overload }

// roll forgets the steps that have left the window by now.
func (t *tally) roll(now int64) {
	if now < t.until {
		return
	}
	current := now / t.step
	for n := min(current-t.latest, steps); n > 0; n-- {
		slot := (current - n + 1) % steps
		t.sum.remove(t.steps[slot])
		t.steps[slot] = results{}
	}
	t.latest = max(t.latest, current)
	t.until = (t.latest + 1) * t.step
}

func (t *tally) add(o Outcome, now int64) {
	t.roll(now)
	t.steps[t.latest%steps].add(o, 1)
	t.sum.add(o, 1)
}

// at returns the results of the window at now.
func (t *tally) at(now int64) results {
	t.roll(now)
	return t.sum
}

func (t *tally) clear() { t.steps, t.sum = [steps]results{}, results{} }
