package backpressure

import (
	"math"
	"time"
)

// This is the part of cell that is about calls that wait for a place.

// enqueueLocked makes a call wait.
func (c *cell) enqueueLocked(req *request, now int64) *waiter {
	w := &waiter{key: req.key, class: req.class, since: now, ready: make(chan verdict, 1), share: req.share}
	c.queues[req.class.rank()].push(req, w, c.cfg.NewestFirst)
	c.queued++
	return w
}

// freedLocked gives the place that has become free to who waits.
func (c *cell) freedLocked(now int64) {
	if c.queued > 0 || c.inFlight+1 >= c.limit { // otherwise places come faster than calls
		gap := float64(now - c.freed)
		if c.hold > 0 {
			gap = min(gap, c.hold) // what took longer than a call was idleness
		}
		if c.gap == 0 {
			c.gap = gap
		}
		c.gap += 0.1 * (gap - c.gap)
	}
	c.freed = now
	c.serveLocked(now)
}

// serveLocked lets in as many of those who wait as there are places.
func (c *cell) serveLocked(now int64) {
	for c.queued > 0 {
		w := c.nextLocked(now)
		if w == nil {
			return
		}
		c.queues[w.class.rank()].serve(w)
		c.queued--
		a := c.admitLocked(w.class, now)
		w.ready <- verdict{slot: a.slot, gen: a.gen}
	}
}

// nextLocked returns who is to be let in next, if anybody may be.
func (c *cell) nextLocked(now int64) *waiter {
	if w := c.queues[Background.rank()].peek(c.cfg.NewestFirst); w != nil && c.starvesLocked(now) {
		return w // also past a queue of others that never ends
	}
	for rank := range c.queues {
		w := c.queues[rank].peek(c.cfg.NewestFirst)
		if w == nil {
			continue
		}
		if !c.mayStartLocked(w.class, w.share, now) {
			return nil // who comes after does not matter more
		}
		return w
	}
	return nil
}

// waitingLocked counts those who wait and matter as much as a class, or more.
func (c *cell) waitingLocked(class Class) (n int) {
	for rank := 0; rank <= class.rank(); rank++ {
		n += c.queues[rank].len
	}
	return n
}

// beforeLocked counts those who would be served before a newcomer.
func (c *cell) beforeLocked(req *request) int {
	if c.queued == 0 {
		return 0
	}
	q := &c.queues[req.class.rank()]
	return c.waitingLocked(req.class) - q.len + q.before(req, c.cfg.NewestFirst)
}

// predictLocked is how long a newcomer of the default class would wait, of the tenant
// that waits for most, where there are any.
func (c *cell) predictLocked() time.Duration {
	before := c.waitingLocked(Default)
	if c.cfg.NewestFirst {
		before -= c.queues[Default.rank()].len
	}
	return c.turnLocked(before, shares[Default.rank()])
}

// waitLocked is how long a newcomer would wait.
func (c *cell) waitLocked(req *request, now int64) time.Duration {
	wait := c.turnLocked(c.beforeLocked(req), req.share)
	if req.class != Background {
		return wait
	}
	// Or until it gets the one place a second, which goes to those before it first.
	turn := c.background + int64(time.Second)*int64(c.queues[Background.rank()].len+1) - now
	return min(wait, max(time.Duration(turn), c.turnLocked(0, 1)))
}

// turnLocked is how long somebody waits that has so many before it, and a share of the
// limit: as many places have to be given back as take its turn, and bring those that
// are in use below its share.
func (c *cell) turnLocked(before int, share float64) time.Duration {
	places := before + 1 + max(c.inFlight-max(c.wholeLocked(share), 1), 0)
	gap := c.gap
	if gap == 0 {
		gap = c.hold / float64(max(c.limit, 1))
	}
	return time.Duration(float64(places) * gap)
}

// wholeLocked is how many calls a share of the limit lets in.
func (c *cell) wholeLocked(share float64) int { return int(math.Ceil(c.placesLocked(share))) }

// freeLocked is how many more calls like a request would be let in now, one after the
// other, and without a wait.
func (c *cell) freeLocked(req *request, now int64) int {
	if req.stream {
		if c.cfg.MaxStreams == Off {
			return math.MaxInt32
		}
		return max(c.cfg.MaxStreams-c.streams, 0)
	}
	if c.queued > 0 && c.waitingLocked(req.class) > 0 {
		return 0
	}
	free := max(c.wholeLocked(req.share), 1) - c.inFlight
	if free <= 0 && req.class == Background && c.starvesLocked(now) {
		return 1
	}
	return max(free, 0)
}

// evictLocked makes room in a full queue by refusing who matters less, or is of a tenant
// that has more waiters.
func (c *cell) evictLocked(req *request) bool {
	for rank := len(c.queues) - 1; rank > req.class.rank(); rank-- {
		if f := c.queues[rank].longest(); f != nil {
			c.displaceLocked(f)
			return true
		}
	}
	q := &c.queues[req.class.rank()]
	most, own := q.longest(), 0
	if f := q.find(req); f != nil {
		own = f.waiters.Len()
	}
	if most == nil || most.waiters.Len() <= own+1 {
		return false
	}
	c.displaceLocked(most)
	return true
}

// displaceLocked refuses who would be served last of a flow.
func (c *cell) displaceLocked(f *flow) {
	w := f.peek(!c.cfg.NewestFirst)
	c.dropLocked(w)
	w.ready <- verdict{refused: true}
}

// dropLocked takes out of its queue who will not be served.
func (c *cell) dropLocked(w *waiter) {
	c.queues[w.class.rank()].remove(w)
	c.queued--
	c.counts.Refused[w.class]++
}

// withdraw takes a waiter that has given up out of its queue. If it has been let in
// meanwhile, its place is in the channel, and the caller's to give back.
func (c *cell) withdraw(w *waiter, now int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.flow == nil {
		return false
	}
	c.dropLocked(w)
	c.serveLocked(now) // who came after it may have a larger share
	return true
}
