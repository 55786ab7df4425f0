package breaker

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// ErrOpen is what every refusal by a circuit is to errors.Is, whatever the
// state or override that refuses.
var ErrOpen = errors.New("breaker: circuit open")

// ErrUnknownKey is returned by commands for circuits that do not exist.
var ErrUnknownKey = errors.New("breaker: no such circuit")

// ErrTooManyKeys is returned by commands for a key that has no circuit of its own
// and can get none, because Config.MaxKeys others are in use.
var ErrTooManyKeys = errors.New("breaker: too many circuits to make another")

// errPanicked stands for calls that ended by a panic or by runtime.Goexit.
var errPanicked = errors.New("the call panicked")

// Cause is why a circuit opened.
type Cause uint8

// The causes.
const (
	CauseNone        Cause = iota
	CauseFailureRate       // Rules.FailureRate
	CauseSlowRate          // Rules.SlowRate
	CauseOverload          // Rules.OverloadRate
	CauseConsecutive       // Rules.Consecutive
	CauseStalled           // Rules.StalledAfter
	CauseProbes            // the probes failed
	CauseManual            // Breaker.Trip
)

// String returns the cause in words.
func (c Cause) String() string {
	return name(c, "none", "failure rate", "slow-call rate", "overload", "consecutive failures",
		"stalled calls", "failed probes", "by hand")
}

// MarshalText makes a Cause readable in JSON.
func (c Cause) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// OpenError is a refusal: the call was not made.
type OpenError struct {
	Key      string
	State    State
	Override Override // who isolated the circuit says why
	Cause    Cause    // why it opened
	After    time.Duration
	Err      error // the latest failure before it opened, or nil
}

func (e *OpenError) Error() string {
	if e.Override.Mode == Isolated {
		return strings.TrimSuffix(fmt.Sprintf("breaker: %q is isolated: %s", e.Key, e.Override.Reason), ": ")
	}
	text := fmt.Sprintf("breaker: %q is %v (%v)", e.Key, e.State, e.Cause)
	if e.After > 0 {
		text += fmt.Sprintf(", try again in %v", e.After.Round(time.Millisecond))
	}
	if e.Err != nil {
		text += fmt.Sprintf("; last failure: %v", e.Err)
	}
	return text
}

// Is makes every OpenError an ErrOpen.
func (e *OpenError) Is(target error) bool { return target == ErrOpen }

// RetryAfter returns how long to wait until a call may pass, or 0 if nobody
// knows. Retries wait for it, and do not come back where it is 0.
func (e *OpenError) RetryAfter() time.Duration { return e.After }

// Unsent is always true: the call was not made.
func (e *OpenError) Unsent() bool { return true }

// StatusError is the failure that a status stands for, in events, refusals and
// snapshots. Callers get the response itself.
type StatusError struct{ Status int }

func (e *StatusError) Error() string {
	return fmt.Sprintf("status %d %s", e.Status, http.StatusText(e.Status))
}
