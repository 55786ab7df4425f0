package stale

import (
	"context"
	"hash/maphash"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/failsoft/failsoft/stale/internal/policy"
)

// Cache stores responses and answers with them, also with old ones where a new one
// would be too late or none at all. Its doors are Handler, a shared cache in front
// of an application, and Transport, one behind a client. All methods are safe for
// concurrent use.
type Cache struct {
	cfg      Config
	store    guard
	server   role // of Handler
	client   role // of Transport
	defaults policy.Defaults
	latency  latencies
	reserve  reservation
	counts   counts

	mu      sync.Mutex
	flights map[string]*flight   // those that can be joined
	running map[*flight]struct{} // all
	closed  bool

	fetches    sync.WaitGroup
	landings   atomic.Uint64 // flights that nobody can join any more
	unattended atomic.Int64  // requests to the origin that nobody waits for

	seed  maphash.Seed
	lists [64]sync.Mutex // of variants, while one is added
}

// role is what a door makes of the Config.
type role struct {
	rules  policy.Rules
	prefix string // of its keys: what one door may answer with, another may not
	server bool
}

// New returns a Cache, or everything that is wrong with cfg.
func New(cfg Config) (*Cache, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	c := &Cache{
		cfg: cfg, flights: make(map[string]*flight), running: make(map[*flight]struct{}),
		seed: maphash.MakeSeed(),
	}
	c.store = guard{Store: cfg.Store, timeout: cfg.StoreTimeout, c: c}
	if cfg.Store == nil {
		c.store.Store, c.store.local = NewMemory(cfg.MaxBytes), true
	}
	c.reserve.all = max(cfg.MaxBytes/8, cfg.MaxObject)
	c.reserve.left = c.reserve.all
	c.defaults = policy.Defaults{
		StaleWhileRevalidate: cfg.DefaultStaleWhileRevalidate,
		StaleIfError:         cfg.DefaultStaleIfError,
	}
	c.server = c.newRole("s ", true)
	c.client = c.newRole("p ", false)
	if cfg.Shared {
		c.client = c.newRole("c ", true)
	}
	c.server.server = true
	c.latency.init(cfg.StaleAfter)
	return c, nil
}

// MustNew is New for package variables and examples: it panics where New returns an
// error.
func MustNew(cfg Config) *Cache {
	c, err := New(cfg)
	if err != nil {
		panic(err)
	}
	return c
}

func (c *Cache) newRole(prefix string, shared bool) role {
	rules := policy.Rules{Shared: shared, StoreSetCookie: c.cfg.StoreSetCookie, Heuristic: c.cfg.Heuristics}
	if shared {
		rules.Targeted = canonical(c.cfg.TargetedFields)
	}
	return role{rules: rules, prefix: prefix}
}

// Close lets no further request to the origin outlive its client, and waits for
// those that do until ctx ends; then it cancels them and returns its error. The
// Cache goes on answering from what it has, and passes other requests on.
func (c *Cache) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	done := make(chan struct{})
	go func() {
		c.fetches.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	c.mu.Lock()
	for fl := range c.running {
		fl.cancel(errClosed)
	}
	c.mu.Unlock()
	return context.Cause(ctx)
}

// join returns the flight that x is to wait for, and whether x leads it; nil if
// none may start any more. A flight that says nothing to others has no name.
func (c *Cache) join(x *call, name string, background bool) (fl *flight, leads bool) {
	if fl, leads = c.enter(x, name, background); leads {
		fl.x = x.own()
		go fl.fly()
	}
	return fl, leads
}

func (c *Cache) enter(x *call, name string, background bool) (fl *flight, leads bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if fl = c.flights[name]; fl != nil && name != "" {
		return fl, false
	}
	if !background && !x.lookedAgain && x.landings != c.landings.Load() {
		x.lookedAgain, x.looksAgain = true, true // what was missing may have been stored since
		return nil, false
	}
	if c.closed || background && !c.takeUnattended() {
		return nil, false
	}
	fl = c.begin(x, name, background)
	fl.unattended = background
	if name != "" {
		c.flights[name] = fl
	}
	c.running[fl] = struct{}{}
	c.fetches.Add(1)
	return fl, true
}

// leave makes room for another flight of the same name.
func (c *Cache) leave(fl *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flights[fl.name] == fl {
		delete(c.flights, fl.name)
		c.landings.Add(1)
	}
}

// landed is leave for a flight that is over.
func (c *Cache) landed(fl *flight) {
	c.leave(fl)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.running, fl)
}

// detach lets nobody join any more what was being fetched before a purge: not only
// is it not stored, those who ask from now on must not get it either.
func (c *Cache) detach(concerned func(key string) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, fl := range c.flights {
		if concerned(fl.key) {
			delete(c.flights, name)
		}
	}
}

// takeUnattended takes one of the places for requests that nobody waits for.
func (c *Cache) takeUnattended() bool {
	if c.unattended.Add(1) <= int64(c.cfg.MaxRefreshes) {
		return true
	}
	c.unattended.Add(-1)
	return false
}

// lockList locks the list of variants under a primary key, and those of a few
// others, and returns how to unlock it.
func (c *Cache) lockList(primary string) func() {
	mu := &c.lists[maphash.String(c.seed, primary)%uint64(len(c.lists))]
	mu.Lock()
	return mu.Unlock
}

// ignoresCookie reports whether a cookie makes no request personal.
func (c *Cache) ignoresCookie(name string) bool {
	for _, pattern := range c.cfg.IgnoreCookies {
		prefix, isPrefix := strings.CutSuffix(pattern, "*")
		if name == pattern || isPrefix && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// hasCookie reports whether a request says who asks by a cookie: then only what is
// public by its own words may answer it, or be stored from it, in a shared cache.
func (c *Cache) hasCookie(header http.Header) bool {
	for _, line := range header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			name, _, _ := strings.Cut(strings.TrimSpace(pair), "=")
			if name != "" && !c.ignoresCookie(name) {
				return true
			}
		}
	}
	return false
}
