package breaker

import (
	"math"
	"sync"
	"time"
)

// State is what a circuit does with calls.
type State uint8

// The states of a circuit.
const (
	Closed   State = iota // lets calls pass, counts what becomes of them
	Open                  // refuses calls, until its time is over
	HalfOpen              // lets a few probes pass and refuses the rest
	Ramping               // lets a growing part pass, as its probes succeeded
)

// String returns the state's name.
func (s State) String() string { return name(s, "closed", "open", "half-open", "ramping") }

// MarshalText makes a State readable in JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// circuit is the state of one key: when to let a call pass, and what its result
// changes. It starts no timer and reads no clock (only gobreaker inside core
// does); now is the time in nanoseconds since the Breaker was made, draw gives a
// random number in [0,1). What depends on time alone is caught up with by advance,
// which every method that looks at the state calls first.
//
// The lock is held by the callers of all methods here.
type circuit struct {
	mu  sync.Mutex
	key string

	core    *core
	tally   tally
	flights flights

	state      State
	epoch      uint64 // of the state; results of an earlier one do not count
	since      int64  // when the state began
	cause      Cause  // of the latest opening
	lastErr    error  // of the latest failure
	failures   int    // consecutive
	lastAnswer int64  // when it was last seen to be alive
	opens      int    // in a row, without health in between: the backoff's exponent
	openUntil  int64  // in the open state
	hintUntil  int64  // what Retry-After of failed calls asks for

	probes   probes
	probing  uint64  // the epoch in which Config.Probe was started, while it runs
	asked    int64   // when a call last asked to pass, in the half-open state
	credit   float64 // in the ramp: a call passes for each whole one
	override override
	pending  []Event // not told yet
	seq      uint64
	telling  bool // somebody is
	retired  bool // no longer in the map of circuits
	counts   Counts
}

// verdict is what becomes of a call that asks to pass.
type verdict uint8

const (
	pass verdict = iota
	passAsProbe
	passUncounted // against the state, which its result must not touch
	refuse
	refuseAndProbe // its place goes to Config.Probe
)

// advance catches up with what time alone has changed.
func (c *circuit) advance(now int64, r *Rules, draw func() float64) {
	c.expireOverride(now)
	switch c.state {
	case Closed:
		c.checkStalled(now, r, draw)
	case Open:
		if now >= c.openUntil {
			c.to(HalfOpen, c.openUntil, c.cause)
			c.probes = probes{}
		}
	case HalfOpen:
		switch bad, good := c.probes.expire(now); {
		case bad > 0 && c.probing == c.epoch: // Config.Probe hangs, and nobody else asks
			c.open(CauseProbes, now, r, draw)
		case bad+good > 0:
			c.judgeProbes(now, r, draw)
		}
	case Ramping:
		if ended := c.since + int64(r.Ramp); now >= ended {
			c.to(Closed, ended, c.cause)
		}
		c.checkStalled(now, r, draw)
	}
}

// ask says what becomes of a call that wants to pass now. It does not count the
// call as under way; start does. active says that Config.Probe takes the place
// of callers' probes.
func (c *circuit) ask(now int64, r *Rules, active bool) verdict {
	switch c.override.Mode {
	case Isolated:
		return refuse
	case ForceClosed:
		return passUncounted
	case Shadow, Auto:
	}
	switch c.state {
	case Closed:
		return pass
	case HalfOpen:
		c.asked = now
		return c.askProbe(r, active)
	case Ramping:
		if c.credit += c.share(now, r); c.credit >= 1 {
			c.credit--
			return pass
		}
		return refuse
	case Open:
		return refuse
	default:
		return refuse
	}
}

func (c *circuit) askProbe(r *Rules, active bool) verdict {
	switch {
	case active && c.probing == 0:
		return refuseAndProbe
	case active && c.probing == c.epoch, c.probes.full(r.Probes):
		return refuse // a Probe that is stuck since an earlier epoch is given up
	default:
		return passAsProbe
	}
}

// share is the part of the calls that the ramp lets pass by now.
func (c *circuit) share(now int64, r *Rules) float64 {
	const first = 0.1
	return first + (1-first)*float64(now-c.since)/float64(r.Ramp)
}

// start counts a call as under way.
func (c *circuit) start(now int64, r *Rules, v verdict) *flight {
	epoch, probe := c.epoch, v == passAsProbe || v == refuseAndProbe
	if v == passUncounted {
		epoch = never
	}
	f := c.flights.start(now, epoch, probe)
	if probe {
		c.probes.start(f, now+int64(r.ProbeTimeout))
	}
	return f
}

// never is the epoch of calls that do not count.
const never = math.MaxUint64

// alive notes that an answer has come, before time is looked at: it must not be
// the answer itself that finds out for how long there was none.
func (c *circuit) alive(now int64) {
	if c.state == Closed || c.state == Ramping {
		c.lastAnswer = now
	}
}

// headers notes that the headers of f are there: it has not stalled, and if it
// is a probe, another may take its place.
func (c *circuit) headers(f *flight, now int64, r *Rules) {
	if !f.waiting {
		return
	}
	f.headers = max(now-f.start, 1)
	c.lastAnswer = now
	c.flights.arrive(f)
	if r.SlowAfter == 0 || f.headers <= int64(r.SlowAfter) {
		c.probes.arrive(f, now+int64(r.ProbeTimeout))
	}
}

// result is what became of a call, as far as its circuit is concerned.
type result struct {
	outcome Outcome
	err     error
	hint    time.Duration // of a Retry-After, or 0
}

// end takes the result of f. It counts if the circuit is still in the state
// that let the call pass: an answer from before the outage says nothing about
// whether it is over.
func (c *circuit) end(f *flight, res result, now int64, r *Rules, draw func() float64) {
	counts, probe := f.epoch == c.epoch && !f.late, f.probe
	if probe {
		c.probes.end(f)
	}
	c.flights.end(f)
	c.counts.add(res.outcome)
	if !counts || res.outcome == Ignored || c.override.freezes() {
		return
	}
	if res.hint > 0 && res.outcome != Success {
		c.hintUntil = max(c.hintUntil, now+int64(min(res.hint, r.MaxRetryAfter)))
	}
	if res.outcome == Failure && res.err != nil {
		c.lastErr = res.err
	}
	if probe {
		c.probes.add(res.outcome == Success)
		c.judgeProbes(now, r, draw)
		return
	}
	c.record(res.outcome, now, r, draw)
}

// atRest reports whether the circuit is as good as a new one.
func (c *circuit) atRest(now int64, r *Rules) bool {
	if c.override.holds(now) || c.flights.count > 0 || len(c.pending) > 0 {
		return false
	}
	if c.state == Ramping {
		return now >= c.since+int64(r.Ramp)+int64(r.HealAfter)
	}
	if c.state != Closed {
		return !c.troubled(now, r)
	}
	in := c.tally.at(now)
	return in.all() == 0 && (c.opens == 0 || now-c.since >= int64(c.opens)*int64(r.HealAfter))
}

// troubled reports whether the circuit does not work again yet, and not just
// because nobody calls any more what it belongs to: hosts that are gone for good
// leave their circuits as they were.
func (c *circuit) troubled(now int64, r *Rules) bool {
	quiet := c.since // when it was last up to the calls to change its state
	switch c.state {
	case Closed, Ramping:
		return false
	case Open:
		quiet = c.openUntil
	case HalfOpen:
		quiet = max(c.since, c.asked)
	}
	return now < quiet+int64(r.HealAfter)
}

// refusal says why a call does not pass.
func (c *circuit) refusal(now int64, r *Rules) *OpenError {
	e := &OpenError{Key: c.key, State: c.state, Override: c.current(now), Cause: c.cause, Err: c.lastErr}
	switch {
	case e.Override.Mode == Isolated:
		e.After = e.Override.TTL
	case c.state == Open:
		e.After = time.Duration(c.openUntil - now)
	case c.state == HalfOpen:
		e.After = time.Duration(c.probes.nextDeadline(now) - now)
	case c.state == Ramping:
		e.After = time.Duration(c.since-now)/10 + r.Ramp/10 + time.Millisecond // a tenth of what is left
	}
	return e
}
