package stale

import (
	"sync/atomic"
	"time"
)

// ages are the bounds of the histogram of how old the stale answers were past their
// lifetime.
var ages = [...]time.Duration{ //nolint:gochecknoglobals // a constant, but for Go's types
	time.Second, 10 * time.Second, time.Minute, 10 * time.Minute, time.Hour,
}

// counts are what a Snapshot is made of.
type counts struct {
	hits        [reasons]atomic.Uint64
	ages        [len(ages) + 1]atomic.Uint64
	misses      atomic.Uint64
	collapsed   atomic.Uint64
	passed      atomic.Uint64
	stored      atomic.Uint64
	refreshes   atomic.Uint64
	failures    atomic.Uint64
	refused     atomic.Uint64
	purges      atomic.Uint64
	storeErrors atomic.Uint64
}

// answered counts an answer by an entry.
func (n *counts) answered(r *reply) {
	n.hits[r.reason].Add(1)
	if !r.reason.IsStale() {
		return
	}
	past, i := -r.verdict.TTL, 0
	for i < len(ages) && past > ages[i] {
		i++
	}
	n.ages[i].Add(1)
}

// missed counts an answer by a flight.
func (n *counts) missed(r *reply) {
	if r.leads {
		n.misses.Add(1)
	} else {
		n.collapsed.Add(1)
	}
}

// Snapshot is what has happened since the Cache was made, and what is now. It is
// plain data.
type Snapshot struct {
	Hits      uint64            // fresh entries that answered, those just renewed included
	Stale     map[string]uint64 // stale entries that answered, by Reason
	StaleAges []AgeCount        // how long past their lifetime those were
	Misses    uint64            // answers of the origin to who asked it
	Collapsed uint64            // answers of the origin to who waited for another's
	Passed    uint64            // requests that the Cache left alone
	Refused   uint64            // requests refused because the origin was failing
	Stored    uint64            // responses, renewals included
	Refreshes uint64            // requests to the origin behind an answer
	Failures  uint64            // of requests to the origin
	Purges    uint64

	StoreErrors uint64 // calls of the Store that failed or took too long

	Entries    int   // in the Store, marks included, if it tells
	Bytes      int64 // of these
	Filling    int64 // bytes reserved for answers on their way
	InFlight   int   // requests to the origin that others can wait for
	Unattended int64 // requests to the origin that nobody waits for
}

// AgeCount is a bar of a histogram.
type AgeCount struct {
	UpTo  time.Duration // 0 is all above
	Count uint64
}

// Snapshot returns what there is to be known. Numbers that change together may be
// caught in between.
func (c *Cache) Snapshot() Snapshot {
	n := &c.counts
	s := Snapshot{
		Hits:   n.hits[Fresh].Load() + n.hits[Renewed].Load(),
		Stale:  make(map[string]uint64, reasons),
		Misses: n.misses.Load(), Collapsed: n.collapsed.Load(), Passed: n.passed.Load(),
		Refused: n.refused.Load(), Stored: n.stored.Load(), Refreshes: n.refreshes.Load(),
		Failures: n.failures.Load(), Purges: n.purges.Load(), StoreErrors: n.storeErrors.Load(),
		Unattended: c.unattended.Load(), Filling: c.reserve.taken(),
	}
	for r := Revalidating; r < reasons; r++ {
		s.Stale[r.String()] = n.hits[r].Load()
	}
	for i := range n.ages {
		bar := AgeCount{Count: n.ages[i].Load()}
		if i < len(ages) {
			bar.UpTo = ages[i]
		}
		s.StaleAges = append(s.StaleAges, bar)
	}
	if sizer, ok := c.store.Store.(Sizer); ok {
		s.Entries, s.Bytes = sizer.Size()
	}
	c.mu.Lock()
	s.InFlight = len(c.flights)
	c.mu.Unlock()
	return s
}
