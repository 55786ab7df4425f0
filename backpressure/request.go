package backpressure

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/failsoft/failsoft/internal/attempt"
)

// Request says what is known of a call that asks to be let in. The zero Request is
// one of the default class, under the key "", of nobody in particular.
type Request struct {
	Key   string
	Class Class

	// Tenant is whom the call is for. In the queue of a class tenants take turns, so
	// that one who asks a hundred times as often waits for itself, and is refused, and
	// not the others: who asks for less than its fair share gets it. Those without a
	// tenant have one turn together there, and whoever can make names up has a turn for
	// each: go by what is proven. This takes a queue. Where nobody waits, as with TryAcquire
	// or MaxWait Off, or because places become free less often than once in MaxWait,
	// tenants differ by their cohorts only, whatever they have used.
	Tenant string

	Stream bool // it holds a place of Config.MaxStreams, and its latency means nothing
}

// request is a Request as the decision needs it.
type request struct {
	key    string
	class  Class
	share  float64
	tenant uint64
	known  bool
	stream bool
}

// weigh works out what a Request is to the decision.
func (l *Limiter) weigh(ctx context.Context, req *request, r *Request, now int64) {
	req.key, req.class, req.stream = r.Key, r.Class, r.Stream
	if req.class >= classes {
		req.class = Default
	}
	if l.cfg.DemoteRetries && attempt.Retry(ctx) > 1 {
		req.class = req.class.demoted()
	}
	if attempt.Background(ctx) {
		req.class = Background
	}
	if r.Tenant != "" {
		req.tenant, req.known = l.tenantOf(r.Tenant, now)
		if !l.tenants.Load() {
			l.tenants.Store(true)
		}
	}
	req.share = share(req.class, req.tenant, req.known)
	if !req.known && l.tenants.Load() {
		req.share = drawn(req.class)
	}
	if l.cfg.Limit.kind == isFixed {
		req.share = min(req.share, 1)
	}
}

// drawn is the share of a request that has no tenant where others have one, by a cohort
// drawn at random: to have all of the class's would be a reward for not saying who asks.
func drawn(c Class) float64 { return share(c, rand.Uint64(), true) }

// tenantOf is a number for a tenant, if there is one. It takes no memory. All processes
// find the same: would each shed tenants of its own, none would be served for certain.
// It changes by the hour, so that the same ones are not always the first to go.
func (l *Limiter) tenantOf(name string, now int64) (tenant uint64, known bool) {
	if name == "" {
		return 0, false
	}
	hour := l.begun.UnixNano() + now
	hour /= int64(time.Hour)
	return mix(hash(name) ^ mix(uint64(hour))), true //nolint:gosec // any number will do
}

// describe says what a request of HTTP is, as far as that does not depend on who asks.
// A func of the user's that panics has said nothing.
func (l *Limiter) describe(req *http.Request, r Request) Request {
	cfg := &l.cfg
	if cfg.Key != nil || cfg.Class != nil || cfg.Tenant != nil || cfg.Stream != nil {
		l.askUser(req, &r)
	}
	return r
}

func (l *Limiter) askUser(req *http.Request, r *Request) {
	defer func() { l.contain(req.Context(), recover()) }()
	if l.cfg.Key != nil {
		r.Key = l.cfg.Key(req)
	}
	if l.cfg.Tenant != nil {
		r.Tenant = l.cfg.Tenant(req)
	}
	if l.cfg.Stream != nil {
		r.Stream = l.cfg.Stream(req)
	}
	if l.cfg.Class != nil {
		r.Class = l.cfg.Class(req)
	}
}

// contain tells of a panic in a func of the user's that was asked about a request.
func (l *Limiter) contain(ctx context.Context, value any) {
	if value != nil && l.cfg.Observe != nil {
		l.tell(ctx, Event{Kind: Panicked, Err: bad("a func of the Config panicked: %v", value)})
	}
}

// received lowers a class to what the request itself says it is, which may raise it
// only if it is trusted.
func (l *Limiter) received(req *http.Request, c Class) Class {
	if l.cfg.ClassHeader != "" {
		if said, ok := classIn(req.Header, l.cfg.ClassHeader); ok {
			if l.trusts(req) {
				c = said
			} else {
				c = lesser(c, said)
			}
		}
	}
	if l.cfg.DemoteRetries && attempt.FromHeader(req.Header, attempt.RetryHeader) > 1 {
		c = c.demoted()
	}
	return c
}

func (l *Limiter) trusts(req *http.Request) (trusted bool) {
	if l.cfg.ClassTrusted == nil {
		return false
	}
	defer func() { l.contain(req.Context(), recover()) }()
	return l.cfg.ClassTrusted(req)
}

// bypasses reports whether a request is let in whatever happens.
func (l *Limiter) bypasses(req *http.Request) (vital bool) {
	if l.cfg.Bypass == nil {
		return isVital(req)
	}
	defer func() { l.contain(req.Context(), recover()) }()
	return l.cfg.Bypass(req)
}
