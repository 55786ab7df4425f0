package rt

import (
	"io"
	"net/http"
	"sync"
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

	mu    sync.Mutex
	outer []BodyHook // of the policies further out, in order
	ended bool
	err   error // what the hooks are told
}

// OnBodyEnd arranges for hook to be told when resp's body ends. The response
// is changed in place, never copied: net/http fills in the trailers of the
// original when the body has been read. Where there is no body, hook is told at
// once and the body keeps its identity. A body that can be written to (the
// answer to an upgrade, status 101) stays an io.ReadWriteCloser.
//
// store is where a new Body is kept, so that a policy can make it part of a
// struct that it allocates anyway; nil allocates one. It serves one response.
func OnBodyEnd(resp *http.Response, store *Body, hook BodyHook) {
	if !Readable(resp) {
		hook.BodyEnd(nil)
		return
	}
	switch body := resp.Body.(type) {
	case *Body:
		body.add(hook)
		return
	case *upgradedBody:
		body.add(hook)
		return
	case *halfClosingBody:
		body.add(hook)
		return
	}
	if store == nil {
		store = new(Body)
	}
	store.under, store.hook = resp.Body, hook
	switch under := resp.Body.(type) {
	case halfCloser:
		resp.Body = &halfClosingBody{upgradedBody{store, under}, under}
	case io.Writer:
		resp.Body = &upgradedBody{store, under}
	default:
		resp.Body = store
	}
}

// upgradedBody is the connection that a 101 hands over.
type upgradedBody struct {
	*Body
	io.Writer
}

// halfCloser is a connection whose writing side can be closed by itself, which
// httputil.ReverseProxy does.
type halfCloser interface {
	io.Writer
	CloseWrite() error
}

type halfClosingBody struct {
	upgradedBody

	conn halfCloser
}

// CloseWrite closes the writing side of the connection.
func (b *halfClosingBody) CloseWrite() error { return b.conn.CloseWrite() }

// Read reads from the body below and tells the hooks when it has ended.
func (b *Body) Read(p []byte) (int, error) {
	n, err := b.under.Read(p)
	if err == io.EOF { // a wrapped one is no good end to any reader
		b.tell(b.end(nil))
	} else if err != nil {
		b.tell(b.end(err))
	}
	return n, err //nolint:wrapcheck // a reader's errors, io.EOF above all, pass as they are
}

// Close closes the body below and tells the hooks that it has ended. The end is
// settled first: a Read that waits is about to fail because of us, and that is
// no failure of the answer.
func (b *Body) Close() error {
	first := b.end(nil)
	err := b.under.Close()
	b.tell(first)
	return err //nolint:wrapcheck // we only listen here
}

// add appends a hook further out, or tells it at once if a layer in between has
// read or closed the body already.
func (b *Body) add(hook BodyHook) {
	b.mu.Lock()
	ended := b.ended
	if !ended {
		b.outer = append(b.outer, hook)
	}
	b.mu.Unlock()
	if ended {
		hook.BodyEnd(b.err)
	}
}

// end settles how the body ended and reports whether this was the end.
func (b *Body) end(err error) (first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return false
	}
	b.ended, b.err = true, err
	return true
}

// tell tells the hooks, which nobody adds to any more.
func (b *Body) tell(first bool) {
	if !first {
		return
	}
	b.hook.BodyEnd(b.err)
	for _, hook := range b.outer {
		hook.BodyEnd(b.err)
	}
}
