package backpressure

import (
	"context"
	"net/http"
	"time"

	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/internal/outcome"
	"github.com/failsoft/failsoft/internal/rt"
)

// Transport returns a RoundTripper that sends those requests through next, or
// http.DefaultTransport if next is nil, that are let in. Where one is not, the error
// is a *LimitedError and nothing was sent. A request holds its place until the body
// of its response has been read or closed. Its latency is the time until the headers:
// how quickly the caller reads the rest says nothing of the server.
func (l *Limiter) Transport(next http.RoundTripper) http.RoundTripper {
	return &transport{limiter: l, next: rt.Base(next)}
}

type transport struct {
	limiter *Limiter
	next    http.RoundTripper
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil {
		return t.next.RoundTrip(req) // which says what is wrong with it
	}
	p, r, err := t.enter(req)
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	var resp *http.Response
	settled := false
	defer func() {
		if settled {
			return
		}
		p.Done(Ignore) // next panicked, or it or Judge ended the goroutine
		if resp != nil {
			_ = resp.Body.Close()
		}
	}()
	resp, err = rt.RoundTrip(t.next, t.limiter.classed(req, r.Class))
	judged := t.limiter.judge(req.Context(), resp, err)
	settled = true
	if err != nil || !rt.Readable(resp) {
		p.done(req.Context(), judged)
		return resp, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols || isStream(resp.Header) {
		p.stream()
	}
	s := &settlement{permit: p, ctx: req.Context(), judged: judged, headers: t.limiter.now()}
	rt.OnBodyEnd(resp, &s.body, s)
	return resp, nil
}

// enter asks to be let in. Should a func of the user's panic, the body is closed, as
// nobody else will.
func (t *transport) enter(req *http.Request) (p Permit, r Request, err error) {
	asked := false
	defer func() {
		if !asked && req.Body != nil {
			_ = req.Body.Close()
		}
	}()
	r = t.limiter.describe(req, Request{Key: req.URL.Host, Class: ClassOf(req.Context())})
	weighed := r
	p, err = t.limiter.acquire(rt.CallerOf(req), &weighed, t.limiter.cfg.MaxWait)
	asked = true
	return p, r, err
}

// classed is req with its class in the header, or req itself if that is Default. What
// was tried again is not named lower: its number travels by itself.
func (l *Limiter) classed(req *http.Request, c Class) *http.Request {
	field := l.cfg.ClassHeader
	if attempt.Background(req.Context()) {
		c = Background
	}
	if field == "" || c == Default || c >= classes || req.Header.Get(field) != "" {
		return req
	}
	named := req.WithContext(req.Context())
	named.Header = req.Header.Clone()
	if named.Header == nil {
		named.Header = make(http.Header)
	}
	named.Header.Set(field, c.String())
	return named
}

// settlement waits for the end of a response's body.
type settlement struct {
	permit  Permit
	ctx     context.Context
	judged  Outcome
	headers int64 // when they came
	body    rt.Body
}

// BodyEnd gives the place back. What came after the headers is no latency: it is as long
// as the body and the caller make it. To count what the caller waits in Read, and only
// that, would take a wrapper of its own around each body.
func (s *settlement) BodyEnd(err error) {
	if err != nil {
		s.judged = ofKind(outcome.OfError(s.ctx, err))
	}
	s.permit.excuse(time.Duration(s.permit.l.now() - s.headers))
	s.permit.done(s.ctx, s.judged)
}

// CloseIdleConnections closes those of the transport below.
func (t *transport) CloseIdleConnections() { rt.CloseIdle(t.next) }
