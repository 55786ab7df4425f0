package breaker

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Counts are the calls of a circuit since it is known.
type Counts struct {
	Successes, Failures, Slow, Overload, Ignored uint64
	Rejected                                     uint64
}

func (c *Counts) add(o Outcome) {
	switch o {
	case Success, ByRule:
		c.Successes++
	case Failure:
		c.Failures++
	case Slow:
		c.Slow++
	case Overload:
		c.Overload++
	case Ignored:
		c.Ignored++
	}
}

// CircuitSnapshot is the state of a circuit at one moment, as plain data.
type CircuitSnapshot struct {
	Key      string
	State    State
	Since    time.Time // when the state began
	Cause    Cause     // why it opened the last time
	Override Override
	// RetryAfter is the open time that is left.
	RetryAfter time.Duration
	// Window has the results of the rolling window, where the circuit is closed
	// or ramping.
	Window   Window
	InFlight int
	Counts   Counts
	LastErr  string // of the latest failure
}

// Window is what a circuit has counted in Config.Window.
type Window struct {
	Successes, Failures, Slow, Overload int
	Consecutive                         int // failures, whatever the window
}

// Snapshot is the state of a Breaker at one moment, as plain data.
type Snapshot struct {
	Circuits []CircuitSnapshot // by key
	Open     int               // circuits that are not closed
	// Unguarded says that so many are open that all let calls pass.
	Unguarded bool
	// Overflow is how many calls shared one circuit because there were too many
	// keys.
	Overflow uint64
}

// Snapshot returns the state of all circuits.
func (b *Breaker) Snapshot() Snapshot {
	s := Snapshot{Unguarded: b.tooManyOpen(b.now())}
	see := func(c *circuit) {
		shot := b.see(c)
		if shot.State != Closed {
			s.Open++
		}
		s.Circuits = append(s.Circuits, shot)
	}
	for _, c := range b.circuits.All() {
		see(c)
	}
	shared, served := b.circuits.Overflow()
	if s.Overflow = served; shared != nil {
		see(shared)
	}
	slices.SortFunc(s.Circuits, func(a, b CircuitSnapshot) int { return cmp.Compare(a.Key, b.Key) })
	return s
}

// see returns the state of a circuit now.
func (b *Breaker) see(c *circuit) CircuitSnapshot {
	now := b.now()
	c.mu.Lock()
	b.advance(c, now)
	shot := CircuitSnapshot{
		Key: c.key, State: c.state, Since: b.start.Add(time.Duration(c.since)), Cause: c.cause,
		Override: c.current(now), InFlight: c.flights.count, Counts: c.counts,
	}
	if c.state == Open {
		shot.RetryAfter = time.Duration(c.openUntil - now)
	}
	if c.state == Closed || c.state == Ramping {
		in := c.tally.at(now)
		shot.Window = Window{
			Successes: in.success, Failures: in.failure, Slow: in.slow, Overload: in.overload,
			Consecutive: c.failures,
		}
	}
	lastErr := c.lastErr
	b.unlock(context.Background(), c)
	shot.LastErr = textOf(lastErr) // not under the lock: it is code of the user's
	return shot
}

// textOf returns the text of err, or that it has none.
func textOf(err error) (text string) {
	if err == nil {
		return ""
	}
	defer func() {
		if recover() != nil {
			text = "an error whose Error method panics"
		}
	}()
	return err.Error()
}
