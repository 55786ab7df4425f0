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
// goroutines are runnable is known at once, and costs 50 ns to read. With how many
// requests come it tells how long they wait; control makes of it what is to be shed.
//
// There is no goroutine that samples: who asks and finds the sample old takes one.
type cpuGate struct {
	threshold float64
	load      func() float64 // of the user's; nil reads the scheduler
	contain   func(any)      // told of a panic in it

	next    atomic.Int64  // when the next sample is due
	shed    atomic.Uint64 // float64: the part of the requests that is refused, [0,mostShed]
	current atomic.Uint64 // float64: the load that requests are
	pressed atomic.Uint64 // float64: that as a part of what it may be

	background trickle
	traffic    traffic

	mu       sync.Mutex
	control  control
	last     int64
	waits    time.Duration // how long requests wait for a processor
	sample   [1]metrics.Sample
	procs    float64 // how many there are, if it is they that were read
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
	loadTime    = 5 * time.Millisecond // in which the load is believed
	// How long as much is shed as can be before the gate is opened for a trial, how
	// long that takes, and how much more load proves that requests are to blame.
	trialAfter, trialMost = int64(time.Second), int64(time.Minute)
	trialTime             = int64(20 * time.Millisecond)
	trialSamples          = 8
	toBlame               = 1.25
)

func (g *cpuGate) init(threshold float64, load func() float64, contain func(any)) {
	g.threshold, g.load, g.contain = threshold, load, contain
	g.control.threshold = threshold
	g.traffic.spread()
	g.sample[0].Name = "/sched/goroutines/runnable:goroutines"
}

// off reports whether the gate is.
func (g *cpuGate) off() bool { return g.threshold == Off }

// passes reports whether a request may go on.
func (g *cpuGate) passes(req *request, now int64) bool {
	g.traffic.count(req.class)
	g.refresh(now)
	shed := math.Float64frombits(g.shed.Load())
	return shed == 0 || g.traffic.place(req) < 1-shed || g.background.passes(req, now)
}

// refresh takes a sample if one is due.
func (g *cpuGate) refresh(now int64) {
	if due := g.next.Load(); now >= due && g.next.CompareAndSwap(due, now+sampleEvery) {
		g.contain(g.take(now))
	}
}

// take samples the load and works out what is shed until the next one. It returns what a
// func of the user's has panicked with: then it has said 0.
func (g *cpuGate) take(now int64) any {
	if !g.mu.TryLock() { // nobody waits for a func of the user's that somebody else has called
		return nil
	}
	defer g.mu.Unlock()
	since := time.Duration(now - g.last)
	if since <= 0 {
		return nil // it was kept from a processor while others went by; time that runs back blows up the average
	}
	g.last = now
	idle := g.idle(since)
	g.traffic.tick(since, since-idle)
	load, panicked := g.read()
	load = smooth(g.smoothed, load, since, loadTime) // also over what was idle: it is not only requests
	g.smoothed = load
	if g.others = min(g.others, load+g.slack); load < g.found/2 {
		g.others, g.slack, g.found = 0, 0, 0 // they are done; if some are left another trial will tell
	}
	trying := g.try(load, now)
	ours := max(load-g.others-g.slack, 0)
	g.waits = g.wait(ours)
	shed := 0.0
	if !trying {
		shed = g.control.step(ours, g.waits, since-idle)
	}
	g.current.Store(math.Float64bits(ours))
	g.pressed.Store(math.Float64bits(g.control.pressure(ours, g.waits)))
	g.shed.Store(math.Float64bits(shed))
	return panicked
}

// idle is for how long there was nothing to do since the last sample. Who had to wait then
// has had his turn meanwhile, and had somebody come after that there would be a sample. So
// what was shed in a burst is not shed in the next, nor is the pause taken for a sign that
// requests are few.
func (g *cpuGate) idle(since time.Duration) time.Duration {
	idle := max(since-max(g.waits, loadTime), 0)
	if idle > 0 {
		g.control.step(0, 0, idle)
	}
	return idle
}

// wait is how long requests wait for a processor, if there are so many per processor. A
// func of the user's may count anything: nothing follows from it but what it says.
func (g *cpuGate) wait(load float64) time.Duration {
	if g.procs == 0 {
		return forever
	}
	return g.traffic.wait(load * g.procs)
}

// try finds out whether requests are to blame when shedding most of them does not
// help: it lets all of them in for a moment. If that makes no difference, it is other
// goroutines that are runnable, and they must not keep the gate shut. It reports whether
// all are let in for now. (To count no more runnable goroutines than have been let in would
// be simpler, and blind: requests queue for a processor before they get here.)
func (g *cpuGate) try(load float64, now int64) (trying bool) {
	shed := g.control.shed
	switch t := &g.trial; {
	case t.begun > 0:
		t.low, t.high = min(t.low, load), max(t.high, load)
		if t.samples++; t.samples < trialSamples || now-t.begun < trialTime {
			return true
		}
		g.conclude(load, now)
	case shed < mostShed:
		g.full = 0
		if shed == 0 {
			g.backoff = trialAfter
		}
	case g.full == 0:
		g.full = now
	case now-g.full >= max(g.backoff, trialAfter):
		*t = trial{begun: now, before: load, low: load, high: load}
		return true
	}
	return false
}

// conclude ends a trial. If requests are to blame, what was shed before it is shed again.
func (g *cpuGate) conclude(load float64, now int64) {
	t := g.trial
	g.trial, g.full = trial{}, now
	if load >= toBlame*t.before {
		g.backoff = min(2*g.backoff, trialMost)
		return
	}
	g.others, g.slack, g.found = load, 1.5*(t.high-t.low), load // a moment has not seen all of it
	g.control.forget()
}

// smooth is the exponential average over a time constant.
func smooth(was, is float64, since, over time.Duration) float64 {
	return is + (was-is)*math.Exp(-float64(since)/float64(over))
}

// read returns how many goroutines per processor wait for it.
func (g *cpuGate) read() (load float64, panicked any) {
	if g.load != nil {
		return g.ask()
	}
	metrics.Read(g.sample[:])
	if g.sample[0].Value.Kind() != metrics.KindUint64 {
		return 0, nil // a runtime without it
	}
	g.procs = float64(runtime.GOMAXPROCS(0)) // it changes at run time
	return float64(g.sample[0].Value.Uint64()) / g.procs, nil
}

// ask asks the user's func.
func (g *cpuGate) ask() (load float64, panicked any) {
	defer func() { panicked = recover() }()
	if load = g.load(); load >= 0 && !math.IsInf(load, 1) { // NaN is neither
		return load, nil
	}
	return 0, nil
}

// pressure is the load as a part of what it may be.
func (g *cpuGate) pressure() float64 { return math.Float64frombits(g.pressed.Load()) }

// loadAt is the load that requests are, also where nobody has asked for a while.
func (g *cpuGate) loadAt(now int64) float64 {
	if g.off() {
		return 0
	}
	g.refresh(now)
	return math.Float64frombits(g.current.Load())
}
