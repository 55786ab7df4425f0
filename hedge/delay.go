package hedge

import (
	"math"
	"sync/atomic"
	"time"
)

// The constants of the tracker, as found by simulation (docs/decisions has the
// table): larger steps follow faster and lie further off in quiet times.
const (
	// gain is the step of the tracker's level, per hedge more than is wanted.
	gain = 0.05

	// A run of outcomes of one kind that chance alone makes this seldom means
	// that the calls have changed, and steps grow as long as it goes on.
	rareSlow = 2e-4 // of first attempts that outlive the delay
	rareFast = 2e-3 // of first attempts that do not

	// leap is how far beyond the delay that an attempt was measured against it
	// may move the level: an attempt that outlived 10 ms says nothing of 40 ms.
	// However many attempts were in flight when a server slowed down, their
	// delays at most double.
	leap = math.Ln2

	// observers is how many first attempts at a time tell the tracker whether they
	// outlived their delay. Those in flight all go by an old delay: with hundreds of
	// them to move it, it would swing between far too short and far too long.
	observers = 16
)

// tracker finds the delay that a share of all first attempts outlives. All that
// it is told is whether one outlived the delay that it had. That is known of every
// attempt, those that are canceled when a hedge wins included; times to the answer
// are not, and a quantile of those that are known comes out too low.
//
//	outlived:  level += gain × (1 − share)
//	in time:   level −= gain × share
//
// where level is the logarithm of the delay. It is at rest just where a share of
// attempts outlives it: it is the integral control of the hedge rate, with what is in
// flight as its dead time. There is no window that a stall could poison.
type tracker struct {
	state    atomic.Uint64 // level and run, see trackerState
	seen     atomic.Int32  // answers in the warm-up
	watching atomic.Int32  // first attempts that will tell
}

// trackerState is what fits in a word: the logarithm of the delay in milliseconds,
// and how many outcomes of one kind there were in a row, fast ones negative.
type trackerState struct {
	level float32
	run   int32
}

func (s trackerState) word() uint64 {
	return uint64(math.Float32bits(s.level))<<32 | uint64(uint32(s.run)) //nolint:gosec // its bits, not its value
}

func stateOf(word uint64) trackerState {
	return trackerState{math.Float32frombits(uint32(word >> 32)), int32(uint32(word))} //nolint:gosec // as above
}

// target is what a tracker is to find: the part of a Config that it needs.
type target struct {
	share            float64 // of first attempts that outlive the delay
	least, most      float64 // levels
	warmup           int32   // answers before the first hedge
	slowRun, fastRun int32   // runs that are rarer than chance
}

func newTarget(percent float64, least, most time.Duration) target {
	share := percent / 100
	return target{
		share: share, least: levelOf(least), most: levelOf(most),
		warmup:  int32(min(max(math.Ceil(1/share), 10), 100)),
		slowRun: rareRun(rareSlow, share), fastRun: rareRun(rareFast, 1-share),
	}
}

// rareRun returns how long a run is that chance makes with the given odds of each
// outcome.
func rareRun(chance, odds float64) int32 {
	switch {
	case odds <= 0:
		return 1
	case odds >= 1:
		return math.MaxInt32
	}
	return int32(math.Ceil(math.Log(chance) / math.Log(odds)))
}

func levelOf(d time.Duration) float64 {
	return math.Log(float64(d) / float64(time.Millisecond))
}

// aim is the delay that a call goes by, and the level that it was.
type aim struct {
	delay time.Duration // 0: there is none
	level float64
}

// aim returns the present delay, or none in the warm-up.
func (t *tracker) aim(to *target) aim {
	if t.seen.Load() < to.warmup {
		return aim{}
	}
	level := float64(stateOf(t.state.Load()).level)
	return aim{max(time.Duration(math.Exp(level)*float64(time.Millisecond)), 1), level}
}

// watch reports whether a first attempt that starts now is to tell the tracker how it
// went. That must not depend on how it will go. It ends with observe or unwatch.
func (t *tracker) watch() bool {
	if t.watching.Add(1) <= observers {
		return true
	}
	t.unwatch()
	return false
}

// unwatch ends the watch of an attempt that does not tell.
func (t *tracker) unwatch() { t.watching.Add(-1) }

// learn is told how long a first attempt took that began in the warm-up. That ends
// with the longest of its times as the level: the quantile that the share is about.
func (t *tracker) learn(took time.Duration, to *target) {
	if t.seen.Load() >= to.warmup {
		return // a straggler: it says what the tracker knows better by now
	}
	level := to.clamp(levelOf(max(took, 1)))
	for {
		old := t.state.Load()
		known := old != 0 // learn leaves a run of 1
		if known && level <= float64(stateOf(old).level) ||
			t.state.CompareAndSwap(old, trackerState{level: float32(level), run: 1}.word()) {
			t.seen.Add(1)
			return
		}
	}
}

// observe is told whether a first attempt that is watched outlived the delay of level
// from.
func (t *tracker) observe(outlived bool, from float64, to *target) {
	t.unwatch()
	for {
		old := t.state.Load()
		if t.state.CompareAndSwap(old, stateOf(old).next(outlived, from, to).word()) {
			return
		}
	}
}

// next is the rule of the tracker.
func (s trackerState) next(outlived bool, from float64, to *target) trackerState {
	level := float64(s.level)
	if outlived {
		s.run = min(max(s.run, 0)+1, math.MaxInt32-1)
		step := gain * (1 - to.share) * doublings(s.run, to.slowRun, 1)
		level = max(level, min(level+step, from+leap))
	} else {
		s.run = max(min(s.run, 0)-1, -math.MaxInt32)
		step := gain * to.share * doublings(-s.run, to.fastRun, 1+to.fastRun/6)
		level = min(level, max(level-step, from-leap))
	}
	s.level = float32(to.clamp(level))
	return s
}

// doublings returns by how much a run that is longer than rare makes steps
// larger: twice, and twice again with every further so many.
func doublings(run, rare, every int32) float64 {
	if run <= rare {
		return 1
	}
	return math.Exp2(float64(min(1+(run-rare-1)/every, 20)))
}

func (to *target) clamp(level float64) float64 { return min(max(level, to.least), to.most) }

// allowance is the bound behind the tracker: a count of hedges that each call
// adds a share to, in millionths, and that holds so many at most. The tracker
// keeps to the share by itself as long as a longer delay means fewer hedges; this
// one also when calls hang.
type allowance struct{ left atomic.Int64 }

const (
	wholeHedge = 1_000_000
	mostSaved  = 60 * wholeHedge // chance needs some: those whose attempts nobody watches are hedged too
)

// add adds what a call pays.
func (a *allowance) add(share float64) { a.put(int64(share * wholeHedge)) }

func (a *allowance) put(pays int64) {
	for {
		left := a.left.Load()
		if left >= mostSaved || a.left.CompareAndSwap(left, min(left+pays, mostSaved)) {
			return
		}
	}
}

// take takes a hedge, if there is one.
func (a *allowance) take() bool {
	for {
		left := a.left.Load()
		if left < wholeHedge {
			return false
		}
		if a.left.CompareAndSwap(left, left-wholeHedge) {
			return true
		}
	}
}

// giveBack returns a hedge that was taken but not sent.
func (a *allowance) giveBack() { a.put(wholeHedge) }
