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
	guard    guard
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
	b.guard.known.Add(1)
	now := b.now()
	c := &circuit{key: key, since: now, lastAnswer: now, tally: tally{step: int64(b.step())}}
	c.core = b.newCore(c)
	return c
}

// newCore returns an empty window for c that trips by the failure rate.
func (b *Breaker) newCore(c *circuit) *core {
	return newCore(b.step(), func(successes, failures int) bool {
		r := b.rules.Load()
		return r.FailureRate != Off &&
			rate(failures, successes+failures, r.FailureRate, c.least(r.FailureMin))
	})
}

// step is that of all windows.
func (b *Breaker) step() time.Duration { return b.cfg.Window / steps }

// retire lets a circuit go if it is at rest: with nothing under way and nothing
// in its window, it is as good as a new one.
func (b *Breaker) retire(c *circuit, now int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.atRest(now, b.rules.Load()) {
		return false
	}
	c.retired = true
	b.guard.known.Add(-1)
	b.track(c.state, Closed)
	return true
}

// now is the monotonic time since the Breaker was made.
func (b *Breaker) now() int64 { return int64(time.Since(b.start)) }

// lock returns the circuit of key, locked and caught up with now, and the rules
// by which it was. A circuit may be retired between being found and being
// locked; then there is another.
func (b *Breaker) lock(key string, now int64) (*circuit, *Rules) {
	for {
		c := b.circuits.Get(key, now)
		c.mu.Lock()
		if !c.retired {
			return c, b.advance(c, now)
		}
		c.mu.Unlock()
	}
}

// advance catches up with now, counts the circuits that are not closed, and
// returns the rules that it went by.
func (b *Breaker) advance(c *circuit, now int64) *Rules {
	was, rules := c.state, b.rules.Load()
	if c.retired {
		return rules
	}
	c.advance(now, rules, rand.Float64)
	b.track(was, c.state)
	return rules
}

func (b *Breaker) track(was, is State) {
	if was == Closed && is != Closed {
		b.guard.open.Add(1)
	} else if was != Closed && is == Closed {
		b.guard.open.Add(-1)
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

// State returns what a call under key would meet now: a circuit whose open time
// is over is half-open. An unknown key is Closed.
func (b *Breaker) State(key string) State {
	c, ok := b.circuits.Lookup(key)
	if !ok {
		shared, _ := b.circuits.Overflow()
		if shared == nil || b.circuits.Len() < b.cfg.MaxKeys {
			return Closed
		}
		c = shared
	}
	c.mu.Lock()
	b.advance(c, b.now())
	state := c.state
	b.unlock(context.Background(), c)
	return state
}
