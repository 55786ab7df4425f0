package stale

import (
	"io"
	"net/http"
	"time"

	"github.com/failsoft/failsoft/internal/rt"
)

// reader follows a fill. It is used by one goroutine, but for close.
type reader struct {
	fill    *fill
	pos     int64
	held    int // bytes of the piece that was returned last
	flushes int
	gone    bool
}

// follow returns a reader from the beginning, or nil if that is gone.
func (f *fill) follow() *reader {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.base > 0 || !f.kept && len(f.readers) > 0 || f.err != nil {
		return nil
	}
	r := &reader{fill: f}
	f.readers[r] = struct{}{}
	return r
}

// next returns all there is after the pieces that it returned before, which by
// that are done with, and whether it is to leave at once. It waits where there is
// nothing, until the caller leaves. At the end the error is io.EOF.
func (r *reader) next(caller rt.Caller) (piece []byte, flush bool, err error) {
	r.fill.mu.Lock()
	defer r.fill.mu.Unlock()
	r.advance(r.held)
	piece, flush, err = r.peek(caller)
	r.held = len(piece)
	return piece, flush, err
}

// read is next for those who have a buffer. It copies under the lock: whoever
// closes the reader meanwhile gives the memory of a pipe away.
func (r *reader) read(caller rt.Caller, p []byte) (n int, err error) {
	r.fill.mu.Lock()
	defer r.fill.mu.Unlock()
	for n == 0 && err == nil && len(p) > 0 {
		var piece []byte
		piece, _, err = r.peek(caller)
		n = copy(p, piece)
	}
	r.advance(n)
	return n, err
}

// advance is done with n more bytes.
func (r *reader) advance(n int) {
	r.held = 0
	r.pos += int64(n)
	if n > 0 && !r.fill.kept {
		r.fill.wake()
	}
}

// peek waits for what is next.
func (r *reader) peek(caller rt.Caller) (piece []byte, flush bool, err error) {
	f := r.fill
	for {
		if r.gone {
			return nil, false, http.ErrBodyReadAfterClose
		}
		at := int(r.pos - f.base)
		piece, flush = f.buf[at:len(f.buf):len(f.buf)], f.flushes > r.flushes
		r.flushes = f.flushes
		switch {
		case len(piece) > 0 || flush && !f.ended:
			return piece, flush, nil
		case f.err != nil:
			return nil, false, f.err
		case f.ended:
			return nil, false, io.EOF
		case !f.wait(caller):
			return nil, false, caller.Ended(time.Now())
		}
	}
}

// close ends the following, also one that waits: the origin waits for others only.
func (r *reader) close() {
	f := r.fill
	f.mu.Lock()
	last := !r.gone && !f.ended && len(f.readers) == 1
	r.gone = true
	delete(f.readers, r)
	f.wake()
	f.mu.Unlock()
	if last && f.unread != nil {
		f.unread()
	}
}
