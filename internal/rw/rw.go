package rw

import (
	"net/http"
	"time"
)

// Hooks are told what happens to a response, on the goroutine that makes it
// happen. All of them are optional.
type Hooks struct {
	// Header runs once, before the final header is written, explicitly or
	// by the first write or flush. It may change the header, not the status.
	Header func(status int, header http.Header)

	// Body gets every piece of the body after the writer below has accepted
	// it, and must neither keep nor change it. With it set, io.Copy goes
	// through memory instead of sendfile.
	Body func(p []byte)

	// Flush runs after each flush that succeeded.
	Flush func()

	// Hijack runs once, after the connection was taken over. There is
	// nothing to be seen of the response afterwards.
	Hijack func()

	// Watch is told of the final status and of a hijack, too, for those who have a
	// struct per request anyway: closures would cost an allocation each. It must not
	// change the header.
	Watch Watcher

	// Timed has Blocked tell for how long writes took.
	Timed bool
}

// Watcher is told what happens to a response; see Hooks.
type Watcher interface {
	Began(status int, header http.Header)
	Hijacked()
}

// Find returns the Watcher of type T of the outermost writer that has one, w itself
// or what it wraps.
func Find[T Watcher](w http.ResponseWriter) (found T, ok bool) {
	for {
		if ours, isOurs := w.(interface{ watcher() Watcher }); isOurs {
			if found, ok = ours.watcher().(T); ok {
				return found, true
			}
		}
		outer, wraps := w.(unwrapper)
		if !wraps {
			return found, false
		}
		w = outer.Unwrap()
	}
}

// Response is what was seen of a response.
type Response struct {
	base  http.ResponseWriter
	hooks Hooks

	status   int
	written  int64
	blocked  time.Duration
	err      error
	canFlush bool
	flushed  bool
	hijacked bool
}

// SkipBody ends the body hook, for who has seen enough: a hook for the header that
// calls it gives io.Copy the way to sendfile back.
func (r *Response) SkipBody() { r.hooks.Body = nil }

// Wrap returns a writer that passes everything on to base, and what it sees of
// the response. Both are one allocation. A writer of ours may be wrapped again.
func Wrap(base http.ResponseWriter, hooks Hooks) (http.ResponseWriter, *Response) {
	return shape(writer{r: Response{base: base, hooks: hooks, canFlush: canFlush(base)}})
}

// Status is the final status: 0 until the header is written, 200 if a write or
// a flush implied it. A handler that returns with 0 has not written anything,
// and net/http answers 200 with an empty body for it, unless the connection was
// hijacked.
func (r *Response) Status() int { return r.status }

// Written counts the bytes of the body that the writer below accepted. For HEAD
// it counts what net/http then drops.
func (r *Response) Written() int64 { return r.written }

// Err is the first error of a write or a flush. The errors of ReadFrom are not
// among them, as they can be those of the source: a proxied body that breaks is
// no fault of the client's.
func (r *Response) Err() error { return r.err }

// Blocked is how long the writes and flushes took that can have waited for the client,
// if Hooks.Timed says so: those past what net/http buffers, and all of a ReadFrom.
func (r *Response) Blocked() time.Duration { return r.blocked }

// Flushed says whether the response was flushed: it is being streamed.
func (r *Response) Flushed() bool { return r.flushed }

// Hijacked says whether the handler took over the connection.
func (r *Response) Hijacked() bool { return r.hijacked }
