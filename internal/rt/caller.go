package rt

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Caller is who waits for a call, and knows when nobody does any more. It ends
// with its context, with the context's deadline (whose timer may be late) and
// with Cancel: http.Client.Timeout arrives by the deadline and by Request.Cancel
// both, and the two race.
type Caller struct {
	Ctx    context.Context
	Cancel <-chan struct{} // nil never ends
}

// CallerOf returns the caller of an HTTP request.
func CallerOf(req *http.Request) Caller {
	return Caller{
		Ctx:    req.Context(),
		Cancel: req.Cancel, //nolint:staticcheck // deprecated for callers, but http.Client.Timeout still closes it
	}
}

// Ended returns the reason why the caller has left by now, or nil.
func (c Caller) Ended(now time.Time) error {
	if c.Ctx.Err() != nil {
		return endOf(c.Ctx)
	}
	if deadline, ok := c.Ctx.Deadline(); ok && !now.Before(deadline) {
		return context.DeadlineExceeded
	}
	select {
	case <-c.Cancel:
		return errCancelClosed
	default:
		return nil
	}
}

// Sleep waits for d and returns nil, or returns the reason as soon as the
// caller leaves.
func (c Caller) Sleep(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return c.Ended(time.Now())
	case <-c.Ctx.Done():
		return endOf(c.Ctx)
	case <-c.Cancel:
		return errCancelClosed
	}
}

// errCancelClosed is a context.Canceled for callers that cancel by channel.
var errCancelClosed = fmt.Errorf("request canceled: %w", context.Canceled)

// endOf joins the context's error with its cause: code that asks for
// context.Canceled and code that asks for its own cause both find what they
// look for.
func endOf(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}
