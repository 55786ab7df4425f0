package rttest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// judgeRequest compares the request that the handler gets with the one that the middleware got.
func judgeRequest(s *stage) {
	type views struct{ outer, inner, after string }

	var seen views
	ended := make(chan views, 1)
	wrapped := s.wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen.inner = describe(r)
		s.expectBody(r, "some content")
		if got := r.Trailer.Get("Digest"); got != "sum" {
			s.Errorf("trailer of the request: %q", got)
		}
	}))
	p := s.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.outer = describe(r)
		wrapped.ServeHTTP(w, r)
		r.Trailer["Digest"] = nil // net/http has filled it in, as it should.
		seen.after = describe(r)
		ended <- seen
	}))

	// A reader of no known type has no known length, as trailers need on HTTP/1.
	req := p.request(http.MethodPut, "/a%2Fb/?q=1&q=2#f", io.MultiReader(strings.NewReader("some content")))
	req.Host = "elsewhere.example"
	req.Header.Add("X-Twice", "1")
	req.Header.Add("X-Twice", "2")
	req.Header.Set("Cookie", "a=1; b=2")
	req.Header.Set("Authorization", "Basic eDp5")
	req.Trailer = http.Header{"Digest": {"sum"}}
	p.do(req)

	got := await(s, ended, "no request")
	if got.inner != got.outer {
		s.Errorf("the handler's request: %s", difference(got.outer, got.inner))
	}
	if got.after != got.outer {
		s.Errorf("the caller's request: %s", difference(got.outer, got.after))
	}
}

// describe puts into words what a handler may look at.
func describe(r *http.Request) string {
	return fmt.Sprintln(r.Method, r.URL, r.URL.RawPath, r.URL.RawQuery, r.RequestURI, r.Proto, r.Host, r.Header,
		r.Trailer, r.ContentLength, r.TransferEncoding, r.Close, r.RemoteAddr, r.TLS != nil, r.Form, r.Pattern,
		r.Context().Value(http.ServerContextKey) != nil, r.Context().Value(http.LocalAddrContextKey).(net.Addr))
}

// expectBody reads the request body to its end, in a handler.
func (s *stage) expectBody(r *http.Request, want string) {
	if got, err := io.ReadAll(r.Body); string(got) != want || err != nil {
		s.Errorf("body of the request: %q, %v", got, err)
	}
}

// judgePatterns puts the middleware between two muxes. What the inner one matched must be seen
// outside, too, because that is how tracing names its spans: a middleware that hands a copy of the
// request on copies Pattern back.
func judgePatterns(s *stage) {
	inner := http.NewServeMux()
	inner.HandleFunc("GET /shelves/{shelf}/books/{book}", func(_ http.ResponseWriter, r *http.Request) {
		if shelf, book := r.PathValue("shelf"), r.PathValue("book"); shelf != "1" || book != "2" {
			s.Errorf("path values within: shelf %q, book %q", shelf, book)
		}
		r.SetPathValue("librarian", "3")
	})
	outer := http.NewServeMux()
	outer.Handle("GET /shelves/{place}/", s.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if place := r.PathValue("place"); place != "1" || r.Pattern != "GET /shelves/{place}/" {
			s.Errorf("what the outer mux matched: %q with place %q", r.Pattern, place)
		}
		inner.ServeHTTP(w, r)
	})))

	p := s.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		outer.ServeHTTP(w, r)
		if r.Pattern != "GET /shelves/{shelf}/books/{book}" {
			s.Errorf("the pattern of the inner mux is not seen outside, but %q", r.Pattern)
		}
	}))
	if resp := p.get("/shelves/1/books/2"); resp.StatusCode != http.StatusOK {
		s.Errorf("status: %s", resp.Status)
	}
}

// judgeRequestBody sends the second half when the handler has read the first.
func judgeRequestBody(s *stage) {
	read := make(chan struct{})
	p := s.serve(s.wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		half := make([]byte, len("first"))
		if _, err := io.ReadFull(r.Body, half); err != nil {
			s.Errorf("first half: %v", err)
			return
		}
		close(read)
		s.expectBody(r, "second")
	})))

	req, pipe := p.upload("/")
	answered := make(chan *http.Response, 1)
	go func() {
		if resp, err := p.server.Client().Do(req); err == nil {
			resp.Body.Close()
			answered <- resp
		}
	}()
	s.send(pipe, "first")
	await(s, read, "the handler has not read what was sent")
	s.send(pipe, "second")
	pipe.Close()
	if resp := await(s, answered, "no answer"); resp.StatusCode != http.StatusOK {
		s.Errorf("status: %s", resp.Status)
	}
}

// judgeFullDuplex talks: each line is sent when the one before has been answered.
func judgeFullDuplex(s *stage) {
	p := s.serve(s.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		controller := http.NewResponseController(w)
		if err := controller.EnableFullDuplex(); err != nil {
			s.Errorf("EnableFullDuplex: %v", err)
			return
		}
		w.WriteHeader(http.StatusOK)
		line := make([]byte, len("ping\n"))
		for err := controller.Flush(); err == nil; err = controller.Flush() {
			if _, err := io.ReadFull(r.Body, line); err != nil {
				return
			}
			w.Write(line)
		}
	})))

	req, pipe := p.upload("/")
	resp := p.do(req)
	for range 3 {
		s.send(pipe, "ping\n")
		s.expect(resp.Body, "ping\n")
	}
	pipe.Close()
	s.expectEnd(resp.Body, "")
}

// judgeContinue holds the body back until it is asked for, which reading it does.
func judgeContinue(s *stage) {
	p := s.serve(s.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		s.expectBody(r, "content")
	})))
	const header = " HTTP/1.1\r\nHost: example.com\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n"

	conn, wire := p.dial()
	s.send(conn, "PUT /take"+header)
	s.expect(wire, "HTTP/1.1 100 Continue\r\n\r\n")
	s.send(conn, "content")
	s.expect(wire, "HTTP/1.1 200 OK\r\n")

	conn, wire = p.dial()
	s.send(conn, "PUT /refuse"+header)
	s.expect(wire, "HTTP/1.1 403 Forbidden\r\n")
}
