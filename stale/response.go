package stale

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/failsoft/failsoft/internal/rt"
	"github.com/failsoft/failsoft/stale/internal/policy"
)

// entryResponse answers with an entry: whole, in part, or that it has not changed,
// as the caller asks.
func (x *call) entryResponse(r *reply) *http.Response {
	e := r.entry
	header := maps.Clone(e.Header)
	x.sayEntry(header, r)
	x.c.counts.answered(r)
	x.tellAnswer(r)
	switch {
	case policy.NotModified(x.req.Header, e.Header, e.Status):
		return x.response(http.StatusNotModified, policy.Header304(header))
	case x.ranged && e.Status == http.StatusOK:
		return x.part(header, e)
	}
	resp := x.response(e.Status, header)
	resp.ContentLength, resp.Trailer = int64(len(e.Body)), e.Trailer.Clone()
	if x.req.Method != http.MethodHead && len(e.Body) > 0 {
		resp.Body = &entryBody{Reader: *bytes.NewReader(e.Body)}
	}
	return resp
}

// entryBody reads the body of an entry, which it shares with all others.
type entryBody struct {
	bytes.Reader

	closed atomic.Bool
}

func (b *entryBody) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.Reader.Read(p)
}

func (b *entryBody) Close() error {
	b.closed.Store(true)
	return nil
}

// part answers a request for ranges. net/http knows all about them, as a server.
func (x *call) part(header http.Header, e *Entry) *http.Response {
	w := &part{header: header, status: http.StatusOK}
	x.writePart(w, e)
	resp := x.response(w.status, header)
	resp.ContentLength = lengthOf(header)
	if w.body.Len() > 0 {
		resp.Body = io.NopCloser(&w.body)
	}
	return resp
}

// part is a ResponseWriter in memory.
type part struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (p *part) Header() http.Header         { return p.header }
func (p *part) WriteHeader(status int)      { p.status = status }
func (p *part) Write(b []byte) (int, error) { return p.body.Write(b) }

// response is one without a body.
func (x *call) response(status int, header http.Header) *http.Response {
	return &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: http.NoBody, Request: x.req,
	}
}

// gatewayTimeout answers a request that wants nothing but what is stored, where
// nothing is (RFC 9111, section 5.2.1.7).
func (x *call) gatewayTimeout() *http.Response {
	header := make(http.Header)
	x.say(header)
	return x.response(http.StatusGatewayTimeout, header)
}

// flightResponse answers from a flight.
func (x *call) flightResponse(r *reply) (*http.Response, error) {
	res := &r.flight.res
	switch {
	case res.crash != nil && r.leads:
		res.crash.surface()
	case res.resp != nil:
		if res.resp.Request == nil {
			res.resp.Request = x.req
		}
		x.sayFlight(headerOf(res.resp), r)
		x.c.counts.missed(r)
		return res.resp, nil
	case r.read == nil:
		return nil, res.err
	}
	r.flight.gate.Close()
	header := maps.Clone(res.header)
	x.sayFlight(header, r)
	x.c.counts.missed(r)
	if policy.NotModified(x.req.Header, res.header, res.status) {
		r.read.close()
		return x.response(http.StatusNotModified, policy.Header304(header)), nil
	}
	resp := x.response(res.status, header)
	r.flight.came.describe(resp)
	if r.flight.came.empty {
		_, _, _ = r.read.next(rt.CallerOf(x.req)) // its end comes at once, and what it leaves in the Store
		r.read.close()
		return resp, nil
	}
	resp.Body = &flightBody{caller: rt.CallerOf(x.req), from: r.read, resp: resp, leads: r.leads}
	return resp, nil
}

// flightBody reads the body of an answer while it comes. Close ends a Read that
// waits, as it does for a body of http.Transport.
type flightBody struct {
	caller rt.Caller
	from   *reader
	resp   *http.Response
	leads  bool
	err    error // that the body has ended with
}

func (b *flightBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.from.read(b.caller, p)
	if err != nil {
		b.err = err
		b.ended()
	}
	return n, err
}

// ended completes the response in place, as net/http does: layers in between may
// hold on to it.
func (b *flightBody) ended() {
	b.from.close()
	if errors.Is(b.err, io.EOF) {
		if b.resp.Trailer == nil && len(b.from.fill.trailer) > 0 {
			b.resp.Trailer = make(http.Header)
		}
		assign(b.resp.Trailer, b.from.fill.trailer)
		return
	}
	if down, ok := errors.AsType[*PanicError](b.err); ok && b.leads {
		(&crash{value: down.Value}).surface()
	}
}

func (b *flightBody) Close() error {
	b.from.close()
	return nil
}
