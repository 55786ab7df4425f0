package backpressure

import (
	"context"
	"fmt"
	"math"
	"sync"
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
		Retire: func(b *bucket, now int64) bool { return b.atRest(r.begun.Add(time.Duration(now))) },
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

// bucket is what one key has left.
type bucket struct {
	tokens *rate.Limiter
	full   float64 // calls per second, as configured

	mu      sync.Mutex
	slowed  float64 // the part of that which is left since a server said 429; 0 is all
	since   time.Time
	retired bool
}

// atRest reports whether the bucket is as good as a new one.
func (b *bucket) atRest(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.retired = b.slowed == 0 && b.tokens.TokensAt(now) >= float64(b.tokens.Burst())
	return b.retired
}

// slow halves what may be sent, as the server wants less. It comes back by a tenth of
// the whole per second.
func (b *bucket) slow(now time.Time) {
	const least = 0.05
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recoverLocked(now)
	if b.slowed == 0 {
		b.slowed = 1
	}
	b.slowed = max(b.slowed/2, least)
	b.since = now
	b.tokens.SetLimitAt(now, rate.Limit(b.slowed*b.full))
}

func (b *bucket) recover(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recoverLocked(now)
}

func (b *bucket) recoverLocked(now time.Time) {
	const step, back = 100 * time.Millisecond, 0.1
	if b.slowed == 0 || now.Sub(b.since) < step {
		return
	}
	b.slowed += back * now.Sub(b.since).Seconds()
	b.since = now
	if b.slowed >= 1 {
		b.slowed = 0
		b.tokens.SetLimitAt(now, rate.Limit(b.full))
		return
	}
	b.tokens.SetLimitAt(now, rate.Limit(b.slowed*b.full))
}

// bucketOf returns the bucket of a key.
func (r *Rate) bucketOf(key string, now time.Time) *bucket {
	for {
		b := r.cells.Get(key, int64(now.Sub(r.begun)))
		b.mu.Lock()
		gone := b.retired
		b.mu.Unlock()
		if !gone {
			return b
		}
	}
}

// take counts a call, and says how it stands with the limit.
func (r *Rate) take(ctx context.Context, key string, now time.Time) RateState {
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
	b := r.bucketOf(key, now)
	b.recover(now)
	allowed := b.tokens.AllowN(now, 1)
	left := b.tokens.TokensAt(now)
	state := RateState{Allowed: allowed, Remaining: int(max(left, 0))}
	if left < 1 {
		state.After = seconds((1 - left) / float64(b.tokens.Limit()))
	}
	return state
}

// sane bounds what a Store has answered: who is refused is told to come back later and
// not at once.
func (r *Rate) sane(state RateState) RateState {
	state.Remaining = min(max(state.Remaining, 0), math.MaxInt32)
	state.After = min(max(state.After, 0), longest)
	if !state.Allowed && state.After == 0 {
		state.After = seconds(1/r.cfg.PerSecond) + time.Millisecond
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
	return r.verdict(ctx, key, r.take(ctx, key, time.Now()))
}

func (r *Rate) verdict(ctx context.Context, key string, state RateState) error {
	if state.Allowed {
		return nil
	}
	err := &LimitedError{Key: key, Reason: OverRate, After: state.After}
	r.tell(ctx, Event{Kind: Refused, Key: key, Refusal: OverRate, Err: err})
	return err
}

// Wait waits until a call of a key is within the limit. If that takes longer than
// MaxWait, or than ctx lives, it returns a *LimitedError at once; and the reason why
// ctx has ended if it does while it waits, which gives the turn to others.
func (r *Rate) Wait(ctx context.Context, key string) error {
	return r.wait(rt.Caller{Ctx: ctx}, key)
}

func (r *Rate) wait(caller rt.Caller, key string) error {
	if r.cfg.MaxWait == Off || r.cfg.Store != nil {
		return r.waitForStore(caller, key)
	}
	now := time.Now()
	most := r.cfg.MaxWait
	if deadline, ok := caller.Ctx.Deadline(); ok {
		most = min(most, deadline.Sub(now))
	}
	b := r.bucketOf(key, now)
	b.recover(now)
	turn := b.tokens.ReserveN(now, 1)
	wait := turn.DelayFrom(now)
	if wait > most {
		turn.CancelAt(now)
		return r.verdict(caller.Ctx, key, RateState{After: wait})
	}
	if err := caller.Sleep(wait); err != nil {
		turn.Cancel()
		return err
	}
	return nil
}

// waitForStore asks again when the Store says that it is worth it.
func (r *Rate) waitForStore(caller rt.Caller, key string) error {
	begun := time.Now()
	for {
		now := time.Now()
		state := r.take(caller.Ctx, key, now)
		left := r.cfg.MaxWait - now.Sub(begun)
		if deadline, ok := caller.Ctx.Deadline(); ok {
			left = min(left, deadline.Sub(now))
		}
		if state.Allowed || r.cfg.MaxWait == Off || state.After > left {
			return r.verdict(caller.Ctx, key, state)
		}
		if err := caller.Sleep(max(state.After, time.Millisecond)); err != nil {
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

func (r *Rate) tell(ctx context.Context, e Event) {
	if r.cfg.Observe == nil {
		return
	}
	defer func() { _ = recover() }()
	r.cfg.Observe(ctx, e)
}

// seconds is a Duration of so many, up to more than anybody waits.
func seconds(n float64) time.Duration { return time.Duration(min(n, 1e9) * float64(time.Second)) }

// wholeSeconds rounds up.
func wholeSeconds(d time.Duration) int64 { return int64(math.Ceil(d.Seconds())) }
