package rttest

import (
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// watched runs h and tells how it ended: with true if it returned, with what it panicked with.
func watched(h http.Handler, ended func(returned bool, panicked any)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		returned := false
		defer func() {
			v := recover()
			ended(returned, v)
			if v != nil {
				panic(v)
			}
		}()
		h.ServeHTTP(w, r)
		returned = true
	})
}

// judgeAbort wants the one panic that net/http knows to arrive as it is: identical, and not logged.
func judgeAbort(s *stage) {
	p := s.judgePanicWith(http.ErrAbortHandler)
	if logged := p.log.String(); logged != "" {
		s.Errorf("net/http logged: %s", logged)
	}
}

// judgePanic wants any other panic to arrive unchanged and to be logged.
func judgePanic(s *stage) {
	p := s.judgePanicWith(&struct{ name string }{"a value of the handler's own"})
	// Over HTTP/2 it is logged only after the client has been told.
	if !s.eventually(func() bool { return strings.Contains(p.log.String(), "panic serving") }) {
		s.Errorf("net/http did not log the panic, but: %q", p.log)
	}
}

// judgePanicWith panics before and after the header has left. The next request is served.
func (s *stage) judgePanicWith(value any) *peer {
	panicked := make(chan any, 8)
	p := s.serve(watched(s.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/late":
			io.WriteString(w, "a part")
			http.NewResponseController(w).Flush() //nolint:errcheck // It is no matter here.
			panic(value)
		case "/early":
			panic(value)
		}
	})), func(_ bool, v any) { panicked <- v }))

	for _, path := range []string{"/early", "/late"} {
		// net/http's client would send a GET again.
		p.fails(p.request(http.MethodPost, path, strings.NewReader("once")))
		if got := await(s, panicked, "the handler has not been called"); got != value {
			s.Errorf("%s: panicked with %v instead of %v", path, got, value)
		}
	}
	p.get("/")
	if got := await(s, panicked, "the handler has not been called"); got != nil {
		s.Errorf("the next request panicked: %v", got)
	}
	return p
}

// judgeGoexit ends the handler's goroutine without a panic, as FailNow of package testing does.
func judgeGoexit(s *stage) {
	returns := make(chan bool, 8)
	p := s.serve(watched(s.wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/exit" {
			runtime.Goexit()
		}
	})), func(returned bool, _ any) { returns <- returned }))

	for range 2 {
		p.fails(p.request(http.MethodPost, "/exit", strings.NewReader("once")))
		if await(s, returns, "the handler has not been called") {
			s.Errorf("ServeHTTP returned as if the handler had")
		}
	}
	p.get("/")
	if !await(s, returns, "the handler has not been called") {
		s.Errorf("the next request was not served")
	}
}

// judgeClientLeaves leaves in the middle of an answer.
func judgeClientLeaves(s *stage) {
	ended := make(chan error, 1)
	never := make(chan struct{})
	p := s.serve(s.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush() //nolint:errcheck // The client sees whether it worked.
		s.within(r, never)
		ended <- r.Context().Err()
	})))

	p.get("/").Body.Close()
	if err := await(s, ended, "the handler still runs"); err == nil {
		s.Errorf("the request's context goes on without the client")
	}
}

// judgeWriteErrors leaves, too, and the handler learns it the other way.
func judgeWriteErrors(s *stage) {
	failed := make(chan bool, 1)
	p := s.serve(s.wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var err error
		for begin := time.Now(); err == nil && time.Since(begin) < s.patience; {
			_, err = w.Write(make([]byte, 1<<16))
		}
		failed <- err != nil
	})))

	p.get("/").Body.Close()
	if !await(s, failed, "the handler still writes") {
		s.Errorf("writing to a client that left works")
	}
}

// judgeReturn watches that a slot can be held as long as the handler runs.
func judgeReturn(s *stage) {
	var entered, left atomic.Bool
	wrapped := s.wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		entered.Store(true)
		for range 100 {
			runtime.Gosched() // Whoever does not wait for the handler is faster.
		}
		io.WriteString(w, "done")
		left.Store(true)
	}))
	p := s.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wrapped.ServeHTTP(w, r)
		if !left.Load() {
			s.Errorf("ServeHTTP returned before the handler (which was entered: %t)", entered.Load())
		}
	}))
	s.expectEnd(p.get("/").Body, "done")
}

// judgeConcurrent lets no request end before all have begun, and gives each its own answer.
func judgeConcurrent(s *stage) {
	const clients = 8

	var begun atomic.Int32
	all := make(chan struct{})
	p := s.serve(s.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if begun.Add(1) == clients {
			close(all)
		}
		name := r.URL.Query().Get("name")
		w.Header().Set("Name", name)
		if !s.within(r, all) {
			s.Errorf("%d of %d requests run at the same time", begun.Load(), clients)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != name {
			s.Errorf("request %s has the body %q, %v", name, body, err)
		}
		io.WriteString(w, name)
	})))

	var clientsEnd sync.WaitGroup
	for i := range clients {
		name := strings.Repeat(strconv.Itoa(i), 100)
		req := p.request(http.MethodPost, "/?name="+name, strings.NewReader(name))
		clientsEnd.Go(func() {
			resp, err := p.server.Client().Do(req)
			if err != nil {
				s.Errorf("request %d: %v", i, err)
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || string(body) != name || resp.Header.Get("Name") != name {
				s.Errorf("request %d got %q with the header %q: %v", i, body, resp.Header.Get("Name"), err)
			}
		})
	}
	clientsEnd.Wait()
}
