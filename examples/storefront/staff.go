package main

import (
	"context"
	"slices"
	"sync"
	"time"
)

// staff are those who build the pages of a front: so many pages at a time, one after
// the other, each of which takes the time that its parts take. They stand for the
// processors of a machine, which is what most fronts run out of. What waits for one
// cannot leave, and a template that is being filled in does not look whether its
// reader is still there: so who has left is worked for all the same.
//
// It is a list of when each of them will have time, so that a timer that is late does
// not make a front slower than the other.
type staff struct {
	mu   sync.Mutex
	free []time.Time // when, of each
}

func newStaff(n int) *staff { return &staff{free: make([]time.Time, n)} }

// build returns when the work is done, or at once if nobody reads its result any more.
func (s *staff) build(ctx context.Context, work time.Duration) {
	if s == nil {
		return
	}
	timer := time.NewTimer(time.Until(s.book(work)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// book gives the work to whoever has time first, and returns when it will be done.
func (s *staff) book(work time.Duration) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := 0
	for i, at := range s.free {
		if at.Before(s.free[first]) {
			first = i
		}
	}
	begin := slices.MaxFunc([]time.Time{s.free[first], time.Now()}, time.Time.Compare)
	s.free[first] = begin.Add(work)
	return s.free[first]
}
