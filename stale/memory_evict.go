package stale

import (
	"hash/maphash"
	"time"

	"github.com/failsoft/failsoft/internal/linked"
)

// Who has to go is decided by S3-FIFO (Yang et al., SOSP 2023), by bytes. What
// comes in joins a small queue. At its end it moves to the main queue if it was
// asked for meanwhile, and leaves if not; a ghost stays behind, by which it goes
// to the main queue directly when it comes again soon. At the end of the main
// queue, what was asked for joins it anew. A hit changes a counter and no queue,
// so that Get needs no lock for it.
const (
	// smallShare is what part of the bytes the small queue may keep from the
	// main one.
	smallShare = 10

	// promotion is how often an entry must be asked for in the small queue.
	promotion = 1

	// maxSpared bounds how many entries one Set lets go on before it takes the
	// next one however busy: a walk along millions would hold up all writers.
	maxSpared = 512
)

// makeRoom removes entries until there is room for weight bytes more, before
// they come in: nothing that is being stored can be its own victim.
func (m *Memory) makeRoom(weight int64, now time.Duration) {
	spared := 0
	for m.small.bytes+m.main.bytes+weight > m.limit {
		q := &m.main
		if m.small.bytes > m.limit/smallShare || q.oldest() == nil {
			q = &m.small
		}
		it := q.oldest()
		asked := it.asked.Load()
		switch {
		case spared == maxSpared || now >= it.expires:
			m.evict(it)
		case !it.main && asked >= promotion:
			q.unlink(it)
			it.main = true
			it.asked.Store(0)
			m.main.push(it)
			spared++
		case it.main && asked > 0:
			q.unlink(it)
			it.asked.Store(asked - 1)
			q.push(it)
			spared++
		default:
			m.evict(it)
		}
	}
}

func (m *Memory) evict(it *item) {
	if !it.main {
		m.ghosts.leave(m.fingerprint(it.key))
	}
	m.remove(m.shard(m.hash(it.key.Primary)), it)
}

func (m *Memory) queueFor(main bool) *queue {
	if main {
		return &m.main
	}
	return &m.small
}

// fingerprint is the hash by which a ghost is known.
func (m *Memory) fingerprint(key Key) uint64 {
	return maphash.Comparable(m.seed, key)
}

// queue holds items in the order in which they came.
type queue struct {
	items linked.List[*item]
	bytes int64
}

func (q *queue) oldest() *item { return q.items.First() }

func (q *queue) push(it *item) {
	q.items.PushBack(&it.place, it)
	q.bytes += it.weight
}

func (q *queue) unlink(it *item) {
	q.items.Remove(&it.place)
	q.bytes -= it.weight
}

// ghosts remembers the keys that left the small queue last, as many as there are
// entries: a part of the hash and a running number, at a place given by the rest
// of the hash. A younger ghost takes the place of an older one. To be wrong about
// one costs next to nothing.
type ghosts struct {
	places []ghost
	left   uint32
}

type ghost struct {
	hash   uint32 // never zero, which is an empty place
	number uint32
}

func (g *ghosts) place(hash uint64) *ghost {
	return &g.places[hash%uint64(len(g.places))]
}

func (g *ghosts) leave(hash uint64) {
	g.left++
	*g.place(hash) = ghost{hash: ghostHash(hash), number: g.left}
}

// take returns whether the key was one of the latest to leave. Its ghost is gone
// then.
func (g *ghosts) take(hash uint64, latest int64) bool {
	place := g.place(hash)
	if place.hash != ghostHash(hash) {
		return false
	}
	age := g.left - place.number
	*place = ghost{}
	return int64(age) < latest
}

func ghostHash(hash uint64) uint32 { return uint32(hash>>32) | 1 }

// tableSize is the number of places for ghosts, of 8 bytes each, and for purges, of
// 24: a power of two, one for each 4 KiB of the bound at most, but 64 at least. They
// come to 512 KiB at most, which is not part of the bound.
func tableSize(maxBytes int64) int {
	const least, most, bytesPerPlace = 1 << 6, 1 << 14, 1 << 12
	size := least
	for size < most && int64(2*size)*bytesPerPlace <= maxBytes {
		size *= 2
	}
	return size
}
