package hedge

import (
	"math"
	"sync/atomic"
	"time"
)

// The rules of the load gate.
const (
	errorWeight = 1.0 / 32 // of the latest attempt in the error rate
	mostErrors  = 0.2      // above it, more load is not what the server needs
	noErrors    = 1e-4     // a rate below it is none, so that good calls write nothing

	mostLosses = 100 // hedges in a row without a win: they do not help
	probeEvery = 20  // one of so many is sent all the same, to find out when they do

	pushback     = time.Second      // of a 429 that does not say how long
	mostPushback = 30 * time.Second // what a server can ask for
)

// gate keeps hedges back while something says that they would not help. It is
// asked for those that a slow attempt calls for and for those that a failure does.
type gate struct {
	errors atomic.Uint64 // share of failed attempts, lately, as float64 bits
	losses atomic.Int64  // hedges in a row that did not win
	asked  atomic.Int64  // hedges that were kept back for that
	until  atomic.Int64  // when the server's pushback ends
}

// attempted counts an attempt that reached the server.
func (g *gate) attempted(failed bool) {
	for {
		old := g.errors.Load()
		rate := math.Float64frombits(old)
		if !failed && rate == 0 {
			return
		}
		if g.errors.CompareAndSwap(old, math.Float64bits(nextRate(rate, failed))) {
			return
		}
	}
}

// nextRate is an exponentially weighted moving average.
func nextRate(rate float64, failed bool) float64 {
	rate -= rate * errorWeight
	if failed {
		rate += errorWeight
	}
	if rate < noErrors {
		return 0
	}
	return rate
}

// push keeps hedges back for as long as the server asks.
func (g *gate) push(now int64, wait time.Duration) {
	if wait <= 0 {
		wait = pushback
	}
	until := now + int64(min(wait, mostPushback))
	for old := g.until.Load(); old < until && !g.until.CompareAndSwap(old, until); {
		old = g.until.Load()
	}
}

// hedged counts how a hedge ended.
func (g *gate) hedged(won bool) {
	if won {
		g.losses.Store(0)
	} else {
		g.losses.Add(1)
	}
}

// errorRate returns the share of attempts that failed lately.
func (g *gate) errorRate() float64 { return math.Float64frombits(g.errors.Load()) }

// closed returns why no attempt may be added for a failure, or allowed.
func (g *gate) closed(now int64) Reason {
	switch {
	case now < g.until.Load():
		return Pushback
	case g.errorRate() > mostErrors:
		return TooManyErrors
	default:
		return allowed
	}
}

// useless returns NeverWins if hedges do not help, but for one in so many.
func (g *gate) useless() Reason {
	if g.losses.Load() < mostLosses || g.asked.Add(1)%probeEvery == 0 {
		return allowed
	}
	return NeverWins
}
