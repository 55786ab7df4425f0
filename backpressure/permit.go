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

// Done ends the call.
func (p Permit) Done(o Outcome) { p.done(context.Background(), o) }

// Release ends the call with what it returned; see Config.JudgeError. ctx is the one
// under which it was made.
func (p Permit) Release(ctx context.Context, err error) {
	if p.l == nil {
		return
	}
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
