package stale

import (
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/failsoft/failsoft/internal/rt"
)

// Transport returns a RoundTripper that answers from the Cache where it may, and
// asks next, or http.DefaultTransport if next is nil, where it must. It is a private
// cache, for one user agent, unless Config.Shared says otherwise.
//
// It belongs outside of retry and hedge, so that it sees what has become of all
// attempts. What it asks next for is not canceled when its caller leaves.
func (c *Cache) Transport(next http.RoundTripper) http.RoundTripper {
	return &transport{cache: c, next: rt.Base(next)}
}

type transport struct {
	cache *Cache
	next  http.RoundTripper
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil || req.Header == nil {
		return t.next.RoundTrip(req) // which says what is wrong with it
	}
	x := t.plan(req)
	if x.key == "" {
		return t.pass(x)
	}
	if req.Body != nil {
		defer func() { _ = req.Body.Close() }() // it is empty, and the copies have their own
	}
	switch r := x.exchange(); {
	case r.entry != nil:
		return x.entryResponse(&r), nil
	case r.flight != nil:
		return x.flightResponse(&r)
	case r.inline:
		return t.pass(x)
	case errors.Is(r.err, errNotCached):
		return x.gatewayTimeout(), nil
	default:
		return nil, r.err
	}
}

// plan says what may be done for a request. Should the user's Key or Bypass panic,
// the body is closed, as nobody else will.
func (t *transport) plan(req *http.Request) (x *call) {
	defer func() {
		if x == nil && req.Body != nil {
			_ = req.Body.Close()
		}
	}()
	return t.cache.newCall(req, t, &t.cache.client)
}

// CloseIdleConnections closes those of the transport below.
func (t *transport) CloseIdleConnections() { rt.CloseIdle(t.next) }

// fetch makes the request of a flight.
func (t *transport) fetch(fl *flight, req *http.Request) {
	resp, err := rt.RoundTrip(t.next, req) //nolint:bodyclose // whoever gets it does, or pump, or Discard
	if err != nil {
		fl.fail(err, nil)
		return
	}
	fl.came = cameOf(resp)
	if resp.Request == req {
		resp.Request = nil // a router below names another; this is the caller's
	}
	finish := func() { fl.cancel(nil) }
	switch to := fl.headers(resp.StatusCode, resp.Header); {
	case to.fill != nil:
		fl.pump(resp, to.fill)
	case to.leader != nil:
		rt.OnBodyEnd(resp, nil, ended(finish))
		to.leader.resp = resp
		fl.publish(*to.leader)
	default:
		rt.Discard(fl.ctx, resp, finish)
	}
}

// ended is a function that is called when a body has ended.
type ended func()

// BodyEnd calls it.
func (e ended) BodyEnd(error) { e() }

// pump fills to with the body of resp, as fast as it comes.
func (fl *flight) pump(resp *http.Response, to *fill) {
	defer func() { _ = resp.Body.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			if failed := to.write(fl.ctx, buf[:n]); failed != nil {
				fl.end(nil, failed)
				return
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			fl.end(resp.Trailer, nil)
			return
		case err != nil:
			fl.end(nil, err)
			return
		}
	}
}

// pass sends the request on as it is, and reads along where the answer may be one
// for others.
func (t *transport) pass(x *call) (*http.Response, error) {
	x.c.counts.passed.Add(1)
	fl, req := x.alongside(), x.req
	if fl != nil {
		req = req.WithContext(fl.ctx)
	}
	resp, err := rt.RoundTrip(t.next, req)
	if err != nil {
		if fl != nil {
			fl.fail(err, nil)
		}
		return nil, err
	}
	if resp.Request == nil || resp.Request == req {
		resp.Request = x.req
	}
	x.invalidates(resp.StatusCode, resp.Header)
	if fl != nil {
		if to := fl.headers(resp.StatusCode, resp.Header.Clone()); to.fill != nil {
			resp.Body = &alongBody{ReadCloser: resp.Body, fl: fl, to: to.fill, resp: resp}
		}
	}
	x.sayPassed(resp.StatusCode, headerOf(resp))
	return resp, nil
}

// alongBody reads along with the body of a response that the caller reads.
type alongBody struct {
	io.ReadCloser

	fl   *flight
	resp *http.Response

	mu sync.Mutex // Close may come while a Read waits
	to *fill
}

func (b *alongBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > 0 && b.to != nil && b.to.write(b.fl.ctx, p[:n]) != nil {
		b.to = nil // it has become too large
	}
	if b.to != nil && err != nil {
		if errors.Is(err, io.EOF) {
			b.fl.end(b.resp.Trailer, nil)
		} else {
			b.fl.end(nil, err)
		}
		b.to = nil
	}
	return n, err
}

func (b *alongBody) Close() error {
	b.mu.Lock()
	to := b.to
	b.to = nil
	b.mu.Unlock()
	if to != nil {
		b.fl.end(nil, errUnread)
	}
	return b.ReadCloser.Close()
}

func headerOf(resp *http.Response) http.Header {
	if resp.Header == nil {
		resp.Header = make(http.Header)
	}
	return resp.Header
}
