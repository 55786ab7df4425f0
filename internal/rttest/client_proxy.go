package rttest

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"

	"github.com/failsoft/failsoft/internal/memnet"
)

// proxied is a client's way to a backend through an httputil.ReverseProxy with the policy in it.
type proxied struct {
	front *http.Transport
	// panicked is what the proxy's handler panicked with last.
	panicked atomic.Value
}

func newProxied(tb TB, p policy, backend http.HandlerFunc) *proxied {
	tb.Helper()

	target := &url.URL{Scheme: "http", Host: "backend.example"}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: p.over(memnet.Server(tb, backend)),
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	var side proxied
	side.front = memnet.Server(tb, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil {
				side.panicked.Store(v)
				panic(v)
			}
		}()
		proxy.ServeHTTP(w, r)
	}))
	return &side
}

// proxySendsBodyOnce: the request of a proxy has no GetBody, and its body comes from a client who
// sends it once.
func proxySendsBodyOnce(tb TB, p policy) {
	var asked atomic.Int64

	side := newProxied(tb, p, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.Copy(w, r.Body)
	})
	req, sent := newUpload(newCaller(), tb, http.MethodPut)
	res := call(tb, side.front, req)
	if got := res.finish(tb); res.err != nil || got != sent.content {
		tb.Errorf("the client got %q: %v", got, res.err)
	}
	if n := asked.Load(); n != 1 {
		tb.Errorf("the backend was asked %d times, want once", n)
	}
}

// proxyAbortsBrokenAnswer: the proxy panics with http.ErrAbortHandler when the backend dies in the
// middle of its answer, so that the client does not take a half for the whole.
func proxyAbortsBrokenAnswer(tb TB, p policy) {
	side := newProxied(tb, p, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half of the")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	res := call(tb, side.front, newRequest(newCaller(), tb, http.MethodGet))
	if res.err != nil {
		tb.Fatalf("no response: %v", res.err)
	}
	got, err := io.ReadAll(res.resp.Body)
	res.drop()
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		tb.Errorf("the client read %q and then %v, want %v", got, err, io.ErrUnexpectedEOF)
	}
	if v := side.panicked.Load(); v != http.ErrAbortHandler { //nolint:errorlint // It is a panic value.
		tb.Errorf("the proxy panicked with %v, want http.ErrAbortHandler", v)
	}
}

// proxyUpgrades: the proxy asks the body of a 101 for io.ReadWriteCloser.
func proxyUpgrades(tb TB, p policy) {
	side := newProxied(tb, p, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "echo")
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.Copy(conn, buffered)
		_ = conn.Close()
	})
	req := newRequest(newCaller(), tb, http.MethodGet)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")

	res := call(tb, side.front, req)
	defer res.drop()
	if res.err != nil || res.resp.StatusCode != http.StatusSwitchingProtocols {
		tb.Fatalf("no upgrade: %+v", res)
	}
	conn, ok := res.resp.Body.(io.ReadWriteCloser)
	if !ok {
		tb.Fatalf("the body of a 101 is %T", res.resp.Body)
	}
	checkTalk(tb, conn, conn)
}
