package route

import (
	"net/http"
	"strings"
	"time"

	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/internal/rt"
)

// routes reports whether requests for a URL's host are the Pool's.
func (p *Pool) routes(service string) bool {
	if _, ok := p.names[service]; ok {
		return true
	}
	_, ok := p.names[strings.ToLower(service)]
	return ok
}

// present returns the hosts as they are now. It waits for the first ones, until the
// caller leaves or they cannot be found: to wait for the next try could be for ever. The
// time is that after it has waited.
func (p *Pool) present(caller rt.Caller) (v *view, now int64, err error) {
	if v = p.view.Load(); v == nil {
		select {
		case <-p.answered:
		case <-p.ctx.Done():
			return nil, 0, ErrClosed
		case <-caller.Ctx.Done():
			return nil, 0, caller.Ended(time.Now())
		case <-caller.Cancel:
			return nil, 0, caller.Ended(time.Now())
		}
		if v = p.view.Load(); v == nil {
			return nil, 0, p.noHosts()
		}
	}
	if now = p.now(); now >= v.next {
		v = p.refresh(now)
	}
	return v, now, nil
}

// maxClaims is how many times a request looks for a host that no other attempt of the
// same call has chosen meanwhile. Each time one has got ahead.
const maxClaims = 16

// pick finds the host for a request, and says whether it answers for want of a primary,
// and since when the host is waited for.
func (p *Pool) pick(req *http.Request) (m *member, staleRead bool, now int64, err error) {
	v, now, err := p.present(rt.CallerOf(req))
	if err != nil {
		return nil, false, now, err
	}
	hosts := attempt.Tried(req.Context())
	for claims := 1; ; claims++ {
		adds := hosts.Adds()
		if v.roles {
			m, staleRead, err = p.byRole(v, req, hosts, now)
		} else {
			m = v.all.pick(hosts, nil, now, &p.cfg)
		}
		switch {
		case err != nil:
			return nil, false, now, err
		case m == nil:
			return nil, false, now, ErrNoHosts
		case hosts.TryAdd(m.addr, adds), claims == maxClaims:
			return m, staleRead, now, nil
		}
		m.endTurn()
	}
}
