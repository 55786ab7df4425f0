package retry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/failsoft/failsoft/budget"
	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/internal/outcome"
	"github.com/failsoft/failsoft/internal/rt"
)

// call is one call on its way through its attempts: what both doors share. It
// lives on the stack of its goroutine; only a failure makes it allocate.
type call struct {
	*Retrier
	rt.Caller

	key      string
	limits   limits
	attempts int           // sent so far
	wait     time.Duration // before the latest
	begun    time.Time     // when the latest was sent
	settled  time.Time     // when it was decided what follows it
	claim    budget.Claim  // on the next, while claimed: from the decision until it is sent
	claimed  bool
	try      *try // the latest, if it has a context of its own
	hosts    *attempt.Hosts
	tries    []Try
}

// result is what became of an attempt.
type result struct {
	err        error
	status     int
	host       string
	judged     Outcome
	kind       outcome.Kind
	hint       time.Duration
	replayable bool
	repeatable bool
}

// final reports whether the result needs no further attempt.
func (res *result) final() bool {
	return !facts{judged: res.judged, kind: res.kind, status: res.status}.worthRepeating()
}

// begin starts a call and its first attempt.
func (r *Retrier) begin(caller rt.Caller, key string) call {
	c := call{
		Retrier: r, Caller: caller, key: key,
		limits: r.cfg.limits(caller.Ctx), attempts: 1, begun: time.Now(),
	}
	r.cfg.Budget.DepositAt(caller.Ctx, key, c.begun)
	return c
}

// settle tells what follows an attempt that came back with res: goOn and the
// wait, or why it was the last.
func (c *call) settle(res *result) (wait time.Duration, stop Reason) {
	if c.cfg.Observe == nil && c.attempts == 1 && res.err == nil && res.final() {
		return 0, Final // by far the most calls; they need no clock, no record
	}
	now := time.Now()
	c.settled = now
	c.record(res, now.Sub(c.begun))
	deadline, _ := c.Ctx.Deadline()
	wait, stop = c.cfg.decide(facts{
		attempts: c.attempts, maxAttempts: c.limits.maxAttempts,
		judged: res.judged, kind: res.kind, status: res.status, hint: res.hint,
		replayable: res.replayable, repeatable: res.repeatable || c.limits.repeatable,
		previous: c.wait, now: now, deadline: deadline,
		u: rand.Float64(), v: rand.Float64(), // jitter is no secret
	})
	switch {
	case stop == Final && res.err == nil: // whoever is left, it ends here
	case c.Ended(now) != nil:
		stop = CallerEnded
	case stop == goOn:
		claim, ok := c.cfg.Budget.Claim(c.key)
		if !ok {
			return 0, OutOfBudget
		}
		c.claim, c.claimed = claim, true
	}
	return wait, stop
}

// record remembers the attempt that has just ended, and tells of it.
func (c *call) record(res *result, elapsed time.Duration) {
	c.tell(c.Ctx, Event{
		Kind: Attempted, Key: c.key, Attempt: c.attempts,
		Host: res.host, Status: res.status, Err: res.err, Elapsed: elapsed,
	})
	if res.err == nil && res.final() {
		return // the call ends with this response, not with an *Error
	}
	c.tries = append(c.tries, Try{
		Number: c.attempts, Host: res.host, Status: res.status, Err: res.err,
		Elapsed: elapsed, Wait: c.wait,
	})
}

// abort returns what ends the context of the latest attempt, if that has one of
// its own.
func (c *call) abort() func() {
	if c.try == nil {
		return nil
	}
	return c.try.end
}

// pause waits for the next attempt, counted from the decision to make one. It
// returns goOn, or that the caller has left, and why.
func (c *call) pause(res *result, wait time.Duration) (Reason, error) {
	c.tell(c.Ctx, Event{
		Kind: Waiting, Key: c.key, Attempt: c.attempts,
		Host: res.host, Status: res.status, Err: res.err, Wait: wait,
	})
	c.wait = wait
	wait -= time.Since(c.settled) // discarding the response took some of it
	var ended error
	if wait > 0 {
		ended = c.Sleep(wait)
	} else {
		ended = c.Ended(time.Now())
	}
	if ended != nil {
		return CallerEnded, ended
	}
	return goOn, nil
}

// letGo drops the claim that a call has not paid for in the end, by whatever way
// it ended: a claim that stays would be missing to its key for ever.
func (c *call) letGo() {
	if c.claimed {
		c.claim.Drop()
	}
}

// pay pays for the next attempt, which is about to be sent.
func (c *call) pay() Reason {
	c.claimed = false
	if !c.claim.Withdraw() {
		return OutOfBudget
	}
	c.counts.retries.Add(1)
	c.attempts++
	c.begun = time.Now()
	return goOn
}

// mark returns the context of a further attempt. A first attempt needs no mark,
// so that the hosts are known from what came back.
func (c *call) mark(attempts int) context.Context {
	if c.hosts == nil {
		if c.hosts = attempt.Tried(c.Ctx); c.hosts == nil {
			c.hosts = new(attempt.Hosts)
		}
	}
	c.hosts.Add(c.tries[len(c.tries)-1].Host)
	// Under another Retrier the number goes on from its own, so that it never
	// falls and 1 stays the mark of demand.
	number := attempt.Retry(c.Ctx) + attempts - 1
	return attempt.WithRetry(c.Ctx, number, c.hosts)
}

// finish counts how the call ended and returns its error: the attempt's own
// where there is no more to say, an *Error otherwise. cause is what stopped the
// call after the attempt had ended, or nil.
func (c *call) finish(res *result, stop Reason, cause error) error {
	if stop == Final && c.attempts > 1 && (res.kind == outcome.OK || res.judged == Accept) && res.err == nil {
		c.counts.recovered.Add(1)
	}
	if stop != Final {
		c.counts.stopped[stop].Add(1)
		c.tell(c.Ctx, Event{
			Kind: Stopped, Key: c.key, Attempt: c.attempts, Host: res.host, Status: res.status,
			Err: errors.Join(cause, res.err), Reason: stop,
		})
	}
	switch {
	case res.err == nil && cause == nil:
		return nil
	case cause != nil:
		return &Error{Reason: stop, Tries: c.tries, Err: after(cause, res)}
	case c.attempts == 1 && (stop == Final || stop == OutOfAttempts ||
		stop == NotRepeatable || stop == CallerEnded):
		return res.err
	default:
		return &Error{Reason: stop, Tries: c.tries, Err: res.err}
	}
}

// after joins what stopped a call with what the last attempt had come to.
func after(cause error, res *result) error {
	if res.err == nil {
		return fmt.Errorf("%w (after status %d %s)", cause, res.status, http.StatusText(res.status))
	}
	return fmt.Errorf("%w (after %w)", cause, res.err)
}
