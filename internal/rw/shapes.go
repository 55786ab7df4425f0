package rw

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// One concrete type per set of capabilities, because a type assertion must tell
// the truth: io.Copy would call a ReadFrom that base cannot serve, and an
// upgrade would rather be refused than fail half way. Generating a method set
// at run time (reflection, or a library's table of them) would cost more than
// these few lines.
type (
	flusher                 struct{ writer }
	hijacker                struct{ writer }
	readerFrom              struct{ writer }
	flusherHijacker         struct{ flusher }
	flusherReaderFrom       struct{ flusher }
	hijackerReaderFrom      struct{ hijacker }
	flusherHijackReaderFrom struct{ flusherHijacker }
)

func (w *flusher) Flush() { _ = w.FlushError() }

func (w *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error)        { return w.hijack() }
func (w *flusherHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.hijack() }

func (w *readerFrom) ReadFrom(src io.Reader) (int64, error)              { return w.readFrom(src) }
func (w *flusherReaderFrom) ReadFrom(src io.Reader) (int64, error)       { return w.readFrom(src) }
func (w *hijackerReaderFrom) ReadFrom(src io.Reader) (int64, error)      { return w.readFrom(src) }
func (w *flusherHijackReaderFrom) ReadFrom(src io.Reader) (int64, error) { return w.readFrom(src) }

// shape moves w into the type that fits its base.
func shape(w writer) (http.ResponseWriter, *Response) {
	_, flushes := w.r.base.(http.Flusher)
	_, reads := w.r.base.(io.ReaderFrom)
	hijacks := canHijack(w.r.base)

	switch {
	case flushes && hijacks && reads: // HTTP/1
		s := &flusherHijackReaderFrom{flusherHijacker{flusher{w}}}
		return s, &s.r
	case flushes && !hijacks && !reads: // HTTP/2
		s := &flusher{w}
		return s, &s.r
	case flushes && hijacks:
		s := &flusherHijacker{flusher{w}}
		return s, &s.r
	case flushes && reads:
		s := &flusherReaderFrom{flusher{w}}
		return s, &s.r
	case hijacks && reads:
		s := &hijackerReaderFrom{hijacker{w}}
		return s, &s.r
	case hijacks:
		s := &hijacker{w}
		return s, &s.r
	case reads:
		s := &readerFrom{w}
		return s, &s.r
	default:
		s := w // A copy, or w itself would be moved to the heap in every case.
		return &s, &s.r
	}
}

// unwrapper is a middleware's writer that lets an http.ResponseController
// through.
type unwrapper interface{ Unwrap() http.ResponseWriter }

// canHijack says whether a controller could hijack w. It looks further than a
// type assertion, or a hijack through the controller would pass us by unseen.
func canHijack(w http.ResponseWriter) bool {
	for {
		switch base := w.(type) {
		case http.Hijacker:
			return true
		case unwrapper:
			w = base.Unwrap()
		default:
			return false
		}
	}
}

// canFlush says whether a controller could flush w. That alone does not make it
// an http.Flusher: middleware that buffers and is no Flusher, but can be
// unwrapped, would be flushed past its buffer by handlers that ask for one.
func canFlush(w http.ResponseWriter) bool {
	for {
		switch base := w.(type) {
		case interface{ flushable() bool }: // One of ours, which all have a FlushError.
			return base.flushable()
		case interface{ FlushError() error }, http.Flusher:
			return true
		case unwrapper:
			w = base.Unwrap()
		default:
			return false
		}
	}
}

func (w *writer) flushable() bool { return w.r.canFlush }
