package budget

import (
	"cmp"
	"slices"
)

// Snapshot is the state of a Budget at one moment, as plain data.
type Snapshot struct {
	Keys     []KeySnapshot // by key
	Overflow KeySnapshot   // the balance that keys beyond MaxKeys share; all zero if never used
}

// KeySnapshot is the state of one balance.
type KeySnapshot struct {
	Key     string
	Balance float64 // extra attempts that could be sent now, the floor included
	Granted uint64  // withdrawals made, since the key is known
	Refused uint64  // withdrawals refused, since the key is known
}

// Snapshot returns the state of every key. The counts of one key are each
// exact, but not read in the same instant.
func (b *Budget) Snapshot() Snapshot {
	now := b.now()
	see := func(key string, w *window) KeySnapshot {
		return KeySnapshot{
			Key:     key,
			Balance: float64(w.balance(now, &b.terms)) / unit,
			Granted: w.granted.Load(),
			Refused: w.refused.Load(),
		}
	}
	s := Snapshot{Keys: []KeySnapshot{}} // in JSON, none is not null
	for key, w := range b.windows.All() {
		s.Keys = append(s.Keys, see(key, w))
	}
	slices.SortFunc(s.Keys, func(a, b KeySnapshot) int { return cmp.Compare(a.Key, b.Key) })
	if w, _ := b.windows.Overflow(); w != nil {
		s.Overflow = see("", w)
	}
	return s
}
