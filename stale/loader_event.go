package stale

import (
	"context"
	"fmt"
)

// tell gives e, if it is one, to the observer, with the key as text.
func (l *Loader[K, V]) tell(ctx context.Context, key K, e Event) {
	if l.cfg.Observe == nil || e.Kind == 0 {
		return
	}
	e.Key = fmt.Sprint(key)
	l.observe(ctx, e)
}

// observe gives e to the observer and contains its panics: who watches a call must
// not break it.
func (l *Loader[K, V]) observe(ctx context.Context, e Event) {
	if l.cfg.Observe == nil {
		return
	}
	defer func() { _ = recover() }()
	l.cfg.Observe(ctx, e)
}

// hit answers with a value that is fresh.
func (l *Loader[K, V]) hit(ctx context.Context, key K, c *loaded[V]) V {
	l.hits.add()
	if l.cfg.Observe != nil {
		l.tell(ctx, key, Event{Kind: Hit, Age: l.now() - c.stored})
	}
	return c.value
}

// old answers with a value that is not.
func (l *Loader[K, V]) old(ctx context.Context, key K, c *loaded[V], reason Reason) V {
	now := l.now()
	l.counts.old(reason, now-c.fresh)
	l.tell(ctx, key, Event{Kind: Hit, Reason: reason, Age: now - c.stored})
	return c.value
}

// refuse answers with a remembered error.
func (l *Loader[K, V]) refuse(c *loaded[V]) error {
	l.counts.refused.Add(1)
	return &LoadError{Err: c.err, Failures: c.failures, After: max(c.errUntil-l.now(), 0)}
}

// missed answers with what came of a load.
func (l *Loader[K, V]) missed(ctx context.Context, t *loadTurn[K, V]) (V, error) {
	r := &t.flight.result
	e := Event{Kind: Miss, Err: r.err}
	if t.leads {
		l.counts.misses.Add(1)
	} else {
		e.Detail = "collapsed"
		l.counts.collapsed.Add(1)
	}
	l.tell(ctx, t.flight.key, e)
	return r.value, r.err
}
