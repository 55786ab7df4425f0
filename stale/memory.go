package stale

import (
	"context"
	"hash/maphash"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Memory is the default [Store]: it keeps entries in the memory of this process,
// up to a number of bytes. It is also a [Tagger] and a [Sizer].
//
// The bound is on what entries take with all that belongs to them (Entry.Size
// and the text of the key), marks and lists included, and is kept at every
// moment: room is made before something comes in, by the algorithm S3-FIFO. What
// was asked for since it came in stays longer, and a crowd of entries that
// nobody asks for twice pushes out a tenth of the others at most. What has just
// been stored is there when it is asked for next, however full the Memory is. An
// entry that is larger than the bound by itself is not stored, which is no
// error.
//
// Get does not wait for writers, except for the moment in which they change a
// table, and does not allocate. A Memory starts no goroutine and no timer: what
// has expired goes when it is asked for, or when its place is needed. A Memory
// that nobody refers to any more needs no closing.
type Memory struct {
	limit  int64
	start  time.Time // what time is measured from: half the price of time.Now
	seed   maphash.Seed
	shards [shardCount]shard

	epoch   atomic.Uint64
	entries atomic.Int64
	bytes   atomic.Int64

	// mu is held by whoever changes anything, which makes purges and what they
	// concern follow each other. One lock is enough for it: a write costs a
	// microsecond, after a fetch that took many.
	mu          sync.Mutex
	small, main queue
	ghosts      ghosts
	purges      purges
}

// NewMemory returns a Memory that holds maxBytes at most; zero stands for
// [DefaultMaxBytes], and so does a negative number.
func NewMemory(maxBytes int64) *Memory {
	if maxBytes <= 0 {
		maxBytes = DefaultMaxBytes
	}
	slots := tableSize(maxBytes)
	return &Memory{
		limit:  maxBytes,
		start:  time.Now(),
		seed:   maphash.MakeSeed(),
		ghosts: ghosts{places: make([]ghost, slots)},
		purges: purges{places: make([]place, slots)},
	}
}

// Get returns the entry of key, or nil if there is none or it has expired.
func (m *Memory) Get(ctx context.Context, key Key) (*Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := m.shard(m.hash(key.Primary))
	s.mu.RLock()
	it := s.find(key)
	if it == nil {
		s.mu.RUnlock()
		return nil, nil //nolint:nilnil // A miss is no error, says Store.
	}
	e, expires := it.entry, it.expires
	it.touch()
	s.mu.RUnlock()

	if time.Since(m.start) >= expires {
		m.expire(key, e)
		return nil, nil //nolint:nilnil // As above.
	}
	return e, nil
}

// Epoch returns the present epoch.
func (m *Memory) Epoch(ctx context.Context) (Epoch, error) {
	return Epoch(m.epoch.Load()), ctx.Err()
}

// Set stores e, unless it has been purged since the epoch at: then it returns
// [ErrPurged], and what was stored before stays. An entry that has expired, or
// is too large, replaces what was there by nothing.
func (m *Memory) Set(ctx context.Context, key Key, e *Entry, at Epoch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a := m.arrive(key, e) // before the lock, as it may panic where e is garbage
	keep := a.weight <= m.limit && a.now < a.expires
	hash := m.hash(key.Primary)

	m.mu.Lock()
	defer m.mu.Unlock()

	if m.purgedSince(at, hash, e.Tags) {
		return ErrPurged
	}
	s := m.shard(hash)
	it := s.find(key)
	switch {
	case keep && it != nil:
		m.replace(s, it, a)
	case keep:
		m.insert(s, key, a)
	case it != nil:
		m.remove(s, it)
	}
	return nil
}

// Size returns how much the Memory holds.
func (m *Memory) Size() (entries int, bytes int64) {
	return int(m.entries.Load()), m.bytes.Load()
}

// arrival is an entry on its way in.
type arrival struct {
	entry        *Entry
	weight       int64
	now, expires time.Duration // since Memory.start
}

func (m *Memory) arrive(key Key, e *Entry) arrival {
	now := time.Since(m.start)
	left := min(time.Until(e.Expires), math.MaxInt64-now) // or it would overflow
	return arrival{
		entry:  e,
		weight: e.Size() + int64(len(key.Primary)+len(key.Variant)),
		now:    now, expires: now + left,
	}
}

// insert stores what was not there. Like all that follows it needs mu.
func (m *Memory) insert(s *shard, key Key, a arrival) {
	m.makeRoom(a.weight, a.now)
	it := &item{
		entry: a.entry, expires: a.expires, weight: a.weight,
		// Cloned, because a key can be a piece of a text that is much longer.
		key: Key{Primary: strings.Clone(key.Primary), Variant: strings.Clone(key.Variant)},
		// What has left a short time ago need not prove itself again.
		main: m.ghosts.take(m.fingerprint(key), m.entries.Load()),
	}
	m.queueFor(it.main).push(it)
	m.account(1, a.weight)
	s.insert(it)
}

// replace changes the entry of it, which is in the table all the time: there is
// no moment at which a Get would miss it.
func (m *Memory) replace(s *shard, it *item, a arrival) {
	q := m.queueFor(it.main)
	q.unlink(it) // so that it is not its own victim
	m.account(0, -it.weight)
	m.makeRoom(a.weight, a.now)
	it.weight = a.weight
	q.push(it)
	m.account(0, a.weight)
	s.put(it, a.entry, a.expires)
}

func (m *Memory) remove(s *shard, it *item) {
	m.queueFor(it.main).unlink(it)
	m.account(-1, -it.weight)
	s.remove(it)
}

// expire removes an entry that a Get has found expired. If somebody else is
// writing, it stays for the next Get: this one need not wait.
func (m *Memory) expire(key Key, e *Entry) {
	if !m.mu.TryLock() {
		return
	}
	defer m.mu.Unlock()

	s := m.shard(m.hash(key.Primary))
	if it := s.find(key); it != nil && it.entry == e {
		m.remove(s, it)
	}
}

func (m *Memory) account(entries, bytes int64) {
	m.entries.Add(entries)
	m.bytes.Add(bytes)
}

func (m *Memory) hash(text string) uint64 {
	return maphash.String(m.seed, text)
}

func (m *Memory) shard(hash uint64) *shard {
	return &m.shards[hash%shardCount]
}

// hashTag needs its own space of hashes: a tag may read like a key.
func (m *Memory) hashTag(tag string) uint64 {
	return ^m.hash(tag)
}

func (m *Memory) purgedSince(at Epoch, hash uint64, tags []string) bool {
	return m.purges.since(at, hash) || slices.ContainsFunc(tags, func(tag string) bool {
		return m.purges.since(at, m.hashTag(tag))
	})
}
