package hedge

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/internal/rt"
)

// race is one call and its attempts: what both doors share. R is what they answer
// with.
//
//	start ─► run ─► attempt 1 ──────► settle ─► await ─► caller
//	          └─ timer ─► attempt 2 ─► settle ───┘
//
// The first attempt runs in the caller's goroutine, so that a call whose answer is
// in time needs no other; the second runs in the timer's. A goroutine whose
// attempt has failed runs the one that follows from that.
type race[R any] struct {
	*Hedger
	rt.Caller

	door   door[R]
	key    string
	cell   *cell
	limits limits
	grace  time.Duration
	aim    aim
	begun  time.Time
	first  lane
	hosts  *attempt.Hosts
	tried  attempt.Hosts // hosts, where nobody further out keeps them

	mu      sync.Mutex
	timer   *time.Timer
	watched atomic.Bool // the tracker is to be told of the first attempt
	fired   bool        // the first attempt has outlived the delay
	back    bool        // the first attempt has come back
	hedges  []*lane     // the attempts beyond the first
	running int         // attempts that are not settled
	over    bool
	outcome result[R]     // when it is over
	best    *result[R]    // of the attempts that failed
	tries   []Try         // likewise
	wake    chan struct{} // closed when it is over; nil while nobody waits
}

// door is what a race asks of what it is for.
type door[R any] interface {
	// prepare makes attempt l ready to be sent. It is called before the call is
	// over, under the race's lock: what belongs to the caller is copied here, and
	// no code of the caller's called.
	prepare(l *lane)
	// send makes the attempt.
	send(l *lane) (R, error)
	// judge collects what there is to know of it, and where it went.
	judge(l *lane, answer R, err error) (f facts, host string)
	// keep puts an answer away that may still be handed over.
	keep(l *lane, answer R)
	// discard puts away what nobody gets, without waiting for it.
	discard(l *lane, answer R)
	// frugal reports whether it costs nothing to cancel what lost to answer.
	frugal(answer R) bool
}

// start begins a call: it counts it and prepares its first attempt.
func (r *race[R]) start() {
	r.begun = time.Now()
	r.cell = r.cells.Get(r.key, r.since(r.begun))
	if r.cfg.Budget != nil {
		r.cfg.Budget.DepositAt(r.Ctx, r.key, r.begun)
	}
	if r.hosts = attempt.Tried(r.Ctx); r.hosts == nil {
		r.hosts = &r.tried
	}
	r.running = 1
	r.first.open(r.Ctx, 1, r.hosts, r.grace > 0)
	r.door.prepare(&r.first)
	if r.limits.delay != AtOnce { // last: the tracker's watch must not be lost in a panic
		r.cell.allowance.add(r.target.share)
		r.aim = r.delay()
	}
}

// delay returns how long to wait for the first attempt.
func (r *race[R]) delay() aim {
	if r.limits.delay > 0 {
		return aim{delay: r.limits.delay}
	}
	found := r.cell.tracker.aim(&r.target)
	if found.delay > 0 {
		r.watched.Store(r.cell.tracker.watch())
	}
	return found
}

// run makes the attempts and returns what came of them.
func (r *race[R]) run() (out result[R]) {
	l := &r.first
	returned := false
	defer func() {
		if returned {
			return
		}
		// An attempt panicked in this goroutine, or ended it. If another is the
		// answer by then, nobody waits for this one any more.
		if over := r.abandon(); over {
			out = r.contain(l, recover())
		}
	}()
	if r.limits.delay == AtOnce {
		r.multicast()
	} else if r.aim.delay > 0 {
		r.mu.Lock() // the timer may fire before it is assigned
		r.timer = time.AfterFunc(r.aim.delay, r.fire)
		r.mu.Unlock()
	}
	if r.grace > 0 {
		go r.work(l) // it may go on when the call is over
		l = nil
	}
	for l != nil {
		l = r.settle(r.attempt(l))
	}
	out = r.await()
	returned = true
	return out
}

// fire is the timer: the delay is over, and there is no answer. What is added
// runs in this goroutine.
func (r *race[R]) fire() {
	l, reason := r.slow()
	switch {
	case reason != allowed:
		r.refuse(Slow, reason)
	case l != nil:
		r.work(l)
	}
}

// slow returns the attempt that is added because those before it are slow.
func (r *race[R]) slow() (*lane, Reason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return nil, allowed
	}
	if !r.fired && !r.back {
		r.observe(true)
	}
	r.fired = true
	now := time.Now()
	if r.full() || r.Ended(now) != nil {
		return nil, allowed
	}
	if reason := r.mayHedge(r.key, r.cell, now); reason != allowed {
		return nil, reason
	}
	l := r.add(Slow)
	if !r.full() {
		r.timer.Reset(r.aim.delay)
	}
	return l, allowed
}

// observe tells the tracker of the first attempt, if it is one that it watches.
func (r *race[R]) observe(outlived bool) {
	if r.watched.Swap(false) {
		r.cell.tracker.observe(outlived, r.aim.level, &r.target)
	}
}

// unwatch ends the watch of a first attempt that has not told.
func (r *race[R]) unwatch() {
	if r.watched.Swap(false) {
		r.cell.tracker.unwatch()
	}
}

// multicast adds all attempts.
func (r *race[R]) multicast() {
	for range r.limits.maxAttempts - 1 {
		if r.isOver() {
			return
		}
		if reason := r.mayMulticast(r.key, r.cell, r.begun); reason != allowed {
			r.refuse(Multicast, reason)
			return
		}
		if l := r.another(); l != nil {
			go r.work(l)
		}
	}
}

// another adds an attempt of a multicast, unless one of the others was faster
// than this loop.
func (r *race[R]) another() *lane {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over || r.full() {
		return nil
	}
	return r.add(Multicast)
}

// full reports whether all attempts have been made. It needs the lock.
func (r *race[R]) full() bool { return 1+len(r.hedges) >= r.limits.maxAttempts }

// add adds an attempt, which has been paid for. It needs the lock.
func (r *race[R]) add(trigger Trigger) *lane {
	l := &lane{trigger: trigger}
	l.open(r.Ctx, 2+len(r.hedges), r.hosts, r.grace > 0)
	r.hedges = append(r.hedges, l)
	r.running++
	r.door.prepare(l)
	return l
}

// await returns the outcome, when it is there or the caller has left.
func (r *race[R]) await() result[R] {
	if wake := r.waiting(); wake != nil {
		select {
		case <-wake:
		case <-r.Ctx.Done():
		case <-r.Cancel:
		}
		r.leave()
	}
	r.dismiss()
	return r.outcome
}

// dismiss lets go of what was for a call that is over.
func (r *race[R]) dismiss() {
	if r.timer != nil {
		r.timer.Stop()
	}
	r.unwatch()
	if r.outcome.lane != &r.first {
		r.first.leave()
	}
}

// waiting returns what is closed when the call is over, or nil if it is.
func (r *race[R]) waiting() chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return nil
	}
	r.wake = make(chan struct{})
	return r.wake
}
