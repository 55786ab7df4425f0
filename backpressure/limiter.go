package backpressure

import (
	"context"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/internal/keyed"
)

// Limiter lets in what can be finished in time, and refuses the rest at once. All
// methods are safe for concurrent use.
type Limiter struct {
	cfg    Config
	begun  time.Time // the monotonic clock's zero
	cells  *keyed.Map[cell]
	single *cell // of key "", which needs no looking up
	cpu    cpuGate
	dim    dimmer
	heap   *heapGate // nil if it is off

	bypassed atomic.Uint64
	nextLook atomic.Int64
}

// New returns a Limiter, or everything that is wrong with cfg.
func New(cfg Config) (*Limiter, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	l := &Limiter{cfg: cfg, begun: time.Now(), heap: newHeapGate(cfg.HeapThreshold)}
	l.cpu.init(cfg.CPUThreshold, cfg.CPULoad)
	l.cells = keyed.New(keyed.Config[cell]{
		Max:    cfg.MaxKeys,
		New:    l.newCell,
		Retire: (*cell).retire,
	})
	l.single = l.newCell("")
	return l, nil
}

// MustNew is New for package variables and examples: it panics where New returns an
// error.
func MustNew(cfg Config) *Limiter {
	l, err := New(cfg)
	if err != nil {
		panic(err)
	}
	return l
}

func (l *Limiter) newCell(key string) *cell {
	now := l.now()
	c := &cell{cfg: &l.cfg, key: key, freed: now, background: now}
	switch l.cfg.Limit.kind {
	case isFixed:
		c.fixed, c.limit = true, l.cfg.Limit.n
	default:
		c.limit = l.cfg.start()
	}
	c.calc = newAdaptive(c.limit, l.cfg.MinLimit, l.cfg.MaxLimit, now)
	c.calc.credulous = l.cfg.Limit.kind == isAIMD
	return c
}

// retire reports whether nothing is under way in the cell. A call that gets it right
// then finds it gone and asks for another.
func (c *cell) retire(int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retired = c.inFlight == 0 && c.queued == 0 && c.streams == 0
	return c.retired
}

// now is the time in nanoseconds since the Limiter was made.
func (l *Limiter) now() int64 { return int64(time.Since(l.begun)) }

// jittered is d or up to twice as much, so that who was refused together does not
// come back together.
func jittered(d time.Duration) time.Duration {
	return d + rand.N(d)
}

// Acquire lets a call in, at once or after a wait of at most Config.MaxWait, or
// returns a *LimitedError, or the reason why ctx has ended. The Permit has to be
// released.
func (l *Limiter) Acquire(ctx context.Context, r Request) (Permit, error) {
	return l.acquire(ctx, &r, l.cfg.MaxWait)
}

// TryAcquire is Acquire without the wait.
func (l *Limiter) TryAcquire(ctx context.Context, r Request) (Permit, error) {
	return l.acquire(ctx, &r, Off)
}

// Await lets a call in as soon as there is a place, however long that takes, or returns
// why ctx has ended. It is for those who have nothing else to do than to wait, such as
// consumers of queues: what they do not take stays where it is, for others, and nobody
// has to be refused. Their class, Background most likely, says before whom.
func (l *Limiter) Await(ctx context.Context, r Request) (Permit, error) {
	for {
		p, err := l.acquire(ctx, &r, forever)
		if err == nil || ctx.Err() != nil {
			return p, err
		}
		if err := pause(ctx, jittered(shedTime/10)); err != nil { // at a gate nobody waits
			return Permit{}, err
		}
	}
}

// forever is the patience of who awaits a place.
const forever = time.Duration(math.MaxInt64)

// pause waits for d, or returns why ctx has ended.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *Limiter) acquire(ctx context.Context, r *Request, most time.Duration) (Permit, error) {
	now := l.now()
	var req request
	l.weigh(ctx, &req, r, now)
	r.Class = req.class
	if !l.cpu.off() && !l.cpu.passes(&req, now) {
		return Permit{}, l.shed(ctx, r, CPU, now, most)
	}
	if l.heap != nil && !l.heap.passes(&req, now) {
		return Permit{}, l.shed(ctx, r, Memory, now, most)
	}
	c := l.cellOf(r.Key, now)
	a := l.ask(ctx, c, &req, now, most)
	for a.reason == retired {
		c = l.cellOf(r.Key, now)
		a = l.ask(ctx, c, &req, now, most)
	}
	switch {
	case a.waiter != nil:
		return l.wait(ctx, Permit{l: l, c: c, class: req.class}, a.waiter, most)
	case a.reason != 0:
		return Permit{}, l.refuse(ctx, c, r, a, now)
	}
	l.look(ctx, c, now, false)
	return Permit{l: l, c: c, slot: a.slot, gen: a.gen, class: req.class}, nil
}

func (l *Limiter) ask(ctx context.Context, c *cell, req *request, now int64, most time.Duration) admission {
	if req.stream {
		return c.askStream(req, now)
	}
	return c.ask(req, now, patience(ctx, most))
}

func (l *Limiter) cellOf(key string, now int64) *cell {
	if key == "" {
		return l.single
	}
	return l.cells.Get(key, now)
}

// patience is how long a call can wait, of so much at most: half of what is left until
// its deadline, as it has to be served, too.
func patience(ctx context.Context, most time.Duration) time.Duration {
	if most == Off || most == forever {
		return most
	}
	if deadline, ok := ctx.Deadline(); ok {
		most = min(most, time.Until(deadline)/2)
	}
	return most
}

// wait waits for a place, for so long at most, whatever was predicted.
func (l *Limiter) wait(ctx context.Context, p Permit, w *waiter, most time.Duration) (Permit, error) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case v := <-w.ready:
		return l.waited(ctx, p, v)
	case <-ctx.Done():
	case <-timer.C:
	}
	if !p.c.withdraw(w, l.now()) { // it was let in, or refused, this very moment
		v := <-w.ready
		if ctx.Err() == nil {
			return l.waited(ctx, p, v)
		}
		if !v.refused {
			p.slot, p.gen = v.slot, v.gen
			p.Done(Ignore)
		}
	}
	if ctx.Err() != nil {
		return Permit{}, context.Cause(ctx)
	}
	return Permit{}, l.inVain(ctx, p, WaitedTooLong)
}

// inVain refuses who has waited.
func (l *Limiter) inVain(ctx context.Context, p Permit, why Refusal) error {
	r := Request{Key: p.c.key, Class: p.class}
	return l.refuse(ctx, p.c, &r, admission{reason: why, after: l.cfg.MaxWait}, l.now())
}

func (l *Limiter) waited(ctx context.Context, p Permit, v verdict) (Permit, error) {
	if v.refused {
		return Permit{}, l.inVain(ctx, p, Displaced)
	}
	p.slot, p.gen = v.slot, v.gen
	l.look(ctx, p.c, l.now(), false)
	return p, nil
}

// shed refuses a call for want of processors or memory.
func (l *Limiter) shed(ctx context.Context, r *Request, why Refusal, now int64, most time.Duration) error {
	if most == forever {
		return ErrLimited // it comes again
	}
	c := l.cellOf(r.Key, now)
	c.mu.Lock()
	c.counts.Refused[r.Class]++
	c.counts.Shed++
	c.mu.Unlock()
	return l.refuse(ctx, c, r, admission{reason: why, after: shedTime}, now)
}

func (l *Limiter) refuse(ctx context.Context, c *cell, r *Request, a admission, now int64) error {
	l.look(ctx, c, now, true)
	err := c.refusal(r, a, now)
	if l.cfg.Observe != nil {
		l.tell(ctx, Event{Kind: Refused, Key: r.Key, Class: r.Class, Refusal: a.reason, Err: err})
	}
	return err
}

// look moves the level of brownout, ten times a second.
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
func (l *Limiter) Level() float64 { return l.dim.at() }

// Free returns how many more calls of the default class under a key would be let in
// now: for consumers of queues that fetch ahead.
func (l *Limiter) Free(key string) int {
	c := l.cellOf(key, l.now())
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(c.limit-c.inFlight-c.queued, 0)
}
