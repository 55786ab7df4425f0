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
	looked  bool
	at      int64 // of the latest look
	seen    [2]int64
	verdict bool
}

// fewCircuits is below what a fraction says something about.
const fewCircuits = 5

// A look holds for lookAgain, or for lookSoon if a counter has changed: looking
// at a thousand circuits for every call would be an outage of its own.
const (
	lookAgain = 100 * time.Millisecond
	lookSoon  = time.Millisecond
)

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
	holds := lookAgain
	seen := [2]int64{known, open}
	if seen != g.seen {
		holds = lookSoon
	}
	if now >= g.at+int64(holds) || !g.looked {
		g.seen, g.at, g.looked = seen, now, true
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
