package backpressure

import "github.com/failsoft/failsoft/internal/linked"

// waiter is a call that waits for a place.
type waiter struct {
	key   string // as it was asked for: that of the limit may be another
	class Class
	share float64
	since int64
	ready chan verdict // has room for the one that comes

	flow  *flow // nil when it waits no more
	place linked.Place[*waiter]
}

// verdict is what becomes of a waiter.
type verdict struct {
	slot    int32
	gen     uint32
	refused bool // somebody who matters more took its place in the queue
}

// queue holds the waiters of one class. Tenants take turns: of each that has waiters one
// is served, then of each the next. This is fair queueing (Nagle, RFC 970; Demers, Keshav
// and Shenker, SIGCOMM 1989) of calls that all count as one. So tenants that have
// waiters all the time are served equally often, to within one call, and one that asks
// for less than that waits for one round at most. Where nobody names tenants there is
// one flow, and the order is that of arrival.
//
// There is a flow for each tenant that waits, and nothing is kept of one that does not: it
// is in debt to nobody. So memory is bounded by the number of waiters, whatever tenants
// are made up. To share a fixed number of flows by hash (stochastic fairness queueing:
// McKenney, INFOCOM 1990) bounds it as well, but of 200 tenants that ask for the same, in
// 256 flows, some got four times as much as others.
//
// Newest first, a tenant that had no waiters has the first turn instead of the last, and
// in each turn the newest of a tenant is served.
type queue struct {
	len     int
	flows   linked.List[*flow] // that have waiters, in the order of their turns
	nobody  flow               // of those without a tenant
	tenants map[uint64]*flow   // nil until one waits
}

// find returns the flow of a request, if it has waiters.
func (q *queue) find(req *request) *flow {
	switch {
	case req.known:
		return q.tenants[req.tenant]
	case q.nobody.waiters.Len() > 0:
		return &q.nobody
	default:
		return nil
	}
}

// push lets somebody wait.
func (q *queue) push(req *request, w *waiter, newest bool) {
	f := q.find(req)
	if f == nil {
		f = q.begin(req, newest)
	}
	w.flow = f
	f.waiters.PushBack(&w.place, w)
	q.len++
}

// begin makes a flow for a request.
func (q *queue) begin(req *request, newest bool) *flow {
	f := &q.nobody
	if req.known {
		if q.tenants == nil {
			q.tenants = make(map[uint64]*flow)
		}
		f = &flow{tenant: req.tenant, known: true}
		q.tenants[req.tenant] = f
	}
	if newest {
		q.flows.PushFront(&f.place, f)
	} else {
		q.flows.PushBack(&f.place, f)
	}
	return f
}

// before is how many are served before a newcomer of a tenant that has no waiters. Of one
// that has, it is how many will have been: the tenants that wait now take all of their
// turns until then, as they go on asking in an overload. (By those who wait now, too many
// were let wait in vain.)
func (q *queue) before(req *request, newest bool) (n int) {
	f := q.find(req)
	switch {
	case f == nil && newest:
		return 0
	case f == nil:
		return q.flows.Len()
	}
	for other := range q.flows.All() {
		if other == f {
			break
		}
		n++
	}
	if newest {
		return n
	}
	return n + f.waiters.Len()*q.flows.Len()
}

// peek returns who is to be served next.
func (q *queue) peek(newest bool) *waiter {
	if f := q.flows.First(); f != nil {
		return f.peek(newest)
	}
	return nil
}

// longest returns the flow with the most waiters.
func (q *queue) longest() *flow {
	longest := q.flows.First()
	for f := range q.flows.All() {
		if f.waiters.Len() >= longest.waiters.Len() {
			longest = f
		}
	}
	return longest
}

// serve takes out who is served: those of its tenant that wait have their next turn after
// all others.
func (q *queue) serve(w *waiter) {
	f := w.flow
	q.remove(w)
	if f.waiters.Len() > 0 {
		q.flows.Remove(&f.place)
		q.flows.PushBack(&f.place, f)
	}
}

// remove takes out who has left. It costs its tenant nothing.
func (q *queue) remove(w *waiter) {
	f := w.flow
	f.waiters.Remove(&w.place)
	w.flow = nil
	q.len--
	if f.waiters.Len() > 0 {
		return
	}
	q.flows.Remove(&f.place)
	if f.known {
		delete(q.tenants, f.tenant)
	}
}

// flow holds the waiters of one tenant in the order in which they came.
type flow struct {
	tenant  uint64
	known   bool
	waiters linked.List[*waiter]
	place   linked.Place[*flow]
}

func (f *flow) peek(newest bool) *waiter {
	if newest {
		return f.waiters.Last()
	}
	return f.waiters.First()
}
