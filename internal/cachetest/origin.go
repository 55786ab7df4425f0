package cachetest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Origin is the application behind the caches. What it answers is in the first part of
// the path; the rest is the run's, so that nothing of another run is in the way.
type Origin struct {
	mu    sync.Mutex
	seen  map[string]int // by method and path
	fails map[string]failing
	ended chan struct{} // what hangs, hangs until then
}

// failing is a way to fail.
type failing uint8

const (
	unavailable failing = iota + 1 // 503
	closed                         // the connection is, without an answer
	hanging                        // there is none
)

const (
	slow    = 300 * time.Millisecond // a page that takes its time
	private = 200 * time.Millisecond // and one that is somebody's own
	second  = time.Second            // between the two halves of a stream
)

// NewOrigin returns an Origin.
func NewOrigin() *Origin {
	return &Origin{
		seen: make(map[string]int), fails: make(map[string]failing), ended: make(chan struct{}),
	}
}

// Close lets go of all requests that hang.
func (o *Origin) Close() { close(o.ended) }

// Seen returns how many requests of a method there were for a path.
func (o *Origin) Seen(method, path string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seen[method+" "+path]
}

func (o *Origin) fail(path string, how failing) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fails[path] = how
}

func (o *Origin) note(r *http.Request) (number int, how failing) {
	o.mu.Lock()
	defer o.mu.Unlock()
	name := r.Method + " " + r.URL.Path
	o.seen[name]++
	return o.seen[name], o.fails[r.URL.Path]
}

// ServeHTTP answers.
func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	number, how := o.note(r)
	if how != 0 {
		o.broken(w, r, how)
		return
	}
	kind, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Cache-Control", "max-age=60")
	page, known := o.pages()[kind]
	if !known {
		http.NotFound(w, r)
		return
	}
	page(w, r, number)
}

func (o *Origin) broken(w http.ResponseWriter, r *http.Request, how failing) {
	switch how {
	case closed:
		panic(http.ErrAbortHandler) //nolint:forbidigo // how net/http closes a connection
	case hanging:
		select {
		case <-o.ended:
		case <-r.Context().Done():
		}
	default:
		http.Error(w, "down", http.StatusServiceUnavailable)
	}
}

type page func(w http.ResponseWriter, r *http.Request, number int)

func (o *Origin) pages() map[string]page {
	return map[string]page{
		"warm":    version,
		"cold":    func(w http.ResponseWriter, r *http.Request, n int) { pause(r.Context(), slow); version(w, r, n) },
		"own":     own,
		"swr":     refreshed,
		"old":     old,
		"bad":     func(w http.ResponseWriter, _ *http.Request, _ int) { failed(w) },
		"stream":  stream,
		"cookie":  cookie,
		"user":    func(w http.ResponseWriter, r *http.Request, _ int) { say(w, r.Header.Get("Authorization")) },
		"host":    func(w http.ResponseWriter, r *http.Request, _ int) { say(w, r.Host) },
		"echo":    func(w http.ResponseWriter, r *http.Request, _ int) { say(w, r.Header.Get("X-Forwarded-Host")) },
		"vary":    vary,
		"whole":   whole,
		"trailer": trailer,
		"edit":    edit,
	}
}

func say(w http.ResponseWriter, text string) {
	_, _ = fmt.Fprint(w, text) //nolint:gosec // it is text/plain, and for tests
}

func version(w http.ResponseWriter, _ *http.Request, number int) { say(w, fmt.Sprintf("v%d", number)) }

func own(w http.ResponseWriter, r *http.Request, number int) {
	w.Header().Set("Cache-Control", "private, no-store")
	pause(r.Context(), private)
	version(w, r, number)
}

func refreshed(w http.ResponseWriter, r *http.Request, number int) {
	w.Header().Set("Cache-Control", "max-age=1, stale-while-revalidate=60")
	if number > 1 {
		pause(r.Context(), slow)
	}
	version(w, r, number)
}

func old(w http.ResponseWriter, r *http.Request, number int) {
	w.Header().Set("Cache-Control", "max-age=1, stale-if-error=60")
	version(w, r, number)
}

func failed(w http.ResponseWriter) {
	w.Header().Del("Cache-Control")
	http.Error(w, "a bug", http.StatusInternalServerError)
}

func stream(w http.ResponseWriter, r *http.Request, _ int) {
	say(w, "first")
	_ = http.NewResponseController(w).Flush()
	pause(r.Context(), second)
	say(w, "last")
}

func cookie(w http.ResponseWriter, r *http.Request, number int) {
	w.Header().Set("Set-Cookie", fmt.Sprintf("id=%d; Path=/", number))
	version(w, r, number)
}

func vary(w http.ResponseWriter, r *http.Request, _ int) {
	w.Header().Set("Vary", "Accept-Language")
	say(w, r.Header.Get("Accept-Language"))
}

func whole(w http.ResponseWriter, _ *http.Request, _ int) {
	w.Header().Set("Accept-Ranges", "bytes") // without, nginx would give no parts
	say(w, strings.Repeat("0123456789", 10))
}

func trailer(w http.ResponseWriter, r *http.Request, number int) {
	w.Header().Set("Trailer", "X-Sum")
	version(w, r, number)
	_ = http.NewResponseController(w).Flush()
	w.Header().Set("X-Sum", "1")
}

func edit(w http.ResponseWriter, r *http.Request, number int) {
	if r.Method == http.MethodPost {
		w.Header().Del("Cache-Control")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	version(w, r, number)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
