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
	b.command(key, func(c *circuit, now int64) { c.set(o, now) })
	return nil
}

// Trip opens the circuit of key now, as if a rule had. It recovers as usual.
func (b *Breaker) Trip(key string) {
	b.command(key, func(c *circuit, now int64) {
		if c.state != Open {
			c.open(CauseManual, now, b.rules.Load(), rand.Float64())
		}
	})
}

// Reset closes the circuit of key at once and forgets what it has counted, but
// not its override.
func (b *Breaker) Reset(key string) {
	b.command(key, func(c *circuit, now int64) {
		c.core = b.newCore(c)
		c.clear(now)
		c.opens, c.lastErr = 0, nil
		if c.state != Closed {
			c.to(Closed, now, CauseManual)
		}
	})
}

// command does something to a circuit by hand.
func (b *Breaker) command(key string, do func(c *circuit, now int64)) {
	now := b.now()
	c := b.lock(key, now)
	was := c.state
	do(c, now)
	b.track(was, c.state)
	b.unlock(context.Background(), c)
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
