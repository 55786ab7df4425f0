// Package ordered delivers events in the order in which they happened, without a
// lock around whoever they are for. healthcheck tells of state changes by it, and so
// can every policy that promises an order per key.
//
// The owner of a Queue puts events under its own lock, in the course of the change
// that they tell of, and delivers them when it has let go of the lock. The goroutine
// that finds nobody delivering delivers everything, what others put meanwhile
// included; the others go on. So an observer may call back into the owner, block for
// as long as it likes, panic or end its goroutine: order and progress remain.
package ordered

import "sync"

// Most is how many events wait at most. An observer that blocks must cost no more
// memory than that: the oldest are lost.
const Most = 1000

// Queue holds events until they are delivered. Its zero value is empty. All methods
// are safe for concurrent use.
type Queue[E any] struct {
	mu      sync.Mutex
	pending []E
	telling bool
	lost    int
}

// Put adds an event. Deliver is to be called after it.
func (q *Queue[E]) Put(e E) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.pending) == Most {
		q.drop()
		q.lost++
	}
	q.pending = append(q.pending, e)
}

// Lost returns how many events were not delivered.
func (q *Queue[E]) Lost() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lost
}

// drop takes the oldest event out.
func (q *Queue[E]) drop() (oldest E) {
	var none E
	oldest, q.pending[0] = q.pending[0], none // or it would be kept by the array
	q.pending = q.pending[1:]
	return oldest
}

// Deliver gives what is pending to tell, in order, unless another goroutine is about
// to. tell must contain its own panics; if it ends the goroutine, the rest is
// delivered with the next call.
func (q *Queue[E]) Deliver(tell func(E)) {
	if !q.start() {
		return
	}
	done := false
	defer func() {
		if !done {
			q.stop()
		}
	}()
	for {
		e, ok := q.next()
		if !ok {
			done = true // and somebody else may be telling by now
			return
		}
		tell(e)
	}
}

func (q *Queue[E]) start() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.telling || len(q.pending) == 0 {
		return false
	}
	q.telling = true
	return true
}

// next takes an event. When there is none the telling is over under the same lock,
// so that no event falls between two tellers.
func (q *Queue[E]) next() (e E, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.pending) == 0 {
		q.pending, q.telling = nil, false
		return e, false
	}
	return q.drop(), true
}

func (q *Queue[E]) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.telling = false
}
