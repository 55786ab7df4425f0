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
	"github.com/failsoft/failsoft/internal/rt"
)

// Pool is the hosts of one service. All methods are safe for concurrent use.
type Pool struct {
	cfg   Config
	begun time.Time
	names map[string]struct{}
	base  *http.Transport // of Transport(nil); nil until there is one

	view  atomic.Pointer[view] // nil until the first hosts are known
	known chan struct{}        // closed then

	mu        sync.Mutex
	standings map[string]*standing
	order     []string // of the addresses, as they came
	closed    bool
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
		cfg: cfg, begun: time.Now(), known: make(chan struct{}),
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

// routes reports whether requests for a URL's host are the Pool's.
func (p *Pool) routes(service string) bool {
	if _, ok := p.names[service]; ok {
		return true
	}
	_, ok := p.names[strings.ToLower(service)]
	return ok
}

// present returns the hosts as they are now. It waits for the first ones, until the
// caller leaves.
func (p *Pool) present(caller rt.Caller, now int64) (*view, error) {
	v := p.view.Load()
	if v == nil {
		select {
		case <-p.known:
		case <-p.ctx.Done():
			return nil, ErrClosed
		case <-caller.Ctx.Done():
			return nil, caller.Ended(time.Now())
		case <-caller.Cancel:
			return nil, caller.Ended(time.Now())
		}
		v = p.view.Load()
	}
	if now >= v.next {
		v = p.refresh(now)
	}
	return v, nil
}

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
	if was == nil {
		close(p.known)
	}
	if panicked := was != nil && was.all.panics; panicked != v.all.panics {
		kind := PanicEnded
		if v.all.panics {
			kind = PanicBegan
		}
		p.events.Put(Event{Kind: kind})
	}
	return v
}

// update takes what the Resolver, or the Config, says. Hosts that stay keep what is
// known of them.
func (p *Pool) update(hosts []Host, err error) {
	defer p.deliver()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	var members []member
	if err == nil {
		members, err = readHosts(hosts)
	}
	if err != nil {
		p.events.Put(Event{Kind: ResolveFailed, Err: err})
		return
	}
	now := p.now()
	latency, _ := p.typical()
	order := make([]string, 0, len(members))
	standings := make(map[string]*standing, len(members))
	for _, m := range members {
		s := p.standings[m.addr]
		if s == nil || s.scheme != m.scheme {
			s = &standing{member: m}
			s.since.Store(now)
			s.latency.Store(math.Float64bits(latency))
			s.heard.Store(now)
			p.events.Put(Event{Kind: Added, Addr: m.addr})
		}
		s.weight, s.zone, s.role = m.weight, m.zone, m.role
		standings[m.addr] = s
		order = append(order, m.addr)
	}
	for addr := range p.standings {
		if standings[addr] == nil {
			p.events.Put(Event{Kind: Removed, Addr: addr})
		}
	}
	p.standings, p.order = standings, order
	p.renew(now)
}

// typical returns the mean latency of the hosts of which one is known: what a new host
// is taken for. It needs the lock.
func (p *Pool) typical() (latency float64, hosts int) {
	for _, s := range p.standings {
		if l := math.Float64frombits(s.latency.Load()); l > 0 {
			latency += l
			hosts++
		}
	}
	return latency / float64(max(hosts, 1)), hosts
}

// settle takes what came of a request that m had.
func (p *Pool) settle(m *member, o Outcome, now int64) {
	why := m.count(o, now, &p.cfg)
	switch {
	case m.health == probation && o == Success:
		p.readmit(m)
	case m.health == probation && o == Failure:
		p.eject(m, onceAgain)
	case m.health == probation:
		m.trial.Store(false) // nothing was found out
	case why != "":
		p.eject(m, why)
	}
}

// readmit ends a host's probation, well.
func (p *Pool) readmit(m *member) {
	defer p.deliver()
	p.mu.Lock()
	defer p.mu.Unlock()
	m.trial.Store(false)
	s := p.standings[m.addr]
	if s == nil || s.host != m.host || !s.onProbation {
		return
	}
	now := p.now()
	s.comeBack(now)
	p.events.Put(Event{Kind: Returned, Addr: m.addr})
	p.renew(now)
}

// eject takes a host out, unless too many are, or it is not behind the others after
// all.
func (p *Pool) eject(m *member, why string) {
	defer p.deliver()
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	s := p.standings[m.addr]
	if s == nil || s.host != m.host || now < s.until {
		return
	}
	if why == behind && !p.isBehind(s, now) {
		return
	}
	if !s.onProbation && !p.canSpare(s, now) {
		return
	}
	d := s.eject(now, &p.cfg)
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
			if other != s && (other.role == s.role || other.role == Any) {
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
	s.onProbation = true // when it is back: what says that it drains may be gone by then
	s.trial.Store(false)
	if was != draining {
		p.events.Put(Event{Kind: Drained, Addr: m.addr, For: p.cfg.DrainTime})
		p.renew(now)
	}
}
