package rttest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime/pprof"
	"strings"
	"sync"
)

// judgeNothingLeft marks the goroutine of each request, because a mark is inherited: that finds
// goroutines that were started by the middleware, and no others.
func judgeNothingLeft(s *stage) {
	mark := fmt.Sprintf("%p", s)
	never := make(chan struct{})
	wrapped := s.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/panic":
			panic(http.ErrAbortHandler)
		case "/leave":
			w.WriteHeader(http.StatusOK)
			http.NewResponseController(w).Flush() //nolint:errcheck // The client sees whether it worked.
			s.within(r, never)
		default:
			io.WriteString(w, "done")
		}
	}))
	late := make(chan string, 8)
	ended := make(chan struct{}, 8)
	p := s.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { ended <- struct{}{} }()
		guard := &guardedWriter{ResponseWriter: w, late: late}
		defer guard.close()
		pprof.Do(r.Context(), pprof.Labels("rttest", mark), func(context.Context) { wrapped.ServeHTTP(guard, r) })
	}))

	s.expectEnd(p.get("/").Body, "done")
	p.fails(p.request(http.MethodPost, "/panic", strings.NewReader("once")))
	p.get("/leave").Body.Close()
	for range 3 {
		await(s, ended, "a handler still runs")
	}
	p.stop()

	if !s.eventually(func() bool { return goroutines(mark) == "" }) {
		s.Errorf("goroutines are left:\n%s", goroutines(mark))
	}
	if len(late) > 0 {
		s.Errorf("the writer was used after ServeHTTP: %s", <-late)
	}
}

// goroutines lists those that carry a mark.
func goroutines(mark string) string {
	var profile bytes.Buffer
	pprof.Lookup("goroutine").WriteTo(&profile, 1) //nolint:errcheck // A buffer takes everything..

	var found []string
	for stack := range strings.SplitSeq(profile.String(), "\n\n") {
		if strings.Contains(stack, mark) {
			found = append(found, stack)
		}
	}
	return strings.Join(found, "\n\n")
}

// guardedWriter reports its use after the handler, which net/http punishes only sometimes.
type guardedWriter struct {
	http.ResponseWriter

	mu     sync.Mutex
	closed bool
	late   chan<- string
}

func (g *guardedWriter) close() {
	g.mu.Lock()
	defer g.mu.Unlock()

	g.closed = true
}

// use runs a call of the writer below, unless it comes too late.
func (g *guardedWriter) use(name string, call func()) {
	g.mu.Lock()
	defer g.mu.Unlock()

	if !g.closed {
		call()
		return
	}
	select {
	case g.late <- name:
	default: // One is enough.
	}
}

func (g *guardedWriter) Header() (header http.Header) {
	header = http.Header{}
	g.use("Header", func() { header = g.ResponseWriter.Header() })
	return header
}

func (g *guardedWriter) WriteHeader(status int) {
	g.use("WriteHeader", func() { g.ResponseWriter.WriteHeader(status) })
}

func (g *guardedWriter) Write(p []byte) (n int, err error) {
	g.use("Write", func() { n, err = g.ResponseWriter.Write(p) })
	return n, err
}

func (g *guardedWriter) FlushError() (err error) {
	g.use("Flush", func() { err = http.NewResponseController(g.ResponseWriter).Flush() })
	return err
}
