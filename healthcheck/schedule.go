package healthcheck

import (
	"sync"
	"time"
)

// schedule is which check is to be probed when. One goroutine serves it, however
// many checks there are.
type schedule struct {
	mu   sync.Mutex
	due  dueHeap
	wake chan struct{} // what is due first has changed
}

type planned struct {
	k  *check
	at int64
}

// add plans a probe.
func (s *schedule) add(k *check, at int64) {
	s.mu.Lock()
	s.due.push(planned{k, at})
	first := s.due[0].k == k
	s.mu.Unlock()
	if !first {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default: // it will be awake
	}
}

// next takes a check that is due at now, or returns how long there is none.
func (s *schedule) next(now int64) (k *check, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.due) == 0 {
		return nil, mostPeriod
	}
	if wait := s.due[0].at - now; wait > 0 {
		return nil, time.Duration(wait)
	}
	return s.due.pop().k, 0
}

// runSchedule starts probes when they are due, until the Checker is closed.
func (c *Checker) runSchedule() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		k, wait := c.schedule.next(c.now())
		if k != nil {
			c.due(k)
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-c.schedule.wake:
		case <-c.ctx.Done():
			return
		}
	}
}

// due probes a check, unless traffic tells that it is well.
func (c *Checker) due(k *check) {
	if next, told := k.toldByTraffic(c.now()); told {
		c.schedule.add(k, next)
		return
	}
	c.launch(k)
}

// toldByTraffic reports whether traffic has told within the last period that the
// check is well, and until when that will do.
func (k *check) toldByTraffic(now int64) (next int64, told bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.age(now)
	return inStep(now, k.pause(), k.Period), k.machine.status == Pass && k.feed.wellSince(now-int64(k.Period))
}

// dueHeap is a binary heap of what is planned, the first due at its root.
// container/heap would box every entry.
type dueHeap []planned

func (h *dueHeap) push(p planned) {
	*h = append(*h, p)
	all := *h
	for i := len(all) - 1; i > 0; {
		parent := (i - 1) / 2
		if all[parent].at <= all[i].at {
			return
		}
		all[parent], all[i] = all[i], all[parent]
		i = parent
	}
}

func (h *dueHeap) pop() planned {
	all := *h
	first, last := all[0], len(all)-1
	all[0], all[last] = all[last], planned{}
	all = all[:last]
	*h = all
	for i := 0; ; {
		least := i
		for _, child := range [...]int{2*i + 1, 2*i + 2} {
			if child < last && all[child].at < all[least].at {
				least = child
			}
		}
		if least == i {
			return first
		}
		all[least], all[i] = all[i], all[least]
		i = least
	}
}
