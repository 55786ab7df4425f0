package keyed

// ranked is a cell's place in the order of eviction.
type ranked[V any] struct {
	rank    int64  // The last use known here, or until when a refusal holds.
	serial  uint64 // The order of insertion, among equal ranks.
	refused bool   // The rank is that of a refusal.
	cell    *cell[V]
}

func (r *ranked[V]) before(other *ranked[V]) bool {
	if r.rank != other.rank {
		return r.rank < other.rank
	}
	return r.serial < other.serial
}

// recency is a binary heap of all cells, the next to be evicted first.
//
// Get writes into the cell only, so ranks lag behind; but in one direction: a
// cell's use is never older than its rank. Hence it is enough to bring the
// first up to date until the first is true, and each such step is paid for by
// a Get since the last one. The alternatives are worse: a linked list takes a
// lock in every Get, and a scan that collects a batch of the oldest is wasted
// when most of them are busy.
type recency[V any] struct {
	heap    []ranked[V]
	serials uint64
}

// push adds a cell that was used at now.
func (r *recency[V]) push(c *cell[V], now int64) {
	r.serials++
	r.heap = append(r.heap, ranked[V]{rank: now, serial: r.serials, cell: c})
	h := r.heap
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h[i].before(&h[parent]) {
			return
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

// oldest brings the first place up to date and returns it. Uses later than now
// count as at now, so that goroutines that keep on using cells meanwhile
// cannot keep this one busy for ever.
func (r *recency[V]) oldest(now int64) ranked[V] {
	first := &r.heap[0]
	for {
		used := min(first.cell.lastUsed.Load(), now)
		if used <= first.rank {
			return *first
		}
		first.rank, first.refused = used, false
		r.sink()
	}
}

// refuse moves the first cell back to the place of one that is used at until.
func (r *recency[V]) refuse(until int64) {
	r.heap[0].rank, r.heap[0].refused = until, true
	r.sink()
}

// pop removes the first cell.
func (r *recency[V]) pop() {
	last := len(r.heap) - 1
	r.heap[0] = r.heap[last]
	r.heap = r.heap[:last]
	r.sink()
}

// sink restores the heap after the first place has got a higher rank.
func (r *recency[V]) sink() {
	h := r.heap
	for i := 0; ; {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if right := child + 1; right < len(h) && h[right].before(&h[child]) {
			child = right
		}
		if !h[child].before(&h[i]) {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}
