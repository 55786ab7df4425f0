package backpressure

import (
	"math"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

// Gate is the state of the gate for memory.
type Gate uint8

// The states of a Gate.
const (
	GateOff      Gate = iota // not asked for
	GateOn                   // at work
	GateInactive             // asked for, but there is no GOMEMLIMIT to measure by
)

// String returns the state in words.
func (g Gate) String() string { return name(g, "off", "on", "inactive: GOMEMLIMIT is not set") }

// MarshalText makes a Gate readable in JSON.
func (g Gate) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// heapGate sheds when what is alive in memory nears GOMEMLIMIT. Past that the garbage
// collector takes the processors from the very requests whose end would free memory.
//
// Alive is what the last collection has found to be so, and the stacks. The size of the
// heap would be no measure: it is meant to grow up to the limit between collections.
//
// There is no goroutine that samples: who asks and finds the sample old takes one.
type heapGate struct {
	threshold float64
	used      func() (used, limit uint64)

	next  atomic.Int64  // when the next sample is due
	load  atomic.Uint64 // float64: the part of the limit that is used
	state atomic.Uint32 // Gate

	background trickle
	traffic    traffic

	mu     sync.Mutex
	last   int64
	sample [3]metrics.Sample
}

const heapEvery = int64(10 * time.Millisecond)

func newHeapGate(threshold float64) *heapGate {
	if threshold == 0 {
		return nil
	}
	g := &heapGate{threshold: threshold}
	g.used = g.alive
	g.sample[0].Name = "/gc/heap/live:bytes"
	g.sample[1].Name = "/memory/classes/heap/stacks:bytes"
	g.sample[2].Name = "/gc/gomemlimit:bytes"
	g.next.Store(heapEvery)
	g.traffic.spread()
	g.take(0)
	return g
}

// passes reports whether a request may go on. Above the threshold the part that may
// not grows with what is used, up to nearly all at the limit.
func (g *heapGate) passes(req *request, now int64) bool {
	g.traffic.count(req.class)
	g.refresh(now)
	load := math.Float64frombits(g.load.Load())
	if load <= g.threshold {
		return true
	}
	shed := mostShed
	if g.threshold < 1 {
		shed *= min((load-g.threshold)/(1-g.threshold), 1)
	}
	return g.traffic.place(req) < 1-shed || g.background.passes(req, now)
}

// refresh takes a sample if one is due.
func (g *heapGate) refresh(now int64) {
	if due := g.next.Load(); now >= due && g.next.CompareAndSwap(due, now+heapEvery) {
		g.take(now)
	}
}

func (g *heapGate) take(now int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now > g.last {
		since := time.Duration(now - g.last)
		g.traffic.tick(since, since)
		g.last = now
	}
	used, limit := g.used()
	if limit == 0 || limit >= math.MaxInt64 {
		g.state.Store(uint32(GateInactive))
		g.load.Store(0)
		return
	}
	g.state.Store(uint32(GateOn))
	g.load.Store(math.Float64bits(float64(used) / float64(limit)))
}

// alive reads the runtime. GOMEMLIMIT is read each time, as debug.SetMemoryLimit can
// change it.
func (g *heapGate) alive() (used, limit uint64) {
	metrics.Read(g.sample[:])
	for i := range g.sample {
		if g.sample[i].Value.Kind() != metrics.KindUint64 {
			return 0, 0 // a runtime without it
		}
	}
	return g.sample[0].Value.Uint64() + g.sample[1].Value.Uint64(), g.sample[2].Value.Uint64()
}

// pressure is the load as a part of the threshold.
func (g *heapGate) pressure() float64 {
	if g == nil {
		return 0
	}
	return math.Float64frombits(g.load.Load()) / g.threshold
}

func (g *heapGate) snapshot(now int64) (load float64, state Gate) {
	if g == nil {
		return 0, GateOff
	}
	g.refresh(now)
	return math.Float64frombits(g.load.Load()), Gate(g.state.Load()) //nolint:gosec // it was one
}
