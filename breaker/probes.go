package breaker

import "slices"

// probes are the calls that find out whether what failed works again. A probe
// takes a place until its headers are there; without headers by its deadline it
// has failed, so that one that hangs, or is lost, cannot hold the circuit.
type probes struct {
	places    []place // waiting for headers
	good, bad int
}

type place struct {
	flight   *flight
	deadline int64
}

func (p *probes) underWay() int { return len(p.places) }

func (p *probes) start(f *flight, deadline int64) {
	p.places = append(p.places, place{f, deadline})
}

// arrive frees the place of f, if it has one.
func (p *probes) arrive(f *flight) {
	p.places = slices.DeleteFunc(p.places, func(at place) bool { return at.flight == f })
}

// add counts a result.
func (p *probes) add(good bool) {
	if good {
		p.good++
	} else {
		p.bad++
	}
}

// expire counts the probes that have missed their deadlines as failures and
// reports whether there were any.
func (p *probes) expire(now int64) bool {
	before := p.bad
	p.places = slices.DeleteFunc(p.places, func(at place) bool {
		if now < at.deadline {
			return false
		}
		at.flight.late = true
		p.bad++
		return true
	})
	return p.bad > before
}

// nextDeadline is when the next place is free at the latest, or now.
func (p *probes) nextDeadline(now int64) int64 {
	next := now
	for i, at := range p.places {
		if i == 0 || at.deadline < next {
			next = at.deadline
		}
	}
	return next
}
