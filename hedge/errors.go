package hedge

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/failsoft/failsoft/internal/outcome"
)

// Reason is why an attempt was not added to a call that it might have helped.
type Reason uint8

// The reasons.
const (
	allowed       Reason = iota
	OverPercent          // Config.Percent of the calls have been hedged already
	OutOfBudget          // Config.Budget does not pay for another attempt
	TooManyErrors        // more than 20 % of the attempts fail: it is not slowness that ails the server
	Pushback             // the server said 429, or 503 with a Retry-After
	NeverWins            // the last 100 hedges came to nothing
)

// String returns the reason in words.
func (r Reason) String() string {
	return name(r, "allowed", "over percent", "out of budget", "too many errors", "pushback",
		"never wins")
}

// MarshalText makes a Reason readable in JSON, as a value and as a key, and in
// labels: out_of_budget.
func (r Reason) MarshalText() ([]byte, error) {
	return []byte(strings.ReplaceAll(r.String(), " ", "_")), nil
}

// Error is what a call ends with when several attempts failed, none with a
// response, or when its caller left after one had failed and others were on their
// way, of which Tries does not tell. It wraps the error of the first. After a single
// attempt the error is the attempt's own.
type Error struct {
	Tries []Try // in the order in which they failed
	Err   error // the first attempt's to fail, joined with the caller's end where that came after it

	pending bool // another attempt was sent, and what became of it is not known
}

// Try is the record of one failed attempt.
type Try struct {
	Attempt int    // counted from 1
	Host    string // where it went, if known
	Status  int    // of its response, or 0
	Err     error  // or nil, if there was a response
}

func (e *Error) Error() string {
	if len(e.Tries) == 1 {
		return fmt.Sprintf("hedge: 1 attempt: %v", e.Err)
	}
	return fmt.Sprintf("hedge: %d attempts: %v", len(e.Tries), e.Err)
}

// Unwrap returns the first error.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether the first error was a timeout.
func (e *Error) Timeout() bool { return outcome.IsTimeout(e.Err) }

// Host returns where the last attempt that failed went.
func (e *Error) Host() string {
	if len(e.Tries) == 0 {
		return ""
	}
	return e.Tries[len(e.Tries)-1].Host
}

// Unsent reports whether no attempt has reached the server: then the call may be
// repeated further out, whatever its method. One attempt's error alone would not
// tell.
func (e *Error) Unsent() bool {
	if e.pending {
		return false
	}
	for _, try := range e.Tries {
		if try.Err == nil {
			return false
		}
		kind := outcome.OfError(context.Background(), try.Err)
		if kind != outcome.Unsent && kind != outcome.Refused {
			return false
		}
	}
	return len(e.Tries) > 0
}

// RetryAfter returns how long to wait until one of the attempts may be let through,
// if all of them were refused by policies that know; otherwise 0.
func (e *Error) RetryAfter() time.Duration {
	least := time.Duration(0)
	if e.pending {
		return 0
	}
	for _, try := range e.Tries {
		wait, ok := outcome.Hint(try.Err)
		if !ok || outcome.OfError(context.Background(), try.Err) != outcome.Refused {
			return 0
		}
		if least == 0 || wait < least {
			least = wait
		}
	}
	return least
}

// Refused reports whether all attempts were refused.
func (e *Error) Refused() bool {
	for _, try := range e.Tries {
		if outcome.OfError(context.Background(), try.Err) != outcome.Refused {
			return false
		}
	}
	return !e.pending && len(e.Tries) > 0
}

// PanicError is the Err of an Event about an attempt that panicked, or that ended
// its goroutine: then it has no Value.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("hedge: attempt panicked: %v", e.Value) }

// Unwrap returns the value of the panic if that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
