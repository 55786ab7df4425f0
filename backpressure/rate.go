package backpressure

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/failsoft/failsoft/internal/keyed"
	"github.com/failsoft/failsoft/internal/rt"
)

// Rate lets so many calls of each key in, in so much time: a token bucket, which is
// that of golang.org/x/time/rate. It is for quotas and for being polite to others. It
// is no protection against overload, whatever its limit: that takes a Limiter. All
// methods are safe for concurrent use.
type Rate struct {
	cfg   RateConfig
	begun time.Time
	cells *keyed.Map[bucket]
	stuck atomic.Int64 // calls of the Store that are not back yet
}

// NewRate returns a Rate, or everything that is wrong with cfg.
func NewRate(cfg RateConfig) (*Rate, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	r := &Rate{cfg: cfg, begun: time.Now()}
	local, burst := cfg.PerSecond, cfg.Burst
	if cfg.Store != nil {
		local, burst = local/float64(cfg.Instances), max(burst/cfg.Instances, 1)
	}
	r.cells = keyed.New(keyed.Config[bucket]{
		Max: cfg.MaxKeys,
		New: func(string) *bucket {
			return &bucket{tokens: rate.NewLimiter(rate.Limit(local), burst), full: local}
		},
		Retire: (*bucket).retire,
	})
	return r, nil
}

// MustNewRate is NewRate for package variables and examples: it panics where NewRate
// returns an error.
func MustNewRate(cfg RateConfig) *Rate {
	r, err := NewRate(cfg)
	if err != nil {
		panic(err)
	}
	return r
}

// take counts a call, and says how it stands with the limit.
func (r *Rate) take(ctx context.Context, key string) RateState {
	if r.cfg.Store != nil {
		state, err := r.ask(ctx, key)
		if err == nil {
			return r.sane(state)
		}
		r.tell(ctx, Event{Kind: StoreFailed, Key: key, Err: err})
		switch r.cfg.OnFailure {
		case FailOpen:
			return RateState{Allowed: true, guessed: true}
		case FailClosed:
			return RateState{After: spread(time.Second), guessed: true}
		case FailLocal:
		}
	}
	b := r.lock(key)
	defer b.mu.Unlock()
	return b.takeLocked(b.nowLocked())
}

// sane bounds what a Store has answered: who is refused has nothing left, and is told
// to come back later and not at once.
func (r *Rate) sane(state RateState) RateState {
	state.Remaining = min(max(state.Remaining, 0), math.MaxInt32)
	state.After = min(max(state.After, 0), seconds(ages))
	if !state.Allowed {
		state.Remaining = 0
		state.After = cmp.Or(state.After, seconds(1/r.cfg.PerSecond)+time.Millisecond)
	}
	return state
}

// ask asks the Store, and waits for StoreTimeout at most, whatever the Store does.
func (r *Rate) ask(ctx context.Context, key string) (RateState, error) {
	const most = 1000
	if r.stuck.Add(1) > most {
		r.stuck.Add(-1)
		return RateState{}, bad("the store is stuck")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.StoreTimeout)
	type result struct {
		state RateState
		err   error
	}
	back := make(chan result, 1)
	go func() {
		defer r.stuck.Add(-1)
		defer cancel()
		res := result{err: bad("the store ended the goroutine")}
		defer func() {
			if value := recover(); value != nil {
				res.err = fmt.Errorf("backpressure: the store panicked: %v", value)
			}
			back <- res
		}()
		res.state, res.err = r.cfg.Store.Take(ctx, key, r.cfg.PerSecond, r.cfg.Burst)
	}()
	select {
	case res := <-back:
		return res.state, res.err
	case <-ctx.Done():
		select {
		case res := <-back: // done, and canceled by that
			return res.state, res.err
		default:
			return RateState{}, bad("the store takes longer than %v", r.cfg.StoreTimeout)
		}
	}
}

// Allow reports whether a call of a key is within the limit now: nil, or a
// *LimitedError.
func (r *Rate) Allow(ctx context.Context, key string) error {
	return r.verdict(ctx, key, r.take(ctx, key))
}

func (r *Rate) verdict(ctx context.Context, key string, state RateState) error {
	if state.Allowed {
		return nil
	}
	err := &LimitedError{Key: key, Refusal: OverRate, After: state.After}
	r.tell(ctx, Event{Kind: Refused, Key: key, Refusal: OverRate, Err: err})
	return err
}

// Wait waits until a call of a key is within the limit: those who wait for a key are
// served in the order in which they came. If it takes longer than MaxWait, or than ctx
// lives, it returns a *LimitedError, at once if that is known; and the reason why ctx
// has ended if it does while it waits, which gives the turn to who comes next.
func (r *Rate) Wait(ctx context.Context, key string) error {
	return r.wait(rt.Caller{Ctx: ctx}, key)
}

func (r *Rate) wait(caller rt.Caller, key string) error {
	most := max(r.cfg.MaxWait, 0) // it may be Off
	if r.cfg.Store != nil {
		return r.waitForStore(caller, key, most)
	}
	state, err := r.await(caller, key, most)
	if err != nil {
		return err
	}
	return r.verdict(caller.Ctx, key, state)
}

// waitForStore asks the Store, and again when it says that it is worth it. While the
// server says 429 it waits for its turn here first.
func (r *Rate) waitForStore(caller rt.Caller, key string, most time.Duration) error {
	begun := time.Now()
	if b, ok := r.cells.Lookup(key); ok && b.isSlow() {
		state, err := r.await(caller, key, most)
		if err != nil {
			return err
		}
		if !state.Allowed {
			return r.verdict(caller.Ctx, key, state)
		}
	}
	for {
		if err := caller.Ended(time.Now()); err != nil {
			return err
		}
		state := r.take(caller.Ctx, key)
		now := time.Now()
		again := max(state.After, time.Millisecond)
		deadline, ok := caller.Ctx.Deadline()
		if state.Allowed || again > most-now.Sub(begun) || ok && !now.Add(again).Before(deadline) {
			return r.verdict(caller.Ctx, key, state)
		}
		if err := caller.Sleep(again); err != nil {
			return err
		}
	}
}

// Run calls fn when its turn comes; see Wait.
func (r *Rate) Run(ctx context.Context, key string, fn func(context.Context) error) error {
	if err := r.Wait(ctx, key); err != nil {
		return err
	}
	return fn(ctx)
}

// contain tells of a panic in a func of the user's, which has said nothing then.
func (r *Rate) contain(ctx context.Context, value any) {
	if value != nil {
		r.tell(ctx, Event{Kind: Panicked, Err: bad("a func of the RateConfig panicked: %v", value)})
	}
}

func (r *Rate) tell(ctx context.Context, e Event) {
	if r.cfg.Observe == nil {
		return
	}
	defer func() { _ = recover() }()
	r.cfg.Observe(ctx, e)
}

// ages are the most seconds that are told of.
const ages = 1e9

// seconds is a Duration of so many, up to more than anybody waits.
func seconds(n float64) time.Duration { return time.Duration(min(n, ages) * float64(time.Second)) }

// wholeSeconds rounds up.
func wholeSeconds(d time.Duration) int64 { return int64(math.Ceil(d.Seconds())) }
