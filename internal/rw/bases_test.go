package rw_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
)

var errBase = errors.New("broken pipe")

// bare is a ResponseWriter that can do no more than it must, and remembers.
type bare struct {
	header   http.Header
	statuses []int
	body     []byte
	accept   int   // How many bytes Write accepts before it fails, where positive.
	failure  error // What it fails with then.
}

func newBare() *bare { return &bare{header: http.Header{}, failure: errBase} }

func (b *bare) Header() http.Header    { return b.header }
func (b *bare) WriteHeader(status int) { b.statuses = append(b.statuses, status) }

func (b *bare) Write(p []byte) (int, error) {
	if b.accept > 0 && len(p) > b.accept {
		b.body = append(b.body, p[:b.accept]...)
		return b.accept, b.failure
	}
	b.body = append(b.body, p...)
	return len(p), nil
}

type (
	flushing  struct{ flushes *int }
	hijacking struct{ err error }
	reading   struct {
		sources *[]io.Reader
		err     error
		into    *bare
	}
)

func (f flushing) Flush() { *f.flushes++ }

func (h hijacking) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, h.err }

func (r reading) ReadFrom(src io.Reader) (int64, error) {
	*r.sources = append(*r.sources, src)
	p, err := io.ReadAll(src)
	r.into.body = append(r.into.body, p...)
	return int64(len(p)), errors.Join(err, r.err)
}

// unwrapping is middleware that hides everything, and can be looked through.
type unwrapping struct {
	*bare
	inner http.ResponseWriter
}

func (u unwrapping) Unwrap() http.ResponseWriter { return u.inner }

// reset forgets and keeps the memory, so that allocations can be counted. It
// also makes bare take strings, as the writers of net/http do.
func (b *bare) reset() { b.statuses, b.body = b.statuses[:0], b.body[:0] }

func (b *bare) WriteString(s string) (int, error) {
	b.body = append(b.body, s...)
	return len(s), nil
}
