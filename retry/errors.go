package retry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/failsoft/failsoft/internal/outcome"
)

// Reason is why a call was not tried again.
type Reason uint8

// The reasons. Final is the only one that is not a loss.
const (
	goOn              Reason = iota // another attempt follows
	Final                           // the outcome is good, or no other attempt would change it
	OutOfAttempts                   // Config.MaxAttempts were sent
	NotRepeatable                   // the request cannot be sent twice, or must not be
	Refused                         // a policy below refuses, and does not say until when
	RetryAfterTooLong               // asked to wait longer than Config.MaxRetryAfter
	DeadlineTooNear                 // the wait would outlast the caller
	OutOfBudget                     // the budget does not pay for another attempt
	CallerEnded                     // the caller has left
	BodyLost                        // GetBody could not make the body again
)

// String returns the reason in words.
func (r Reason) String() string {
	return name(r, "", "final", "out of attempts", "not repeatable", "refused below",
		"retry-after too long", "deadline too near", "out of budget", "caller ended", "body lost")
}

// MarshalText makes a Reason readable in JSON, as a value and as a key, and in
// labels: out_of_attempts.
func (r Reason) MarshalText() ([]byte, error) {
	return []byte(strings.ReplaceAll(r.String(), " ", "_")), nil
}

// Error is what a call ends with when it failed after more than one attempt. It
// wraps the last attempt's error; a call that ends with a response, of whatever
// status, has no error. After a single attempt the error is the attempt's own,
// unless there is more to say: that the Reason is RetryAfterTooLong,
// DeadlineTooNear, OutOfBudget, Refused, BodyLost, or that the caller left during
// the wait.
type Error struct {
	Reason Reason
	Tries  []Try // in order
	Err    error // the last attempt's, joined with the caller's end where that came after it
}

// Try is the record of one attempt.
type Try struct {
	Number  int           // counted from 1
	Host    string        // where it went, if known
	Status  int           // of its response, or 0
	Err     error         // or nil, if there was a response
	Elapsed time.Duration // to the headers, or to the error
	Wait    time.Duration // between the attempt before and this one
}

func (e *Error) Error() string {
	attempts := "attempts"
	if len(e.Tries) == 1 {
		attempts = "attempt"
	}
	if e.Reason == Final {
		return fmt.Sprintf("retry: %d %s: %v", len(e.Tries), attempts, e.Err)
	}
	return fmt.Sprintf("retry: %d %s, %s: %v", len(e.Tries), attempts, e.Reason, e.Err)
}

// Unwrap returns the last attempt's error.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether the last attempt's error was a timeout. net/http and
// the net package's callers ask for it.
func (e *Error) Timeout() bool { return outcome.IsTimeout(e.Err) }

// Host returns where the last attempt went.
func (e *Error) Host() string {
	if len(e.Tries) == 0 {
		return ""
	}
	return e.Tries[len(e.Tries)-1].Host
}

// Unsent reports whether no attempt has reached the server: then the call may be
// repeated further out, whatever its method. The last attempt alone would not
// tell.
func (e *Error) Unsent() bool {
	for _, try := range e.Tries {
		if try.Err == nil || !unsent(try.Err) {
			return false
		}
	}
	return true
}

func unsent(err error) bool {
	kind := outcome.OfError(context.Background(), err)
	return kind == outcome.Unsent || kind == outcome.Refused
}

// TimeoutError says that an attempt took longer than the Retrier allows, not
// that its caller's time is over. It is a context.DeadlineExceeded to
// errors.Is, and the context.Cause that the attempt sees.
type TimeoutError struct {
	After time.Duration // Config.TryTimeout or BodyIdleTimeout
	Body  bool          // the body was idle; otherwise no headers came
	Err   error         // what the attempt returned, if more than its end
}

func (e *TimeoutError) Error() string {
	what := "no answer"
	if e.Body {
		what = "body idle"
	}
	if e.Err != nil {
		return fmt.Sprintf("retry: %s for %v: %v", what, e.After, e.Err)
	}
	return fmt.Sprintf("retry: %s for %v", what, e.After)
}

// Timeout is always true.
func (e *TimeoutError) Timeout() bool { return true }

// Is makes a TimeoutError a context.DeadlineExceeded, and whatever the attempt
// returned but a cancellation: that was ours, and the caller's code must not
// take it for its own.
func (e *TimeoutError) Is(target error) bool {
	return target == context.DeadlineExceeded ||
		target != context.Canceled && errors.Is(e.Err, target)
}

// As finds what the attempt returned.
func (e *TimeoutError) As(target any) bool { return e.Err != nil && errors.As(e.Err, target) }

// Permanent marks err as one that another attempt cannot mend. The mark stays on
// the error, with the text and the chain of err, so that a Retrier further out
// does not repeat it either. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

func isPermanent(err error) bool {
	_, ok := errors.AsType[*permanentError](err)
	return ok
}
