package breaker

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/failsoft/failsoft/internal/keyed"
	"github.com/failsoft/failsoft/internal/outcome"
)

// Call is one call that was let through. It is a value, passed around and kept
// as the caller likes; ending it a second time does nothing.
type Call struct {
	b     *Breaker
	c     *circuit
	f     *flight
	gen   uint64
	begun int64 // ns
	ctx   context.Context
}

// Allow asks to make a call under key. It returns the Call, which must be ended
// by Done or DoneAs, or an *OpenError. ctx is the call's own: its end is the
// caller's, and not held against the circuit.
func (b *Breaker) Allow(ctx context.Context, key string) (Call, error) {
	now := b.now()
	late := b.tooLate(ctx, now) // not under the lock: a context is code of the user's
	c, rules := b.lock(key, now)
	v := c.ask(now, rules, b.cfg.Probe != nil && c.key != keyed.OverflowKey)
	switch {
	case v == refuseAndProbe:
		b.probe(c, now, rules)
		return b.turnAway(ctx, c, key, now, rules)
	case v == refuse:
		return b.turnAway(ctx, c, key, now, rules)
	case late:
		v = passUncounted // it will fail, which says nothing about whom it calls
	}
	call := b.begin(ctx, c, v, now, rules)
	b.unlock(ctx, c)
	return call, nil
}

// tooLate reports whether the caller has left before the call begins.
func (b *Breaker) tooLate(ctx context.Context, now int64) bool {
	if ctx.Done() == nil {
		return false
	}
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && int64(deadline.Sub(b.start)) <= now
}

// begin lets a call pass. Its circuit is locked.
func (b *Breaker) begin(ctx context.Context, c *circuit, v verdict, now int64, rules *Rules) Call {
	f := c.start(now, rules, v)
	return Call{b: b, c: c, f: f, gen: f.gen, begun: now, ctx: ctx}
}

// turnAway refuses a call, unless the circuit is in shadow mode or too many are
// open for any to refuse. It unlocks the circuit.
func (b *Breaker) turnAway(
	ctx context.Context, c *circuit, key string, now int64, rules *Rules,
) (Call, error) {
	refusal := c.refusal(now, rules)
	refusal.Key = key // which may be one of those that share a circuit
	mode, state := c.override.Mode, c.state
	e := Event{
		Kind: Rejected, Key: key, State: state, Cause: c.cause,
		Override: mode, Reason: c.override.reason, Err: refusal,
	}
	b.unlock(ctx, c)
	// A ramp goes on whatever the others do: they come back in the same way.
	if mode == Auto && state != Ramping && b.tooManyOpen(now) {
		e.Kind = Unguarded
	}
	c.mu.Lock()
	var call Call
	passes := mode == Shadow || e.Kind == Unguarded
	if passes {
		call = b.begin(ctx, c, passUncounted, now, rules)
	} else {
		c.counts.Rejected++
	}
	b.unlock(ctx, c)
	b.tell(ctx, e)
	if passes {
		return call, nil
	}
	return Call{}, refusal
}

// Headers says that the answer has begun: a stream may take as long as it likes
// from here on. Calling it is optional.
func (call Call) Headers() {
	if call.f == nil {
		return
	}
	now := call.b.now()
	call.c.mu.Lock()
	if call.f.gen == call.gen {
		call.c.alive(now)
		rules := call.b.advance(call.c, now)
		call.c.headers(call.f, now, rules)
	}
	call.b.unlock(call.ctx, call.c)
}

// Done ends the call with its error, as Config.JudgeError judges it.
func (call Call) Done(err error) {
	if call.f == nil {
		return
	}
	if err == nil {
		call.end(result{outcome: Success})
		return
	}
	hint, _ := outcome.Hint(err)
	call.end(result{outcome: call.b.judgeError(call, err), err: err, hint: hint})
}

// DoneAs ends the call with an outcome.
func (call Call) DoneAs(o Outcome) {
	if call.f == nil {
		return
	}
	if o == ByRule {
		o = Success
	}
	call.end(result{outcome: o})
}

// end ends the call, once. A success that took too long is slow.
func (call Call) end(res result) {
	b, c := call.b, call.c
	now := b.now()
	c.mu.Lock()
	if call.f.gen != call.gen {
		c.mu.Unlock()
		return
	}
	if res.outcome != Failure && res.outcome != Ignored {
		c.alive(now)
	}
	if call.f.probe {
		c.probes.settle(call.f)
	}
	rules := b.advance(c, now)
	if res.outcome == Success && call.slow(now, rules) {
		res.outcome = Slow
	}
	was := c.state
	c.end(call.f, res, now, rules, rand.Float64)
	b.track(was, c.state)
	b.unlock(call.ctx, c)
}

// slow reports whether the call has taken longer than Rules.SlowAfter, to its
// headers or to its end.
func (call Call) slow(now int64, r *Rules) bool {
	if r.SlowAfter == 0 {
		return false
	}
	took := now - call.begun
	if call.f.headers > 0 && !r.SlowBody {
		took = call.f.headers
	}
	return took > int64(r.SlowAfter)
}

// panicked ends the call as a failure, if nothing has ended it before.
func (call Call) panicked() { call.end(result{outcome: Failure, err: errPanicked}) }

// impatient reports whether the caller gave the call less time than would have
// been slow.
func (call Call) impatient() bool {
	slow := call.b.rules.Load().SlowAfter
	deadline, ok := call.ctx.Deadline()
	return ok && slow > 0 && deadline.Sub(call.b.start)-time.Duration(call.begun) < slow
}
