package backpressure

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/internal/attempt"
)

// dimmer says how much is to be left out of the answers: nothing at 0, all that can
// be at 1. It rises while there is pressure, before anybody is refused, and falls
// more slowly (brownout: Klein et al., ICSE 2014).
type dimmer struct {
	level atomic.Uint64 // float64

	mu   sync.Mutex
	last int64
}

const (
	dimEvery = int64(100 * time.Millisecond)
	dimUp    = 0.1
	dimDown  = 0.02
	// So many times in a row nobody has to look: where requests are few, what was seen
	// last still holds. Beyond that there is no load, and the level falls by itself.
	dimIdle = 10
)

func (d *dimmer) at() float64 { return math.Float64frombits(d.level.Load()) }

// due reports whether it is time to look.
func (d *dimmer) due(now int64) (steps float64, due bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	since := now - d.last
	if since < dimEvery {
		return 0, false
	}
	d.last = now
	return float64(since / dimEvery), true
}

// move moves the level by so many steps, and returns it as it was and is.
func (d *dimmer) move(steps float64, pressed bool) (was, is float64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	was = d.at()
	if pressed {
		is = min(idled(was, steps)+dimUp, 1) // however long nobody looked, it is one observation
	} else {
		is = max(was-dimDown*steps, 0)
	}
	d.level.Store(math.Float64bits(is))
	return was, is
}

// idled is what has become of a level since somebody looked, so many steps ago.
func idled(level, steps float64) float64 {
	return max(level-dimDown*max(steps-dimIdle, 0), 0)
}

// read is the level for who only reads it, and does not know whether there is pressure.
func (d *dimmer) read(now int64) float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return idled(d.at(), float64((now-d.last)/dimEvery))
}

// look moves the level of brownout, ten times a second. Of refusals it goes by those of
// calls that a user waits for, and the rest is there to be refused: see Level.
func (l *Limiter) look(ctx context.Context, c *cell, now int64, refused bool) {
	if now < l.nextLook.Load() {
		return
	}
	steps, due := l.dim.due(now)
	if !due {
		return
	}
	l.nextLook.Store(now + dimEvery)
	pressed := refused || l.cpu.pressure() > 0.5 || l.heap.pressure() > 1 || c.pressed(l.cfg.MaxWait)
	was, is := l.dim.move(steps, pressed)
	if was != is && l.cfg.Observe != nil {
		l.tell(ctx, Event{Kind: LevelChanged, Level: is})
	}
}

// Level returns how much is to be left out of answers now, from 0 to 1; see the
// function of the same name.
func (l *Limiter) Level() float64 { return l.dim.read(l.now()) }

type levelKey struct{}

// dimmed is what a request's context knows of how much to leave out.
type dimmed struct {
	level  float64
	tenant uint64
}

// withLevel adds the level of one limiter to a context, in which that of another may
// stand already. A request without a tenant is one by itself: it is asked about a
// feature in more than one place, and half a feature is worse than none.
func withLevel(ctx context.Context, level float64, tenant uint64, known bool) context.Context {
	if outer, ok := ctx.Value(levelKey{}).(*dimmed); ok {
		level = max(level, outer.level)
		if !known {
			tenant, known = outer.tenant, true
		}
	}
	if !known {
		tenant = rand.Uint64()
	}
	return context.WithValue(ctx, levelKey{}, &dimmed{level, tenant})
}

// Level returns how much is to be left out of the answer that is made under ctx: from
// 0, nothing, to 1, all that can be. It is the highest of the Limiters that have let
// the request in, as it was then; 0 without one.
//
// Each Limiter looks ten times a second, as long as calls come, and its level rises by
// 0.1, so that from 0 to 1 takes a second, where there is pressure:
//
//   - requests wait for a processor, more than half of CPUThreshold and for more than
//     10 ms, or CPULoad says more than half of it;
//   - more than HeapThreshold is alive in memory, as of which calls are refused, too;
//   - a newcomer that is Default would wait for a place of the key that was asked for,
//     and for more than half of MaxWait; or finds none, where MaxWait is Off;
//   - a Critical or Default call was refused, for whatever reason, this very moment.
//
// Otherwise it falls, by 0.2 a second at most, so that from 1 to 0 takes five seconds or
// six; also where nobody calls, after a second of that.
//
// Sheddable and Background calls have no part in the last places of a limit: they may be
// refused while the level is still 0, which leaves those places to users, and whether
// they are does not move it. An answer that leaves things out by it is not marked as
// such: where something keeps answers, ask Degrade.
func Level(ctx context.Context) float64 {
	if d, ok := ctx.Value(levelKey{}).(*dimmed); ok {
		return d.level
	}
	return 0
}

// Degrade reports whether to leave a feature out of the answer that is made under
// ctx. If so, package stale is told not to keep the answer; other caches know nothing
// of it and go by Cache-Control. Between the levels 0 and 1 some tenants go without a
// feature and others do not, and each of them stays with it, for the hour that
// Config.Tenant speaks of; a request without a tenant is one by itself.
func Degrade(ctx context.Context, feature string) bool {
	d, ok := ctx.Value(levelKey{}).(*dimmed)
	if !ok || d.level <= 0 || d.level < dice(d, feature) {
		return false
	}
	attempt.MarkDegraded(ctx)
	return true
}

// dice is a number in [0,1) that stays the same for a tenant and a feature.
func dice(d *dimmed, feature string) float64 {
	return float64(mix(d.tenant^hash(feature))>>11) / (1 << 53)
}

// hash is the same in all processes (FNV-1a).
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// mix spreads the bits of x (the finalizer of SplitMix64, Steele et al., OOPSLA 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
