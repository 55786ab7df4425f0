package breaker

import (
	"context"
	"math/rand/v2"
	"time"

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
	now, rules := b.now(), b.rules.Load()
	c := b.lock(key, now)
	v := c.ask(now, rules, b.cfg.Probe != nil)
	if v == refuseAndProbe {
		b.probe(c, now, rules)
	}
	if v == refuse || v == refuseAndProbe {
		return b.turnAway(ctx, c, now, rules)
	}
	call := Call{b: b, c: c, f: c.start(now, rules, v), begun: now, ctx: ctx}
	call.gen = call.f.gen
	b.unlock(ctx, c)
	return call, nil
}

// turnAway refuses a call, unless the circuit is in shadow mode or too many are
// open for any to refuse.
func (b *Breaker) turnAway(ctx context.Context, c *circuit, now int64, rules *Rules) (Call, error) {
	refusal := c.refusal(now)
	e := Event{
		Kind: Rejected, Key: c.key, State: c.state, Cause: c.cause,
		Override: c.override.Mode, Reason: c.override.reason, Err: refusal,
	}
	passes := c.override.Mode == Shadow
	if c.override.Mode == Auto && b.tooManyOpen() {
		passes, e.Kind = true, Unguarded
	}
	var call Call
	if passes {
		call = Call{b: b, c: c, f: c.start(now, rules, passUncounted), begun: now, ctx: ctx}
		call.gen = call.f.gen
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
	defer call.c.mu.Unlock()
	if call.f.gen == call.gen {
		call.c.headers(call.f, now)
	}
}

// Done ends the call with its error, as Config.JudgeError judges it.
func (call Call) Done(err error) {
	if call.f == nil {
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
	now, rules := b.now(), b.rules.Load()
	c.mu.Lock()
	if call.f.gen != call.gen {
		c.mu.Unlock()
		return
	}
	if res.outcome == Success && call.slow(now, rules) {
		res.outcome = Slow
	}
	was := c.state
	c.end(call.f, res, now, rules, rand.Float64())
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

// impatient reports whether the caller gave the call less time than would have
// been slow.
func (call Call) impatient() bool {
	slow := call.b.rules.Load().SlowAfter
	deadline, ok := call.ctx.Deadline()
	return ok && slow > 0 && deadline.Sub(call.b.start)-time.Duration(call.begun) < slow
}
