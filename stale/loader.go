package stale

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/failsoft/failsoft/internal/rt"
)

// Loader keeps what a function returns, by key, under the rules that Cache has for
// responses: a value that is old answers when the function fails or is slow, each
// key is loaded once at a time, and errors in a row are remembered.
//
//	Get ─► fresh? ──────────────────────────────────► value
//	        └─► old, and may answer at once? ─► value, and one refresh behind it
//	             └─► error remembered? ─► *LoadError
//	                  └─► load, once for all who wait ─► value
//	                       ├─► failed: the old value, else the error
//	                       └─► slow: the old value, and the load goes on
//
// A load runs in a goroutine of its own, and those who wait for it do so with their
// own contexts: who leaves does not cancel it. If it fails and no old value may
// answer, the caller that began it gets the error, and of the others one loads once
// more; all get what comes of that. A panic becomes one of the caller that began the
// load; for others it is a *PanicError. Where the caller has left it is an Event.
//
// A Loader is safe for concurrent use, from Load too, except that a Load must not
// Get its own key: it would wait for itself. A fresh value costs no allocation.
// Values are shared by all callers, who must not change them.
type Loader[K comparable, V any] struct {
	cfg   LoaderConfig[K, V]
	rules loadRules
	began time.Time
	cells *otter.Cache[K, *loaded[V]]
	hits  tally
	pace  latency // of loads that brought a value

	// mu guards what follows, and all writing to cells: what a purge removes must not
	// come back with a load that began before it.
	mu         sync.Mutex
	marks      recent[K, loadTerms]           // of keys that fail and have no value
	flights    map[K]*loadFlight[K, V]        // the one that callers of a key wait for
	running    map[*loadFlight[K, V]]struct{} // these, and those that a purge has cut off
	refreshing int
	counts     loadCounts
	closed     bool
	idle       chan struct{} // closed when closed and nothing is running
}

// loaded is the value of a key and what is known of it. But for hits it never
// changes once it is in a Loader.
type loaded[V any] struct {
	loadTerms

	value V
	cost  uint32
	hits  atomic.Int32 // since early
}

// NewLoader returns a Loader, or everything that is wrong with cfg.
func NewLoader[K comparable, V any](cfg LoaderConfig[K, V]) (*Loader[K, V], error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	cells, err := otter.New(&otter.Options[K, *loaded[V]]{
		MaximumWeight: uint64(cfg.MaxCost), //nolint:gosec // it is positive
		Weigher:       func(_ K, c *loaded[V]) uint32 { return c.cost },
		// By default its upkeep runs on goroutines that nobody waits for.
		Executor: func(task func()) { task() },
	})
	if err != nil {
		return nil, fmt.Errorf("stale: %w", err)
	}
	return &Loader[K, V]{
		cfg: cfg, rules: cfg.rules(), began: time.Now(), cells: cells,
		flights: make(map[K]*loadFlight[K, V]), running: make(map[*loadFlight[K, V]]struct{}),
		marks: recent[K, loadTerms]{most: mostMarks}, idle: make(chan struct{}),
	}, nil
}

// MustNewLoader is NewLoader for package variables and examples. It panics if cfg
// is wrong.
func MustNewLoader[K comparable, V any](cfg LoaderConfig[K, V]) *Loader[K, V] {
	l, err := NewLoader(cfg)
	if err != nil {
		panic(err)
	}
	return l
}

// Get returns the value of key, loaded if need be. Where it has to wait it does so
// until ctx ends; a value that is there is returned even then.
func (l *Loader[K, V]) Get(ctx context.Context, key K) (V, error) {
	if c, ok := l.cells.GetIfPresent(key); ok && l.now() < c.early {
		return l.hit(ctx, key, c), nil
	}
	if isNaN(key) {
		return l.cfg.Load(ctx, key)
	}
	return l.obtain(ctx, key)
}

// isNaN reports whether a key is or holds what does not even equal itself: no map
// would find it again. A key that cannot be compared makes it panic, as it should
// before anything is locked.
func isNaN[K comparable](key K) bool {
	return key != key //nolint:gocritic // that is how to ask
}

// Peek returns the value of key if there is one that Get could answer with now, be it
// only because a load has failed. It loads nothing.
func (l *Loader[K, V]) Peek(key K) (value V, ok bool) {
	c := l.find(key)
	now, r := l.now(), &l.rules
	switch {
	case r.fallback(&c.loadTerms, now):
	case c.purged:
		return value, false
	case r.within(&c.loadTerms, now, r.revalidate), r.within(&c.loadTerms, now, r.ifSick) && l.sick():
	default:
		return value, false
	}
	return c.value, true
}

// Put makes value the one of key, as if it had just been loaded. A load of key that
// is under way goes on for those who wait for it already, but nothing of it is kept.
func (l *Loader[K, V]) Put(ctx context.Context, key K, value V) {
	cost, unfit := l.worth(key, value)
	if isNaN(key) {
		return
	}
	l.mu.Lock()
	l.cutOff(key)
	e := l.store(key, value, cost, unfit, 0)
	l.mu.Unlock()
	l.tell(ctx, key, e)
}

// Purge removes the value of key, and what is remembered of failures. Soft keeps the
// value for when the next load fails: it answers then, within StaleIfError from now,
// or from when it ceased to be fresh.
// A load that is under way goes on for those who wait for it already, but nothing of
// it is kept; a Get after Purge begins another.
func (l *Loader[K, V]) Purge(ctx context.Context, key K, how Purge) {
	if isNaN(key) {
		return
	}
	l.mu.Lock()
	l.cutOff(key)
	if c, ok := l.cells.GetIfPresent(key); ok && how == Soft {
		l.soften(key, c)
		l.marks.remove(key)
	} else {
		l.forget(key)
	}
	l.mu.Unlock()
	l.counts.purges.Add(1)
	l.tell(ctx, key, Event{Kind: Purged})
}

// PurgeAll is Purge for all keys. Its Event has no Key.
func (l *Loader[K, V]) PurgeAll(ctx context.Context, how Purge) {
	l.mu.Lock()
	for key := range l.flights {
		l.cutOff(key)
	}
	l.marks.clear()
	if how == Soft {
		for key, c := range l.cells.All() {
			l.soften(key, c)
		}
	} else {
		l.cells.InvalidateAll()
	}
	l.mu.Unlock()
	l.counts.purges.Add(1)
	l.observe(ctx, Event{Kind: Purged, Detail: "everything"})
}

// Close ends loading: from now on only values that are there answer, fresh or as
// after a failure; else Get returns ErrLoaderClosed. It waits for the loads under way,
// and cancels them when ctx ends first.
func (l *Loader[K, V]) Close(ctx context.Context) error {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		l.rest()
	}
	l.mu.Unlock()
	select {
	case <-l.idle:
		return nil
	default:
	}
	select {
	case <-l.idle:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for f := range l.running {
		f.cancel()
	}
	return fmt.Errorf("stale: canceled %d loads: %w", len(l.running), rt.Caller{Ctx: ctx}.Ended(time.Now()))
}

// now is the Loader's clock. It is read without the calendar, which costs as much
// again.
func (l *Loader[K, V]) now() time.Duration { return time.Since(l.began) }

// find returns the value of key and what is known of it; where there is none, it is
// empty.
func (l *Loader[K, V]) find(key K) *loaded[V] {
	if c, ok := l.cells.GetIfPresent(key); ok {
		return c
	}
	return &loaded[V]{}
}

// known is find with what is known of keys that have no value. It needs the lock.
func (l *Loader[K, V]) known(key K) *loaded[V] {
	c := l.find(key)
	if !c.has {
		c.loadTerms = l.marks.get(key)
	}
	return c
}

// sick asks Healthy, which is a function of the user's and may panic: then it has
// nothing to say.
func (l *Loader[K, V]) sick() (sick bool) {
	if l.cfg.Healthy == nil {
		return false
	}
	defer func() { _ = recover() }()
	return !l.cfg.Healthy()
}
