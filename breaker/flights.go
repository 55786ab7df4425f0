package breaker

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

	prev, next *flight // in the list of the waiting, or next in the free list
	waiting    bool
}

// flights are the calls of one circuit that are under way. An ordered list
// knows the oldest at once; counting by age in buckets would not know it
// exactly, and could not follow a change of rules.
type flights struct {
	oldest, newest *flight
	free           *flight
	count          int // not ended yet
	waiting        int // of these, without headers
}

// start records a call.
func (fs *flights) start(now int64, epoch uint64, probe bool) *flight {
	f := fs.free
	if f == nil {
		f = new(flight)
	} else {
		fs.free = f.next
	}
	f.gen++
	f.epoch, f.start, f.headers = epoch, now, 0
	f.probe, f.late, f.waiting = probe, false, true
	f.prev, f.next = fs.newest, nil
	if fs.newest == nil {
		fs.oldest = f
	} else {
		fs.newest.next = f
	}
	fs.newest = f
	fs.count++
	fs.waiting++
	return f
}

// arrive takes f out of the waiting, once.
func (fs *flights) arrive(f *flight) {
	if !f.waiting {
		return
	}
	f.waiting = false
	fs.waiting--
	if f.prev == nil {
		fs.oldest = f.next
	} else {
		f.prev.next = f.next
	}
	if f.next == nil {
		fs.newest = f.prev
	} else {
		f.next.prev = f.prev
	}
	f.prev, f.next = nil, nil
}

// end forgets f and keeps its record for another call.
func (fs *flights) end(f *flight) {
	fs.arrive(f)
	f.gen++
	f.next, fs.free = fs.free, f
	fs.count--
}

// forget ends the wait of all calls under way: their circuit has changed its
// state, and they say nothing about the new one.
func (fs *flights) forget() {
	for f := fs.oldest; f != nil; {
		next := f.next
		f.waiting, f.prev, f.next = false, nil, nil
		f = next
	}
	fs.oldest, fs.newest, fs.waiting = nil, nil, 0
}

// stalled counts the calls that have waited since before, but not past most.
func (fs *flights) stalled(before int64, epoch uint64, most int) (n int) {
	for f := fs.oldest; f != nil && f.start <= before && n < most; f = f.next {
		if f.epoch == epoch {
			n++
		}
	}
	return n
}
