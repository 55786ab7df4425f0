package rw

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// firstChunk is how much of a source goes through Write where a header hook
// waits for it. It is what net/http itself copies before it turns to sendfile.
const firstChunk = 512

// writer is the part that all shapes share. The Response is a named field, so
// that its methods are not offered to handlers: middleware looks for methods
// such as Status on the writers it is given.
type writer struct{ r Response }

func (w *writer) Header() http.Header { return w.r.base.Header() }

// Unwrap leads an http.ResponseController to what is not wrapped here, such as
// the deadlines.
func (w *writer) Unwrap() http.ResponseWriter { return w.r.base }

func (w *writer) watcher() Watcher { return w.r.hooks.Watch }

func (w *writer) WriteHeader(status int) {
	if isFinal(status) {
		w.begin(status)
	}
	w.r.base.WriteHeader(status) // If superfluous or invalid, too: net/http logs the one and panics at the other.
}

func (w *writer) Write(p []byte) (int, error) {
	w.begin(http.StatusOK)
	start := w.clock(len(p))
	n, err := w.r.base.Write(p)
	w.stop(start)
	w.wrote(n, err)
	if w.r.hooks.Body != nil && n > 0 {
		w.r.hooks.Body(p[:n])
	}
	return n, err
}

// WriteString is there whatever base has: it claims nothing that Write does not
// do, and saves io.WriteString the copy where base takes strings.
func (w *writer) WriteString(s string) (int, error) {
	w.begin(http.StatusOK)
	start := w.clock(len(s))
	n, err := io.WriteString(w.r.base, s) // A Write for the body hook's sake would change how net/http cuts chunks.
	w.stop(start)
	w.wrote(n, err)
	if w.r.hooks.Body != nil && n > 0 {
		w.r.hooks.Body([]byte(s[:n]))
	}
	return n, err
}

// FlushError is what an http.ResponseController asks for first, hence it is in
// every shape: without it, the controller would go on to base and flush behind
// our back. Where base cannot flush it says so in the controller's own words.
func (w *writer) FlushError() error {
	if !w.r.canFlush {
		return http.ErrNotSupported
	}
	w.begin(http.StatusOK)
	start := w.clock(buffered)
	err := http.NewResponseController(w.r.base).Flush()
	w.stop(start)
	if errors.Is(err, http.ErrNotSupported) {
		return err // No error of writing: middleware that has the method without the means.
	}
	w.wrote(0, err)
	if err == nil && !w.r.hijacked {
		w.r.flushed = true
		if w.r.hooks.Flush != nil {
			w.r.hooks.Flush()
		}
	}
	return err
}

func (w *writer) hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buf, err := http.NewResponseController(w.r.base).Hijack()
	if err == nil && !w.r.hijacked {
		w.r.hijacked = true
		if w.r.hooks.Hijack != nil {
			w.r.hooks.Hijack()
		}
		if w.r.hooks.Watch != nil {
			w.r.hooks.Watch.Hijacked()
		}
	}
	return conn, buf, err
}

// readFrom hands src to base, which may turn it into a sendfile.
func (w *writer) readFrom(src io.Reader) (int64, error) {
	var first int64
	if w.r.hooks.Header != nil && w.r.status == 0 {
		var err error
		// The hook must run before the header leaves, and only if there is a body: with an empty
		// source the handler may still choose another status. A reader around src could tell us
		// as well, and would cost the sendfile.
		first, err = io.Copy(onlyWriter{w}, io.LimitReader(src, firstChunk))
		if err != nil || first < firstChunk {
			return first, err
		}
	}
	if w.r.hooks.Body != nil {
		rest, err := io.Copy(onlyWriter{w}, src)
		return first + rest, err
	}
	start := w.clock(buffered)
	rest, err := w.r.base.(io.ReaderFrom).ReadFrom(src) //nolint:forcetypeassert // Shape has looked.
	w.stop(start)
	if rest > 0 {
		w.begin(http.StatusOK)
	}
	w.r.written += rest
	return first + rest, err
}

// begin takes note of the final status, once. After a hijack nothing is sent
// through base any more, so that there is nothing to be noted.
func (w *writer) begin(status int) {
	if w.r.status != 0 || w.r.hijacked {
		return
	}
	w.r.status = status
	if w.r.hooks.Header != nil {
		w.r.hooks.Header(status, w.r.base.Header())
	}
	if w.r.hooks.Watch != nil {
		w.r.hooks.Watch.Began(status, w.r.base.Header())
	}
}

func (w *writer) wrote(n int, err error) {
	w.r.written += int64(n)
	if err != nil && w.r.err == nil && !w.r.hijacked {
		w.r.err = err
	}
}

// buffered is how much of a body net/http keeps before anything is sent: of HTTP/1, as
// HTTP/2 keeps more. No write up to there waits for the client, and most answers are no
// longer: they are spared two looks at the clock.
const buffered = 2048

// clock is when a write of n bytes begins, if it is to be timed.
func (w *writer) clock(n int) (start time.Time) {
	if w.r.hooks.Timed && w.r.written+int64(n) >= buffered && !w.r.hijacked {
		start = time.Now()
	}
	return start
}

func (w *writer) stop(start time.Time) {
	if !start.IsZero() {
		w.r.blocked += time.Since(start)
	}
}

// isFinal tells the statuses that end the header from the informational ones
// and from those that net/http panics at.
func isFinal(status int) bool {
	return status == http.StatusSwitchingProtocols || (status >= 200 && status <= 999)
}

// onlyWriter hides ReadFrom from io.Copy, which would call it again.
type onlyWriter struct{ io.Writer }
