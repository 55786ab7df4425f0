package backpressure

import (
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
	latency float64 // ns of a call, smoothed
	hold    float64 // ns for which a call holds its place, smoothed: where no gap is known

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
	since  int64 // when it got its place
	start  int64 // of what it tells of load
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
	wait := c.waitLocked(req, now)
	if wait > patience-patience/edge || patience <= 0 {
		return c.refuseLocked(req.class, AtLimit, wait)
	}
	if c.queued >= maxQueued && !c.evictLocked(req) {
		return c.refuseLocked(req.class, AtLimit, wait)
	}
	return admission{waiter: c.enqueueLocked(req, now)}
}

// edge is the part of a caller's patience that a prediction must leave: where it
// would just do, every other one waits in vain.
const edge = 10

// maxQueued bounds memory, should a prediction be wrong; time bounds the queue.
const maxQueued = 10_000

// hasPlaceLocked reports whether a call may start at once: nobody who matters as much
// waits, and its share of the limit is not used up.
func (c *cell) hasPlaceLocked(req *request, now int64) bool {
	if c.queued > 0 && c.waitingLocked(req.class) > 0 {
		return c.passesLocked(req, now)
	}
	return c.mayStartLocked(req.class, req.share, now)
}

// passesLocked reports whether a call may start though others wait that matter more: a
// background call that has its turn.
func (c *cell) passesLocked(req *request, now int64) bool {
	return req.class == Background && c.queues[Background.rank()].len == 0 && c.starvesLocked(now)
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
	s.epoch, s.since, s.start, s.held, s.stream, s.mute = epoch, now, now, true, false, false
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
	if outcome == Success {
		smoothIn(&c.hold, now-s.since)
	}
	if !s.mute {
		changed = c.sampleLocked(s, outcome, now)
	}
	c.freedLocked(now)
	return changed, true
}

func (c *cell) sampleLocked(s *slot, outcome Outcome, now int64) (changed Reason) {
	took := now - s.start
	if took < 0 {
		return Unchanged // excused for longer than it took: it waited for two things at once
	}
	if outcome == Success {
		smoothIn(&c.latency, took)
	}
	if !c.fixed {
		if changed = c.calc.done(s.epoch, took, outcome, now); changed != Unchanged {
			c.limit = int(c.calc.limit)
		}
	}
	return changed
}

// smoothIn moves a mean by a twentieth of what is new about a call.
func smoothIn(mean *float64, ns int64) {
	if *mean == 0 {
		*mean = float64(ns)
	}
	*mean += 0.05 * (float64(ns) - *mean)
}
