package breaker

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/internal/keyed"
)

// Breaker holds a circuit per key and lets calls pass or refuses them. Make one
// with [New]; it has doors for HTTP clients ([Breaker.Transport]) and servers
// ([Breaker.Handler]), for functions ([Do], [Breaker.Run]) and for anything else
// ([Breaker.Allow]). All methods are safe for concurrent use.
//
// In a testing/synctest bubble a Breaker works in virtual time if it was made
// there.
type Breaker struct {
	cfg      Config
	rules    atomic.Pointer[Rules]
	start    time.Time
	circuits *keyed.Map[circuit]
	known    atomic.Int64 // circuits
	open     atomic.Int64 // of these, not closed
}

// New returns a Breaker. Its error joins everything that is wrong with cfg.
func New(cfg Config) (*Breaker, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	b := &Breaker{cfg: cfg, start: time.Now()}
	rules := cfg.Rules
	b.rules.Store(&rules)
	b.circuits = keyed.New(keyed.Config[circuit]{
		Max: cfg.MaxKeys, New: b.newCircuit, Retire: b.retire,
	})
	return b, nil
}

// MustNew is New for package variables and examples: it panics where New
// returns an error.
func MustNew(cfg Config) *Breaker {
	b, err := New(cfg)
	if err != nil {
		panic(err)
	}
	return b
}

// Reconfigure puts other rules into force, for all circuits and at once. What
// they have counted stays.
func (b *Breaker) Reconfigure(rules Rules) error {
	if err := rules.complete(); err != nil {
		return err
	}
	b.rules.Store(&rules)
	return nil
}

// newCircuit returns a closed circuit.
func (b *Breaker) newCircuit(key string) *circuit {
	b.known.Add(1)
	step := int64(b.cfg.Window / steps)
	c := &circuit{key: key, slow: tally{step: step}, overload: tally{step: step}, lastSuccess: b.now()}
	c.core = b.newCore(c)
	return c
}

// newCore returns an empty window for c that trips by the failure rate.
func (b *Breaker) newCore(c *circuit) *core {
	return newCore(b.cfg.Window, func(successes, failures int) bool {
		r := b.rules.Load()
		return r.FailureRate != Off &&
			rate(failures, successes+failures, r.FailureRate, c.least(r.FailureMin))
	})
}

// retire lets a circuit go if it is at rest: closed, with nothing under way and
// nothing in its window, it is as good as a new one.
func (b *Breaker) retire(c *circuit, now int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.atRest(now, b.rules.Load()) {
		return false
	}
	c.retired = true
	b.known.Add(-1)
	return true
}

// now is the monotonic time since the Breaker was made.
func (b *Breaker) now() int64 { return int64(time.Since(b.start)) }

// lock returns the circuit of key, locked and caught up with now. A circuit may
// be retired between being found and being locked; then there is another.
func (b *Breaker) lock(key string, now int64) *circuit {
	for {
		c := b.circuits.Get(key, now)
		c.mu.Lock()
		if !c.retired {
			b.advance(c, now)
			return c
		}
		c.mu.Unlock()
	}
}

// advance catches up with now and counts the circuits that are not closed.
func (b *Breaker) advance(c *circuit, now int64) {
	was := c.state
	c.advance(now, b.rules.Load(), rand.Float64())
	b.track(was, c.state)
}

func (b *Breaker) track(was, is State) {
	if was == Closed && is != Closed {
		b.open.Add(1)
	} else if was != Closed && is == Closed {
		b.open.Add(-1)
	}
}

// unlock releases the circuit and tells what has happened to it.
func (b *Breaker) unlock(ctx context.Context, c *circuit) {
	news := len(c.pending) > 0
	c.mu.Unlock()
	if news {
		b.deliver(ctx, c)
	}
}

// tooManyOpen reports whether so many circuits are open that none may refuse.
func (b *Breaker) tooManyOpen() bool {
	const few = 5
	known := b.known.Load()
	return b.cfg.MaxOpenFraction != Off && known >= few &&
		float64(b.open.Load()) > b.cfg.MaxOpenFraction*float64(known)
}

// State returns what a call under key would meet now: a circuit whose open time
// is over is half-open. An unknown key is Closed.
func (b *Breaker) State(key string) State {
	c, ok := b.circuits.Lookup(key)
	if !ok {
		return Closed
	}
	c.mu.Lock()
	b.advance(c, b.now())
	state := c.state
	b.unlock(context.Background(), c)
	return state
}
