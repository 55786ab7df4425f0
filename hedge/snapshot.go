package hedge

import (
	"cmp"
	"slices"
	"time"

	"github.com/failsoft/failsoft/budget"
	"github.com/failsoft/failsoft/internal/keyed"
)

// KeySnapshot is what is known of a key at one moment, as plain data.
type KeySnapshot struct {
	Key       string
	Delay     time.Duration     // that is found or fixed; 0 in the warm-up, and for AtOnce
	Sent      uint64            // attempts beyond the first of their call
	Won, Lost uint64            // of these; the rest are on their way
	Refused   map[Reason]uint64 // attempts that were not made, by why
	ErrorRate float64           // of the latest attempts, [0,1]
}

// Snapshot is the state of a Hedger at one moment, as plain data.
type Snapshot struct {
	Keys []KeySnapshot // by key
	// Overflow is how many calls shared one state because there were too many
	// keys.
	Overflow uint64
	Budget   budget.Snapshot // of all who share it
}

// Snapshot returns what is known of all keys.
func (h *Hedger) Snapshot() Snapshot {
	var s Snapshot
	for key, c := range h.cells.All() {
		s.Keys = append(s.Keys, h.see(key, c))
	}
	shared, served := h.cells.Overflow()
	if s.Overflow = served; shared != nil {
		s.Keys = append(s.Keys, h.see(keyed.OverflowKey, shared))
	}
	slices.SortFunc(s.Keys, func(a, b KeySnapshot) int { return cmp.Compare(a.Key, b.Key) })
	if h.cfg.Budget != nil {
		s.Budget = h.cfg.Budget.Snapshot()
	}
	return s
}

func (h *Hedger) see(key string, c *cell) KeySnapshot {
	shot := KeySnapshot{
		Key: key, Delay: max(h.cfg.Delay, 0), Won: c.counts.won.Load(), Lost: c.counts.lost.Load(),
		Refused: make(map[Reason]uint64), ErrorRate: c.gate.errorRate(),
	}
	shot.Sent = c.counts.sent.Load() // after what has become of them, or there would be more of that
	if h.cfg.Delay == 0 {
		shot.Delay = c.tracker.aim(&h.target).delay
	}
	for reason := range c.counts.refused {
		if n := c.counts.refused[reason].Load(); n > 0 {
			shot.Refused[Reason(reason)] = n
		}
	}
	return shot
}
