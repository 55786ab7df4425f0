package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// stall is what the fronts have made of the phase in which a replica stalls.
type stall struct {
	phase           string
	upstream        string
	naive, failsoft reach
}

// reach is where one side's attempts went, and what became of its calls and visitors.
type reach struct {
	slowest time.Duration // of the calls to the upstream

	// From when whoever is to notice has had the time to do so:
	attempts int // at the upstream
	lost     int // of these, at the replica that stalls
	visitors int
	inTime   int // of these, who had their page soon
}

// settled is how long a stall has lasted when everybody can have noticed.
const settled = time.Second

// soon is how long a page may take. A hedge comes in time for it, a timeout does not.
const soon = deadline / sooner

// stall returns what there is to tell of the phase in which a replica stalls.
func (r *record) stall(s script) stall {
	at := slices.IndexFunc(s.phases, func(p phase) bool { return p.stalls != "" })
	if at < 0 {
		return stall{}
	}
	p := s.phases[at]
	begin, end := s.span(at)
	return stall{
		phase: p.name, upstream: p.stalls,
		naive:    r.reach(naive, p.stalls, begin, end),
		failsoft: r.reach(failsoft, p.stalls, begin, end),
	}
}

// reach counts what there was of an upstream in a phase, from begin to end.
func (r *record) reach(front, upstream string, begin, end time.Duration) (all reach) {
	for _, c := range r.calls(front, begin, end) {
		if c.upstream == upstream {
			all.slowest = max(all.slowest, c.took)
		}
	}
	begin += settled
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, seen := range r.sides[front].sent {
		if seen.upstream != upstream || seen.at < begin || seen.at >= end {
			continue
		}
		all.attempts++
		if seen.replica == stalledReplica {
			all.lost++
		}
	}
	for _, a := range slices.Concat(r.sides[front].answers...) {
		if a.at < begin || a.at >= end {
			continue
		}
		all.visitors++
		if a.served && a.took <= soon {
			all.inTime++
		}
	}
	return all
}

// share is how large a part of the attempts went to the replica that stalls.
func (r reach) share() float64 { return float64(r.lost) / float64(r.attempts) }

// timely is how large a part of the visitors had their page in time.
func (r reach) timely() float64 { return float64(r.inTime) / float64(r.visitors) }

// The bars of the verdict on the stall.
const (
	// avoided is the largest share of the attempts that may still go to the replica that
	// stalls. What finds out whether it is back is one request now and then.
	avoided = 0.1
	// inTurn is the least share of naive's. Of three replicas, each gets a third; were it
	// less, nothing would have been avoided.
	inTurn = 0.25
	// punctual is the least share of pages in time, and ahead is by how much that is above
	// naive's at least, which loses a third of them.
	punctual = 0.95
	ahead    = 0.1
)

// judge returns what is wrong with failsoft's side.
func (s stall) judge() error {
	var wrong []error
	fail := func(format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("%w in row %q: "+format, append([]any{errBehind, s.phase}, args...)...))
	}
	if slowest := s.failsoft.slowest; slowest >= tryTimeout {
		fail("a call to the %s took %v: a hedge is to answer before an attempt times out (%v)",
			s.upstream, slowest, tryTimeout)
	}
	if f := s.failsoft; f.attempts == 0 || f.share() > avoided {
		fail("after a second, %d of its %d attempts at the %s still went to the replica that stalls, more than %.0f %%",
			f.lost, f.attempts, s.upstream, 100*avoided)
	}
	if n := s.naive; n.attempts == 0 || n.share() < inTurn {
		fail("for want of a stall: only %d of naive's %d attempts at the %s went to the replica that stalls",
			n.lost, n.attempts, s.upstream)
	}
	if f, n := s.failsoft, s.naive; f.visitors == 0 || f.timely() < max(punctual, min(n.timely()+ahead, 1)) {
		fail("after a second, %d of its %d visitors had their page in %v, and %d of naive's %d",
			f.inTime, f.visitors, soon, n.inTime, n.visitors)
	}
	return errors.Join(wrong...)
}

// String is the part of the report, empty if it did not come to that.
func (s stall) String() string {
	if s.naive.attempts == 0 || s.failsoft.attempts == 0 || s.naive.visitors == 0 || s.failsoft.visitors == 0 {
		return ""
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%-27s%13s%22s%18s\n",
		"while a replica stalls", "slowest call", "after "+settled.String()+": calls to it", "pages in "+millis(soon))
	line := func(front string, r reach, bound string) {
		fmt.Fprintf(&text, "%-19s%-8s%13s%13.1f %%%-7s%16.2f %%\n",
			"", front, millis(r.slowest), 100*r.share(), bound, 100*r.timely())
	}
	line(naive, s.naive, "")
	line(failsoft, s.failsoft, fmt.Sprintf(" ≤ %.0f %%", 100*avoided))
	return text.String() + "\n"
}
