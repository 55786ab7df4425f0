package backpressure

import "time"

// Counts are what has become of calls since a key was first seen. The index is the Class,
// as in Admitted[Critical]: Default comes first, and Critical is 1.
type Counts struct {
	Admitted [4]uint64
	Refused  [4]uint64
	Shed     uint64 // of those refused: for want of processors or memory
}

var _ [classes]struct{} = [4]struct{}{} // written out above for who reads the documentation

// KeySnapshot is one limit.
type KeySnapshot struct {
	Key      string
	Limit    int
	InFlight int
	Streams  int
	Queued   int
	Wait     time.Duration // what a newcomer of the default class would wait at most, see Request.Tenant
	Latency  time.Duration // of calls, smoothed
	Baseline time.Duration // of calls that are not in each other's way, as far as Adaptive knows
	Counts   Counts
}

// Snapshot is what a Limiter is doing. It is plain data.
type Snapshot struct {
	Keys     []KeySnapshot // in no order; that of "" only if it was used
	Level    float64       // of brownout
	CPULoad  float64       // requests that wait for a processor, per processor; 0 with the gate off
	HeapLoad float64       // the part of GOMEMLIMIT that is alive; 0 unless HeapGate is on
	HeapGate Gate
	Bypassed uint64
}

// Snapshot returns what there is to be known.
func (l *Limiter) Snapshot() Snapshot {
	now := l.now()
	s := Snapshot{Level: l.Level(), CPULoad: l.cpu.loadAt(now), Bypassed: l.bypassed.Load()}
	s.HeapLoad, s.HeapGate = l.heap.snapshot(now)
	if single := l.single.snapshot(); single.Counts != (Counts{}) {
		s.Keys = append(s.Keys, single)
	}
	for _, c := range l.cells.All() {
		s.Keys = append(s.Keys, c.snapshot())
	}
	if shared, _ := l.cells.Overflow(); shared != nil {
		s.Keys = append(s.Keys, shared.snapshot())
	}
	return s
}

func (c *cell) snapshot() KeySnapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	return KeySnapshot{
		Key: c.key, Limit: c.limit, InFlight: c.inFlight, Streams: c.streams, Queued: c.queued,
		Wait: c.predictLocked(), Latency: time.Duration(c.latency), Baseline: time.Duration(c.calc.baseline),
		Counts: c.counts,
	}
}

func (c *cell) limitNow() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limit
}

// pressed reports whether a newcomer would wait for more than half of what it may: one of
// the default class, as the level is about what users wait for. By Sheddable and
// Background calls, which are to wait, there would be pressure whenever there is a batch.
func (c *cell) pressed(maxWait time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if maxWait == Off {
		return c.inFlight >= c.limit
	}
	return c.queued > 0 && c.predictLocked() > maxWait/2
}
