package rt

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// The bounds of draining. A drained connection is reused, and that is worth
// this much and no more: past it the connection is given up. A body that does
// not heed the end of its attempt either gets its time twice.
const (
	DrainBytes = 64 << 10
	DrainTime  = 50 * time.Millisecond
)

// Discard drains the response's body, at most DrainBytes, DrainTime and until
// ctx ends, and closes it. cancel ends the context of the attempt that the
// response is of; nil says that there is none to end.
func Discard(ctx context.Context, resp *http.Response, cancel func()) {
	if Readable(resp) {
		drain(ctx, resp, cancel)
	}
}

// ErrBodyDropped ends the body of a kept response of which more than the drain
// bounds was outstanding.
var ErrBodyDropped = errors.New("the rest of a discarded response's body was dropped")

// Keep discards the response like Discard but remembers what was read, so that
// the response can still be handed over if no better one comes: its connection
// is free, its body readable. Where the bounds cut it off, the body ends with
// ErrBodyDropped instead of io.EOF; where it broke, with that error.
func Keep(ctx context.Context, resp *http.Response, cancel func()) {
	if Readable(resp) {
		resp.Body = drain(ctx, resp, cancel)
	}
}

// drain reads what is left of the body, closes it, and returns what it has
// read.
//
// It reads in a goroutine of its own, since not every Read can be ended from
// outside. What ends it best is the attempt's context. To close the body instead
// is for those who have none to end: not every wrapper around a body passes it
// on, in which case the goroutine stays until the server is done. The body that
// net/http unzips even makes Close wait until its first bytes are there, so
// that without a context to end it is not read at all.
func drain(ctx context.Context, resp *http.Response, cancel func()) *keptBody {
	defer func() { _ = resp.Body.Close() }() // what is discarded has no error to report
	if resp.ContentLength > DrainBytes || cancel == nil && resp.Uncompressed {
		return &keptBody{end: ErrBodyDropped}
	}
	d := &drainage{body: resp.Body, done: make(chan struct{}), end: ErrBodyDropped}
	go d.run()
	if !d.wait(ctx.Done()) && cancel != nil {
		d.stop()
		cancel()
		d.wait(nil) // rather than close the body under its Read
	}
	kept := d.soFar()
	if ctx.Err() != nil && kept.end != io.EOF { //nolint:errorlint // readers compare it with == too
		kept.end = ErrBodyDropped // the caller's end, not the server's
	}
	return kept
}

// drainage is a body on its way to being drained.
type drainage struct {
	body io.Reader
	done chan struct{}

	mu      sync.Mutex
	read    []byte
	end     error
	stopped bool
}

func (d *drainage) run() {
	defer close(d.done)
	defer func() { _ = recover() }() // of a body that nobody wants any more
	source := io.LimitReader(d.body, DrainBytes+1)
	for buf := make([]byte, 4<<10); ; {
		n, err := source.Read(buf)
		if !d.add(buf[:n], err) {
			return
		}
	}
}

// add keeps what a Read returned and reports whether to go on.
func (d *drainage) add(p []byte, err error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	room := DrainBytes - len(d.read)
	if d.stopped || len(p) > room {
		d.read = append(d.read, p[:min(len(p), room)]...)
		return false
	}
	d.read = append(d.read, p...)
	if err != nil {
		d.end = err
	}
	return err == nil
}

// wait waits until the body has been read, at most for DrainTime and until gone
// is closed, and reports whether it has.
func (d *drainage) wait(gone <-chan struct{}) bool {
	timer := time.NewTimer(DrainTime)
	defer timer.Stop()
	select {
	case <-d.done:
		return true
	case <-timer.C:
	case <-gone:
	}
	return false
}

// stop says that the body is cut off: what its Read returns from now on is our
// own doing.
func (d *drainage) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
}

// soFar takes what has been read; a Read that comes back later changes nothing.
func (d *drainage) soFar() *keptBody {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	return &keptBody{rest: slices.Clip(d.read), end: d.end}
}

// keptBody is what was read of a response before it was discarded.
type keptBody struct {
	rest []byte
	end  error
}

func (b *keptBody) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		return 0, b.end
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *keptBody) Close() error { return nil }
