package rttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/failsoft/failsoft/internal/memnet"
)

// remotes is a handler that knows the connections it was reached by. It answers every other request
// with a 503, unless a policy may leave that response unread while it tries again.
type remotes struct {
	lenient bool

	mu    sync.Mutex
	asked int
	seen  map[string]bool
}

func (h *remotes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.asked++
	unavailable := !h.lenient && h.asked%2 == 1
	h.seen[r.RemoteAddr] = true
	h.mu.Unlock()

	w.Header().Set("Cache-Control", "max-age=60")
	if unavailable {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = io.WriteString(w, strings.Repeat("answer ", 1000))
}

// connectionsAreReused is what draining is for.
func connectionsAreReused(tb TB, p policy) {
	if p.multiple {
		return
	}
	handler := &remotes{lenient: p.overlaps, seen: map[string]bool{}}
	used := connectionsUsed(tb, p.over(memnet.Server(tb, handler)), handler, "base.example")
	wantReuse(tb, used, 1)
}

// socketsAreReused is the same in real time, where a slow machine makes a policy whose attempts
// overlap start some that it need not, and net/http close a connection whose writing goroutine it has
// not heard from in 50 ms. Such a machine gets another chance.
func socketsAreReused(tb TB, p policy) {
	if p.multiple {
		return
	}
	most := 1
	if p.overlaps {
		most = reuseCalls / 2
	}
	used := 0
	for range 3 {
		handler := &remotes{lenient: p.overlaps, seen: map[string]bool{}}
		server := httptest.NewUnstartedServer(handler)
		rt := p.over(startReal(tb, server))
		if used = connectionsUsed(tb, rt, handler, server.Listener.Addr().String()); used <= most {
			return
		}
	}
	wantReuse(tb, used, most)
}

const reuseCalls = 20

// connectionsUsed is how many it takes for reuseCalls, one after the other.
func connectionsUsed(tb TB, rt http.RoundTripper, handler *remotes, host string) int {
	tb.Helper()

	for n := range reuseCalls {
		req := newRequest(newCaller(), tb, http.MethodGet)
		req.URL.Host = host
		req.URL.Path = fmt.Sprintf("/%d", n)
		res := call(tb, rt, req)
		if res.finish(tb); res.err != nil {
			tb.Errorf("call %d: %v", n, res.err)
		}
	}
	handler.mu.Lock()
	defer handler.mu.Unlock()
	return len(handler.seen)
}

func wantReuse(tb TB, used, most int) {
	tb.Helper()
	if used > most {
		tb.Errorf("%d calls used %d connections, want at most %d", reuseCalls, used, most)
	}
}

// answersBelongToTheirRequests is for the race detector, too.
func answersBelongToTheirRequests(tb TB, p policy) {
	var tried sync.Map

	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		body, _ := io.ReadAll(r.Body)
		if _, again := tried.LoadOrStore(r.URL.Path, true); !again {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = fmt.Fprintf(w, "%s %s %s", r.URL.Path, r.Header.Get("X-Caller"), body)
	}))
	rt := p.over(startReal(tb, server))

	const callers, rounds = 50, 4

	var (
		all      sync.WaitGroup
		problems [callers]error
	)
	for n := range callers {
		all.Go(func() {
			for round := range rounds {
				err := talk(tb.Context(), rt, server.URL, fmt.Sprintf("/%d-%d", n, round))
				problems[n] = errors.Join(problems[n], err)
			}
		})
	}
	all.Wait()
	if err := errors.Join(problems[:]...); err != nil {
		tb.Errorf("%v", err)
	}
}

// talk says what is wrong with the answer to a request.
func talk(ctx context.Context, rt http.RoundTripper, server, path string) error {
	body := strings.NewReader("body of " + path)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, server+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("X-Caller", path)
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if want := fmt.Sprintf("%[1]s %[1]s body of %[1]s", path); err != nil || string(got) != want {
		return fmt.Errorf("the answer to %s is %q: %v", path, got, err) //nolint:errorlint // It may be nil.
	}
	return nil
}

// startReal starts the server on a loopback socket and returns a transport of its own to it.
func startReal(tb TB, server *httptest.Server) *http.Transport {
	tb.Helper()
	server.Start()
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	tb.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	return transport
}
