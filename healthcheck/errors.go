package healthcheck

import (
	"errors"
	"fmt"
	"time"
)

// The errors of what is called out of order.
var (
	ErrStarted    = errors.New("healthcheck: started already")
	ErrNotStarted = errors.New("healthcheck: not started")
	ErrClosed     = errors.New("healthcheck: closed already")
)

// ErrUnknownName is returned where a name is neither that of a check nor of a
// group.
var ErrUnknownName = errors.New("healthcheck: no such check or group")

// ErrUnhealthy is what every refusal by Require is to errors.Is.
var ErrUnhealthy = errors.New("healthcheck: unhealthy")

// UnhealthyError is a refusal: a request was not served because what it needs is
// down.
type UnhealthyError struct {
	Check string
	Err   error // why; not for the public
	After time.Duration
}

func (e *UnhealthyError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("healthcheck: %q is down", e.Check)
	}
	return fmt.Sprintf("healthcheck: %q is down: %v", e.Check, e.Err)
}

// Is makes every UnhealthyError an ErrUnhealthy.
func (e *UnhealthyError) Is(target error) bool { return target == ErrUnhealthy }

// Unwrap returns why the check failed.
func (e *UnhealthyError) Unwrap() error { return e.Err }

// RetryAfter returns how long to wait until the check may have recovered.
func (e *UnhealthyError) RetryAfter() time.Duration { return e.After }

// StuckError says that a probe did not return in time, and still has not: it does
// not heed its context.
type StuckError struct {
	Check string
	For   time.Duration // since it was started
}

func (e *StuckError) Error() string {
	return fmt.Sprintf("healthcheck: the probe of %q hangs since %v", e.Check, e.For)
}

// Timeout is always true.
func (e *StuckError) Timeout() bool { return true }

// PanicError is the result of a probe that panicked, or ended its goroutine: then
// it has no Value.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("healthcheck: probe panicked: %v", e.Value) }

// Unwrap returns the value of the panic if that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
