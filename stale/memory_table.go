package stale

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/internal/linked"
)

// shardCount is how many tables there are, so that readers on many cores do not
// meet at one lock. All variants of a response are in the same.
const shardCount = 64

// shard is a part of the table. It is written to under its own lock and under
// that of the Memory: who holds the latter reads without the former.
type shard struct {
	mu       sync.RWMutex
	families map[string]family
	most     int // families since the table was made

	_ [24]byte // to a cache line, as neighbours are locked by others
}

// family is what is stored under a primary key. Variants are found through it
// when it is purged, also when the list that names them is gone.
type family struct {
	sole     *item // under the Variant ""
	variants map[string]*item
}

// item is an entry's place in the table and in a queue.
type item struct {
	entry   *Entry        // changes under the shard's lock, as does
	expires time.Duration // since Memory.start
	key     Key

	// How often it was asked for since it came in, or since it was last spared.
	asked atomic.Uint32

	main   bool // in that queue; otherwise in the small one
	weight int64
	place  linked.Place[*item]
}

// maxAsked is as far as item.asked counts: more would let what was busy once
// stay for long after.
const maxAsked = 3

// touch may lose a count to another touch, which does not matter.
func (it *item) touch() {
	if n := it.asked.Load(); n < maxAsked {
		it.asked.Store(n + 1)
	}
}

func (s *shard) find(key Key) *item {
	f := s.families[key.Primary]
	if key.Variant == "" {
		return f.sole
	}
	return f.variants[key.Variant]
}

func (s *shard) insert(it *item) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.families == nil {
		s.families = make(map[string]family)
	}
	f := s.families[it.key.Primary]
	if it.key.Variant == "" {
		f.sole = it
	} else {
		if f.variants == nil {
			f.variants = make(map[string]*item)
		}
		f.variants[it.key.Variant] = it
	}
	s.families[it.key.Primary] = f
	s.most = max(s.most, len(s.families))
}

func (s *shard) put(it *item, e *Entry, expires time.Duration) {
	s.mu.Lock()
	it.entry, it.expires = e, expires
	s.mu.Unlock()
}

func (s *shard) remove(it *item) {
	s.mu.Lock()
	defer s.mu.Unlock()

	f := s.families[it.key.Primary]
	if it.key.Variant == "" {
		f.sole = nil
	} else {
		delete(f.variants, it.key.Variant)
	}
	if f.sole != nil || len(f.variants) > 0 {
		s.families[it.key.Primary] = f
		return
	}
	delete(s.families, it.key.Primary)
	s.shrink()
}

// shrink gives the room of many small entries back when few large ones have
// pushed them out: a map never does so by itself.
func (s *shard) shrink() {
	const worthIt = 64
	if s.most < worthIt || len(s.families) > s.most/4 {
		return
	}
	smaller := make(map[string]family, len(s.families))
	maps.Copy(smaller, s.families)
	s.families, s.most = smaller, len(smaller)
}
