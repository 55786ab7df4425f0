package breaker

import (
	"context"
	"math/rand/v2"
)

// Set puts the circuit of key under an override, or lifts the one it is under
// (Override{}). The circuit is made if it does not exist: one can be isolated
// before its first call.
func (b *Breaker) Set(key string, o Override) error {
	if err := o.validate(); err != nil {
		return err
	}
	return b.command(key, func(c *circuit, now int64) { c.set(o, now) })
}

// Trip opens the circuit of key now, as if a rule had. It recovers as usual.
func (b *Breaker) Trip(key string) error { return b.command(key, b.trip) }

// Reset closes the circuit of key at once and forgets what it has counted, but
// not its override.
func (b *Breaker) Reset(key string) error { return b.command(key, b.reset) }

// trip is Trip for a circuit that is locked.
func (b *Breaker) trip(c *circuit, now int64) {
	if c.state != Open {
		c.open(CauseManual, now, b.rules.Load(), rand.Float64)
	}
}

// reset is Reset for a circuit that is locked.
func (b *Breaker) reset(c *circuit, now int64) {
	c.core = b.newCore(c)
	c.clear(now)
	c.opens, c.lastErr = 0, nil
	c.epoch++ // what is under way belongs to the time before, in the closed state too
	if c.state != Closed {
		c.to(Closed, now, CauseManual)
	}
}

// command does something to a circuit by hand. The one that keys beyond
// Config.MaxKeys share is commanded by its own name only: a command for one of
// them must not hit them all.
func (b *Breaker) command(key string, do func(c *circuit, now int64)) error {
	now := b.now()
	c, _ := b.lock(key, now)
	if c.key != key {
		b.unlock(context.Background(), c)
		return ErrTooManyKeys
	}
	was := c.state
	do(c, now)
	b.track(was, c.state)
	b.unlock(context.Background(), c)
	return nil
}

func (o Override) validate() error {
	switch {
	case o.Mode > Shadow:
		return bad("Override.Mode is %d, not one of Auto, Isolated, ForceClosed, Shadow", o.Mode)
	case o.TTL < 0 || o.TTL > longest*365:
		return bad("Override.TTL is %v, not from 0 to a year", o.TTL)
	case o.Mode == Auto && o.TTL != 0:
		return bad("Override.TTL is %v, but there is nothing to hold", o.TTL)
	default:
		return nil
	}
}
