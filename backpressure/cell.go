package backpressure

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// cell is the concurrency limit of one key: how many calls are let in at a time, who
// waits for a place, and for how long that will be. now is the time in nanoseconds
// since the Limiter was made. It starts no goroutine and no timer.
//
// Methods lock; those whose names end in Locked want the lock held.
type cell struct {
	mu  sync.Mutex
	cfg *Config
	key string

	inFlight int
	streams  int
	limit    int // what calc says, as a whole number
	calc     adaptive
	fixed    bool

	slots []slot
	free  []int32

	queues  [classes]queue
	queued  int
	gap     float64 // ns between two places that become free, smoothed
	freed   int64   // when the last one did, or since when all are taken
	latency float64 // ns of a call, smoothed: where no gap is known

	background int64 // when a background call was last let in
	retired    bool  // no longer in the map

	counts Counts
	issued [classes]atomic.Pointer[issued]
}

// slot is the record of a call that was let in. Slots are reused: gen tells the
// present call from those before, so that a Permit released twice changes nothing.
type slot struct {
	gen    uint32
	epoch  uint32
	start  int64
	held   bool
	stream bool
	mute   bool // its latency means nothing
}

// admission is what becomes of a call that asks for a place.
type admission struct {
	slot   int32
	gen    uint32
	waiter *waiter // has to wait for a place, if it is not nil
	reason Refusal // why it is refused, if it is
	after  time.Duration
}

// ask lets a call in, makes it wait, or refuses it. patience is how long it can
// wait, which is nothing for who only tries.
func (c *cell) ask(req *request, now int64, patience time.Duration) admission {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retired {
		return admission{reason: retired}
	}
	if c.hasPlaceLocked(req, now) {
		return c.admitLocked(req.class, now)
	}
	c.calc.asked(true)
	wait := c.waitLocked(req.class, req.share)
	if wait > patience-patience/edge || patience <= 0 {
		return c.refuseLocked(req.class, AtLimit, wait)
	}
	if c.queued >= maxQueued && !c.evictLocked(req.class) {
		return c.refuseLocked(req.class, AtLimit, wait)
	}
	w := &waiter{class: req.class, since: now, ready: make(chan verdict, 1), share: req.share}
	c.queues[req.class.rank()].push(w)
	c.queued++
	return admission{waiter: w}
}

// edge is the part of a caller's patience that a prediction must leave: where it
// would just do, every other one waits in vain.
const edge = 10

// maxQueued bounds memory, should a prediction be wrong; time bounds the queue.
const maxQueued = 10_000

// hasPlaceLocked reports whether a call may start at once: nobody who matters as much
// waits, and its share of the limit is not used up.
func (c *cell) hasPlaceLocked(req *request, now int64) bool {
	if c.queued > 0 && c.aheadLocked(req.class) > 0 {
		return false
	}
	return c.mayStartLocked(req.class, req.share, now)
}

// mayStartLocked reports whether a share of the limit is not used up.
func (c *cell) mayStartLocked(class Class, share float64, now int64) bool {
	return c.inFlight == 0 || float64(c.inFlight) < c.placesLocked(share) ||
		class == Background && c.starvesLocked(now)
}

// placesLocked is how many places a share of the limit is: a call may start in the
// last of them also where that is not a whole one. With a share above 1 that is more
// than the limit.
func (c *cell) placesLocked(share float64) float64 {
	const rounding = 1e-9 // 1.1 is a little more than that
	return float64(c.limit)*share - rounding
}

// starvesLocked reports whether it is time to let a background call in though its
// share is used up: one a second, as long as there is a place at all.
func (c *cell) starvesLocked(now int64) bool {
	return now-c.background >= int64(time.Second) && c.inFlight < c.limit
}

func (c *cell) admitLocked(class Class, now int64) admission {
	c.inFlight++
	if c.inFlight == c.limit { // from now on, and not before, calls wait for places
		c.freed = now
	}
	c.calc.asked(c.inFlight >= c.limit)
	c.counts.Admitted[class]++
	if class == Background {
		c.background = now
	}
	return c.slotLocked(c.calc.epoch, now)
}

// slotLocked writes a call down.
func (c *cell) slotLocked(epoch uint32, now int64) admission {
	var at int32
	if n := len(c.free); n > 0 {
		at, c.free = c.free[n-1], c.free[:n-1]
	} else {
		c.slots = append(c.slots, slot{})
		at = int32(len(c.slots) - 1) //nolint:gosec // bounded by the limit
	}
	s := &c.slots[at]
	s.gen++
	s.epoch, s.start, s.held, s.stream, s.mute = epoch, now, true, false, false
	return admission{slot: at, gen: s.gen}
}

func (c *cell) refuseLocked(class Class, reason Refusal, wait time.Duration) admission {
	c.counts.Refused[class]++
	return admission{reason: reason, after: wait}
}

// release ends a call. It reports false if the permit was released before.
func (c *cell) release(at int32, gen uint32, outcome Outcome, now int64) (changed Reason, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.slots[at]
	if s.gen != gen || !s.held {
		return Unchanged, false
	}
	s.held = false
	s.gen++
	c.free = append(c.free, at)
	if s.stream {
		c.streams--
		return Unchanged, true
	}
	c.inFlight--
	if !s.mute {
		changed = c.sampleLocked(s, outcome, now)
	}
	c.freedLocked(now)
	return changed, true
}

func (c *cell) sampleLocked(s *slot, outcome Outcome, now int64) (changed Reason) {
	took := now - s.start
	if outcome == Success {
		if c.latency == 0 {
			c.latency = float64(took)
		}
		c.latency += 0.05 * (float64(took) - c.latency)
	}
	if !c.fixed {
		if changed = c.calc.done(s.epoch, took, outcome, now); changed != Unchanged {
			c.limit = int(c.calc.limit)
		}
	}
	return changed
}

// freedLocked gives the place that has become free to who waits.
func (c *cell) freedLocked(now int64) {
	if c.queued > 0 || c.inFlight+1 >= c.limit { // otherwise places come faster than calls
		gap := float64(now - c.freed)
		if c.latency > 0 {
			gap = min(gap, c.latency) // what took longer than a call was idleness
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
		a := c.admitLocked(w.class, now)
		w.ready <- verdict{slot: a.slot, gen: a.gen}
	}
}

// nextLocked takes who is to be let in next out of the queues.
func (c *cell) nextLocked(now int64) *waiter {
	for rank := range c.queues {
		q := &c.queues[rank]
		w := q.peek(c.newestFirst())
		if w == nil {
			continue
		}
		if !c.mayStartLocked(w.class, w.share, now) {
			return nil // who comes after does not matter more
		}
		q.remove(w)
		c.queued--
		return w
	}
	return nil
}

func (c *cell) newestFirst() bool { return c.cfg.NewestFirst }

// aheadLocked counts those who would be served before a newcomer of a class.
func (c *cell) aheadLocked(class Class) (n int) {
	for rank := 0; rank <= class.rank(); rank++ {
		n += c.queues[rank].len
	}
	return n
}

// predictLocked is how long a newcomer of the default class would wait.
func (c *cell) predictLocked() time.Duration { return c.waitLocked(Default, shares[Default.rank()]) }

// waitLocked is how long a newcomer of a class would wait that has a share of the
// limit: as many places have to be given back as take its turn, and bring those that
// are in use below its share.
func (c *cell) waitLocked(class Class, share float64) time.Duration {
	places := c.aheadLocked(class) + 1
	if c.newestFirst() {
		places -= c.queues[class.rank()].len
	}
	places += max(c.inFlight-max(int(math.Ceil(c.placesLocked(share))), 1), 0)
	gap := c.gap
	if gap == 0 {
		gap = c.latency / float64(max(c.limit, 1))
	}
	return time.Duration(float64(places) * gap)
}

// evictLocked makes room in a full queue by refusing who matters less.
func (c *cell) evictLocked(class Class) bool {
	for rank := len(c.queues) - 1; rank > class.rank(); rank-- {
		if w := c.queues[rank].peek(true); w != nil {
			c.queues[rank].remove(w)
			c.queued--
			c.counts.Refused[w.class]++
			w.ready <- verdict{refused: true}
			return true
		}
	}
	return false
}

// withdraw takes a waiter that has given up out of its queue. If it has been let in
// meanwhile, its place is in the channel, and the caller's to give back.
func (c *cell) withdraw(w *waiter, now int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !w.queued {
		return false
	}
	c.queues[w.class.rank()].remove(w)
	c.queued--
	c.counts.Refused[w.class]++
	c.serveLocked(now) // who came after it may have a larger share
	return true
}
