package retry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/internal/rt"
)

// try is the context of one attempt, with a deadline that holds until the
// headers are there. A deadline of the context package would go on and cut off
// the body of a long download.
//
// It embeds a context of that package all the same: contexts derived from it
// then find the parent they know and need no goroutine to watch it. Its end
// comes as a plain cancellation whose cause is a *TimeoutError, as whoever
// judges contexts below asks for the cause. Functions, which have no headers,
// get a context with an ordinary deadline instead.
type try struct {
	context.Context // canceled when the attempt is over, body included

	cancel   context.CancelCauseFunc
	limit    time.Duration // 0 is none
	deadline time.Time
	state    atomic.Int32
	timer    *time.Timer // nil without a limit
	idle     time.Duration
	body     rt.Body // here, so that hooking the body allocates nothing
}

// The states of a try. The swap from waiting decides whether the headers or
// the deadline came first; both cannot.
const (
	waiting int32 = iota
	arrived
	expired
)

// newTry derives the context of an attempt that begins now. limit is its
// timeout to the headers, idle the one for each Read of its body; 0 is none.
func newTry(ctx context.Context, now time.Time, limit, idle time.Duration) *try {
	t := &try{limit: limit, idle: idle}
	t.Context, t.cancel = context.WithCancelCause(ctx)
	if limit > 0 {
		t.deadline = now.Add(limit)
		t.timer = time.AfterFunc(limit, t.expire)
	}
	return t
}

// ownLimit returns limit, or 0 if the caller's own deadline comes first: then
// its end is the caller's end, and there is nothing for us to time.
func ownLimit(ctx context.Context, now time.Time, limit time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok && !now.Add(limit).Before(deadline) {
		return 0
	}
	return limit
}

// Deadline is the attempt's own until the headers are there, then the caller's.
func (t *try) Deadline() (time.Time, bool) {
	if t.limit > 0 && t.state.Load() != arrived {
		return t.deadline, true
	}
	return t.Context.Deadline()
}

func (t *try) expire() {
	if t.state.CompareAndSwap(waiting, expired) {
		t.cancel(&TimeoutError{After: t.limit})
	}
}

// arrive ends the deadline and reports whether that was in time.
func (t *try) arrive() bool {
	if t.timer != nil {
		t.timer.Stop()
	}
	return t.state.CompareAndSwap(waiting, arrived)
}

// end releases the attempt's context.
func (t *try) end() {
	if t.timer != nil {
		t.timer.Stop()
	}
	t.cancel(nil)
}

// BodyEnd releases the attempt's context when the response has been read.
func (t *try) BodyEnd(error) { t.cancel(nil) }

// roundTrip sends req under the try and leaves it in charge of the response's
// body.
func (t *try) roundTrip(next http.RoundTripper, req *http.Request) (*http.Response, error) {
	over := false
	defer func() { // next panicked, or ended the goroutine
		if !over {
			t.end()
		}
	}()
	resp, err := rt.RoundTrip(next, req.WithContext(t))
	over = true
	inTime := t.arrive()
	switch {
	case err != nil:
		t.end()
		if inTime {
			return nil, err
		}
		return nil, timedOut(t.limit, err)
	case !inTime: // its context has been canceled, so that its body is lost
		_ = resp.Body.Close()
		return nil, &TimeoutError{After: t.limit}
	}
	t.watchIdle(resp)
	rt.OnBodyEnd(resp, &t.body, t)
	return resp, nil
}

// timedOut is the error of an attempt whose time was up.
func timedOut(limit time.Duration, err error) error {
	if _, ours := errors.AsType[*TimeoutError](err); ours {
		return err
	}
	return &TimeoutError{After: limit, Err: err}
}

// watchIdle limits each Read of the response's body to t.idle.
func (t *try) watchIdle(resp *http.Response) {
	_, upgraded := resp.Body.(io.Writer)
	if t.idle > 0 && rt.Readable(resp) && !upgraded {
		resp.Body = &idleBody{ReadCloser: resp.Body, try: t}
	}
}

// idleBody ends the attempt when a Read blocks for too long. A reader that
// takes its time between Reads is not the server's fault.
type idleBody struct {
	io.ReadCloser

	try   *try
	timer *time.Timer // runs during a Read
}

func (b *idleBody) Read(p []byte) (int, error) {
	if b.timer == nil {
		b.timer = time.AfterFunc(b.try.idle, func() {
			b.try.cancel(&TimeoutError{After: b.try.idle, Body: true})
		})
	} else {
		b.timer.Reset(b.try.idle)
	}
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	if timeout, ok := errors.AsType[*TimeoutError](context.Cause(b.try)); ok && timeout.Body {
		return n, timeout
	}
	return n, err
}
