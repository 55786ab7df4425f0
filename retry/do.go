package retry

import (
	"context"
	"time"

	"github.com/failsoft/failsoft/internal/outcome"
	"github.com/failsoft/failsoft/internal/rt"
)

// Do calls fn until it returns no error, at most Config.MaxAttempts times and
// within the budget of key. Every error is worth another attempt except one
// marked Permanent, a refusal by a policy of ours that does not say when to come
// back, and the end of ctx; Config.JudgeError may say otherwise.
//
// Whatever fn does may happen more than once. Mark what is an answer rather than
// a failure (sql.ErrNoRows, a violated constraint) as Permanent, or name it in
// JudgeError.
//
// fn must honor its context, which ends after Config.TryTimeout: Do runs it on
// the caller's goroutine and cannot leave it behind. It must also be done with
// its context when it returns, as the context is mostly canceled then: read
// *sql.Rows or a *http.Response inside of fn, do not return them. fn is not called
// if ctx has ended.
//
// What fn returns is returned, the value of the last attempt too when all failed.
// The error is fn's own, with the mark of Permanent if it has one, and inside an
// *Error where that has more to say.
func Do[T any](
	ctx context.Context, r *Retrier, key string, fn func(context.Context) (T, error),
) (T, error) {
	caller := rt.Caller{Ctx: ctx}
	if err := caller.Ended(time.Now()); err != nil {
		var none T
		return none, err
	}
	c := r.begin(caller, key)
	defer c.letGo()
	for {
		value, err := tryFunc(ctx, &c, fn)
		res := c.functionResult(err)
		wait, stop := c.settle(&res)
		var cause error
		if stop == goOn {
			stop, cause = c.pause(&res, wait)
		}
		if stop == goOn {
			stop = c.pay()
		}
		if stop != goOn {
			return value, c.finish(&res, stop, cause)
		}
		ctx = c.mark(c.attempts)
	}
}

// Run is Do for functions that return only an error.
func (r *Retrier) Run(ctx context.Context, key string, fn func(context.Context) error) error {
	_, err := Do(ctx, r, key, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, fn(ctx)
	})
	return err
}

// tryFunc makes one attempt of a function. A value that came without an error
// is good, however late it is.
func tryFunc[T any](
	ctx context.Context, c *call, fn func(context.Context) (T, error),
) (T, error) {
	limit := ownLimit(c.Ctx, c.begun, c.limits.tryTimeout)
	if limit == 0 {
		return fn(ctx)
	}
	ctx, cancel := context.WithDeadlineCause(ctx, c.begun.Add(limit), &TimeoutError{After: limit})
	defer cancel()
	value, err := fn(ctx)
	if err != nil && ctx.Err() != nil && c.Ctx.Err() == nil {
		err = timedOut(limit, err)
	}
	return value, err
}

// functionResult collects what there is to know of an attempt at a function.
// Functions have no status to go by, and whoever passes one to Do means it to be
// repeated.
func (c *call) functionResult(err error) result {
	if err == nil {
		return result{judged: Accept}
	}
	res := result{
		err: err, host: rt.HostOfError(err), kind: outcome.OfError(c.Ctx, err),
		replayable: true, repeatable: true,
	}
	res.hint, _ = outcome.Hint(err)
	if c.cfg.JudgeError != nil {
		res.judged = c.cfg.JudgeError(err)
	}
	switch {
	case isPermanent(err):
		res.judged = Accept
	case res.judged == ByRule && res.kind != outcome.Refused:
		res.judged = Again
	}
	return res
}
