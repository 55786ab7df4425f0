package rttest

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// flow is where the bytes of an answerBody come from.
type flow func(b *answerBody, p []byte) (int, error)

// answerBody is a response body that knows what was done with it. Like one of http.Transport it
// dies with the context of its attempt, and Close ends a Read that waits.
type answerBody struct {
	trip *trip
	flow flow

	mu     sync.Mutex
	taken  int
	ended  error
	closed chan struct{}
}

func (b *answerBody) Read(p []byte) (int, error) {
	if err := b.before(); err != nil {
		return 0, err
	}
	n, err := b.flow(b, p)

	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken += n
	b.ended = err
	return n, err
}

func (b *answerBody) before() error {
	b.mu.Lock()
	defer b.mu.Unlock()

	switch {
	case b.isClosed():
		return http.ErrBodyReadAfterClose
	case b.ended != nil:
		return b.ended
	default:
		return b.trip.over()
	}
}

func (b *answerBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.isClosed() {
		close(b.closed)
	}
	return nil
}

func (b *answerBody) isClosed() bool {
	select {
	case <-b.closed:
		return true
	default:
		return false
	}
}

// state returns how much was read, whether that was all, and whether the body is closed.
func (b *answerBody) state() (taken int, whole, closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.taken, errors.Is(b.ended, io.EOF), b.isClosed()
}

// text is a body with a content.
func text(content string) flow {
	rest := strings.NewReader(content)
	return func(_ *answerBody, p []byte) (int, error) { return rest.Read(p) }
}

// endless delivers more than anybody should read of what he throws away. It does end, so that a
// policy that reads it all is a failure and not a test that hangs.
func endless() flow {
	rest := io.LimitReader(zeros{}, 8<<20)
	return func(_ *answerBody, p []byte) (int, error) { return rest.Read(p) }
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// stalled delivers nothing for an hour.
func stalled() flow {
	return func(b *answerBody, _ []byte) (int, error) {
		if err := b.trip.wait(time.Hour, b.closed); err != nil {
			return 0, err
		}
		return 0, io.ErrUnexpectedEOF
	}
}

// dripping delivers a byte every 10 ms, so that each single read is fast.
func dripping() flow {
	return func(b *answerBody, p []byte) (int, error) {
		if err := b.trip.wait(10*time.Millisecond, b.closed); err != nil {
			return 0, err
		}
		if taken, _, _ := b.state(); taken > 1000 {
			return 0, io.EOF
		}
		return copy(p, "."), nil
	}
}

// uploads are the bodies of a request: the first, and each that GetBody makes.
type uploads struct {
	content string
	refuse  error  // What GetBody fails with.
	atEOF   func() // Called when a body has been read to its end.

	mu     sync.Mutex
	bodies []*upload
}

// upload can seek, because a policy must not.
type upload struct {
	all    *uploads
	rest   *strings.Reader
	sought bool
	late   bool // Read after it was closed.
	closed bool
}

func (u *uploads) next() *upload {
	u.mu.Lock()
	defer u.mu.Unlock()
	body := &upload{all: u, rest: strings.NewReader(u.content)}
	u.bodies = append(u.bodies, body)
	return body
}

func (u *uploads) getBody() (io.ReadCloser, error) {
	if u.refuse != nil {
		return nil, u.refuse
	}
	return u.next(), nil
}

// checkClosed reports every body that is still open.
func (u *uploads) checkClosed(tb TB) {
	tb.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()

	for i, body := range u.bodies {
		if !body.closed {
			tb.Errorf("request body %d of %d was not closed", i+1, len(u.bodies))
		}
	}
}

// checkUse reports every body that was used in another way than reading it once.
func (u *uploads) checkUse(tb TB) {
	tb.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()

	for i, body := range u.bodies {
		if body.sought {
			tb.Errorf("request body %d was rewound by Seek", i+1)
		}
		if body.late {
			tb.Errorf("request body %d was read after it was closed", i+1)
		}
	}
}

func (b *upload) Read(p []byte) (int, error) {
	b.all.mu.Lock()
	if b.closed {
		b.late = true
		b.all.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.rest.Read(p)
	b.all.mu.Unlock()

	if errors.Is(err, io.EOF) && b.all.atEOF != nil {
		b.all.atEOF()
	}
	return n, err
}

func (b *upload) Seek(offset int64, whence int) (int64, error) {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	b.sought = true
	return b.rest.Seek(offset, whence)
}

func (b *upload) Close() error {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	b.closed = true
	return nil
}
