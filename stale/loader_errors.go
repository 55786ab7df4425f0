package stale

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrLoaderClosed is what Get returns when there is no value to answer with and
// Close has been called.
var ErrLoaderClosed = errors.New("stale: the Loader is closed")

// errDeaf ends the wait for a load that does not heed its context.
var errDeaf error = deafError{}

type deafError struct{}

func (deafError) Error() string        { return "stale: the load does not heed LoadTimeout" }
func (deafError) Timeout() bool        { return true }
func (deafError) Is(target error) bool { return target == context.DeadlineExceeded }

// LoadError is what Get returns instead of loading a key that has just failed
// several times in a row. It wraps the error of the latest load, and is ErrFailing.
// Policies further out take it for a refusal: nothing was sent, and there is a time
// to come again.
type LoadError struct {
	Err      error
	Failures int           // in a row
	After    time.Duration // until the key is loaded again
}

func (e *LoadError) Error() string {
	return fmt.Sprintf("stale: %d loads in a row failed, try again in %v: %v",
		e.Failures, e.After.Round(time.Millisecond), e.Err)
}

// Is makes every LoadError an ErrFailing.
func (e *LoadError) Is(target error) bool { return target == ErrFailing }

// Unwrap returns the error of the latest load.
func (e *LoadError) Unwrap() error { return e.Err }

// RetryAfter returns how long it takes until the key is loaded again.
func (e *LoadError) RetryAfter() time.Duration { return e.After }

// Unsent reports that this Get has loaded nothing.
func (e *LoadError) Unsent() bool { return true }
