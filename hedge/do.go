package hedge

import (
	"context"
	"io"
	"time"

	"github.com/failsoft/failsoft/internal/outcome"
	"github.com/failsoft/failsoft/internal/rt"
)

// Do calls fn, and again while it is slow, and returns what the first call of it
// does that returns no error. An error loses to any call that is still running, and
// starts the next one; Config.JudgeError may say otherwise. If all fail, the error
// is that of the first to fail, inside an *Error if there were several.
//
// fn must be good for several calls at once, whatever they write to is theirs, and
// it must honor its context, which ends when another call was faster: the first
// call runs in the caller's goroutine, and Do cannot leave it behind. The context
// also ends when Do returns: read *sql.Rows or a *http.Response inside of fn, do not
// return them. What a call returns that was too late is closed, if it is an
// io.Closer. fn is not called if ctx has ended.
//
// fn learns by Attempt which call it is: that is the way to another host. Over
// HTTP use Transport, whose answers can be read when the call is over.
func Do[T any](
	ctx context.Context, h *Hedger, key string, fn func(context.Context) (T, error),
) (T, error) {
	caller := rt.Caller{Ctx: ctx}
	if err := caller.Ended(time.Now()); err != nil {
		var none T
		return none, err
	}
	l := h.cfg.limits(ctx)
	if l.maxAttempts <= 1 {
		return fn(ctx)
	}
	i := &invocation[T]{fn: fn}
	i.Hedger, i.Caller, i.door, i.key, i.limits = h, caller, i, key, l
	i.start()
	out := i.run()
	i.surface(&out)
	out.end()
	if out.err != nil {
		return out.answer, i.errorOf(&out)
	}
	return out.answer, nil
}

// Run is Do for functions that return only an error.
func (h *Hedger) Run(ctx context.Context, key string, fn func(context.Context) error) error {
	_, err := Do(ctx, h, key, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, fn(ctx)
	})
	return err
}

// invocation is a race of calls of a function.
type invocation[T any] struct {
	race[T]

	fn func(context.Context) (T, error)
}

func (i *invocation[T]) prepare(*lane) {}

func (i *invocation[T]) send(l *lane) (T, error) { return i.fn(l) }

// judge: functions have no status to go by, so that every error fails.
func (i *invocation[T]) judge(_ *lane, _ T, err error) (f facts, host string) {
	if err == nil {
		return facts{judged: Accept}, ""
	}
	f = facts{kind: outcome.OfError(i.Ctx, err)}
	f.hint, f.hinted = outcome.Hint(err)
	if i.cfg.JudgeError != nil {
		f.judged = i.cfg.JudgeError(err)
	}
	if f.judged == ByRule && f.kind != outcome.Canceled {
		f.judged = Fail
	}
	return f, rt.HostOfError(err)
}

// keep: values that came with an error are the caller's to make sense of.
func (i *invocation[T]) keep(*lane, T) {}

func (i *invocation[T]) discard(l *lane, value T) {
	defer l.end()
	if closer, ok := any(value).(io.Closer); ok {
		go func() {
			defer func() { _ = recover() }() // of a nil that has a Close, for one
			_ = closer.Close()
		}()
	}
}

func (i *invocation[T]) frugal(T) bool { return true }
