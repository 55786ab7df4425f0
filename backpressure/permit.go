package backpressure

import (
	"context"
	"time"
)

// Permit is the right to make a call. It is a value: copies are the same permit.
// Releasing it twice does nothing. The zero Permit is none.
type Permit struct {
	l     *Limiter
	c     *cell
	slot  int32
	gen   uint32
	class Class
}

// Begin says that the work begins now. It is for who has taken the place before there was
// something to do, such as a consumer that holds it while it waits for a message: that
// wait would look like the latency of calls, and lower the limit. Without it the work
// begins when the call is let in. After the end of the call it does nothing.
//
// The place itself is taken all the time. Who may wait for long, and shares the limit
// with others, gives it back first.
func (p Permit) Begin() {
	if p.l != nil {
		p.c.begin(p.slot, p.gen, p.l.now())
	}
}

// begin makes a call one of those that are let in now, as the limit stands.
func (c *cell) begin(at int32, gen uint32, now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := &c.slots[at]; s.gen == gen && s.held {
		s.start, s.epoch = now, c.calc.epoch
	}
}

// Done ends the call, and says what it tells of load; Release reads that from an error.
func (p Permit) Done(o Outcome) { p.done(context.Background(), o) }

// Release ends the call with what it returned; see Config.JudgeError. ctx is the one
// under which it was made.
func (p Permit) Release(ctx context.Context, err error) {
	if p.l == nil {
		return
	}
	defer p.Done(Ignore) // JudgeError ended the goroutine; otherwise it has been released by then
	p.done(ctx, p.l.judgeError(ctx, err))
}

func (p Permit) done(ctx context.Context, o Outcome) {
	if p.l == nil {
		return
	}
	now := p.l.now()
	reason, ok := p.c.release(p.slot, p.gen, o, now)
	if !ok {
		return
	}
	if reason != Unchanged && p.l.cfg.Observe != nil {
		p.l.tell(ctx, Event{Kind: LimitChanged, Key: p.c.key, Limit: p.c.limitNow(), Reason: reason})
	}
}

// excuse takes time in which the call had to wait for its client out of what it tells
// of load.
func (p Permit) excuse(blocked time.Duration) {
	if p.l != nil && blocked > 0 {
		p.c.excuse(p.slot, p.gen, int64(blocked))
	}
}

// stream makes the call one of the streams, which are limited by themselves.
func (p Permit) stream() {
	if p.l != nil {
		p.c.becomeStream(p.slot, p.gen, p.l.now())
	}
}
