package stale

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/internal/outcome"
)

// deafAfter is how long past LoadTimeout a load may take to return. One that heeds
// its context has told why it failed by then.
const deafAfter = 100 * time.Millisecond

// loadFlight is a load under way. What is below done is guarded by the Loader's lock
// until done is closed, and never changes after.
type loadFlight[K comparable, V any] struct {
	key        K
	began      time.Duration
	background bool // nobody waits for it, at first
	answer     *attempt.Answer
	cancel     context.CancelFunc
	deaf       *time.Timer

	done   chan struct{} // closed when those who wait need not any longer
	over   bool          // likewise
	cutOff bool          // by a purge or a Put: nothing of it is kept
	led    bool          // the caller that began it waits for it
	result loadResult[V]

	next *loadFlight[K, V] // of those who did not begin this one, after it failed; guarded by the lock
}

// loadResult is what came of a load.
type loadResult[V any] struct {
	value    V
	err      error
	outcome  LoadOutcome // with an error
	degraded bool
	unfit    string // why the value is not kept
	cost     uint32
	crash    *PanicError // the load panicked, or ended its goroutine: then without a Value
}

// board joins the load of key that is under way, or begins one. It needs the lock,
// and returns nil where no load may begin.
func (l *Loader[K, V]) board(ctx context.Context, key K, background bool) (f *loadFlight[K, V], leads bool) {
	if f = l.flights[key]; f != nil {
		return f, false
	}
	if l.closed || background && l.refreshing >= l.cfg.MaxRefreshes {
		return nil, false
	}
	f = &loadFlight[K, V]{
		key: key, began: l.now(), background: background, led: !background, done: make(chan struct{}),
	}
	ctx = context.WithoutCancel(ctx)
	if background {
		ctx = attempt.WithBackground(ctx)
		l.refreshing++
		l.counts.refreshes.Add(1)
	}
	ctx, f.answer = attempt.WithAnswer(ctx)
	var bounded context.Context
	if limit := l.cfg.LoadTimeout; limit > 0 {
		bounded, f.cancel = context.WithTimeout(ctx, limit) //nolint:gosec // land calls it
		f.deaf = time.AfterFunc(limit+deafAfter, func() { l.giveUp(ctx, f) })
	} else {
		bounded, f.cancel = context.WithCancel(ctx) //nolint:gosec // land calls it
	}
	l.flights[key], l.running[f] = f, struct{}{}
	l.counts.loads.Add(1)
	go l.fly(bounded, f)
	return f, true
}

// fly makes the load.
func (l *Loader[K, V]) fly(ctx context.Context, f *loadFlight[K, V]) {
	var r loadResult[V]
	returned := false
	defer func() {
		if !returned { // by a panic, or by runtime.Goexit
			crash := &PanicError{Value: recover(), Stack: debug.Stack()}
			r = loadResult[V]{err: crash, outcome: LoadFailed, crash: crash}
		}
		l.land(ctx, f, r)
	}()
	r.value, r.err = l.cfg.Load(ctx, f.key)
	if r.err != nil {
		r.outcome = l.judge(ctx, r.err)
	} else {
		r.degraded = f.answer.Degraded()
		r.cost, r.unfit = l.worth(f.key, r.value)
	}
	returned = true
}

// judge says what the error of a load under ctx means.
func (l *Loader[K, V]) judge(ctx context.Context, err error) LoadOutcome {
	if l.cfg.JudgeError != nil {
		if judged := l.cfg.JudgeError(err); judged > LoadByRule && judged <= LoadGone {
			return judged
		}
	}
	if outcome.OfError(ctx, err) == outcome.Refused {
		return LoadRefused
	}
	return LoadFailed
}

// worth says what it costs to keep a value, or why that is not to be done.
func (l *Loader[K, V]) worth(key K, value V) (cost uint32, unfit string) {
	if l.cfg.Storable != nil && !l.cfg.Storable(value) {
		return 0, "not storable"
	}
	if l.cfg.Cost == nil {
		return 1, ""
	}
	is := max(l.cfg.Cost(key, value), 1) // what costs nothing would never have to go
	if is > min(l.cfg.MaxCost, math.MaxUint32) {
		return 0, "too costly"
	}
	return uint32(is), "" //nolint:gosec // it fits
}

// land settles a load that has returned.
func (l *Loader[K, V]) land(ctx context.Context, f *loadFlight[K, V], r loadResult[V]) {
	f.cancel()
	if f.deaf != nil {
		f.deaf.Stop()
	}
	l.mu.Lock()
	surfaces := f.led && !f.over
	e := l.settle(f, r)
	if l.flights[f.key] == f {
		delete(l.flights, f.key)
	}
	delete(l.running, f)
	if f.background {
		l.refreshing--
	}
	l.rest()
	l.mu.Unlock()
	l.tell(ctx, f.key, e)
	if r.crash != nil && !surfaces {
		l.tell(ctx, f.key, Event{Kind: Panicked, Err: r.crash})
	}
}

// giveUp fails a load that does not heed its timeout, for all who wait. It stays
// where it is until it returns, so that no second one begins beside it.
func (l *Loader[K, V]) giveUp(ctx context.Context, f *loadFlight[K, V]) {
	l.mu.Lock()
	e := l.settle(f, loadResult[V]{err: errDeaf, outcome: LoadFailed})
	l.mu.Unlock()
	l.tell(ctx, f.key, e)
}

// settle keeps what is worth keeping of a result, and hands it to those who wait if
// that has not happened yet. It needs the lock, and returns what there is to tell.
func (l *Loader[K, V]) settle(f *loadFlight[K, V], r loadResult[V]) Event {
	first := !f.over
	if first {
		f.over, f.result = true, r
		close(f.done)
	}
	took := l.now() - f.began
	switch {
	case r.err != nil && r.outcome != LoadGone && !first:
		return Event{} // it has been counted as a timeout
	case r.err != nil && r.outcome != LoadGone:
		l.counts.failures.Add(1)
		if !f.cutOff && !l.closed { // Close may be what made it fail
			l.fail(f.key, r.err, r.outcome != LoadRefused)
		}
		return Event{Kind: FetchFailed, Err: r.err}
	case f.cutOff:
		return Event{Kind: NotStored, Detail: "purged"}
	case r.err != nil:
		l.forget(f.key)
		return Event{Kind: NotStored, Detail: "gone"}
	case r.degraded:
		l.fail(f.key, nil, false)
		return Event{Kind: NotStored, Detail: "degraded"}
	default:
		l.pace.learn(int64(took))
		return l.store(f.key, r.value, r.cost, r.unfit, took)
	}
}

// store makes value the one of key, or ends what was. It needs the lock.
func (l *Loader[K, V]) store(key K, value V, cost uint32, unfit string, took time.Duration) Event {
	if unfit != "" {
		l.forget(key)
		return Event{Kind: NotStored, Detail: unfit}
	}
	l.marks.remove(key)
	l.cells.Set(key, &loaded[V]{loadTerms: l.rules.afterValue(took, l.now()), value: value, cost: cost})
	l.counts.stored.Add(1)
	return Event{Kind: Stored, Bytes: int64(cost)}
}

// fail notes that a load of key has failed: beside its value, or where there is none
// that could ever answer, among the marks. It needs the lock.
func (l *Loader[K, V]) fail(key K, err error, remember bool) {
	c, now, random := l.known(key), l.now(), rand.Float64()
	if l.rules.usable(&c.loadTerms, now) {
		terms := l.rules.afterFailure(c.loadTerms, err, remember, now, random)
		l.cells.Set(key, &loaded[V]{loadTerms: terms, value: c.value, cost: c.cost})
		return
	}
	if remember {
		l.cells.Invalidate(key)
		l.marks.put(key, l.rules.afterFailure(c.withoutValue(), err, true, now, random))
	}
}

// forget removes all that is known of key. It needs the lock.
func (l *Loader[K, V]) forget(key K) {
	l.cells.Invalidate(key)
	l.marks.remove(key)
}

// soften keeps a value for when loads fail. It needs the lock.
func (l *Loader[K, V]) soften(key K, c *loaded[V]) {
	l.cells.Set(key, &loaded[V]{loadTerms: c.afterSoftPurge(l.now()), value: c.value, cost: c.cost})
}

// cutOff parts the load of key that is under way from what is kept, and from the
// callers to come. It needs the lock.
func (l *Loader[K, V]) cutOff(key K) {
	if f := l.flights[key]; f != nil {
		f.cutOff = true
		delete(l.flights, key)
	}
}

// rest closes idle when the Loader is closed and nothing runs any more. It needs the
// lock.
func (l *Loader[K, V]) rest() {
	if l.closed && len(l.running) == 0 {
		select {
		case <-l.idle: // a second Close has come between
		default:
			close(l.idle)
		}
	}
}
