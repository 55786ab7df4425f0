package route

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/failsoft/failsoft/internal/rt"
)

// hurryAfter is how long a host that was ejected, or drains, stays away at the least,
// whatever checks say.
const hurryAfter = int64(time.Second)

// checks is what those of one host have come to. The Pool's lock guards it.
type checks struct {
	due       int64 // when the next one begins, or the one that is out takes too long
	rounds    int   // that have begun
	out       bool
	late      bool // the one that is out has been counted as a failure
	good, bad int  // in a row
	known     bool // one has ended
}

// What is wrong with a host that answers.
var (
	errTookTooLong = errors.New("the check takes too long, and its transport does not end it")
	errDrains      = errors.New("the host says that it drains")
)

// runChecks is the one goroutine that begins checks.
func (p *Pool) runChecks() {
	through := p.cfg.Check.Transport
	if through == nil {
		base := newBase(&p.cfg)
		base.DisableKeepAlives = true
		through = base
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-p.changed:
		case <-p.ctx.Done():
			return
		}
		begin, next := p.dueChecks()
		p.deliver()
		for _, s := range begin {
			p.work.Go(func() { p.check(s.standing, &s.member, through) })
		}
		timer.Reset(time.Duration(next - p.now()))
	}
}

// rouse has runChecks look at the hosts again.
func (p *Pool) rouse() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// dueCheck is a host to ask, and how it was.
type dueCheck struct {
	standing *standing
	member   member
}

// dueChecks returns the hosts to ask now, and when to look again. A check that does
// not end holds up no other, and there is never a second one of the same host.
func (p *Pool) dueChecks() (begin []dueCheck, next int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, cfg := p.now(), &p.cfg.Check
	next = now + int64(time.Hour)
	for _, addr := range p.order {
		s := p.standings[addr]
		c := &s.checks
		switch {
		case c.due == 0: // it is new: soon, and not at the same time as all others
			c.due = now + 1 + rand.Int64N(int64(min(cfg.Every/10, time.Second))+1)
		case now < c.due:
		case c.out:
			p.checked(s, errTookTooLong, now)
			c.late, c.due = true, now+int64(jittered(cfg.Every))
		default:
			c.out, c.due = true, now+int64(cfg.Timeout+cfg.Timeout/4) // by itself, it ends before
			c.rounds++
			begin = append(begin, dueCheck{s, s.member})
		}
		next = min(next, c.due)
	}
	p.nextCheck = next
	return begin, next
}

// check asks one host.
func (p *Pool) check(s *standing, m *member, through http.RoundTripper) {
	err := p.ask(m, through)
	if errors.Is(err, errDrains) {
		p.drain(m)
	}
	defer p.deliver()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil || p.standings[m.addr] != s {
		return
	}
	now, wait := p.now(), jittered(p.cfg.Check.Every)
	if s.checks.rounds == 1 { // hosts that came together are not to be asked together for ever
		wait = time.Duration(rand.Float64() * float64(wait))
	}
	late := s.checks.late
	s.checks.out, s.checks.late, s.checks.due = false, false, now+int64(wait)
	if !late {
		p.checked(s, err, now)
	}
	if s.checks.due < p.nextCheck { // not each time: it looks at all of the hosts
		p.rouse()
	}
}

// ask sends a check, and returns what is wrong with the host.
func (p *Pool) ask(m *member, through http.RoundTripper) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("the transport of the check panicked: %v", value)
		}
	}()
	c := &p.cfg.Check
	ctx, cancel := context.WithTimeout(p.ctx, c.Timeout)
	defer cancel()
	req, err := p.question(ctx, m)
	if err != nil {
		return err
	}
	resp, err := rt.RoundTrip(through, req) //nolint:bodyclose // rt.Discard closes it
	if err != nil {
		return fmt.Errorf("the check failed: %w", err)
	}
	defer rt.Discard(ctx, resp, cancel)
	switch service := resp.Header.Get(c.ServiceHeader); {
	case p.saysDrain(resp):
		return errDrains
	case resp.StatusCode != c.Status:
		return fmt.Errorf("the check was answered with status %d, not %d", resp.StatusCode, c.Status)
	case c.Service != "" && service != c.Service:
		return fmt.Errorf("the check was answered by service %.100q, not %q", service, c.Service)
	}
	return nil
}

func (p *Pool) question(ctx context.Context, m *member) (*http.Request, error) {
	scheme := cmp.Or(m.scheme, "http")
	if m.scheme == "" && p.cfg.Check.HTTPS {
		scheme = schemeHTTPS
	}
	if scheme == schemeHTTPS && p.cfg.Check.Transport != nil && !p.cfg.TLSNameHandled {
		return nil, ErrTLSName
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+m.addr+p.cfg.Check.Path, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("the check cannot be sent: %w", err)
	}
	if !p.cfg.AddressAsHost {
		req.Host = p.cfg.Names[0]
	}
	req.Header.Set("User-Agent", "failsoft-route")
	return req, nil
}

// checked counts a check of a host. It needs the lock.
func (p *Pool) checked(s *standing, err error, now int64) {
	c := &s.checks
	first := !c.known
	c.known = true
	if err == nil {
		c.good, c.bad = c.good+1, 0
		if c.good >= p.cfg.Check.Rise || first {
			p.recovers(s, now)
		}
		return
	}
	c.good, c.bad = 0, c.bad+1
	if first {
		good, _ := s.counts(now)
		first = good == 0
	}
	if s.isIll || c.bad < p.cfg.Check.Fall && !first {
		return
	}
	s.isIll, s.hurried = true, false
	p.events.Put(Event{Kind: FoundIll, Addr: s.addr, Err: err})
	p.renew(now)
}

// recovers takes note of a host whose checks succeed. It needs the lock.
func (p *Pool) recovers(s *standing, now int64) {
	changed := false
	if s.isIll {
		s.isIll, changed = false, true
		s.since.Store(now)
		p.events.Put(Event{Kind: FoundWell, Addr: s.addr})
	}
	if away := max(s.until, s.drained) > now; away && !s.hurried && now-s.left >= hurryAfter {
		s.hurried, changed = true, true
		s.until, s.drained = min(s.until, now), min(s.drained, now)
		s.trial.Store(0)
	}
	if changed {
		p.renew(now)
	}
}
