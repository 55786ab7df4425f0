package rttest_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
)

// hide leaves nothing but what an http.ResponseWriter must have.
func hide(w http.ResponseWriter) http.ResponseWriter { return struct{ http.ResponseWriter }{w} }

// unwrapping has an Unwrap, and Flush, and nothing else.
type unwrapping struct{ http.ResponseWriter }

func (u unwrapping) Unwrap() http.ResponseWriter { return u.ResponseWriter }
func (u unwrapping) Flush()                      { u.ResponseWriter.(http.Flusher).Flush() }

func hideAllButController(w http.ResponseWriter) http.ResponseWriter { return unwrapping{w} }

// deaf is a Flusher that does not flush.
func deaf(w http.ResponseWriter) http.ResponseWriter { return deafWriter{w} }

type deafWriter struct{ http.ResponseWriter }

func (deafWriter) Flush() {}

// claim offers what HTTP/2 cannot do.
func claim(w http.ResponseWriter) http.ResponseWriter { return claimant{unwrapping{w}} }

type claimant struct{ unwrapping }

func (c claimant) ReadFrom(src io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{c.ResponseWriter}, src)
}

func (claimant) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, errors.New("cannot be hijacked after all")
}

// forgetful hijacks and loses what the server has read of the next protocol.
type forgetful struct {
	http.ResponseWriter
	http.Hijacker
}

func (f forgetful) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, _, err := f.Hijacker.Hijack()
	return conn, bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn)), err
}

type informationalDropper struct{ unwrapping }

func dropInformational(w http.ResponseWriter) http.ResponseWriter {
	return informationalDropper{unwrapping{w}}
}

func (d informationalDropper) WriteHeader(status int) {
	if status >= 200 {
		d.ResponseWriter.WriteHeader(status)
	}
}

// once passes the first status on, and keeps the others to itself.
func once(w http.ResponseWriter) http.ResponseWriter { return &onceWriter{unwrapping: unwrapping{w}} }

type onceWriter struct {
	unwrapping

	latched bool
}

func (o *onceWriter) WriteHeader(status int) {
	if !o.latched {
		o.latched = true
		o.ResponseWriter.WriteHeader(status)
	}
}

func (o *onceWriter) Write(p []byte) (int, error) {
	o.latched = true
	return o.ResponseWriter.Write(p)
}

// ownHeader hands its header over with the first byte, and never again.
func ownHeader(w http.ResponseWriter) http.ResponseWriter {
	return &headerWriter{unwrapping: unwrapping{w}, header: http.Header{}}
}

type headerWriter struct {
	unwrapping

	header http.Header
}

func (h *headerWriter) Header() http.Header { return h.header }

func (h *headerWriter) Write(p []byte) (int, error) {
	maps.Copy(h.ResponseWriter.Header(), h.header)
	h.header = http.Header{}
	return h.ResponseWriter.Write(p)
}

// swallow tells the handler that all is well.
func swallow(w http.ResponseWriter) http.ResponseWriter { return swallower{unwrapping{w}} }

type swallower struct{ unwrapping }

func (s swallower) FlushError() error {
	s.Flush()
	return nil
}

func (s swallower) Write(p []byte) (int, error) {
	s.ResponseWriter.Write(p)
	return len(p), nil
}

// lastStatus sends the last status that it was told, when it is over.
func lastStatus(w http.ResponseWriter) http.ResponseWriter {
	return &lastWriter{ResponseWriter: w, status: http.StatusOK}
}

type lastWriter struct {
	http.ResponseWriter

	status int
	body   bytes.Buffer
}

func (l *lastWriter) WriteHeader(status int)      { l.status = status }
func (l *lastWriter) Write(p []byte) (int, error) { return l.body.Write(p) }

func (l *lastWriter) end() {
	l.ResponseWriter.WriteHeader(l.status)
	l.ResponseWriter.Write(l.body.Bytes())
}
