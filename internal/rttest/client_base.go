package rttest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"
)

// The errors of the base. The policy under test knows neither.
var (
	errBase     = errors.New("rttest: the base failed")
	errCanceled = errors.New("rttest: request canceled")
)

// base is the RoundTripper under the policy. It treats requests as http.Transport does (closes the
// body on every path, hears the context and Request.Cancel, ties the response body to both) and
// keeps the books.
type base struct {
	script script
	upload func(body io.Reader) ([]byte, error) // How much of a request body it reads; nil is all.

	mu    sync.Mutex
	trips []*trip
	idle  int // Calls of CloseIdleConnections.
}

// trip is one attempt that reached the base.
type trip struct {
	base *base
	n    int // From 1.
	req  *http.Request

	header   http.Header // Copies of how the request was when it arrived.
	url      url.URL
	tooLate  bool        // It arrived when its caller had left.
	sent     []byte      // What was read of the request body.
	trailer  http.Header // After the body was read.
	answer   *answerBody // Nil where the response has none.
	panicked bool
	ended    bool
}

func newBase(s script) *base { return &base{script: s} }

// RoundTrip plays the script.
func (b *base) RoundTrip(req *http.Request) (*http.Response, error) {
	t := b.begin(req)
	defer b.end(t)

	if req.Body != nil {
		defer func() { _ = req.Body.Close() }()
	}
	if err := t.over(); err != nil {
		return nil, err
	}
	if err := t.receive(); err != nil {
		return nil, err
	}
	return b.script(t)
}

// CloseIdleConnections counts.
func (b *base) CloseIdleConnections() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.idle++
}

func (b *base) begin(req *http.Request) *trip {
	b.mu.Lock()
	defer b.mu.Unlock()

	t := &trip{base: b, n: len(b.trips) + 1, req: req, header: req.Header.Clone()}
	t.tooLate = t.over() != nil
	if req.URL != nil {
		t.url = *req.URL
	}
	b.trips = append(b.trips, t)
	return t
}

func (b *base) end(t *trip) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t.ended = true
}

// seen returns the trips so far.
func (b *base) seen() []*trip {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.trips)
}

func (b *base) count() int { return len(b.seen()) }

func (t *trip) hasEnded() bool {
	t.base.mu.Lock()
	defer t.base.mu.Unlock()
	return t.ended
}

func (t *trip) receive() error {
	if t.req.Body == nil {
		return nil
	}
	upload := t.base.upload
	if upload == nil {
		upload = io.ReadAll
	}
	sent, err := upload(t.req.Body)

	t.base.mu.Lock()
	defer t.base.mu.Unlock()
	t.sent, t.trailer = sent, t.req.Trailer.Clone()
	return err
}

// over returns why nobody waits for the attempt any more, or nil.
func (t *trip) over() error {
	if t.req.Context().Err() != nil {
		return context.Cause(t.req.Context())
	}
	select {
	case <-t.req.Cancel: //nolint:staticcheck // http.Client.Timeout still closes it.
		return errCanceled
	default:
		return nil
	}
}

// wait returns nil after d, or the reason as soon as nobody waits any more.
func (t *trip) wait(d time.Duration, closed <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()

	select {
	case <-timer.C:
		return nil
	case <-closed:
		return http.ErrBodyReadAfterClose
	case <-t.req.Context().Done():
		return context.Cause(t.req.Context())
	case <-t.req.Cancel: //nolint:staticcheck // http.Client.Timeout still closes it.
		return errCanceled
	}
}

// respond makes a response. A nil flow is http.NoBody.
func (t *trip) respond(status int, length int64, f flow) *http.Response {
	resp := &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:  http.Header{"Trip": {strconv.Itoa(t.n)}, "Cache-Control": {"max-age=60"}}, // A cache has work, too.
		Body:    http.NoBody,
		Request: t.req,
	}
	if f == nil {
		return resp
	}
	body := &answerBody{trip: t, flow: f, closed: make(chan struct{})}
	resp.Body, resp.ContentLength = body, length

	t.base.mu.Lock()
	defer t.base.mu.Unlock()
	t.answer = body
	return resp
}
