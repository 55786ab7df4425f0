package breaker

import "github.com/failsoft/failsoft/internal/linked"

// flight is the record of one call that was let through, kept in the order in
// which calls started until its headers are there. Records are reused: gen
// tells a record's present call from its past ones, so that a Call that is
// ended twice changes nothing.
type flight struct {
	gen     uint64
	epoch   uint64 // of the circuit when the call started
	start   int64  // ns
	headers int64  // latency to the headers in ns, or 0 while waiting
	probe   bool
	late    bool // a probe that has missed its deadline, which was its result

	waiting bool
	place   linked.Place[*flight] // among those
}

// flights are the calls of one circuit that are under way. An ordered list
// knows the oldest at once; counting by age in buckets would not know it
// exactly, and could not follow a change of rules.
type flights struct {
	waiting linked.List[*flight] // for headers, the oldest first
	free    []*flight
	count   int // not ended yet
}

// start records a call.
func (fs *flights) start(now int64, epoch uint64, probe bool) *flight {
	f := fs.record()
	f.gen++
	f.epoch, f.start, f.headers = epoch, now, 0
	f.probe, f.late, f.waiting = probe, false, true
	fs.waiting.PushBack(&f.place, f)
	fs.count++
	return f
}

// record returns one that is free.
func (fs *flights) record() *flight {
	last := len(fs.free) - 1
	if last < 0 {
		return new(flight)
	}
	f := fs.free[last]
	fs.free = fs.free[:last]
	return f
}

// arrive takes f out of the waiting, once.
func (fs *flights) arrive(f *flight) {
	if f.waiting {
		f.waiting = false
		fs.waiting.Remove(&f.place)
	}
}

// end forgets f and keeps its record for another call.
func (fs *flights) end(f *flight) {
	fs.arrive(f)
	f.gen++
	fs.free = append(fs.free, f)
	fs.count--
}

// forget ends the wait of all calls under way: their circuit has changed its
// state, and they say nothing about the new one.
func (fs *flights) forget() {
	for f := range fs.waiting.All() {
		fs.arrive(f)
	}
}

// stalled counts the calls that have waited since before, but not past most.
func (fs *flights) stalled(before int64, epoch uint64, most int) (n int) {
	for f := range fs.waiting.All() {
		if f.start > before || n == most {
			break
		}
		if f.epoch == epoch {
			n++
		}
	}
	return n
}
