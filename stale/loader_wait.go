package stale

import (
	"context"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/internal/outcome"
	"github.com/failsoft/failsoft/internal/rt"
)

// loadTurn is how a Get goes on, and with what.
type loadTurn[K comparable, V any] struct {
	loadPlan

	cell   *loaded[V]
	flight *loadFlight[K, V] // of moveLoad
	leads  bool              // this Get began it
	err    error             // of moveLoad, where there is no flight
}

// obtain is a Get that is not a plain hit.
func (l *Loader[K, V]) obtain(ctx context.Context, key K) (value V, err error) {
	var failed *loadFlight[K, V] // for another caller
	for {
		t := l.turn(ctx, key, failed)
		switch t.move {
		case moveHit:
			return l.hit(ctx, key, t.cell), nil
		case moveOld:
			return l.old(ctx, key, t.cell, t.reason), nil
		case moveRefuse:
			return value, l.refuse(t.cell)
		case moveLoad:
			if t.err != nil {
				return value, t.err
			}
			var again bool
			if value, again, err = l.share(ctx, &t, failed != nil); !again {
				return value, err
			}
			failed = t.flight
		}
	}
}

// turn decides, and joins or begins the load that it takes. The first to come back
// from a flight that failed for another caller begins one more, and the rest join
// that, be it over by then.
func (l *Loader[K, V]) turn(ctx context.Context, key K, failed *loadFlight[K, V]) loadTurn[K, V] {
	t := loadTurn[K, V]{cell: l.find(key)}
	sick, random, now := false, rand.Float64(), l.now()
	switch {
	case t.cell.has && now < t.cell.fresh:
		t.cell.hits.Add(1)
	case t.cell.has:
		sick = l.sick()
	}
	t.loadPlan = l.decide(t.cell, sick, random)
	if t.move != moveLoad && !t.refresh {
		return t
	}
	ended := rt.Caller{Ctx: ctx}.Ended(time.Now())
	l.mu.Lock()
	defer l.mu.Unlock()
	t.cell = l.known(key) // as it is when no load can end
	t.loadPlan = l.decide(t.cell, sick, random)
	switch {
	case t.move == moveLoad && ended != nil:
		t.err = ended
	case t.move == moveLoad && failed != nil && failed.next != nil:
		t.flight = failed.next
	case t.move == moveLoad:
		t.flight, t.leads = l.board(ctx, key, false)
		if failed != nil {
			failed.next = t.flight
		}
		if t.flight == nil {
			t.closedFor(&l.rules, l.now())
		}
	case t.refresh:
		l.board(ctx, key, true)
	}
	return t
}

func (l *Loader[K, V]) decide(c *loaded[V], sick bool, random float64) loadPlan {
	return l.rules.decide(&c.loadTerms, c.hits.Load(), l.now(), sick, random)
}

// closedFor makes the best of a Loader that loads no more.
func (t *loadTurn[K, V]) closedFor(r *loadRules, now time.Duration) {
	if t.err = ErrLoaderClosed; r.fallback(&t.cell.loadTerms, now) {
		t.loadPlan = loadPlan{move: moveOld, reason: Failing}
	}
}

// share waits for a load and answers with what comes of it. Again is whether the
// caller is to try once more, because the load of another caller has failed.
func (l *Loader[K, V]) share(
	ctx context.Context, t *loadTurn[K, V], elected bool,
) (value V, again bool, err error) {
	f := t.flight
	switch l.await(ctx, t) {
	case loadLeft:
		return value, false, rt.Caller{Ctx: ctx}.Ended(time.Now())
	case loadLate:
		return l.old(ctx, f.key, t.cell, Slow), false, nil
	case loadOver:
	}
	r := &f.result
	if t.leads && r.crash != nil {
		r.crash.surface()
	}
	if isAnswer := r.err == nil && (t.leads || !r.degraded) || r.err != nil && r.outcome == LoadGone; !isAnswer {
		if c := l.find(f.key); l.rules.fallback(&c.loadTerms, l.now()) {
			return l.old(ctx, f.key, c, r.reason()), false, nil
		}
		if r.err != nil && !t.leads && !elected {
			return value, true, nil
		}
	}
	if r.degraded {
		attempt.MarkDegraded(ctx) // the leader's is marked already, but others have no part in its context
	}
	value, err = l.missed(ctx, t)
	return value, false, err
}

// loadWake is why a caller does not wait any more.
type loadWake uint8

const (
	loadOver loadWake = iota // the result is there
	loadLate                 // an old value is better now
	loadLeft                 // its context has ended
)

// await waits for a load. How long that may take is counted from when it began: who
// comes to one that is late already does not wait.
func (l *Loader[K, V]) await(ctx context.Context, t *loadTurn[K, V]) loadWake {
	var late <-chan time.Time
	if after := l.staleAfter(); after != Off && l.mayAnswerSlow(t.cell) {
		left := t.flight.began + after - l.now()
		if left <= 0 {
			return l.leave(t, loadLate)
		}
		timer := time.NewTimer(left)
		defer timer.Stop()
		late = timer.C
	}
	for {
		select {
		case <-t.flight.done:
			return loadOver
		case <-ctx.Done():
			return l.leave(t, loadLeft)
		case <-late:
			if c := l.find(t.flight.key); l.mayAnswerSlow(c) { // it may have been purged
				t.cell = c
				return l.leave(t, loadLate)
			}
			late = nil
		}
	}
}

// mayAnswerSlow reports whether a value may take the place of a load that is slow.
// One that was purged may not: the caller of Purge knows that it is wrong.
func (l *Loader[K, V]) mayAnswerSlow(c *loaded[V]) bool {
	return !c.purged && l.rules.fallback(&c.loadTerms, l.now())
}

// leave ends the wait of a caller, unless the result has come first. From then on a
// panic of the load is nobody's.
func (l *Loader[K, V]) leave(t *loadTurn[K, V], why loadWake) loadWake {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.flight.over {
		return loadOver
	}
	if t.leads {
		t.flight.led = false
	}
	return why
}

// staleAfter is how long a load may take while there is an old value; Off is for ever.
func (l *Loader[K, V]) staleAfter() time.Duration {
	if l.cfg.StaleAfter != 0 {
		return l.cfg.StaleAfter
	}
	if l.pace.count.Load() < knownAfter {
		return staleAfterFirst
	}
	return min(max(time.Duration(l.pace.estimate.Load()), staleAfterLeast), staleAfterMost)
}

// surface lets the end of a load's goroutine become that of the caller's.
func (e *PanicError) surface() {
	if e.Value == nil {
		runtime.Goexit()
	}
	panic(e.Value) //nolint:forbidigo // it is the load's own, which the caller would have had without us
}

// reason is why an old value answers in the place of a result.
func (r *loadResult[V]) reason() Reason {
	switch {
	case r.err != nil && r.outcome == LoadRefused:
		return Refused
	case outcome.IsTimeout(r.err):
		return TimedOut
	default:
		return Failed
	}
}
