package main

import (
	"math"
	"slices"
	"sync"
	"time"
)

// The names of the two sides.
const (
	naive    = "naive"
	failsoft = "failsoft"
)

// record is what happened so far. It is safe for concurrent use.
type record struct {
	visitors []visitor

	mu    sync.Mutex
	sides map[string]*side
	late  time.Duration // by which the machine let a visitor leave, at worst
	where int           // the phase of that
}

// side is the record of one front, by phase.
type side struct {
	answers  [][]answer
	attempts []int // that the upstreams have seen
	extra    []int // of these, all but the first of a call
	stale    []int // pages of which some part was old

	simpler []int // the visitors whose pages were to do without some part
	refused []int // those who were told to come later

	sent  []arrival // each of the attempts
	calls []call
}

// arrival is an attempt as an upstream has seen it.
type arrival struct {
	at       time.Duration // since the start
	upstream string
	replica  int
}

// call is one that a front made to an upstream, of one attempt or several. What a
// cache answers without asking is none.
type call struct {
	upstream string
	at       time.Duration // when it was begun, since the start
	took     time.Duration // to the headers
	answered bool          // well
}

// answer is what a visitor got.
type answer struct {
	at     time.Duration // of the visitor's arrival
	served bool          // with a page
	took   time.Duration
}

func newRecord(s script, visitors []visitor) *record {
	r := &record{visitors: visitors, sides: make(map[string]*side)}
	for _, name := range []string{naive, failsoft} {
		r.sides[name] = &side{
			answers:  make([][]answer, len(s.phases)),
			attempts: make([]int, len(s.phases)),
			extra:    make([]int, len(s.phases)),
			stale:    make([]int, len(s.phases)),
		}
	}
	return r
}

// left notes by how much a visitor left later than meant. Both fronts suffer
// from a machine without processor time to spare, and who reads the table should
// know of it.
func (r *record) left(number int, late time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if late > r.late {
		r.late, r.where = late, r.visitors[number].phase
	}
}

// latest returns the worst of what left was told, and the phase of it.
func (r *record) latest() (time.Duration, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.late, r.where
}

// attempted counts a request that an upstream has seen, the n-th of its call, in the
// phase in which its visitor arrived.
func (r *record) attempted(front string, visitor, n int, seen arrival) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if side := r.sides[front]; side != nil && visitor < len(r.visitors) {
		phase := r.visitors[visitor].phase
		side.attempts[phase]++
		if n > 1 {
			side.extra[phase]++
		}
		side.sent = append(side.sent, seen)
	}
}

// staled counts a visitor's page of which some part was old.
func (r *record) staled(front string, visitor int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if visitor < len(r.visitors) {
		r.sides[front].stale[r.visitors[visitor].phase]++
	}
}

// degraded notes a visitor whose page is to do without some part.
func (r *record) degraded(front string, visitor int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if visitor < len(r.visitors) {
		r.sides[front].simpler = append(r.sides[front].simpler, visitor)
	}
}

// refused notes a visitor who was told to come later.
func (r *record) refused(front string, visitor int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sides[front].refused = append(r.sides[front].refused, visitor)
}

// called notes a front's call to an upstream.
func (r *record) called(front string, c call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	side := r.sides[front]
	side.calls = append(side.calls, c)
}

// calls returns a front's calls that were begun between two times.
func (r *record) calls(front string, from, to time.Duration) []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	var some []call
	for _, c := range r.sides[front].calls {
		if from <= c.at && c.at < to {
			some = append(some, c)
		}
	}
	return some
}

// answered notes how a visit ended.
func (r *record) answered(front string, number int, served bool, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, side := r.visitors[number], r.sides[front]
	side.answers[v.phase] = append(side.answers[v.phase], answer{at: v.at, served: served, took: took})
}

// tally is a side's figures, of one phase or of several.
type tally struct {
	visitors int
	served   int
	stale    int // of those served
	attempts int
	extra    int             // of the attempts, all but the first of a call
	took     []time.Duration // sorted
}

// tally adds up the phases from one to another, the latter excluded.
func (r *record) tally(front string, from, to int) tally {
	var t tally
	r.mu.Lock()
	defer r.mu.Unlock()
	side := r.sides[front]
	for i := from; i < to; i++ {
		t.stale += side.stale[i]
		t.attempts += side.attempts[i]
		t.extra += side.extra[i]
		for _, a := range side.answers[i] {
			t.visitors++
			if a.served {
				t.served++
			}
			t.took = append(t.took, a.took)
		}
	}
	slices.Sort(t.took)
	return t
}

// history returns the availability of a side over the time up to total, in n
// equal parts. A part that nobody has been answered in is NaN.
func (r *record) history(front string, total time.Duration, n int) []float64 {
	served, all := make([]float64, n), make([]float64, n)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, answers := range r.sides[front].answers {
		for _, a := range answers {
			part := min(int(float64(n)*float64(a.at)/float64(total)), n-1)
			all[part]++
			if a.served {
				served[part]++
			}
		}
	}
	for i := range served {
		served[i] /= all[i] // 0/0 is NaN
	}
	return served
}

// tallyCalls adds up calls as if each were a visitor.
func tallyCalls(calls []call) tally {
	var t tally
	for _, c := range calls {
		t.visitors++
		if c.answered {
			t.served++
		}
		t.took = append(t.took, c.took)
	}
	slices.Sort(t.took)
	return t
}

// availability is the share of visitors who got a page.
func (t tally) availability() float64 { return float64(t.served) / float64(t.visitors) }

// old is the share of visitors who got a page of which some part was old.
func (t tally) old() float64 { return float64(t.stale) / float64(t.visitors) }

// perVisitor is the upstream attempts that a visitor cost.
func (t tally) perVisitor() float64 { return float64(t.attempts) / float64(t.visitors) }

// quantile is the time in which the share q of all visitors had an answer, good
// or bad: the nearest rank, which is a time that somebody really waited.
func (t tally) quantile(q float64) time.Duration {
	if len(t.took) == 0 {
		return 0
	}
	rank := int(math.Ceil(q * float64(len(t.took))))
	return t.took[max(rank, 1)-1]
}
