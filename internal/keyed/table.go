package keyed

import "sync/atomic"

// cell is one key's place in the Map.
type cell[V any] struct {
	next     atomic.Pointer[cell[V]]
	hash     uint64
	key      string
	value    *V
	lastUsed atomic.Int64
	leaving  atomic.Bool // Retired, or being asked: readers take the lock.
}

// touch records a use. Two goroutines at once may leave the older of their
// times; a compare-and-swap would make every Get of a hot key pay for the
// order of calls that have none.
func (c *cell[V]) touch(now int64) {
	if now > c.lastUsed.Load() {
		c.lastUsed.Store(now)
	}
}

// table is a chained hash table with one writer at a time and any number of
// readers that take no lock. A reader's hit is good unless the cell is
// leaving; a miss is only a hint, to be repeated under the writer's lock.
//
// The tempting alternative, a read-only Go map behind an atomic pointer beside
// a second map for new keys, is no faster to read (slower from a thousand keys
// on), copies every cell again and again under a flood of keys, and keeps
// evicted cells in memory until the next copy. sync.Map takes half as long
// again per lookup.
type table[V any] struct {
	buckets atomic.Pointer[[]atomic.Pointer[cell[V]]]
}

const initialBuckets = 16 // Always a power of two: see bucket.

func (t *table[V]) init() {
	buckets := make([]atomic.Pointer[cell[V]], initialBuckets)
	t.buckets.Store(&buckets)
}

func bucket[V any](buckets []atomic.Pointer[cell[V]], hash uint64) *atomic.Pointer[cell[V]] {
	return &buckets[hash&uint64(len(buckets)-1)] //nolint:gosec // A length is not negative.
}

func (t *table[V]) find(hash uint64, key string) *cell[V] {
	for c := bucket(*t.buckets.Load(), hash).Load(); c != nil; c = c.next.Load() {
		if c.hash == hash && c.key == key {
			return c
		}
	}
	return nil
}

// insert adds c, which is not in the table, as the size-th cell.
func (t *table[V]) insert(c *cell[V], size int) {
	if size > len(*t.buckets.Load()) {
		t.grow()
	}
	head := bucket(*t.buckets.Load(), c.hash)
	c.next.Store(head.Load())
	head.Store(c)
}

// remove unlinks c and leaves c.next as it is, for readers that stand on c.
func (t *table[V]) remove(c *cell[V]) {
	link := bucket(*t.buckets.Load(), c.hash)
	for link.Load() != c {
		link = &link.Load().next
	}
	link.Store(c.next.Load())
}

// grow doubles the buckets and relinks the cells in place. A reader on its way
// through the old chains may be led into a new one and miss its key, which a
// miss allows for. It cannot go in circles: a relinked cell points only to
// cells relinked before it, the others only to cells not relinked yet.
func (t *table[V]) grow() {
	old := *t.buckets.Load()
	wider := make([]atomic.Pointer[cell[V]], 2*len(old))
	for i := range old {
		for c := old[i].Load(); c != nil; {
			following := c.next.Load()
			head := bucket(wider, c.hash)
			c.next.Store(head.Load())
			head.Store(c)
			c = following
		}
	}
	t.buckets.Store(&wider)
}
