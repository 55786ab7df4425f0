package route

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/internal/rt"
)

// pick finds the host for a request, and says whether it answers for want of a
// primary.
func (p *Pool) pick(req *http.Request, now int64) (m *member, staleRead bool, err error) {
	v, err := p.present(rt.CallerOf(req), now)
	if err != nil {
		return nil, false, err
	}
	hosts := tried(req)
	if !v.roles {
		m = v.all.pick(hosts, nil, now, &p.cfg)
	} else if m, staleRead, err = p.byRole(v, req, now); err != nil {
		return nil, false, err
	}
	if m == nil {
		return nil, false, ErrNoHosts
	}
	hosts.Add(m.addr)
	return m, staleRead, nil
}

// byRole finds the host for a request where there are primaries and replicas.
func (p *Pool) byRole(v *view, req *http.Request, now int64) (m *member, staleRead bool, err error) {
	hosts := tried(req)
	if isSafe(req.Method) {
		return p.toRead(v, hosts, pinOf(req.Context(), p.cfg.Store), now)
	}
	if m = v.writes.pick(hosts, nil, now, &p.cfg); m == nil { // well or not, somebody has to be asked to write
		return nil, false, ErrNoPrimary
	}
	return m, false, nil
}

// toRead finds the host for a read: a replica, or else a primary, that no attempt of
// the call went to; or else any of them; or else what Config.NoPrimary says.
func (p *Pool) toRead(v *view, hosts *attempt.Hosts, pin *pin, now int64) (m *member, staleRead bool, err error) {
	untried := func(m *member) bool { return hosts.Rank(m.addr) < 0 }
	suits := func(m *member) bool { return p.mayRead(m, pin) }
	// A replica on probation gets one request at a time: there is a primary for the rest.
	first := func(m *member) bool { return m.isFree(now, false) && untried(m) && suits(m) }
	if hosts == nil && pin == nil && p.cfg.Lag == nil && !v.reads.usable.free {
		first = nil // it would say the same of all, more slowly
	}
	if m = v.reads.pickSuitable(hosts, first, now, &p.cfg); m != nil {
		return m, false, nil
	}
	// Where nobody is well the checks are more likely wrong than all of the hosts.
	if isOut := v.writes.none && !v.reads.none; !isOut {
		if m = v.writes.pick(hosts, untried, now, &p.cfg); m == nil {
			m = v.all.pick(hosts, func(m *member) bool { return m.role != Replica || suits(m) }, now, &p.cfg)
		}
	} else if m = v.reads.pick(hosts, suits, now, &p.cfg); m == nil {
		// A primary that drains still answers. It is asked once: it may be gone.
		m = v.writes.pick(hosts, func(m *member) bool { return m.health == draining && untried(m) }, now, &p.cfg)
	}
	switch {
	case m != nil:
		return m, false, nil
	case p.cfg.NoPrimary == Refuse:
		return nil, false, ErrNoPrimary
	}
	m = v.reads.pick(hosts, nil, now, &p.cfg)
	return m, m != nil && m.role == Replica, nil
}

// isSafe reports whether a method only reads (RFC 9110, section 9.2.1).
func isSafe(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	default:
		return false
	}
}

// mayRead reports whether a host may answer a read in a primary's place: it is not too
// far behind, and has what the session has written.
func (p *Pool) mayRead(m *member, pin *pin) bool {
	if m.role != Replica || p.cfg.Lag == nil {
		return pin == nil
	}
	lag, position, known := p.lagOf(m.addr)
	if !known || lag > p.cfg.MaxLag {
		return false
	}
	return pin == nil || pin.position != "" && p.hasReached(position, pin.position)
}

// lagOf asks the user. A func that panics knows nothing.
func (p *Pool) lagOf(addr string) (lag time.Duration, position string, known bool) {
	defer func() {
		if recover() != nil {
			known = false
		}
	}()
	return p.cfg.Lag(addr)
}

func (p *Pool) hasReached(have, want string) (reached bool) {
	if p.cfg.Reached == nil {
		h, err := strconv.ParseUint(have, 10, 64)
		w, err2 := strconv.ParseUint(want, 10, 64)
		return err == nil && err2 == nil && h >= w
	}
	defer func() {
		if recover() != nil {
			reached = false
		}
	}()
	return p.cfg.Reached(have, want)
}

// staleRead tells that a replica has answered for want of a primary.
func (p *Pool) staleRead(ctx context.Context, m *member, resp *http.Response) {
	if resp.Header == nil {
		resp.Header = make(http.Header)
	}
	resp.Header.Set("Stale-Read", "no-primary")
	p.tell(ctx, Event{Kind: ReadStale, Addr: m.addr})
}
