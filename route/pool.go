package route

import (
	"context"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/internal/ordered"
)

// Pool is the hosts of one service. All methods are safe for concurrent use.
type Pool struct {
	cfg   Config
	begun time.Time
	names map[string]struct{}
	base  *http.Transport // of Transport(nil); nil until there is one

	view     atomic.Pointer[view] // nil until the first hosts are known
	answered chan struct{}        // closed then, or when there was a first failure

	mu        sync.Mutex
	standings map[string]*standing
	order     []string // of the addresses, as they came
	closed    bool
	changed   chan struct{} // holds one: the checks have something to look at
	nextCheck int64         // when they do so unasked
	refused   error         // why there is no view
	events    ordered.Queue[Event]

	ctx    context.Context // of resolver and checks
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// New returns a Pool, or everything that is wrong with cfg. One with a Resolver or a
// Check has to be closed.
func New(cfg Config) (*Pool, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	p := &Pool{
		cfg: cfg, begun: time.Now(), answered: make(chan struct{}), changed: make(chan struct{}, 1),
		names: make(map[string]struct{}), standings: make(map[string]*standing),
	}
	for _, service := range cfg.Names {
		p.names[strings.ToLower(service)] = struct{}{}
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	if len(cfg.Hosts) > 0 {
		p.update(cfg.Hosts, nil)
	}
	if cfg.Resolver != nil {
		p.work.Go(p.resolve)
	}
	if cfg.Check.Path != "" {
		p.work.Go(p.runChecks)
	}
	return p, nil
}

// MustNew is New for package variables and examples: it panics where New returns an
// error.
func MustNew(cfg Config) *Pool {
	p, err := New(cfg)
	if err != nil {
		panic(err)
	}
	return p
}

// Close ends the Resolver and the checks, waits for them until ctx ends, and closes
// idle connections of Transport(nil). Requests go on, to the hosts that are known.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	base := p.base
	p.mu.Unlock()
	p.cancel()
	if base != nil {
		base.CloseIdleConnections()
	}
	over := make(chan struct{})
	go func() {
		p.work.Wait()
		close(over)
	}()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// now is the time in nanoseconds since the Pool was made.
func (p *Pool) now() int64 { return int64(time.Since(p.begun)) }

// refresh is for when time has changed something.
func (p *Pool) refresh(now int64) *view {
	p.mu.Lock()
	if v := p.view.Load(); now < v.next { // somebody else has
		p.mu.Unlock()
		return v
	}
	v := p.renew(now)
	p.mu.Unlock()
	p.deliver()
	return v
}

// renew publishes the hosts as they are. It needs the lock.
func (p *Pool) renew(now int64) *view {
	members := make([]*member, 0, len(p.order))
	next := int64(math.MaxInt64)
	for _, addr := range p.order {
		s := p.standings[addr]
		m := s.member
		m.health = s.healthAt(now)
		members = append(members, &m)
		next = min(next, s.changes(now))
	}
	was := p.view.Load()
	v := newView(members, next, &p.cfg)
	p.view.Store(v)
	p.answer()
	p.rouse()
	if panicked := was != nil && was.all.panics; panicked != v.all.panics {
		kind := PanicEnded
		if v.all.panics {
			kind = PanicBegan
		}
		p.events.Put(Event{Kind: kind})
	}
	return v
}

// settle takes what came of a request that m had, and why it might be ejected.
func (p *Pool) settle(m *member, o Outcome, why string) {
	switch {
	case m.turn == 0:
		if why != "" {
			p.eject(m, why)
		}
	case o == Success:
		p.readmit(m)
	case o == Failure:
		p.eject(m, onceAgain)
	default:
		m.endTurn() // nothing was found out
	}
}

// readmit ends a host's probation, well.
func (p *Pool) readmit(m *member) {
	defer p.deliver()
	p.mu.Lock()
	defer p.mu.Unlock()
	defer m.endTurn()
	now := p.now()
	s := p.standings[m.addr]
	if s == nil || s.host != m.host || s.healthAt(now) != probation {
		return
	}
	s.comeBack(now)
	p.events.Put(Event{Kind: Returned, Addr: m.addr})
	p.renew(now)
}

// eject takes a host out, unless too many are, or it is not behind the others after
// all. While it is on probation, nothing counts but the request that finds out: others
// may be of before.
func (p *Pool) eject(m *member, why string) {
	defer p.deliver()
	p.mu.Lock()
	defer p.mu.Unlock()
	defer m.endTurn()
	now := p.now()
	s := p.standings[m.addr]
	if s == nil || s.host != m.host || now < s.until || s.onProbation != (why == onceAgain) {
		return
	}
	if why == behind && !p.isBehind(s, now) {
		return
	}
	if why != onceAgain && !p.canSpare(s, now) {
		return
	}
	d := s.eject(now, why, &p.cfg)
	p.events.Put(Event{Kind: Ejected, Addr: m.addr, Reason: why, For: d})
	p.renew(now)
}

// isBehind compares a host with the others. It needs the lock.
func (p *Pool) isBehind(s *standing, now int64) bool {
	good, wrong := s.counts(now)
	var goodOthers, wrongOthers float64
	for _, other := range p.standings {
		if other != s {
			g, w := other.counts(now)
			goodOthers += g
			wrongOthers += w
		}
	}
	return isBehind(good, wrong, goodOthers, wrongOthers, p.cfg.SuccessMargin)
}

// canSpare reports whether one more host may be ejected: neither too large a part of
// them, nor the last one that is well for what it does. It needs the lock.
func (p *Pool) canSpare(s *standing, now int64) bool {
	out, peers := 0, 0
	for _, other := range p.standings {
		switch other.healthAt(now) {
		case ejected, probation:
			out++
		case well:
			if other != s && (other.role != Replica || s.role == Replica) {
				peers++
			}
		default:
		}
	}
	return peers > 0 && float64(out+1) <= math.Max(p.cfg.MaxEjected*float64(len(p.standings)), 1)
}

// drain takes a host out of new work because it has said so.
func (p *Pool) drain(m *member) {
	defer p.deliver()
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	s := p.standings[m.addr]
	if s == nil || s.host != m.host {
		return
	}
	was := s.healthAt(now)
	s.drained = now + int64(p.cfg.DrainTime)
	s.leave(now, s.drained) // with a probation: what says that it drains may be gone by then
	if was != draining {
		p.events.Put(Event{Kind: Drained, Addr: m.addr, For: p.cfg.DrainTime})
		p.renew(now)
	}
}
