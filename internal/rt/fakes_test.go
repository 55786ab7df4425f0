package rt_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var errReset = errors.New("connection reset by peer")

// body is a response body as net/http makes them: Close ends a Read that waits. It gives away data and
// ends with end, or, where end is nil, not before it is closed.
type body struct {
	data  io.Reader
	pause time.Duration // before each Read that has data
	end   error

	reads, bytes, closes atomic.Int32
	closed               chan struct{}
	once                 sync.Once
}

func newBody(data string, end error) *body {
	return &body{data: strings.NewReader(data), end: end, closed: make(chan struct{})}
}

// endless has more data than anybody wants.
func endless() *body {
	return &body{data: zeros{}, closed: make(chan struct{})}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte{'0'}, len(p))), nil }

func (b *body) Read(p []byte) (int, error) {
	b.reads.Add(1)
	var ready <-chan time.Time
	if b.pause > 0 {
		timer := time.NewTimer(b.pause)
		defer timer.Stop()
		ready = timer.C
		p = p[:1]
	} else {
		now := make(chan time.Time)
		close(now)
		ready = now
	}
	select {
	case <-b.closed:
		return 0, errClosed
	default:
	}
	select {
	case <-b.closed:
		return 0, errClosed
	case <-ready:
	}
	if n, err := b.data.Read(p); err == nil {
		b.bytes.Add(int32(n))
		return n, nil
	}
	if b.end != nil {
		return 0, b.end
	}
	<-b.closed
	return 0, errClosed
}

var errClosed = errors.New("read on closed body")

func (b *body) Close() error {
	b.closes.Add(1)
	b.once.Do(func() { close(b.closed) })
	return errors.New("the connection is gone already") // which nobody wants to hear of
}

func (b *body) isClosed() bool { return b.closes.Load() > 0 }

// chunked is a response whose length nobody knows beforehand.
func chunked(b io.ReadCloser) *http.Response {
	return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: b, ContentLength: -1}
}

// told records what a hook has been told.
type told struct {
	mu   sync.Mutex
	name string
	log  *[]string // shared by the hooks of one response
	errs []error
}

func (h *told) BodyEnd(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errs = append(h.errs, err)
	if h.log != nil {
		*h.log = append(*h.log, h.name)
	}
}

func (h *told) all() []error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.errs
}
