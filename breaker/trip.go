package breaker

import (
	"math"
	"time"
)

// record counts a result in the window and opens the circuit if a rule says so.
func (c *circuit) record(outcome Outcome, now int64, r *Rules, draw func() float64) {
	c.tally.add(outcome, now)
	if outcome == Failure {
		c.failures++
		if c.core.failure() {
			c.open(CauseFailureRate, now, r, draw)
		} else if r.Consecutive != Off && c.failures >= c.least(r.Consecutive) {
			c.open(CauseConsecutive, now, r, draw)
		}
		return
	}
	c.core.success()
	c.lastAnswer = now
	if outcome == Success {
		c.failures = 0
		return
	}
	if outcome == Slow { // overload is no failure, but no success to build on either
		c.failures = 0
	}
	if cause := c.tooMany(outcome, now, r); cause != CauseNone {
		c.open(cause, now, r, draw)
	}
}

// tooMany returns the rule, if any, that results of this kind have met.
func (c *circuit) tooMany(outcome Outcome, now int64, r *Rules) Cause {
	in := c.tally.at(now)
	switch {
	case outcome == Slow && rate(in.slow, in.all(), r.SlowRate, c.least(r.SlowMin)):
		return CauseSlowRate
	case outcome == Overload && r.OverloadRate != Off &&
		rate(in.overload, in.all(), r.OverloadRate, c.least(r.OverloadMin)):
		return CauseOverload
	default:
		return CauseNone
	}
}

// rate reports whether part of total has reached the rate, of at least least.
func rate(part, total int, rate float64, least int) bool {
	return total >= least && float64(part) >= rate*float64(total)-rounding
}

// rounding is what a product of a rate like 0.55 may be off by.
const rounding = 1e-9

// least is the minimum of a rule: a quarter of it in the ramp, when there are
// fewer calls and less patience.
func (c *circuit) least(minimum int) int {
	if c.state != Ramping {
		return minimum
	}
	return (minimum + 3) / 4
}

// checkStalled opens the circuit if too many calls have waited for too long,
// while none has been answered.
func (c *circuit) checkStalled(now int64, r *Rules, draw func() float64) {
	if r.StalledAfter == Off || c.override.freezes() {
		return
	}
	before, least := now-int64(r.StalledAfter), c.least(r.StalledMin)
	if c.lastAnswer <= before && c.flights.stalled(before, c.epoch, least) >= least {
		c.open(CauseStalled, now, r, draw)
	}
}

// judgeProbes leaves the half-open state when the results of probes suffice.
func (c *circuit) judgeProbes(now int64, r *Rules, draw func() float64) {
	needed := int(math.Ceil(r.ProbeRate*float64(r.Probes) - rounding))
	switch {
	case c.probes.good >= needed:
		c.core.reclose()
		c.clear(now)
		if r.Ramp == Off {
			c.to(Closed, now, c.cause)
		} else {
			c.to(Ramping, now, c.cause)
		}
	case c.probes.bad > r.Probes-needed:
		c.open(CauseProbes, now, r, draw)
	}
}

// open begins an open time.
func (c *circuit) open(cause Cause, now int64, r *Rules, draw func() float64) {
	if healthy := now - c.since; c.state == Closed {
		c.opens = max(c.opens-int(healthy/int64(r.HealAfter)), 0)
	}
	bound := r.OpenTime
	for range c.opens {
		if bound = min(2*bound, r.MaxOpenTime); bound == r.MaxOpenTime {
			break
		}
	}
	c.opens = min(c.opens+1, 64)
	// gobreaker does not half-open within the nanosecond in which it opened.
	c.openUntil = max(now+int64(max(time.Duration(draw()*float64(bound)), time.Millisecond)), c.hintUntil)
	c.core.trip()
	c.to(Open, now, cause)
}

// to enters a state. What started before no longer counts.
func (c *circuit) to(state State, now int64, cause Cause) {
	from := c.state
	c.state, c.cause, c.since = state, cause, now
	if from != Ramping || state != Closed { // where the same window goes on
		c.epoch++
		c.flights.forget()
	}
	c.credit = 0
	c.queue(Event{Kind: Changed, From: from, State: state, Cause: cause, Err: c.lastErr, Override: c.override.Mode})
}

// clear empties the window.
func (c *circuit) clear(now int64) {
	c.tally.clear()
	c.failures, c.hintUntil, c.lastAnswer = 0, 0, now
}
