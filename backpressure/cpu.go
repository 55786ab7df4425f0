package backpressure

import (
	"math"
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

// cpuGate sheds when goroutines wait for a processor. Under CPU saturation the queue
// is Go's own run queue, before any middleware: the latency that a limiter sees there
// is too late a sign, and averages of CPU time over seconds are later still. How many
// goroutines are runnable is known at once, and costs 50 ns to read.
//
// There is no goroutine that samples: who asks and finds the sample old takes one.
type cpuGate struct {
	threshold float64
	load      func() float64 // of the user's; nil reads the scheduler

	next    atomic.Int64  // when the next sample is due
	shed    atomic.Uint64 // float64: the part of the requests that is refused, [0,mostShed]
	current atomic.Uint64 // float64: the load that requests are

	background trickle

	mu       sync.Mutex
	last     int64
	sample   [1]metrics.Sample
	smoothed float64

	// What is runnable, and no request: shedding does nothing about it.
	others  float64
	slack   float64 // how much that varies by itself
	found   float64 // how much it was when it was found out
	full    int64   // since when as much is shed as can be; 0 if it is not
	backoff int64
	trial   trial
}

// trial is what is seen while the gate is open to see what that does.
type trial struct {
	begun     int64 // 0 if there is none
	before    float64
	low, high float64
	samples   int
}

const (
	sampleEvery = int64(time.Millisecond)
	mostShed    = 0.95 // the rest finds out whether it is over
	// The time in which the load is believed and in which shedding reacts to it.
	loadTime = 5 * time.Millisecond
	shedTime = 50 * time.Millisecond
	// How long as much is shed as can be before the gate is opened for a trial, how
	// long that takes, and how much more load proves that requests are to blame.
	trialAfter, trialMost = int64(time.Second), int64(time.Minute)
	trialTime             = int64(20 * time.Millisecond)
	trialSamples          = 8
	toBlame               = 1.25
)

func (g *cpuGate) init(threshold float64, load func() float64) {
	g.threshold, g.load = threshold, load
	g.sample[0].Name = "/sched/goroutines/runnable:goroutines"
}

// off reports whether the gate is.
func (g *cpuGate) off() bool { return g.threshold == Off }

// passes reports whether a request may go on.
func (g *cpuGate) passes(req *request, now int64) bool {
	if due := g.next.Load(); now >= due && g.next.CompareAndSwap(due, now+sampleEvery) {
		g.take(now)
	}
	shed := math.Float64frombits(g.shed.Load())
	return shed == 0 || place(req.class, req.tenant, req.known) < 1-shed || g.background.passes(req, now)
}

// take samples the load and moves what is shed towards what keeps it at the
// threshold.
func (g *cpuGate) take(now int64) {
	if !g.mu.TryLock() { // nobody waits for a func of the user's that somebody else has called
		return
	}
	defer g.mu.Unlock()
	since := time.Duration(now - g.last)
	if since <= 0 {
		return // it was kept from a processor while others went by; time that runs back blows up the average
	}
	g.last = now
	load := smooth(g.smoothed, g.read(), since, loadTime)
	g.smoothed = load
	if g.others = min(g.others, load+g.slack); load < g.found/2 {
		g.others, g.slack, g.found = 0, 0, 0 // they are done; if some are left another trial will tell
	}
	shed := g.try(load, now)
	if g.trial.begun == 0 {
		// Above the threshold the part that is shed grows by the excess, below it shrinks by
		// what is left: an integral control, which needs no idea of the capacity.
		// One reading is one reading, however long nobody took any.
		excess := min(max((load-g.others-g.slack-g.threshold)/g.threshold, -1), 1)
		if excess > 0 {
			since = min(since, loadTime)
		}
		shed += excess * min(float64(since)/float64(shedTime), 1)
	}
	g.current.Store(math.Float64bits(max(load-g.others-g.slack, 0)))
	g.shed.Store(math.Float64bits(min(max(shed, 0), mostShed)))
}

// try finds out whether requests are to blame when shedding most of them does not
// help: it lets all of them in for a moment. If that makes no difference, it is other
// goroutines that are runnable, and they must not keep the gate shut. It returns what
// is shed meanwhile. (To count no more runnable goroutines than have been let in would
// be simpler, and blind: requests queue for a processor before they get here.)
func (g *cpuGate) try(load float64, now int64) (shed float64) {
	shed = math.Float64frombits(g.shed.Load())
	switch t := &g.trial; {
	case t.begun > 0:
		t.low, t.high = min(t.low, load), max(t.high, load)
		if t.samples++; t.samples < trialSamples || now-t.begun < trialTime {
			return 0
		}
		return g.conclude(load, now)
	case shed < mostShed:
		g.full = 0
		if shed == 0 {
			g.backoff = trialAfter
		}
	case g.full == 0:
		g.full = now
	case now-g.full >= max(g.backoff, trialAfter):
		*t = trial{begun: now, before: load, low: load, high: load}
		return 0
	}
	return shed
}

// conclude ends a trial.
func (g *cpuGate) conclude(load float64, now int64) (shed float64) {
	t := g.trial
	g.trial, g.full = trial{}, now
	if load >= toBlame*t.before {
		g.backoff = min(2*g.backoff, trialMost)
		return mostShed
	}
	g.others, g.slack, g.found = load, 1.5*(t.high-t.low), load // a moment has not seen all of it
	return 0
}

// smooth is the exponential average over a time constant.
func smooth(was, is float64, since, over time.Duration) float64 {
	return is + (was-is)*math.Exp(-float64(since)/float64(over))
}

// read returns how many goroutines per processor wait for it.
func (g *cpuGate) read() float64 {
	if g.load != nil {
		if load := g.load(); load >= 0 && !math.IsInf(load, 1) { // NaN is neither
			return load
		}
		return 0
	}
	metrics.Read(g.sample[:])
	if g.sample[0].Value.Kind() != metrics.KindUint64 {
		return 0 // a runtime without it
	}
	return float64(g.sample[0].Value.Uint64()) / float64(runtime.GOMAXPROCS(0))
}

// pressure is the load as a part of the threshold.
func (g *cpuGate) pressure() float64 {
	if g.off() {
		return 0
	}
	return math.Float64frombits(g.current.Load()) / g.threshold
}
