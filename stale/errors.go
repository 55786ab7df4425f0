package stale

import (
	"errors"
	"fmt"
	"time"
)

// ErrFailing is what the refusal of a request is to errors.Is whose resource has
// failed repeatedly a moment ago, with nothing stored that could answer.
var ErrFailing = errors.New("stale: the origin is failing")

var (
	errNotCached = errors.New("stale: nothing is stored that may answer, and the client wants nothing else")
	errNoAnswer  = errors.New("stale: the handler or transport ended without an answer")
	errClosed    = errors.New("stale: the Cache was closed")
)

// errFetchTimeout ends a flight that takes too long.
var errFetchTimeout error = fetchTimeoutError{}

type fetchTimeoutError struct{}

func (fetchTimeoutError) Error() string { return "stale: the origin took longer than FetchTimeout" }
func (fetchTimeoutError) Timeout() bool { return true }

// FailingError is a refusal: the request was not sent, because the latest ones for
// the same resource failed.
type FailingError struct {
	Failures int           // in a row; 0 if it was another request's that this one waited for
	After    time.Duration // until the origin is asked again
}

func (e *FailingError) Error() string {
	return fmt.Sprintf("%v, try again in %v", ErrFailing, e.After.Round(time.Millisecond))
}

// Is makes every FailingError an ErrFailing.
func (e *FailingError) Is(target error) bool { return target == ErrFailing }

// RetryAfter returns how long the origin is left alone.
func (e *FailingError) RetryAfter() time.Duration { return e.After }

// Unsent reports that the request was not sent.
func (e *FailingError) Unsent() bool { return true }

// PanicError is a panic, or runtime.Goexit where Value is nil, of a handler or
// transport in a goroutine of the Cache's.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	if e.Value == nil {
		return "stale: the goroutine was ended"
	}
	return fmt.Sprintf("stale: panic: %v", e.Value)
}

// Unwrap returns the value that the panic was with, if it was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
