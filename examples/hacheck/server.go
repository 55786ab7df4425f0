package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/failsoft/failsoft/healthcheck/spool"
)

// server answers checks: first the spool, then the cache.
type server struct {
	dir    *spool.Dir
	cache  *cache
	seen   *seen
	own    http.Handler // how this program is itself
	logger *slog.Logger
	begin  time.Time
}

// ServeHTTP has no http.ServeMux before it: that redirects paths that it can make
// cleaner, such as /http/orders/80//health, and a balancer takes a redirect for a
// service that is up.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	switch r.URL.Path {
	case "/health":
		s.own.ServeHTTP(w, r)
	case "/recent":
		s.recent(w, r)
	case "/status":
		writeJSON(w, map[string]any{"cache": s.cache.stats(), "uptime": time.Since(s.begin).Seconds()})
	default:
		s.check(w, r)
	}
}

// check answers GET /{http,tcp,mysql,spool}/{service}/{port}/{path}.
func (s *server) check(w http.ResponseWriter, r *http.Request) {
	q, code, err := readQuestion(r)
	if err != nil {
		http.Error(w, err.Error(), code)
		return
	}
	a, err := s.answer(r, q)
	if err != nil {
		if r.Context().Err() != nil {
			return // nobody is there to be told
		}
		a = answer{http.StatusServiceUnavailable, err.Error()}
	}
	remote, _, _ := net.SplitHostPort(r.RemoteAddr) // empty where it is none
	s.seen.note(q.service, sight{Code: a.code, RemoteIP: remote, at: time.Now()})
	s.logger.Debug("check", "kind", q.kind, "service", q.service, "port", q.port, "path", q.path,
		"code", a.code, "state", r.Header.Get(stateHeader))
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff") // the text is a service's, or an operator's
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(a.code)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, a.body) // who has left reads no errors, and 204 has no body
	}
}

// answer looks into the spool for every request, or an operator would have to wait
// for the cache.
func (s *server) answer(r *http.Request, q question) (answer, error) {
	status, err := s.dir.Status(q.service, portFor(q))
	if err != nil {
		// What is wrong is logged by the check of the whole spool. A spool that cannot
		// be read takes nothing out of service: it says nothing.
		s.logger.Debug("spool", "error", err)
	}
	switch {
	case status.Down:
		return answer{http.StatusServiceUnavailable, downText(status)}, nil
	case q.kind == "spool":
		return answer{http.StatusOK, ""}, nil
	default:
		return s.cache.get(r.Context(), q)
	}
}

// portFor: all services together have no port.
func portFor(q question) int {
	if q.service == spool.All {
		return 0
	}
	return q.port
}

// downText is in the words of hacheck, which other programs take apart.
func downText(s spool.Status) string {
	var b strings.Builder
	b.WriteString("Service " + s.Service + " in down state")
	if !s.Since.IsZero() {
		b.WriteString(" since " + pythonFloat(unix(s.Since)))
	}
	if !s.Until.IsZero() {
		b.WriteString(" until " + pythonFloat(unix(s.Until)))
	}
	if s.Reason != "" {
		b.WriteString(": " + s.Reason)
	}
	return b.String()
}

// stateHeader is what HAProxy sends with http-check send-state. Its port is that of
// the server that is meant, so that one httpchk line does for servers on many ports.
const stateHeader = "X-Haproxy-Server-State"

var errNotFound = errors.New("not found: GET /{http,tcp,mysql,spool}/{service}/{port}/{path}")

func readQuestion(r *http.Request) (q question, code int, err error) {
	parts := strings.SplitN(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/", 4)
	if len(parts) < 3 {
		return q, http.StatusNotFound, errNotFound
	}
	switch q.kind = parts[0]; q.kind {
	case "http":
		q.path = "/"
		if len(parts) == 4 {
			q.path += parts[3]
		}
		if r.URL.RawQuery != "" {
			q.path += "?" + r.URL.RawQuery
		}
	case "tcp", "mysql", "spool": // a path means nothing to them, and would only make one question many
	default:
		return q, http.StatusNotFound, errNotFound
	}
	q.service = parts[1]
	if _, err = spool.Name(q.service, 0); err != nil {
		return q, http.StatusBadRequest, err
	}
	text := parts[2]
	if port := statePort(r.Header.Get(stateHeader)); port != "" {
		text = port
	}
	q.port, err = strconv.Atoi(text)
	least := 1
	if q.kind == "spool" {
		least = 0 // the service on all of its ports
	}
	if err != nil || q.port < least || q.port > 65535 {
		return q, http.StatusBadRequest, fmt.Errorf("%q is no port", text)
	}
	return q, http.StatusOK, nil
}

// statePort returns the port in a header such as
//
//	UP 2/3; address=10.0.0.1; port=1234; name=bck/srv2; node=lb1; weight=1/2
func statePort(state string) string {
	for part := range strings.SplitSeq(state, ";") {
		if port, ok := strings.CutPrefix(strings.TrimSpace(part), "port="); ok {
			return port
		}
	}
	return ""
}

func (s *server) recent(w http.ResponseWriter, r *http.Request) {
	threshold := 600
	if text := r.URL.Query().Get("threshold"); text != "" {
		var err error
		if threshold, err = strconv.Atoi(text); err != nil || threshold < 0 || threshold > 1<<31 {
			http.Error(w, "threshold is a number of seconds", http.StatusBadRequest)
			return
		}
	}
	writeJSON(w, map[string]any{
		"seen_services":     s.seen.since(time.Now().Add(-time.Duration(threshold) * time.Second)),
		"threshold_seconds": threshold,
	})
}

func writeJSON(w http.ResponseWriter, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(body, '\n')) // who has left reads no errors
}
