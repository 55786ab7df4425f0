package hedge

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/internal/outcome"
	"github.com/failsoft/failsoft/internal/rt"
)

// Transport returns a RoundTripper that sends each request through next, or
// http.DefaultTransport if next is nil, and a second time where it is slow.
//
// next must honor the context of a request, as net/http's does: the first attempt
// runs in the caller's goroutine, and a hedge that wins waits for its cancellation
// to come through. Like every RoundTripper it must not change a request, of which a
// hedge may be a copy in the making. GetBody may be called by several attempts at
// once. httptrace hooks tell of the first attempt only. Requests are
// sent once, as they come, that must not be repeated (Config.Repeatable), whose body
// has no GetBody, that have trailers, ask for an upgrade or expect a 100 Continue, and
// those that nobody waits for.
func (h *Hedger) Transport(next http.RoundTripper) http.RoundTripper {
	return &transport{hedger: h, next: rt.Base(next)}
}

type transport struct {
	hedger *Hedger
	next   http.RoundTripper
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil {
		return t.next.RoundTrip(req) // which says what is wrong with it
	}
	key, l := t.plan(req)
	if l.maxAttempts <= 1 {
		return t.once(req)
	}
	x := &exchange{next: t.next, req: req}
	x.Hedger, x.Caller, x.door = t.hedger, rt.CallerOf(req), x
	x.key, x.limits = key, l
	if !rt.HasBody(req) { // which is the caller's again when the call is over
		x.grace = t.hedger.cfg.LoserGrace
	}
	x.turn = t.hedger.nextTurn()
	x.start()
	out := x.run()
	x.surface(&out)
	if !out.answered() {
		out.end()
		return nil, x.errorOf(&out)
	}
	rt.OnBodyEnd(out.answer, &out.lane.body, out.lane)
	return out.answer, nil
}

// plan asks what the user has to say of a request. Should that panic, the body is
// closed, as nobody else will.
func (t *transport) plan(req *http.Request) (key string, l limits) {
	planned := false
	defer func() {
		if !planned && req.Body != nil {
			_ = req.Body.Close()
		}
	}()
	l = t.hedger.cfg.limits(req.Context())
	if l.maxAttempts > 1 && (!rt.Replayable(req) || singular(req) ||
		!l.repeatable && !t.hedger.cfg.Repeatable(req)) {
		l.maxAttempts = 1
	}
	if l.maxAttempts > 1 {
		key = t.hedger.cfg.Key(req)
	}
	planned = true
	return key, l
}

// singular reports whether a request is half of a conversation, which cannot be
// had twice.
func singular(req *http.Request) bool {
	return req.Method == http.MethodConnect || req.Header["Upgrade"] != nil || req.Header["Expect"] != nil
}

// once sends a request that is not hedged, to the next endpoint if there are some.
func (t *transport) once(req *http.Request) (*http.Response, error) {
	if t.hedger.endpoints != nil {
		own := req.WithContext(req.Context())
		t.hedger.redirect(own, attempt.Tried(req.Context()), t.hedger.nextTurn())
		req = own
	}
	return t.next.RoundTrip(req)
}

// CloseIdleConnections closes those of the transport below.
func (t *transport) CloseIdleConnections() { rt.CloseIdle(t.next) }

// exchange is a race for the answer to an HTTP request.
type exchange struct {
	race[*http.Response]

	next http.RoundTripper
	req  *http.Request
	turn uint64
}

// prepare copies the request. An attempt that can be on its way when the call is
// over has a header and a URL of its own: the caller may change its request then.
func (x *exchange) prepare(l *lane) {
	l.req = x.req.WithContext(l)
	if l.n > 1 || x.grace > 0 {
		url := *x.req.URL
		l.req.URL, l.req.Header = &url, x.req.Header.Clone()
	}
	if l.n > 1 && x.cfg.AttemptHeader {
		if l.req.Header == nil {
			l.req.Header = make(http.Header)
		}
		l.req.Header.Set(attempt.HedgeHeader, strconv.Itoa(l.n))
	}
	if x.endpoints != nil {
		x.redirect(l.req, x.hosts, x.turn)
	}
}

func (x *exchange) send(l *lane) (*http.Response, error) {
	if l.n > 1 && rt.HasBody(l.req) {
		body, err := l.req.GetBody()
		if err != nil {
			return nil, &bodyLostError{err}
		}
		l.req.Body = body
	}
	return rt.RoundTrip(x.next, l.req)
}

func (x *exchange) judge(l *lane, resp *http.Response, err error) (f facts, host string) {
	f.kind = outcome.Of(x.Ctx, resp, err)
	switch {
	case resp == nil:
		f.hint, f.hinted = outcome.Hint(err)
	case f.kind != outcome.OK:
		f.hint, f.hinted = outcome.RetryAfter(resp.Header, time.Now())
		fallthrough
	default:
		f.status = resp.StatusCode
	}
	if x.cfg.Judge != nil {
		f.judged = x.cfg.Judge(resp, err)
	}
	if f.judged == ByRule && f.kind == outcome.Refused && x.endpoints != nil {
		f.judged = Fail // what was refused for one endpoint may not be for the next
	}
	return f, rt.HostOf(l.req, resp, err)
}

func (x *exchange) keep(l *lane, resp *http.Response) {
	defer func() { _ = recover() }() // of the body's Close: the call goes on
	rt.Keep(l, resp, l.end)
}

// discard drains a response in a goroutine of its own: the caller may wait in this
// one.
func (x *exchange) discard(l *lane, resp *http.Response) {
	if !rt.Readable(resp) {
		l.end()
		return
	}
	go func() {
		defer l.end()
		defer func() { _ = recover() }() // of the body's Close, which has nobody to panic to
		rt.Discard(l, resp, l.end)
	}()
}

// frugal: canceling a request closes its connection up to HTTP/1, and nothing but
// a stream from HTTP/2 on.
func (x *exchange) frugal(resp *http.Response) bool { return resp != nil && resp.ProtoMajor >= 2 }

// bodyLostError is a failure of GetBody: the attempt was not sent.
type bodyLostError struct{ err error }

func (e *bodyLostError) Error() string { return fmt.Sprintf("get the request body again: %v", e.err) }
func (e *bodyLostError) Unwrap() error { return e.err }
func (e *bodyLostError) Unsent() bool  { return true }
