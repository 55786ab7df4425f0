package route

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/failsoft/failsoft/internal/attempt"
)

// byRole finds the host for a request where there are primaries and replicas.
func (p *Pool) byRole(
	v *view, req *http.Request, hosts *attempt.Hosts, now int64,
) (m *member, staleRead bool, err error) {
	if onlyReads(p.cfg.OnlyReads, req) {
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
	if isOut := !v.reads.none && (v.writes.none || p.isDown(&v.writes, hosts, now)); !isOut {
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

// onlyReads asks the user, or else the method. A func that panics does not know.
func onlyReads(ask func(*http.Request) bool, req *http.Request) (reads bool) {
	if ask == nil {
		return isSafe(req.Method)
	}
	defer func() {
		if recover() != nil {
			reads = isSafe(req.Method)
		}
	}()
	return ask(req)
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

// tryEvery is how often a read asks a primary that fails, and that nobody can replace.
const tryEvery = int64(time.Second)

// isDown reports whether all primaries fail, so that reads had better go to a replica.
// The last one is never ejected: it is asked for what it alone can do, and that is how
// it is found out about as well. Where there are no writes, one read at a time does it.
func (p *Pool) isDown(primaries *set, hosts *attempt.Hosts, now int64) bool {
	if p.cfg.NoPrimary != ReadReplica || p.cfg.Consecutive == Off {
		return false
	}
	for _, m := range primaries.usable.members {
		fails := m.failures.Load() >= int64(p.cfg.Consecutive)
		if !fails || hosts.Rank(m.addr) < 0 && m.isDue(now) {
			return false
		}
	}
	return true
}

// isDue takes the turn to find out whether a host still fails.
func (h *host) isDue(now int64) bool {
	last := h.asked.Load()
	return (last == 0 || now-last >= tryEvery) && h.asked.CompareAndSwap(last, max(now, 1))
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

// staleRead tells that a replica has answered for want of a primary: the caller, the
// observer, and the caches above, which are not to keep it for others.
func (p *Pool) staleRead(ctx context.Context, m *member, resp *http.Response) {
	if resp.Header == nil {
		resp.Header = make(http.Header)
	}
	resp.Header.Set("Stale-Read", "no-primary")
	attempt.MarkDegraded(ctx)
	p.tell(ctx, Event{Kind: ReadStale, Addr: m.addr})
}
