package hedge

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"time"

	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/internal/rt"
)

// errOvertaken is the context.Cause of attempts that lost.
var errOvertaken = errors.New("hedge: another attempt was the answer")

// lane is the context of one attempt. It embeds a context of that package, so that
// contexts derived from it find the parent they know and need no goroutine to
// watch it, and what an attempt needs besides, so that it is one allocation.
type lane struct {
	attempt.Hedged // canceled when the attempt has lost, or its answer has been read

	cancel   context.CancelCauseFunc
	caller   context.Context
	unbind   func() bool // from the caller's end, in a grace
	gate     *rt.TraceGate
	trigger  Trigger       // of attempts beyond the first
	n        int           // which attempt of its call, counted from 1
	departed bool          // it was sent
	next     *lane         // the attempt that follows from its failure
	told     bool          // how it ended has been reported
	req      *http.Request // of an attempt over HTTP
	body     rt.Body       // here, so that hooking the body allocates nothing
}

// open makes the context of attempt n of a call.
//
// An attempt that may have a grace is not a child of its caller's context, which
// mostly ends with the call: http.Client cancels it when the winner's body has
// been read.
func (l *lane) open(caller context.Context, n int, hosts *attempt.Hosts, grace bool) {
	l.caller, l.n = caller, n
	if grace {
		l.openForGrace(hosts)
		return
	}
	ctx, cancel := context.WithCancelCause(caller)
	l.Hedged, l.cancel = attempt.Hedging(ctx, n, hosts), cancel
}

// openForGrace makes a context that ends with the caller's only until unbind. The
// caller's deadline it keeps: it must come as one, and not as a cancellation.
func (l *lane) openForGrace(hosts *attempt.Hosts) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(l.caller))
	release := context.CancelFunc(func() {})
	if deadline, ok := l.caller.Deadline(); ok {
		ctx, release = context.WithDeadline(ctx, deadline)
	}
	l.Hedged = attempt.Hedging(ctx, l.n, hosts)
	l.cancel = func(cause error) {
		cancel(cause)
		release()
	}
	l.gate = new(rt.TraceGate)
	l.unbind = context.AfterFunc(l.caller, func() {
		if !errors.Is(l.caller.Err(), context.DeadlineExceeded) {
			cancel(context.Cause(l.caller))
		}
	})
}

// Value hides the caller's httptrace hooks from further attempts. They are not
// made to run for several at once, nor after the call is over.
func (l *lane) Value(key any) any {
	value := l.Hedged.Value(key)
	trace, ok := value.(*httptrace.ClientTrace)
	switch {
	case !ok:
		return value
	case l.n > 1:
		return nil
	case l.gate != nil:
		return l.gate.Wrap(trace)
	default:
		return value
	}
}

// lose ends an attempt that another has overtaken, at once or after a grace.
func (l *lane) lose(grace time.Duration) {
	if l.unbind != nil {
		l.unbind()
	}
	if l.caller.Err() != nil {
		l.cancel(context.Cause(l.caller))
		return
	}
	if grace == 0 {
		l.cancel(errOvertaken)
		return
	}
	timer := time.AfterFunc(grace, func() { l.cancel(errOvertaken) })
	context.AfterFunc(l.Context, func() { timer.Stop() }) // it may be done before
}

// leave is for when the call is over: what goes on of it is no longer the
// caller's.
func (l *lane) leave() {
	if l.gate != nil {
		l.gate.Close()
	}
}

// end releases the context.
func (l *lane) end() {
	if l.unbind != nil {
		l.unbind()
	}
	l.cancel(nil)
}

// BodyEnd releases the context when the answer has been read.
func (l *lane) BodyEnd(error) { l.end() }
