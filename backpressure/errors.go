package backpressure

import (
	"errors"
	"fmt"
	"time"
)

// ErrLimited is what every refusal of a Limiter, a Throttle or a Rate is to errors.Is.
var ErrLimited = errors.New("backpressure: limited")

// Refusal is why a call was not let in.
type Refusal uint8

// The refusals.
const (
	AtLimit       Refusal = iota + 1 // as many calls are under way as may be, and waiting would take too long
	WaitedTooLong                    // it waited for as long as it could, and no place became free
	Displaced                        // it waited, and somebody who matters more came
	CPU                              // too many requests wait for a processor
	TooManyStreams
	Throttled // the server refuses so much that this was not sent
	Paused    // the server has asked to be left alone
	OverRate  // so many calls in so much time are not allowed
	Memory    // what is alive in memory nears GOMEMLIMIT

	retired Refusal = 255 // the cell is gone: ask for another
)

// String returns the refusal in words.
func (r Refusal) String() string {
	return name(r, "unknown", "at limit", "waited too long", "displaced", "cpu", "too many streams", "throttled",
		"paused", "over rate", "memory")
}

// MarshalText makes a Refusal readable in JSON.
func (r Refusal) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// LimitedError is a refusal: the call was not made. Of the fields of an Event, Refusal is
// the same as here, and Reason something else: why a limit has changed.
type LimitedError struct {
	Key     string
	Class   Class
	Refusal Refusal

	// After is when it may be worth trying again: for AtLimit how long the wait for a
	// place is predicted to be, for WaitedTooLong and Displaced the same or as long as
	// the call has waited, whichever is more; 200 ms for CPU and Memory; a third of the
	// Window for Throttled, and for Paused what is left of the pause, or up to twice as
	// much of either; for OverRate until a call is within the limit. 0 is not known.
	//
	// The Retry-After of a Limiter's Handler is this in whole seconds, and so many more,
	// drawn at random, at most: one or two seconds as a rule. That of a Rate is rounded up.
	After time.Duration
}

func (e *LimitedError) Error() string {
	text := fmt.Sprintf("backpressure: %v", e.Refusal)
	if e.Key != "" {
		text = fmt.Sprintf("backpressure: %q: %v", e.Key, e.Refusal)
	}
	if e.After > 0 {
		text += fmt.Sprintf(", try again in %v", e.After.Round(time.Millisecond))
	}
	return text
}

// Is makes every LimitedError an ErrLimited.
func (e *LimitedError) Is(target error) bool { return target == ErrLimited }

// RetryAfter returns when it may be worth trying again.
func (e *LimitedError) RetryAfter() time.Duration { return e.After }

// Unsent reports that the call was not made.
func (e *LimitedError) Unsent() bool { return true }

// Refused reports that it was one of our policies that refused the call.
func (e *LimitedError) Refused() bool { return true }
