package rt

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
)

// Readable reports whether resp has a body to read.
func Readable(resp *http.Response) bool {
	return resp != nil && resp.Body != nil && resp.Body != http.NoBody
}

// BodyHook is told, once, that a response body has ended: by nil at its end or
// when it was closed (before the end, too: the reader had enough), by the read
// error otherwise. It runs on the goroutine that read or closed.
type BodyHook interface {
	BodyEnd(err error)
}

// Body is a response body with hooks at its end. Nested policies append to one
// Body instead of wrapping each other's, and their hooks run innermost first.
type Body struct {
	under io.ReadCloser
	hook  BodyHook
	outer []BodyHook // of the policies further out, in order
	ended atomic.Bool
}

// OnBodyEnd arranges for hook to be told when resp's body ends. The response
// is changed in place, never copied: net/http fills in the trailers of the
// original when the body has been read. Where there is no body, hook is told at
// once and the body keeps its identity. A body that can be written to (the
// answer to an upgrade, status 101) stays an io.ReadWriteCloser.
//
// store is where a new Body is kept, so that a policy can make it part of a
// struct that it allocates anyway; nil allocates one.
func OnBodyEnd(resp *http.Response, store *Body, hook BodyHook) {
	if !Readable(resp) {
		hook.BodyEnd(nil)
		return
	}
	switch body := resp.Body.(type) {
	case *Body:
		body.outer = append(body.outer, hook)
		return
	case *upgradedBody:
		body.outer = append(body.outer, hook)
		return
	}
	if store == nil {
		store = new(Body)
	}
	store.under, store.hook = resp.Body, hook
	if writer, ok := resp.Body.(io.Writer); ok {
		resp.Body = &upgradedBody{Body: store, Writer: writer}
		return
	}
	resp.Body = store
}

// upgradedBody is the connection that a 101 hands over.
type upgradedBody struct {
	*Body
	io.Writer
}

// Read reads from the body below and tells the hooks when it has ended.
func (b *Body) Read(p []byte) (int, error) {
	n, err := b.under.Read(p)
	if err != nil {
		b.end(err)
	}
	return n, err //nolint:wrapcheck // a reader's errors, io.EOF above all, pass as they are
}

// Close closes the body below and tells the hooks that it has ended.
func (b *Body) Close() error {
	err := b.under.Close()
	b.end(nil)
	return err //nolint:wrapcheck // we only listen here
}

func (b *Body) end(err error) {
	if !b.ended.CompareAndSwap(false, true) {
		return
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	b.hook.BodyEnd(err)
	for _, hook := range b.outer {
		hook.BodyEnd(err)
	}
}
