package hedge

import (
	"net/url"
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/internal/keyed"
)

// Hedger makes another attempt where the first is slow, and takes the first
// acceptable answer. Make one with [New]; it holds what is known of each key, and
// opens three doors to it: [Hedger.Transport] for HTTP, [Do] and [Hedger.Run] for
// functions. All methods are safe for concurrent use.
//
// In a testing/synctest bubble a Hedger works in virtual time if it was made
// there.
type Hedger struct {
	cfg       Config
	target    target
	start     time.Time
	cells     *keyed.Map[cell]
	endpoints []*url.URL
	turn      atomic.Uint64 // of the endpoints
}

// New returns a Hedger. Its error joins everything that is wrong with cfg.
func New(cfg Config) (*Hedger, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	h := &Hedger{
		cfg: cfg, start: time.Now(),
		target: newTarget(cfg.Percent, cfg.MinDelay, cfg.MaxDelay),
	}
	for _, text := range cfg.Endpoints {
		endpoint, _ := parseEndpoint(text) // complete has seen that it is right
		h.endpoints = append(h.endpoints, endpoint)
	}
	h.cells = keyed.New(keyed.Config[cell]{
		Max: cfg.MaxKeys,
		New: func(string) *cell { return new(cell) },
		// What arrives while a cell is being retired is lost with the rest of what
		// it knew. Only what a server asked for must not be forgotten.
		Retire: func(c *cell, now int64) bool { return now >= c.gate.until.Load() },
	})
	return h, nil
}

// MustNew is New for package variables and examples: it panics where New returns
// an error.
func MustNew(cfg Config) *Hedger {
	h, err := New(cfg)
	if err != nil {
		panic(err)
	}
	return h
}

// since is the monotonic time t since the Hedger was made.
func (h *Hedger) since(t time.Time) int64 { return max(int64(t.Sub(h.start)), 0) }

// cell is what is known of a key.
type cell struct {
	tracker   tracker
	allowance allowance
	gate      gate
	counts    counts
}

// counts is what has happened.
type counts struct {
	sent, won, lost atomic.Uint64
	refused         [NeverWins + 1]atomic.Uint64
}

// mayHedge asks for an attempt because the one before it is slow, and pays for it.
func (h *Hedger) mayHedge(key string, c *cell, now time.Time) Reason {
	if reason := c.gate.closed(h.since(now)); reason != allowed {
		return reason
	}
	if reason := c.gate.useless(); reason != allowed {
		return reason
	}
	if !c.allowance.take() {
		return OverPercent
	}
	if !h.pay(key) {
		c.allowance.giveBack()
		return OutOfBudget
	}
	return allowed
}

// mayRepeat asks for an attempt because one has failed, and pays for it.
func (h *Hedger) mayRepeat(key string, c *cell, now time.Time) Reason {
	if reason := c.gate.closed(h.since(now)); reason != allowed {
		return reason
	}
	if !h.pay(key) {
		return OutOfBudget
	}
	return allowed
}

// mayMulticast asks for a further copy of a call, and pays for it. Errors of one
// copy are what the others are for, so that only the server's word counts.
func (h *Hedger) mayMulticast(key string, c *cell, now time.Time) Reason {
	if h.since(now) < c.gate.until.Load() {
		return Pushback
	}
	if !h.pay(key) {
		return OutOfBudget
	}
	return allowed
}

func (h *Hedger) pay(key string) bool {
	return h.cfg.Budget == nil || h.cfg.Budget.Withdraw(key)
}
