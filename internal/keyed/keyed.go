package keyed

import (
	"hash/maphash"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"
)

// OverflowKey is the key that Config.New is given for the overflow cell. It is
// a name for events and metrics only: a caller's key that reads the same has
// a cell of its own.
const OverflowKey = "(overflow)"

// Config says what a Map holds. New and Retire are required. Both are called
// under the lock of the Map, so they must be quick and must not call it.
type Config[V any] struct {
	// Max is the number of cells beside the overflow cell, at least 1.
	Max int

	// New makes the cell of a key. The key is a copy that may be kept.
	New func(key string) *V

	// Retire reports whether the cell is at rest and can go. If so, it has
	// marked the cell, so that a holder who got it just before notices.
	Retire func(cell *V, now int64) bool
}

// Map is a bounded set of cells by key.
type Map[V any] struct {
	cfg   Config[V]
	pause int64 // How long a refusal to retire holds, in nanoseconds.
	seed  maphash.Seed
	table table[V]

	mu       sync.Mutex // Guards all below, and the writing side of table.
	recency  recency[V]
	overflow *V
	served   uint64
}

// New returns an empty Map. A Max below 1 counts as 1.
func New[V any](cfg Config[V]) *Map[V] {
	cfg.Max = max(cfg.Max, 1)
	m := &Map[V]{
		cfg:   cfg,
		pause: int64(max(time.Millisecond, time.Duration(cfg.Max)*time.Microsecond)),
		// Random, so that nobody can choose keys that share a bucket.
		seed: maphash.MakeSeed(),
	}
	m.table.init()
	return m
}

// Get returns the cell of key, made if need be, or the overflow cell; never
// nil. The time now is in nanoseconds on any one monotonic clock.
func (m *Map[V]) Get(key string, now int64) *V {
	hash := maphash.String(m.seed, key)
	if c := m.table.find(hash, key); c != nil && !c.leaving.Load() {
		c.touch(now)
		return c.value
	}
	return m.admit(hash, key, now)
}

// Lookup returns the cell of key if it has one of its own. It neither inserts
// nor counts as a use.
func (m *Map[V]) Lookup(key string) (*V, bool) {
	hash := maphash.String(m.seed, key)
	c := m.table.find(hash, key)
	if c == nil || c.leaving.Load() {
		m.mu.Lock()
		defer m.mu.Unlock()
		c = m.table.find(hash, key)
	}
	if c == nil {
		return nil, false
	}
	return c.value, true
}

// All ranges over the cells that are in the Map when the loop starts, in no
// order and without the overflow cell. The loop holds no lock, so a cell may
// be retired when its turn comes.
func (m *Map[V]) All() iter.Seq2[string, *V] {
	return func(yield func(string, *V) bool) {
		m.mu.Lock()
		snapshot := slices.Clone(m.recency.heap)
		m.mu.Unlock()
		for _, r := range snapshot {
			if !yield(r.cell.key, r.cell.value) {
				return
			}
		}
	}
}

// Len returns the number of cells, without the overflow cell.
func (m *Map[V]) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.recency.heap)
}

// Overflow returns the cell that keys without one of their own have shared,
// nil if there never was such a key, and how many Gets it has served.
func (m *Map[V]) Overflow() (shared *V, served uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.overflow, m.served
}

// admit is Get for a key that the lock-free search did not find, which
// decides nothing: it may have been inserted, kept or hidden by a growing
// table in the meantime.
func (m *Map[V]) admit(hash uint64, key string, now int64) *V {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.table.find(hash, key); c != nil {
		c.touch(now)
		return c.value
	}
	if len(m.recency.heap) >= m.cfg.Max && !m.evict(now) {
		return m.share()
	}
	// The caller's key may be a few bytes of a big header, which a cell
	// must not keep in memory.
	key = strings.Clone(key)
	c := &cell[V]{hash: hash, key: key, value: m.cfg.New(key)}
	c.lastUsed.Store(now)
	m.table.insert(c, len(m.recency.heap)+1)
	m.recency.push(c, now)
	return c.value
}

// evict makes room for one cell. It asks each cell once at most, since a
// refusal moves the cell past now, and gives up at the first that it finds
// there: all others have refused as recently.
func (m *Map[V]) evict(now int64) bool {
	for {
		oldest := m.recency.oldest(now)
		if oldest.refused && oldest.rank > now {
			return false
		}
		if m.retire(oldest.cell, now) {
			m.recency.pop()
			return true
		}
		m.recency.refuse(max(oldest.rank, now) + m.pause)
	}
}

// retire asks the cell to go. The readers are sent to the lock before the
// question, not after the answer: otherwise one that finds the cell retired
// could be given the same cell again and again until it is unlinked.
func (m *Map[V]) retire(c *cell[V], now int64) bool {
	c.leaving.Store(true)
	if !m.cfg.Retire(c.value, now) {
		c.leaving.Store(false)
		return false
	}
	m.table.remove(c)
	return true
}

// share serves a key from the overflow cell.
func (m *Map[V]) share() *V {
	if m.overflow == nil {
		m.overflow = m.cfg.New(OverflowKey)
	}
	m.served++
	return m.overflow
}
