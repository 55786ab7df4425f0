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
	parent := caller
	if n > 1 || grace {
		parent = l.detachTrace()
	}
	if grace {
		l.openForGrace(parent, hosts)
		return
	}
	ctx, cancel := context.WithCancelCause(parent)
	l.Hedged, l.cancel = attempt.Hedging(ctx, n, hosts), cancel
}

// detachTrace keeps the caller's httptrace hooks from further attempts, as they are
// not made to run for several at once; and from a first one that goes on when the call
// is over, then. To hide their value alone does not do: the dialer finds them by
// another, which WithClientTrace sets as well.
func (l *lane) detachTrace() context.Context {
	trace := httptrace.ContextClientTrace(l.caller)
	if trace == nil {
		return l.caller
	}
	hooks := &httptrace.ClientTrace{ConnectStart: func(string, string) {}} // any that the dialer asks for
	if l.n == 1 {
		l.gate = new(rt.TraceGate)
		hooks = l.gate.Wrap(trace)
	}
	return httptrace.WithClientTrace(untraced{l.caller}, hooks)
}

// untraced hides httptrace hooks, or WithClientTrace would call them too.
type untraced struct{ context.Context }

func (u untraced) Value(key any) any {
	value := u.Context.Value(key)
	if _, hooks := value.(*httptrace.ClientTrace); hooks {
		return nil
	}
	return value
}

// openForGrace makes a context that ends with the caller's only until unbind. The
// caller's deadline it keeps: it must come as one, and not as a cancellation.
func (l *lane) openForGrace(parent context.Context, hosts *attempt.Hosts) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(parent))
	release := context.CancelFunc(func() {})
	deadline, timed := l.caller.Deadline()
	if timed {
		ctx, release = context.WithDeadline(ctx, deadline)
	}
	l.Hedged = attempt.Hedging(ctx, l.n, hosts)
	l.cancel = func(cause error) {
		cancel(cause)
		release()
	}
	l.unbind = context.AfterFunc(l.caller, func() {
		if !timed || !errors.Is(l.caller.Err(), context.DeadlineExceeded) {
			cancel(context.Cause(l.caller))
		}
	})
}

// Value hides from further attempts that there ever were httptrace hooks.
func (l *lane) Value(key any) any {
	value := l.Hedged.Value(key)
	if _, hooks := value.(*httptrace.ClientTrace); hooks && l.n > 1 {
		return nil
	}
	return value
}

// number returns which attempt it is. In the goroutine of a call whose attempts are
// all elsewhere there is none.
func (l *lane) number() int {
	if l == nil {
		return 1
	}
	return l.n
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
