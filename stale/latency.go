package stale

import (
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/internal/keyed"
)

// latencies learn how long the origin takes to the headers of an answer, per host.
// What takes longer than nearly all others is late, and an old answer now better.
type latencies struct {
	fixed time.Duration // or 0
	hosts *keyed.Map[latency]
	begun time.Time
}

// latency follows the 95th percentile by signs alone: up by 19 parts where an
// answer took longer, down by one where it did not, in steps of a part of itself.
// Outliers move it no further than anything else does, and a change of the origin's
// pace by ten is followed within some 200 answers. Lost updates of concurrent calls
// are steps not taken.
type latency struct {
	estimate atomic.Int64 // ns; 0 before the first
	count    atomic.Int64
}

const (
	staleAfterLeast = 50 * time.Millisecond
	staleAfterMost  = time.Second
	staleAfterFirst = 300 * time.Millisecond // before anything is known
	knownAfter      = 20                     // answers
)

func (l *latencies) init(fixed time.Duration) {
	l.fixed, l.begun = fixed, time.Now()
	l.hosts = keyed.New(keyed.Config[latency]{
		Max:    256,
		New:    func(string) *latency { return new(latency) },
		Retire: func(*latency, int64) bool { return true },
	})
}

func (l *latencies) learn(host string, took time.Duration) {
	if l.fixed == 0 {
		l.hosts.Get(host, int64(time.Since(l.begun))).learn(int64(took))
	}
}

// staleAfter is how long a request waits for the origin while there is something
// older; Off is for ever.
func (l *latencies) staleAfter(host string) time.Duration {
	if l.fixed != 0 {
		return l.fixed
	}
	cell, ok := l.hosts.Lookup(host)
	if !ok || cell.count.Load() < knownAfter {
		return staleAfterFirst
	}
	return min(max(time.Duration(cell.estimate.Load()), staleAfterLeast), staleAfterMost)
}

func (l *latency) learn(took int64) {
	if l.count.Add(1) == 1 {
		l.estimate.Store(max(took, 1))
		return
	}
	const part = 200
	was := l.estimate.Load()
	step := was/part + 1
	if took > was {
		l.estimate.Store(was + 19*step)
	} else {
		l.estimate.Store(max(was-step, 1))
	}
}
