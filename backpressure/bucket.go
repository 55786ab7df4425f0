package backpressure

import (
	"cmp"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/failsoft/failsoft/internal/linked"
	"github.com/failsoft/failsoft/internal/rt"
)

// bucket is what one key has left, and who waits for a turn.
//
// Tokens are those of x/time/rate, with two differences. They are taken under a lock,
// with a time that is read there: whoever comes with an earlier time than the one
// before sets the clock of a rate.Limiter back, and what came since comes again; under
// load, that was more than half of the limit on top. And nobody reserves: a
// reservation that is canceled gives nothing back to those made after it. Here they
// stand in line, and move up when somebody leaves.
//
// Methods lock; those whose names end in Locked want the lock held.
type bucket struct {
	full float64 // calls per second, as configured

	mu      sync.Mutex
	tokens  *rate.Limiter
	line    linked.List[*turn]
	slowed  float64   // the part of full that is left since a server said 429; 0 is all
	since   time.Time // when slowed was last moved
	cut     time.Time // when it was last halved
	retired bool
}

// turn is a caller that stands in line.
type turn struct {
	place linked.Place[*turn]
	wake  chan struct{} // it has become the first; has room for that
	until time.Time     // how long it waits at most
}

// lock returns the bucket of a key, locked.
func (r *Rate) lock(key string) *bucket {
	for {
		b := r.cells.Get(key, int64(time.Since(r.begun)))
		b.mu.Lock()
		if !b.retired {
			return b
		}
		b.mu.Unlock()
	}
}

// retire reports whether the bucket is as good as a new one. A call that gets it right
// then finds it gone and asks for another.
func (b *bucket) retire(int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.nowLocked()
	b.retired = b.slowed == 0 && b.line.Len() == 0 && b.tokens.TokensAt(now) >= float64(b.tokens.Burst())
	return b.retired
}

// nowLocked is the time, by which the bucket has come back as far as it may.
func (b *bucket) nowLocked() time.Time {
	const back = 0.1
	now := time.Now()
	if b.slowed == 0 || now.Sub(b.since) < recovery {
		return now
	}
	b.slowed += back * now.Sub(b.since).Seconds()
	b.since = now
	if b.slowed >= 1 {
		b.slowed = 0
	}
	b.paceLocked(now)
	return now
}

// recovery is how often a bucket that was slowed comes back a step.
const recovery = 100 * time.Millisecond

func (b *bucket) paceLocked(now time.Time) {
	part := cmp.Or(b.slowed, 1)
	b.tokens.SetLimitAt(now, rate.Limit(part*b.full))
}

// slowLocked halves what may be sent, as the server wants less, and takes away what was
// saved up. It comes back by a tenth of the whole per second. A request that was sent
// before it was last halved says nothing new.
func (b *bucket) slowLocked(sent time.Time) {
	const least = 0.05
	now := b.nowLocked()
	if !sent.After(b.cut) {
		return
	}
	b.slowed = max(cmp.Or(b.slowed, 1)/2, least)
	b.since, b.cut = now, now
	b.paceLocked(now)
	b.tokens.AllowN(now, int(max(b.tokens.TokensAt(now), 0)))
}

// isSlow reports whether the server has said 429 of late.
func (b *bucket) isSlow() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nowLocked()
	return b.slowed != 0
}

// comesLocked is how long it takes until there are n tokens.
func (b *bucket) comesLocked(now time.Time, n int) time.Duration {
	missing := float64(n) - b.tokens.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return seconds(missing / float64(b.tokens.Limit()))
}

// takeLocked takes a token, if there is one that nobody in line waits for, and says how
// it stands then.
func (b *bucket) takeLocked(now time.Time) (state RateState) {
	state.Allowed = b.comesLocked(now, b.line.Len()+1) == 0 && b.tokens.AllowN(now, 1)
	left := b.tokens.TokensAt(now) - float64(b.line.Len())
	state.Remaining = int(max(left, 0))
	if left < 1 {
		state.After = b.comesLocked(now, b.line.Len()+1)
	}
	return state
}

// await waits for a turn, if it comes within most and before the caller's deadline. The
// error is why the caller has left.
func (r *Rate) await(caller rt.Caller, key string, most time.Duration) (RateState, error) {
	b := r.lock(key)
	w, state, err := b.joinLocked(caller, most)
	b.mu.Unlock()
	if w == nil {
		return state, err
	}
	timer := time.NewTimer(state.After)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-w.wake:
		case <-caller.Ctx.Done():
		case <-caller.Cancel:
		}
		ended := caller.Ended(time.Now())
		over, state := b.step(w, ended != nil)
		if over {
			return state, ended
		}
		timer.Reset(state.After)
	}
}

// joinLocked takes a token, or gives a turn to who can wait for it.
func (b *bucket) joinLocked(caller rt.Caller, most time.Duration) (*turn, RateState, error) {
	now := b.nowLocked()
	after := b.comesLocked(now, b.line.Len()+1)
	until := now.Add(most)
	deadline, ok := caller.Ctx.Deadline()
	if after > most || ok && after > 0 && !now.Add(after).Before(deadline) {
		return nil, RateState{After: after}, nil
	}
	if err := caller.Ended(now); err != nil {
		return nil, RateState{}, err
	}
	if state := b.takeLocked(now); state.Allowed {
		return nil, state, nil
	}
	w := &turn{wake: make(chan struct{}, 1), until: until}
	b.line.PushBack(&w.place, w)
	return w, RateState{After: b.lookLocked(after)}, nil
}

// lookLocked is when to look again for a token that comes after a while: what comes back
// to its pace gives it sooner.
func (b *bucket) lookLocked(after time.Duration) time.Duration {
	if b.slowed != 0 {
		return min(after, recovery)
	}
	return after
}

// step sees what becomes of a turn: it is over when it has come, when the caller has
// left, or when it would come too late now, because a server has said 429 meanwhile.
// Otherwise it is to be looked at again, at the latest after what the state says.
func (b *bucket) step(w *turn, left bool) (over bool, state RateState) {
	const rounding = time.Microsecond
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.nowLocked()
	first := b.line.First() == w
	remains := w.until.Sub(now)
	switch {
	case left:
		over = true
	case first && b.tokens.AllowN(now, 1):
		over, state.Allowed = true, true
	case first:
		state.After = b.comesLocked(now, 1)
		over = state.After > remains+rounding
		if !over {
			state.After = b.lookLocked(state.After)
		}
	default:
		over, state.After = remains <= 0, remains
	}
	if over {
		b.leaveLocked(w, first)
	}
	return over, state
}

// leaveLocked takes a turn out of the line. Who is the first then minds the clock.
func (b *bucket) leaveLocked(w *turn, first bool) {
	b.line.Remove(&w.place)
	if next := b.line.First(); first && next != nil {
		next.wake <- struct{}{}
	}
}
