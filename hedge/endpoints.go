package hedge

import (
	"net/http"
	"net/url"

	"github.com/failsoft/failsoft/internal/attempt"
)

// nextTurn returns whose turn it is to get the first attempt of a call.
func (h *Hedger) nextTurn() uint64 {
	if h.endpoints == nil {
		return 0
	}
	return h.turn.Add(1) - 1
}

// redirect sends a request, which is a copy of ours, to the first endpoint from
// turn on that its call has not tried yet, or the one that it tried longest ago.
func (h *Hedger) redirect(req *http.Request, tried *attempt.Hosts, turn uint64) {
	to := h.endpoints[turn%uint64(len(h.endpoints))]
	best := tried.Rank(to.Host)
	for i := range uint64(len(h.endpoints)) {
		other := h.endpoints[(turn+i)%uint64(len(h.endpoints))]
		if rank := tried.Rank(other.Host); rank < best {
			to, best = other, rank
		}
	}
	tried.Add(to.Host)
	direct(req, to)
}

// direct changes where a request goes. A Host header that the caller has set
// stays: it names a virtual host.
func direct(req *http.Request, to *url.URL) {
	if req.Host == req.URL.Host {
		req.Host = to.Host
	}
	where := *req.URL
	where.Scheme, where.Host = to.Scheme, to.Host
	req.URL = &where
}
