package rttest

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// judgeHijack takes the connection over, in both ways, and keeps it when the handler has returned.
func judgeHijack(s *stage) {
	p := s.serve(s.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hijack := http.NewResponseController(w).Hijack
		if r.URL.Path == "/assertion" {
			hijacker, ok := w.(http.Hijacker)
			if !ok {
				s.Errorf("the writer is no http.Hijacker")
				return
			}
			hijack = hijacker.Hijack
		}
		conn, wire, err := hijack()
		if err != nil {
			s.Errorf("hijack: %v", err)
			return
		}
		if _, err := w.Write([]byte("late")); !errors.Is(err, http.ErrHijacked) {
			s.Errorf("writing after the hijack: %v", err)
		}
		go echo(conn, wire)
	})))

	for _, path := range []string{"/assertion", "/controller"} {
		conn, wire := p.dial()
		// What follows the request at once may be in the server's buffer already.
		p.send(conn, "GET "+path+" HTTP/1.1\r\nHost: example.com\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly\n")
		resp, err := http.ReadResponse(wire, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			s.Fatalf("upgrade: %v, %v", resp, err)
		}
		p.expect(wire, "early\n")
		p.send(conn, "ping\n")
		p.expect(wire, "ping\n")
		conn.Close()
	}
}

// echo is the protocol that a connection is upgraded to. It ends with the connection.
func echo(conn net.Conn, wire *bufio.ReadWriter) {
	defer conn.Close()

	wire.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
	for {
		if err := wire.Flush(); err != nil {
			return
		}
		line, err := wire.ReadString('\n')
		if err != nil {
			return
		}
		wire.WriteString(line)
	}
}

// judgeNoHijack is about the capability that HTTP/2 lacks: upgrades must see that before they start.
func judgeNoHijack(s *stage) {
	p := s.serve(s.wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, ok := w.(http.Hijacker); ok {
			s.Errorf("the writer is an http.Hijacker")
		}
		if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, http.ErrNotSupported) {
			s.Errorf("hijack through the controller: %v", err)
		}
		io.WriteString(w, "as usual")
	})))
	s.expectEnd(p.get("/").Body, "as usual")
}

// judgeReadDeadline reads a body that never comes.
func judgeReadDeadline(s *stage) {
	p := s.serve(s.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)); err != nil {
			s.Errorf("SetReadDeadline: %v", err)
			return
		}
		if _, err := io.ReadAll(r.Body); !errors.Is(err, os.ErrDeadlineExceeded) {
			s.Errorf("reading past the deadline: %v", err)
		}
		io.WriteString(w, "gave up")
	})))

	req, _ := p.upload("/")
	s.expectEnd(p.do(req).Body, "gave up")
}

// judgeWriteDeadline writes more than anything on the way could buffer.
func judgeWriteDeadline(s *stage) {
	p := s.serve(s.wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		controller := http.NewResponseController(w)
		if err := controller.SetWriteDeadline(time.Unix(1, 0)); err != nil {
			s.Errorf("SetWriteDeadline: %v", err)
			return
		}
		var failed error
		for begin := time.Now(); failed == nil && time.Since(begin) < s.patience; {
			if _, failed = io.WriteString(w, strings.Repeat("x", 1<<16)); failed == nil {
				failed = controller.Flush()
			}
		}
		if failed == nil {
			s.Errorf("writing past the deadline works")
		}
	})))
	p.fails(p.request(http.MethodGet, "/", http.NoBody))
}
