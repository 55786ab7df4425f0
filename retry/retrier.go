package retry

import (
	"sync/atomic"

	"github.com/failsoft/failsoft/budget"
)

// Retrier tries calls again that another attempt may save. Make one with [New];
// it holds the budget and the counts, and opens three doors to them:
// [Retrier.Transport] for HTTP, [Do] and [Retrier.Run] for functions. All methods
// are safe for concurrent use.
//
// In a testing/synctest bubble a Retrier works in virtual time if it was made
// there.
type Retrier struct {
	cfg    Config
	counts counts
}

// New returns a Retrier. Its error joins everything that is wrong with cfg.
func New(cfg Config) (*Retrier, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	return &Retrier{cfg: cfg}, nil
}

// MustNew is New for package variables and examples: it panics where New
// returns an error.
func MustNew(cfg Config) *Retrier {
	r, err := New(cfg)
	if err != nil {
		panic(err)
	}
	return r
}

// counts is what has happened.
type counts struct {
	retries, recovered atomic.Uint64
	stopped            [BodyLost + 1]atomic.Uint64
}

// Snapshot is the state of a Retrier at one moment, as plain data. Calls that
// succeed at once are not counted: the common path writes no memory that is
// shared but its budget's.
type Snapshot struct {
	Retries   uint64            // attempts sent after the first
	Recovered uint64            // calls that were accepted after more than one attempt
	Stopped   map[Reason]uint64 // calls that another attempt might have saved, by why it was not made
	Budget    budget.Snapshot   // of all who share it
}

// Snapshot returns the counts so far and the state of the budget.
func (r *Retrier) Snapshot() Snapshot {
	s := Snapshot{
		Retries:   r.counts.retries.Load(),
		Recovered: r.counts.recovered.Load(),
		Stopped:   make(map[Reason]uint64),
		Budget:    r.cfg.Budget.Snapshot(),
	}
	for reason := range r.counts.stopped {
		if n := r.counts.stopped[reason].Load(); n > 0 {
			s.Stopped[Reason(reason)] = n
		}
	}
	return s
}
