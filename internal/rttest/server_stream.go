package rttest

import (
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
)

// judgeFlush reads each piece of an answer before the handler may write the next one.
func judgeFlush(s *stage) {
	next := make(chan struct{})
	p := s.serve(s.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		flusher, ok := w.(http.Flusher)
		if !ok {
			s.Errorf("the writer is no http.Flusher")
			return
		}
		io.WriteString(w, "first")
		flusher.Flush()
		if !s.within(r, next) {
			return
		}
		io.WriteString(w, "second")
		if err := http.NewResponseController(w).Flush(); err != nil {
			s.Errorf("flush through the controller: %v", err)
		}
		if s.within(r, next) {
			io.WriteString(w, "third")
		}
	})))

	resp := p.get("/")
	s.expect(resp.Body, "first")
	s.signal(next)
	s.expect(resp.Body, "second")
	s.signal(next)
	s.expectEnd(resp.Body, "third")
}

// judgeEvents is a browser's EventSource: it reads events as they happen, and leaves when it likes.
func judgeEvents(s *stage) {
	happens, left := make(chan struct{}), make(chan error, 1)
	p := s.serve(s.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush() //nolint:errcheck // The client sees whether it worked.
		for s.within(r, happens) {
			io.WriteString(w, "data: something\n\n")
			http.NewResponseController(w).Flush() //nolint:errcheck // As above.
		}
		left <- r.Context().Err()
	})))

	resp := p.get("/")
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		s.Errorf("Content-Type: %q", got)
	}
	for range 3 {
		s.signal(happens)
		s.expect(resp.Body, "data: something\n\n")
	}
	resp.Body.Close()
	if err := await(s, left, "the handler still runs"); err == nil {
		s.Errorf("the handler has not learned that the client left")
	}
}

// judgeReadFrom compares what the handler is offered with what the middleware was given.
func judgeReadFrom(s *stage) {
	const size = 1 << 20

	var has, offered atomic.Bool
	wrapped := s.wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, ok := w.(io.ReaderFrom)
		offered.Store(ok)
		io.WriteString(w, "<")
		// Without WriteTo on the source, io.Copy looks for ReadFrom on the writer.
		source := struct{ io.Reader }{strings.NewReader(strings.Repeat("x", size))}
		if n, err := io.Copy(w, source); n != size || err != nil {
			s.Errorf("copied %d of %d bytes: %v", n, size, err)
		}
		io.WriteString(w, ">")
	}))
	p := s.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, ok := w.(io.ReaderFrom)
		has.Store(ok)
		wrapped.ServeHTTP(w, r)
	}))

	s.expectEnd(p.get("/").Body, "<"+strings.Repeat("x", size)+">")
	if has.Load() != offered.Load() && !s.detaches {
		s.Errorf("io.ReaderFrom: base has it: %t, the handler is offered it: %t", has.Load(), offered.Load())
	}
}

// judgeEarlyHints sends two informational responses before the final one.
func judgeEarlyHints(s *stage) {
	p := s.serve(s.wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</first>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Link", "</second>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, "final")
	})))

	links := make(chan string, 8)
	req := p.request(http.MethodGet, "/", http.NoBody)
	resp := p.do(req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			if code == http.StatusEarlyHints {
				links <- header.Get("Link")
			}
			return nil
		},
	})))
	if resp.StatusCode != http.StatusNotFound || resp.Header.Get("Link") != "" {
		s.Errorf("final response: %s, Link %q", resp.Status, resp.Header.Get("Link"))
	}
	s.expectEnd(resp.Body, "final")
	if len(links) != 2 {
		s.Fatalf("%d early hints of 2 arrived", len(links))
	}
	if first, second := <-links, <-links; first != "</first>" || second != "</second>" {
		s.Errorf("early hints: %s, %s", first, second)
	}
}

// judgeTrailers sends one trailer that was announced and one that was not.
func judgeTrailers(s *stage) {
	p := s.serve(s.wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Announced")
		io.WriteString(w, "body")
		w.Header().Set("Announced", "1")
		w.Header().Set(http.TrailerPrefix+"Sudden", "2")
	})))

	resp := p.get("/")
	s.expectEnd(resp.Body, "body")
	for name, want := range map[string]string{"Announced": "1", "Sudden": "2"} {
		if got := resp.Trailer.Get(name); got != want {
			s.Errorf("trailer %s: %q", name, got)
		}
	}
}
