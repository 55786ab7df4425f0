package backpressure

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/internal/outcome"
	"github.com/failsoft/failsoft/internal/rw"
)

// Handler returns a handler that calls next for those requests that are let in, and
// answers 503 with Retry-After to the rest before their bodies are read.
//
// A request holds its place until next has returned, however it does, or calls
// ReleaseEarly. What turns out to be a stream holds a place of Config.MaxStreams from
// then on instead, if there is one. The time for which next waits for the client, to
// send the body or to take more of a long answer, says nothing of load and does not
// count for the limit.
func (l *Limiter) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if l.bypasses(req) {
			l.bypassed.Add(1)
			next.ServeHTTP(w, req)
			return
		}
		r := l.describe(req, Request{Class: ClassOf(req.Context())})
		r.Class = l.received(req, r.Class)
		p, err := l.Acquire(req.Context(), r)
		if err != nil {
			l.answer(w, req, err)
			return
		}
		l.serve(p, next, w, req, r.Tenant)
	})
}

// visit is a request that was let in, while it is served.
type visit struct {
	l      *Limiter
	permit Permit
	ctx    context.Context
	base   http.ResponseWriter
	seen   *rw.Response
	upload upload
	judged Outcome // ByRule until the answer has begun

	refused bool // by a Limiter further in
}

// upload is a request body that knows how long its reader had to wait for the client.
type upload struct {
	io.ReadCloser

	blocked atomic.Int64 // it may be read on any goroutine, and after the handler has returned
}

// Read reads on.
func (u *upload) Read(p []byte) (int, error) {
	start := time.Now()
	n, err := u.ReadCloser.Read(p)
	u.blocked.Add(int64(time.Since(start)))
	return n, err
}

// Began takes the status of the answer.
func (v *visit) Began(status int, header http.Header) {
	if status == http.StatusSwitchingProtocols || isStream(header) {
		v.permit.stream()
	}
	if v.judged = Ignore; !v.refused {
		v.judged = v.l.judgeServed(v.ctx, status, header)
	}
}

// Hijacked makes the visit a stream.
func (v *visit) Hijacked() { v.permit.stream() }

// isStream reports whether an answer goes on for as long as its reader wants.
func isStream(header http.Header) bool {
	for _, kind := range header["Content-Type"] {
		if strings.HasPrefix(kind, "text/event-stream") || strings.HasPrefix(kind, "application/grpc") {
			return true
		}
	}
	return false
}

func (l *Limiter) serve(p Permit, next http.Handler, w http.ResponseWriter, req *http.Request, tenant string) {
	v := &visit{l: l, permit: p, ctx: req.Context(), base: w}
	inner := v.request(req, tenant)
	var wrapped http.ResponseWriter
	wrapped, v.seen = rw.Wrap(w, rw.Hooks{Watch: v, Timed: true})
	returned := false
	defer func() {
		if inner != req {
			req.Pattern = inner.Pattern // which a ServeMux in next has set, for those further out
			if req.MultipartForm == nil {
				req.MultipartForm = inner.MultipartForm // the server removes its files, of the request that it knows
			}
		}
		if !returned || errors.Is(v.ctx.Err(), context.Canceled) {
			v.judged = Ignore // it panicked, or the client has left
		}
		v.end()
	}()
	next.ServeHTTP(wrapped, inner)
	if v.judged == ByRule {
		v.judged = l.judgeServed(v.ctx, http.StatusOK, w.Header()) // net/http writes it when the handler returns
	}
	returned = true
}

// request is req with what next is to know and what is to be known of it. Where there
// is nothing of this it is req itself.
func (v *visit) request(req *http.Request, tenant string) *http.Request {
	l, ctx := v.l, v.ctx
	if l.cfg.ClassHeader != "" && ClassOf(ctx) != v.permit.class {
		ctx = WithClass(ctx, v.permit.class)
	}
	if level := l.dim.at(); level > 0 {
		who, known := l.tenantOf(tenant, l.now())
		ctx = withLevel(ctx, level, who, known)
		l.nameLevel(v.base.Header(), Level(ctx))
	}
	hasBody, misnamed := req.Body != nil && req.Body != http.NoBody, l.misnamed(req.Header, v.permit.class)
	if ctx == v.ctx && !hasBody && !misnamed {
		return req
	}
	inner := req.WithContext(ctx)
	if misnamed {
		inner.Header = req.Header.Clone()
		nameClass(inner.Header, l.cfg.ClassHeader, v.permit.class)
	}
	if hasBody {
		v.upload.ReadCloser = req.Body
		inner.Body = &v.upload
	}
	return inner
}

// nameLevel tells the client of the level of brownout.
func (l *Limiter) nameLevel(header http.Header, level float64) {
	if l.cfg.LevelHeader != "" && level > 0 {
		header.Set(l.cfg.LevelHeader, strconv.FormatFloat(level, 'f', 2, 64))
	}
}

// misnamed reports whether a request names another class in its header than it was
// given. A reverse proxy would pass that on, with the trust that this service has.
func (l *Limiter) misnamed(header http.Header, c Class) bool {
	if l.cfg.ClassHeader == "" || len(header.Values(l.cfg.ClassHeader)) == 0 {
		return false
	}
	said, ok := classIn(header, l.cfg.ClassHeader)
	return !ok || said != c
}

// end gives the place back.
func (v *visit) end() {
	v.permit.excuse(v.seen.Blocked() + time.Duration(v.upload.blocked.Load()))
	v.permit.done(v.ctx, v.judged)
}

// ReleaseEarly gives back the place of the request that w answers, because the work
// for it is done and what is left is writing to a client that may be slow. The
// Limiters see a success in what has not begun to be answered. Without a Limiter, or
// behind a middleware whose writer has no Unwrap method, it does nothing.
func ReleaseEarly(w http.ResponseWriter) {
	for v, ok := rw.Find[*visit](w); ok; v, ok = rw.Find[*visit](v.base) {
		if v.judged == ByRule {
			v.judged = Success
		}
		v.end()
	}
}

// answer refuses a request: also where its context has ended while it waited, as that
// need not have been because the client has left.
func (l *Limiter) answer(w http.ResponseWriter, req *http.Request, err error) {
	after, _ := outcome.Hint(err)
	after = spread(after)
	for v, ok := rw.Find[*visit](w); ok; v, ok = rw.Find[*visit](v.base) {
		v.refused = true // which says nothing of the load of a Limiter further out
	}
	l.nameLevel(w.Header(), max(l.dim.at(), Level(req.Context())))
	if l.cfg.Refused != nil {
		rw.RefusalHeader(w.Header(), req, after)
		l.cfg.Refused(w, req, err)
		return
	}
	rw.Refuse(w, req, http.StatusServiceUnavailable, after, "overloaded, try again later")
}

// spread is d in whole seconds, or up to twice as much, so that who was refused
// together does not come back together.
func spread(d time.Duration) time.Duration {
	seconds := max(wholeSeconds(d), 1)
	return time.Duration(seconds+rand.Int64N(seconds+1)) * time.Second
}
