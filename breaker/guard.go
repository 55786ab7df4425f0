package breaker

import (
	"sync"
	"sync/atomic"
	"time"
)

// guard watches how many of the circuits are open. Two counters rule the usual
// case out for nothing; only where they do not are the circuits looked at one by
// one, as some of those may be open because nobody calls them any more.
type guard struct {
	known atomic.Int64 // circuits
	open  atomic.Int64 // of these, not closed as far as the last call to each has seen

	mu      sync.Mutex
	at      int64 // of the latest look
	seen    [2]int64
	verdict bool
}

// fewCircuits is below what a fraction says something about.
const fewCircuits = 5

// lookAgain is how long a look holds, if no counter has changed.
const lookAgain = 100 * time.Millisecond

// tooManyOpen reports whether so many circuits are open that none may refuse.
// No circuit may be locked.
func (b *Breaker) tooManyOpen(now int64) bool {
	g := &b.guard
	known, open := g.known.Load(), g.open.Load()
	if b.cfg.MaxOpenFraction == Off || !b.exceeds(open, known) {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if seen := [2]int64{known, open}; seen != g.seen || now-g.at >= int64(lookAgain) {
		g.seen, g.at = seen, now
		g.verdict = b.exceeds(b.countTroubled(now), known)
	}
	return g.verdict
}

func (b *Breaker) exceeds(open, known int64) bool {
	return known >= fewCircuits && float64(open) > b.cfg.MaxOpenFraction*float64(known)
}

func (b *Breaker) countTroubled(now int64) (n int64) {
	rules := b.rules.Load()
	look := func(c *circuit) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.troubled(now, rules) {
			n++
		}
	}
	for _, c := range b.circuits.All() {
		look(c)
	}
	if shared, _ := b.circuits.Overflow(); shared != nil {
		look(shared)
	}
	return n
}
