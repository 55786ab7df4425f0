package stale

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"
)

// capture is the ResponseWriter of a handler that runs in a flight: there is no
// connection behind it, so it offers neither Unwrap nor Hijack. It answers as the
// one of net/http would.
type capture struct {
	fl      *flight
	req     *http.Request
	header  http.Header
	status  int
	sent    http.Header // the header as it was when the status was written
	began   bool        // the flight has been told
	head    []byte      // of the body, until then
	to      *fill       // nil: nobody wants the body
	length  int64       // that was announced, or -1
	written int64       // by the handler
	passed  int64       // of that to others
	until   time.Time   // the write deadline; zero is none
	err     error       // why no more is taken
}

// How much of a body net/http looks at before it sends the header: where the type is
// not known, to know it; in answer to HEAD, to know the length.
const (
	sniffed  = 512
	buffered = 2048
)

func newCapture(fl *flight, req *http.Request) *capture {
	return &capture{fl: fl, req: req, header: make(http.Header), length: -1}
}

func (w *capture) Header() http.Header { return w.header }

// WriteHeader takes the status. Nobody is kept waiting for the first byte of the
// body, unless the header depends on it.
func (w *capture) WriteHeader(status int) {
	switch {
	case w.status != 0:
		w.superfluous()
		return
	case status < 100 || status > 999:
		panic(fmt.Sprintf("invalid WriteHeader code %v", status)) //nolint:forbidigo // in the words of net/http
	case status < 200 && status != http.StatusSwitchingProtocols:
		w.fl.inform(interim{status: status, header: w.header.Clone()})
		return
	}
	w.status, w.sent = status, w.header.Clone()
	if n, err := strconv.ParseInt(w.sent.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		w.length = n
	} else {
		delete(w.sent, "Content-Length")
	}
	if !w.hasBody() || w.isTyped() && (!w.isHead() || w.length >= 0) {
		w.begin()
	}
}

// superfluous says what net/http would say.
func (w *capture) superfluous() {
	server, ok := w.req.Context().Value(http.ServerContextKey).(*http.Server)
	if ok && w.req.ProtoMajor == 1 && server.ErrorLog != nil {
		server.ErrorLog.Print("http: superfluous response.WriteHeader call, below stale.Cache")
	}
}

func (w *capture) isHead() bool { return w.req.Method == http.MethodHead }

// hasBody reports whether the status allows for one.
func (w *capture) hasBody() bool {
	return w.status >= 200 && w.status != http.StatusNoContent && w.status != http.StatusNotModified
}

// isTyped reports whether the type of the body is not to be found out from it. Nil
// is how handlers say so.
func (w *capture) isTyped() bool {
	_, typed := w.sent["Content-Type"]
	return typed || w.sent.Get("Content-Encoding") != "" || w.sent.Get("Transfer-Encoding") != ""
}

// begin tells the flight of the header.
func (w *capture) begin() {
	if w.began {
		return
	}
	w.began, w.fl.pattern = true, w.req.Pattern
	if len(w.head) > 0 && !w.isTyped() {
		w.sent["Content-Type"] = []string{http.DetectContentType(w.head)}
	}
	to := w.fl.headers(w.status, w.sent)
	w.to = to.fill
	if to.leader != nil {
		w.to = newPipe()
		to.leader.fill, to.leader.read = w.to, w.to.follow()
		w.fl.publish(*to.leader)
	}
	w.pass(w.head)
	w.head = nil
}

func (w *capture) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case len(p) == 0:
		return 0, nil
	case !w.hasBody():
		return 0, http.ErrBodyNotAllowed
	}
	w.written += int64(len(p))
	if w.length >= 0 && w.written > w.length {
		return 0, http.ErrContentLength
	}
	switch {
	case w.isOver():
	case w.began:
		w.pass(p)
	default:
		w.head = append(w.head, p...)
		if len(w.head) > buffered || len(w.head) >= sniffed && !w.isHead() {
			w.begin()
		}
	}
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// WriteString is Write; io.WriteString asks for it.
func (w *capture) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// isOver reports whether the handler has been told to stop.
func (w *capture) isOver() bool {
	switch {
	case w.err != nil:
	case w.fl.ctx.Err() != nil:
		w.err = context.Cause(w.fl.ctx)
	case !w.until.IsZero() && !time.Now().Before(w.until):
		w.err = os.ErrDeadlineExceeded
	}
	return w.err != nil
}

// pass gives p to those who read. It waits for them if they are to be waited for,
// until the deadline.
func (w *capture) pass(p []byte) {
	if w.to == nil || w.isHead() || w.err != nil || len(p) == 0 {
		return
	}
	ctx := w.fl.ctx
	if !w.until.IsZero() {
		bounded, cancel := context.WithDeadlineCause(ctx, w.until, os.ErrDeadlineExceeded)
		defer cancel()
		ctx = bounded
	}
	if w.err = w.to.write(ctx, p); w.err == nil {
		w.passed += int64(len(p))
	}
}

// FlushError lets what was written leave at once.
func (w *capture) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.begin()
	if w.to != nil {
		w.to.flush()
	}
	return w.err
}

// Flush is FlushError.
func (w *capture) Flush() { _ = w.FlushError() }

// SetWriteDeadline bounds the writes of the handler, and is passed on to the
// connections of all who read: servers with a WriteTimeout have handlers that need
// more.
func (w *capture) SetWriteDeadline(deadline time.Time) error {
	w.until = deadline
	w.fl.deadlines.set(func(d *deadlines) { d.write = &deadline })
	w.tellDeadlines()
	return nil
}

// SetReadDeadline is passed on, too: when it passes, net/http takes the client for
// gone.
func (w *capture) SetReadDeadline(deadline time.Time) error {
	w.fl.deadlines.set(func(d *deadlines) { d.read = &deadline })
	w.tellDeadlines()
	return nil
}

func (w *capture) tellDeadlines() {
	switch {
	case !w.began:
		w.fl.inform(interim{deadlines: &w.fl.deadlines})
	case w.to != nil:
		w.to.flush()
	}
}

// EnableFullDuplex has nothing to do: there is no body to be read.
func (w *capture) EnableFullDuplex() error { return nil }

// finish is for when the handler has returned.
func (w *capture) finish() {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.began && w.isHead() && len(w.head) > 0 && w.length < 0 && w.err == nil {
		w.sent["Content-Length"] = []string{strconv.Itoa(len(w.head))}
	}
	w.begin()
	if w.to == nil {
		return
	}
	err := w.err
	if err == nil && w.hasBody() && w.passed < w.length && !w.isHead() {
		err = io.ErrUnexpectedEOF
	}
	w.fl.end(trailerOf(w.sent, w.header), err)
}
