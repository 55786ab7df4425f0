package route

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// What is wrong when a request has not been sent. They are wrapped in a NotSentError.
var (
	ErrNoHosts   = errors.New("no host is known")
	ErrNoPrimary = errors.New("no primary is there to write to, or to read from")
	ErrTLSName   = errors.New("https over a transport that would look for the address in certificates: " +
		"use Transport(nil), or set TLSNameHandled")
	ErrClosed = errors.New("the pool is closed, and never had a host")
)

var errGone = errors.New("the resolver has returned, and is started again")

// NotSentError is a request that was not sent.
type NotSentError struct {
	Service string // the name that it was for
	Err     error
}

func (e *NotSentError) Error() string { return fmt.Sprintf("route: %q: %v", e.Service, e.Err) }

// Unwrap returns what is wrong.
func (e *NotSentError) Unwrap() error { return e.Err }

// Unsent reports that the request was not sent.
func (e *NotSentError) Unsent() bool { return true }

// RetryAfter returns when it may go better: a second from now, as nobody knows, or 0 if
// it never will. Whoever asks for it also learns that this is a refusal, which says
// nothing of the hosts: that nothing can be written is no reason for a breaker to stop
// what reads.
func (e *NotSentError) RetryAfter() time.Duration {
	if errors.Is(e.Err, ErrNoHosts) || errors.Is(e.Err, ErrNoPrimary) {
		return time.Second
	}
	return 0
}

// Timeout reports whether the caller's time was over; http.Client asks the outermost
// error, and no other.
func (e *NotSentError) Timeout() bool { return errors.Is(e.Err, context.DeadlineExceeded) }

// HostError is an error of the transport below, and where it happened.
type HostError struct {
	Addr string
	Err  error
}

func (e *HostError) Error() string { return e.Err.Error() }

// Unwrap returns the error of the transport.
func (e *HostError) Unwrap() error { return e.Err }

// Host returns where the request was sent.
func (e *HostError) Host() string { return e.Addr }

// Timeout reports whether the error is a timeout; http.Client asks the outermost
// error, and no other.
func (e *HostError) Timeout() bool {
	t, ok := e.Err.(interface{ Timeout() bool })
	return ok && t.Timeout()
}

// Temporary reports whether the error says so of itself, as some of package net do.
func (e *HostError) Temporary() bool {
	t, ok := e.Err.(interface{ Temporary() bool })
	return ok && t.Temporary()
}
