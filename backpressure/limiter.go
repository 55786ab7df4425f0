package backpressure

import (
	"context"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/internal/keyed"
	"github.com/failsoft/failsoft/internal/rt"
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
	tenants  atomic.Bool // there are requests that have one
	nextLook atomic.Int64
}

// New returns a Limiter, or everything that is wrong with cfg.
func New(cfg Config) (*Limiter, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	l := &Limiter{cfg: cfg, begun: time.Now(), heap: newHeapGate(cfg.HeapThreshold)}
	l.cpu.init(cfg.CPUThreshold, cfg.CPULoad, func(value any) { l.contain(context.Background(), value) })
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

// Acquire lets a call in, at once or after a wait of at most Config.MaxWait and half of
// what is left until the deadline of ctx, or returns a *LimitedError, or the reason why
// ctx has ended: nobody is let in who has left. The Permit has to be released.
//
// The class is that of r. What WithClass has said it does not ask for, as that would be
// a search through ctx for each call: say ClassOf(ctx) to go by it.
func (l *Limiter) Acquire(ctx context.Context, r Request) (Permit, error) {
	return l.acquire(rt.Caller{Ctx: ctx}, &r, l.cfg.MaxWait)
}

// TryAcquire is Acquire without the wait.
func (l *Limiter) TryAcquire(ctx context.Context, r Request) (Permit, error) {
	return l.acquire(rt.Caller{Ctx: ctx}, &r, Off)
}

// Await lets a call in as soon as there is a place, however long that takes, or returns
// why ctx has ended. It is for those who have nothing else to do than to wait, such as
// consumers of queues: what they do not take stays where it is, for others, and nobody
// has to be refused. Their class says before whom: Background where users wait for others,
// Default where they have the limit to themselves, as Background never gets the last fifth.
//
// Who waits for the work itself while it holds the Permit says Begin when it has it.
func (l *Limiter) Await(ctx context.Context, r Request) (Permit, error) {
	for {
		again := r // as it came: acquire writes down what it makes of it
		p, err := l.acquire(rt.Caller{Ctx: ctx}, &again, forever)
		if err == nil {
			return p, nil
		}
		if err = pause(ctx, jittered(shedTime/10)); err != nil { // at a gate nobody waits
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

// acquire lets a call in, and writes down in r what it makes of it.
func (l *Limiter) acquire(caller rt.Caller, r *Request, most time.Duration) (Permit, error) {
	if err := left(caller); err != nil {
		return Permit{}, err
	}
	ctx, now := caller.Ctx, l.now()
	var req request
	l.weigh(ctx, &req, r, now)
	r.Class = req.class
	if !l.cpu.off() && !l.cpu.passes(&req, now) {
		return Permit{}, l.shed(ctx, r, CPU, now, most)
	}
	if l.heap != nil && !l.heap.passes(&req, now) {
		return Permit{}, l.shed(ctx, r, Memory, now, most)
	}
	most = patience(ctx, most)
	c := l.cellOf(r.Key, now)
	a := c.askFor(&req, now, most)
	for a.reason == retired {
		c = l.cellOf(r.Key, now)
		a = c.askFor(&req, now, most)
	}
	switch {
	case a.waiter != nil:
		return l.wait(caller, Permit{l: l, c: c, class: req.class}, a.waiter, most)
	case a.reason != 0:
		return Permit{}, l.refuse(ctx, c, r, a, now)
	}
	l.look(ctx, c, now, false)
	return Permit{l: l, c: c, slot: a.slot, gen: a.gen, class: req.class}, nil
}

// left returns why a caller has gone, if it has.
func left(caller rt.Caller) error {
	if caller.Ctx.Err() != nil {
		return context.Cause(caller.Ctx)
	}
	if caller.Cancel == nil {
		return nil // as almost always, and the rest takes a look at the clock
	}
	return caller.Ended(time.Now())
}

func (c *cell) askFor(req *request, now int64, patience time.Duration) admission {
	if req.stream {
		return c.askStream(req, now)
	}
	return c.ask(req, now, patience)
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

// wait waits for a place, for as long as the caller has patience, whatever was predicted:
// with half of its time left it can still do something else.
func (l *Limiter) wait(caller rt.Caller, p Permit, w *waiter, patience time.Duration) (Permit, error) {
	ctx, timer := caller.Ctx, time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v := <-w.ready:
		return l.waited(ctx, p, w, v)
	case <-ctx.Done():
	case <-caller.Cancel:
	case <-timer.C:
	}
	gone := left(caller)
	if !p.c.withdraw(w, l.now()) { // it was let in, or refused, this very moment
		v := <-w.ready
		if gone == nil {
			return l.waited(ctx, p, w, v)
		}
		if !v.refused {
			p.slot, p.gen = v.slot, v.gen
			p.Done(Ignore)
		}
	}
	if gone != nil {
		return Permit{}, gone
	}
	return Permit{}, l.inVain(ctx, p, w, WaitedTooLong)
}

// inVain refuses who has waited.
func (l *Limiter) inVain(ctx context.Context, p Permit, w *waiter, why Refusal) error {
	now, r := l.now(), Request{Key: w.key, Class: p.class}
	return l.refuse(ctx, p.c, &r, admission{reason: why, after: p.c.afterVain(w, now)}, now)
}

func (l *Limiter) waited(ctx context.Context, p Permit, w *waiter, v verdict) (Permit, error) {
	if v.refused {
		return Permit{}, l.inVain(ctx, p, w, Displaced)
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
	l.look(ctx, c, now, r.Class.rank() <= Default.rank())
	err := c.refusal(r, a, now)
	if l.cfg.Observe != nil {
		l.tell(ctx, Event{Kind: Refused, Key: c.key, Class: r.Class, Refusal: a.reason, Err: err})
	}
	return err
}

// Free returns how many more calls like r would be let in now, one after the other and
// without a wait, as far as the limit goes: for consumers of queues that fetch ahead. Of a
// limit of 45 that nobody uses it is 45 for Default, 41 for Sheddable and 36 for
// Background; see "Who is refused first". It asks no gate, and knows nothing of who else
// asks at the same time.
func (l *Limiter) Free(r Request) int {
	now := l.now()
	var req request
	l.weigh(context.Background(), &req, &r, now)
	if !req.known && l.tenants.Load() {
		req.share = min(req.share, share(req.class, cohorts-1, true)) // what is certain, whatever is drawn
	}
	c := l.cellOf(r.Key, now)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.freeLocked(&req, now)
}
