package backpressure

// waiter is a call that waits for a place.
type waiter struct {
	class Class
	share float64
	since int64
	ready chan verdict // has room for the one that comes

	queued     bool
	prev, next *waiter
}

// verdict is what becomes of a waiter.
type verdict struct {
	slot    int32
	gen     uint32
	refused bool // somebody who matters more took its place in the queue
}

// queue holds the waiters of one class in the order in which they came.
type queue struct {
	oldest, newest *waiter
	len            int
}

func (q *queue) push(w *waiter) {
	w.queued, w.prev = true, q.newest
	if q.newest == nil {
		q.oldest = w
	} else {
		q.newest.next = w
	}
	q.newest = w
	q.len++
}

func (q *queue) peek(newest bool) *waiter {
	if newest {
		return q.newest
	}
	return q.oldest
}

func (q *queue) remove(w *waiter) {
	if w.prev == nil {
		q.oldest = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.newest = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.queued, w.prev, w.next = false, nil, nil
	q.len--
}
