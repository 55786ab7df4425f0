package backpressure

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// traffic is who asks at a gate: how many, and how much of it is of which class. A gate
// sheds a part of those that there are: with a fixed quarter of the way from nothing to
// all for each class, a service that knows a single class would shed nobody until it is
// that class's turn, and then all four times as fast.
//
// count and place may be called at any time, tick by one goroutine at a time.
type traffic struct {
	// The counters are written by all processors all the time. What is mostly read has no
	// place in their cache line.
	_    [64]byte
	seen [classes]atomic.Uint64 // by rank, since the last tick
	_    [64]byte

	begins [classes + 1]atomic.Uint64 // float64: where each rank begins in the order of shedding, from 0 to 1
	weight [classes]float64           // requests of each rank, of the last mixTime
	rate   float64                    // requests per nanosecond
}

// How long the mix of classes is remembered, and the rate.
const (
	mixTime  = time.Second
	rateTime = 100 * time.Millisecond
)

// count notes a request.
func (t *traffic) count(c Class) { t.seen[c.rank()].Add(1) }

// tick takes into account who has come since the last one, so long ago. The rate is that
// of the time in which there was something to do.
func (t *traffic) tick(since, busy time.Duration) {
	var all uint64
	fade := math.Exp(-float64(since) / float64(mixTime))
	for rank := range t.weight {
		n := t.seen[rank].Swap(0)
		t.weight[rank] = t.weight[rank]*fade + float64(n)
		all += n
	}
	t.rate = smooth(t.rate, float64(all)/float64(busy), busy, rateTime)
	t.spread()
}

// spread gives each class a part of the order of shedding that is as large as its part of
// the requests. One more of each is thought to be there, so that a class that nobody has
// seen yet has its place as well.
func (t *traffic) spread() {
	all := float64(classes)
	for _, n := range t.weight {
		all += n
	}
	begins := 0.0
	for rank, n := range t.weight {
		begins += (n + 1) / all
		t.begins[rank+1].Store(math.Float64bits(begins))
	}
}

// place is where a request stands in the order of shedding: 0 is shed last, 1 first. The
// requests of one tenant stand together, so that some tenants are served and others are
// not, instead of each of them now and then; those without a tenant stand anywhere.
func (t *traffic) place(req *request) float64 {
	within := rand.Float64()
	if req.known {
		within = float64(req.tenant%cohorts) / cohorts
	}
	rank := req.class.rank()
	begin, end := math.Float64frombits(t.begins[rank].Load()), math.Float64frombits(t.begins[rank+1].Load())
	return begin + within*(end-begin)
}

// wait is how long so many that wait for a processor do so, in the mean: as long as it
// takes for as many to come (Little's law, 1961: L = λW). Who is refused counts as well, as
// requests wait for a processor before they get to the gate.
func (t *traffic) wait(waiting float64) time.Duration {
	if wait := waiting / t.rate; wait < float64(forever) { // NaN is not: there are none, and none come
		return time.Duration(wait)
	}
	return forever
}
