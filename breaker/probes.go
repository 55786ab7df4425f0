package breaker

import "slices"

// probes are the calls that find out whether what failed works again. A probe
// takes a place until its headers are there; without headers by its deadline it
// has failed, so that one that hangs, or is lost, cannot hold the circuit. One
// that has shown good headers and goes on for as long again has succeeded: a
// stream need not end to prove something.
type probes struct {
	waiting   []place // for headers
	answering []place // for the end of the body
	good, bad int
}

type place struct {
	flight   *flight
	deadline int64
}

// full reports whether no further probe may start. Places end at the headers;
// but behind headers that come without an end, there must be a bound too.
func (p *probes) full(most int) bool {
	return len(p.waiting) >= most || len(p.waiting)+len(p.answering) >= 10*most
}

func (p *probes) start(f *flight, deadline int64) {
	p.waiting = append(p.waiting, place{f, deadline})
}

// arrive frees the place of f, if it has one.
func (p *probes) arrive(f *flight, deadline int64) {
	if without(&p.waiting, f) {
		p.answering = append(p.answering, place{f, deadline})
	}
}

// settle takes f out of those that time alone would make good: its result is
// known, which counts for more.
func (p *probes) settle(f *flight) { without(&p.answering, f) }

// end forgets f.
func (p *probes) end(f *flight) {
	without(&p.waiting, f)
	without(&p.answering, f)
}

func without(places *[]place, f *flight) bool {
	before := len(*places)
	*places = slices.DeleteFunc(*places, func(at place) bool { return at.flight == f })
	return len(*places) < before
}

// add counts a result.
func (p *probes) add(good bool) {
	if good {
		p.good++
	} else {
		p.bad++
	}
}

// expire counts the probes whose deadlines have passed, and returns how many have
// failed by that, and succeeded.
func (p *probes) expire(now int64) (bad, good int) {
	bad, good = late(&p.waiting, now), late(&p.answering, now)
	p.bad += bad
	p.good += good
	return bad, good
}

func late(places *[]place, now int64) (n int) {
	*places = slices.DeleteFunc(*places, func(at place) bool {
		if now < at.deadline {
			return false
		}
		at.flight.late = true // its result is known
		n++
		return true
	})
	return n
}

// nextDeadline is when the next place is free at the latest, or now.
func (p *probes) nextDeadline(now int64) int64 {
	next := now
	for i, at := range p.waiting {
		if i == 0 || at.deadline < next {
			next = at.deadline
		}
	}
	return next
}
