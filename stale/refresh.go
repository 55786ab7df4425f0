package stale

import (
	"context"
	"net/http"
	"time"
)

// refresh fetches an entry anew behind the answer, unless somebody does already, or
// too many others are under way, or the origin has just failed.
func (c *Cache) refresh(x *call) {
	now := time.Now()
	behind := *x // what is found out here is not for the call that is being answered
	if _, ok := behind.fromMark(now); ok || behind.req.Method == http.MethodHead {
		return
	}
	behind.solo = false // nobody waits for it, so that it keeps nobody waiting: one is enough
	name := behind.flightName()
	if c.isFlying(name) || !c.leased(&behind) {
		return
	}
	if _, leads := c.join(&behind, name, true); leads {
		c.counts.refreshes.Add(1)
	}
}

// leased reports whether this process is to refresh an entry, of those that share
// the Store. The lease is for twice as long as it took the last time: too short a
// one costs a request to the origin, too long a one leaves an entry stale that
// lives shorter than it.
func (c *Cache) leased(x *call) bool {
	d := min(max(2*x.stored.Took, time.Second), c.cfg.FetchTimeout)
	return c.store.lease(x.req.Context(), Key{Primary: x.key, Variant: variantID(x.vary, x.stored.Asked)}, d)
}

// isFlying reports whether there is a flight of that name.
func (c *Cache) isFlying(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flights[name] != nil
}

// healthy asks the operator's Healthy.
func (c *Cache) healthy(ctx context.Context) bool {
	return c.guarded(ctx, "Healthy", true, c.cfg.Healthy)
}
