package stale

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// LoaderSnapshot is what has happened since a Loader was made, and what is now. It is
// plain data.
type LoaderSnapshot struct {
	Hits      uint64            // Gets that a fresh value answered
	Stale     map[string]uint64 // Gets that an old value answered, by Reason
	StaleAges []AgeCount        // how long past their TTL those were
	Misses    uint64            // Gets that began a load and were answered by what came of it
	Collapsed uint64            // Gets that were answered by what came of another's load
	Refused   uint64            // Gets that a remembered error answered
	Stored    uint64            // values
	Loads     uint64            // that began
	Refreshes uint64            // of these, those behind an answer
	Failures  uint64            // of Loads: errors, refusals, timeouts and panics
	Purges    uint64

	Entries    int           // values
	Cost       int64         // of these
	Failing    int           // keys without a value whose failures are remembered
	InFlight   int           // loads under way
	StaleAfter time.Duration // as set or learned; Off if that is so
}

// Snapshot returns what there is to be known. Numbers that change together may be
// caught in between.
func (l *Loader[K, V]) Snapshot() LoaderSnapshot {
	n := &l.counts
	s := LoaderSnapshot{
		Hits: l.hits.sum(), Stale: make(map[string]uint64, reasons), Misses: n.misses.Load(),
		Collapsed: n.collapsed.Load(), Refused: n.refused.Load(), Stored: n.stored.Load(), Loads: n.loads.Load(),
		Refreshes: n.refreshes.Load(), Failures: n.failures.Load(), Purges: n.purges.Load(),
		Entries: l.cells.EstimatedSize(), Cost: int64(l.cells.WeightedSize()), //nolint:gosec // it is below MaxCost
		StaleAfter: l.staleAfter(),
	}
	for r := Revalidating; r < reasons; r++ {
		s.Stale[r.String()] = n.stale[r].Load()
	}
	for i := range n.ages {
		bar := AgeCount{Count: n.ages[i].Load()}
		if i < len(ages) {
			bar.UpTo = ages[i]
		}
		s.StaleAges = append(s.StaleAges, bar)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.InFlight, s.Failing = len(l.running), l.marks.len()
	return s
}

// loadCounts are what a LoaderSnapshot is made of.
type loadCounts struct {
	stale                              [reasons]atomic.Uint64
	ages                               [len(ages) + 1]atomic.Uint64
	misses, collapsed, refused, stored atomic.Uint64
	loads, refreshes, failures, purges atomic.Uint64
}

// old counts an answer by a value that was so long past its TTL.
func (n *loadCounts) old(reason Reason, past time.Duration) {
	n.stale[reason].Add(1)
	i := 0
	for i < len(ages) && past > ages[i] {
		i++
	}
	n.ages[i].Add(1)
}

// tally counts what happens on many cores at once without making them wait for each
// other.
type tally struct {
	slots [16]struct {
		n atomic.Uint64
		_ [56]byte // to a cache line
	}
}

func (t *tally) add() {
	t.slots[rand.Uint64()%uint64(len(t.slots))].n.Add(1)
}

func (t *tally) sum() (sum uint64) {
	for i := range t.slots {
		sum += t.slots[i].n.Load()
	}
	return sum
}
