package hedge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// result is what became of an attempt.
type result[R any] struct {
	lane    *lane // nil if there was none: the caller has left
	answer  R
	err     error
	facts   facts
	host    string
	verdict verdict
	crash   *crash
}

// answered reports whether there is an answer, good or bad.
func (res *result[R]) answered() bool { return res.lane != nil && res.err == nil && res.crash == nil }

// end releases the context of the attempt.
func (res *result[R]) end() {
	if res.lane != nil {
		res.lane.end()
	}
}

// step is what follows a failed attempt.
type step uint8

const (
	goOn    step = iota // the call waits for others, or makes another attempt
	ended               // the call is over
	tooLate             // it was over before
)

// settle takes the result of an attempt, and returns the attempt that is made
// next in its goroutine, if any.
func (r *race[R]) settle(res result[R]) *lane {
	if res.crash != nil || res.verdict == accepted {
		r.win(res)
		return nil
	}
	next, follows, refused := r.fail(res)
	switch follows {
	case tooLate:
		r.late(res)
		return nil
	case ended:
		r.lose(nil, 0, res.err)
	case goOn:
		r.door.keep(res.lane, res.answer)
		res.lane.end()
		r.rest(res)
	}
	r.failed(res)
	if refused != allowed {
		r.refuse(Failure, refused)
	}
	return next
}

// win makes a result the outcome, unless there is one.
func (r *race[R]) win(res result[R]) {
	r.mu.Lock()
	first := !r.over
	inTime := res.lane.n == 1 && !r.fired && res.crash == nil
	if first {
		r.finish(res)
	}
	r.mu.Unlock()
	if !first {
		r.late(res)
		return
	}
	if inTime {
		r.learn()
	}
	grace := r.grace
	if grace > 0 && (res.crash != nil || r.door.frugal(res.answer)) {
		grace = 0
	}
	if res.crash != nil {
		r.lose(nil, 0, res.crash.err()) // the panic is the outcome, but nobody has won
		return
	}
	r.lose(res.lane, grace, nil)
}

// learn tells the tracker that the first attempt was in time.
func (r *race[R]) learn() {
	switch {
	case r.limits.delay != 0:
	case r.aim.delay == 0:
		r.cell.tracker.learn(time.Since(r.begun), &r.target)
	default:
		r.observe(false)
	}
}

// fail notes a failed attempt and decides what follows.
func (r *race[R]) fail(res result[R]) (next *lane, follows step, refused Reason) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return nil, tooLate, allowed
	}
	r.tries = append(r.tries, Try{Attempt: res.lane.n, Host: res.host, Status: res.facts.status, Err: res.err})
	if res.lane.n == 1 {
		r.back = true
		r.unwatch()
	}
	res.lane.told = true
	if left := r.Ended(now); left != nil {
		r.finish(r.choose(res, left))
		return nil, ended, allowed
	}
	if res.verdict == failed && !r.full() {
		if refused = r.mayRepeat(r.key, r.cell, now); refused == allowed {
			res.lane.next = r.add(Failure)
			return res.lane.next, goOn, allowed
		}
	}
	if r.running == 1 {
		r.finish(r.choose(res, nil))
		return nil, ended, refused
	}
	return nil, goOn, refused
}

// choose returns the outcome of a call without an acceptable answer, of which res
// is the last attempt: the latest response, or the first error. left is why the
// caller has left, if it has; who canceled a call expects no response.
func (r *race[R]) choose(res result[R], left error) result[R] {
	if left != nil && res.err != nil && !errors.Is(res.err, context.Cause(r.Ctx)) && r.Ctx.Err() != nil {
		res.err = fmt.Errorf("%w (%w)", left, res.err) // who made the context asks for its cause
	}
	switch {
	case res.answered() || r.best == nil:
		return res
	case left == nil || r.best.answered() && !errors.Is(left, context.Canceled):
		return *r.best
	default: // res is how the caller's end looks from below
		res.err = r.after(res.err)
		return res
	}
}

// rest keeps a failed result in case no better one comes. An attempt that is made
// in its place has been counted before.
func (r *race[R]) rest(res result[R]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running--
	if r.over {
		return
	}
	best := r.choose(res, nil)
	r.best = &best
	if r.running == 0 {
		r.finish(best)
	}
}

// finish makes a result the outcome. It needs the lock.
func (r *race[R]) finish(out result[R]) {
	r.over, r.outcome = true, out
	if r.wake != nil {
		close(r.wake)
	}
}

// late takes the result of an attempt that nobody waits for.
func (r *race[R]) late(res result[R]) {
	if res.answered() {
		r.door.discard(res.lane, res.answer)
		return
	}
	res.end()
	if res.crash != nil && res.crash.value != nil {
		r.report(Event{
			Kind: Panicked, Attempt: res.lane.n,
			Err: res.crash.err(),
		})
	}
}

// leave ends a call that its caller does not wait for any longer.
func (r *race[R]) leave() {
	left := r.giveUp()
	if left != nil {
		r.lose(nil, 0, left)
	}
}

// giveUp makes the best there is the outcome and returns why the caller has left,
// or nil if there is an outcome already.
func (r *race[R]) giveUp() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return nil
	}
	left := r.Ended(time.Now())
	if r.best != nil && r.best.answered() && !errors.Is(left, context.Canceled) {
		r.finish(*r.best)
	} else {
		r.finish(result[R]{err: r.after(left)})
	}
	return left
}

// after joins the caller's end with what the attempts had come to before it.
func (r *race[R]) after(left error) error {
	switch {
	case r.best == nil:
		return left
	case r.best.err == nil:
		status := r.best.facts.status
		return fmt.Errorf("%w (after status %d %s)", left, status, http.StatusText(status))
	default:
		return fmt.Errorf("%w (after %w)", left, r.best.err)
	}
}

// lose cancels all attempts but the winner, if there is one, and tells of those
// beyond the first. The call is over.
func (r *race[R]) lose(winner *lane, grace time.Duration, err error) {
	if winner != &r.first && r.outcome.lane != &r.first {
		r.first.lose(grace)
	}
	for _, l := range r.hedges {
		if l != winner && l != r.outcome.lane {
			l.lose(grace)
		}
	}
	for _, l := range r.hedges {
		switch {
		case l.told || !l.departed:
		case l == winner:
			r.won(l)
		default:
			r.lost(l, Event{Err: err})
		}
	}
}

// failed tells of a failed attempt, if it is one that was added.
func (r *race[R]) failed(res result[R]) {
	if res.lane.n > 1 {
		r.lost(res.lane, Event{Status: res.facts.status, Err: res.err})
	}
}

// errorOf returns the error of a call that ended with one: the attempt's own, unless
// there is more to say, or another attempt is on its way of which nothing is known.
func (r *race[R]) errorOf(out *result[R]) error {
	pending := r.departed() > len(r.tries)
	switch {
	case out.verdict == accepted || len(r.tries) == 0:
		return out.err
	case len(r.tries) > 1 || pending || out.lane == nil:
		return &Error{Tries: r.tries, Err: out.err, pending: pending}
	default:
		return out.err
	}
}

// departed returns how many attempts were sent.
func (r *race[R]) departed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 1
	for _, l := range r.hedges {
		if l.departed {
			n++
		}
	}
	return n
}
