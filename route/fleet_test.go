package route_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/route"
)

const ms = time.Millisecond

var errReset = errors.New("connection reset")

// replica is one host of a fleet, as a script has it.
type replica struct {
	latency time.Duration
	status  int // 0 is 200
	err     error
	hangs   bool // until the request ends
	header  http.Header
	body    io.ReadCloser
	check   int // what /health is answered with; 0 is 200
	service string

	seen, checked, inFlight, most int
}

// fleet answers for hosts by their addresses. Its latencies are for bubbles.
type fleet struct {
	mu    sync.Mutex
	hosts map[string]*replica
	order []string // of those that were asked
}

func newFleet(latency time.Duration, addrs ...string) *fleet {
	f := &fleet{hosts: make(map[string]*replica)}
	for _, addr := range addrs {
		f.hosts[addr] = &replica{latency: latency}
	}
	return f
}

// set changes how a host answers.
func (f *fleet) set(addr string, change func(*replica)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f.hosts[addr])
}

// seen returns how many requests a host has had since the last reset.
func (f *fleet) seen(addr string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hosts[addr].seen
}

func (f *fleet) checked(addr string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hosts[addr].checked
}

// most returns how many requests a host had at once.
func (f *fleet) most(addr string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hosts[addr].most
}

func (f *fleet) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.order = nil
	for _, h := range f.hosts {
		h.seen, h.checked, h.most = 0, 0, h.inFlight
	}
}

// share is a host's part of all requests since the last reset.
func (f *fleet) share(addr string) float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := 0
	for _, h := range f.hosts {
		all += h.seen
	}
	return float64(f.hosts[addr].seen) / float64(max(all, 1))
}

func (f *fleet) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.order)
}

func (f *fleet) begin(req *http.Request) replica {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.hosts[req.URL.Host]
	if h == nil {
		return replica{err: errors.New("no such host: " + req.URL.Host)}
	}
	if req.URL.Path == "/health" {
		h.checked++
		now := *h
		now.status, now.body = h.check, nil
		return now
	}
	h.seen++
	h.inFlight++
	h.most = max(h.most, h.inFlight)
	f.order = append(f.order, req.URL.Host)
	return *h
}

func (f *fleet) end(req *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h := f.hosts[req.URL.Host]; h != nil && req.URL.Path != "/health" {
		h.inFlight--
	}
}

// RoundTrip answers as the host's script says.
func (f *fleet) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	h := f.begin(req)
	defer f.end(req)
	wait := h.latency
	if h.hangs {
		wait = 100 * 24 * time.Hour
	}
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
	if h.err != nil {
		return nil, h.err
	}
	resp := &http.Response{
		StatusCode: max(h.status, 200), ProtoMajor: 1, ProtoMinor: 1,
		Header: h.header.Clone(), Body: h.body, Request: req,
	}
	if resp.Header == nil {
		resp.Header = make(http.Header)
	}
	if h.service != "" {
		resp.Header.Set("X-Service-Name", h.service)
	}
	if resp.Body == nil {
		resp.Body = http.NoBody
	}
	return resp, nil
}

// poolOf returns a Pool of the fleet's hosts, that is closed when the test ends, and its
// transport.
func poolOf(t *testing.T, f *fleet, cfg route.Config) (*route.Pool, http.RoundTripper) {
	t.Helper()
	cfg.Names = []string{"shop"}
	if cfg.Hosts == nil {
		for addr := range f.hosts {
			cfg.Hosts = append(cfg.Hosts, route.Host{Addr: addr})
		}
	}
	if cfg.Check.Path != "" && cfg.Check.Transport == nil {
		cfg.Check.Transport = f
	}
	pool := route.MustNew(cfg)
	t.Cleanup(func() { require.NoError(t, pool.Close(context.Background())) })
	return pool, pool.Transport(f)
}

// get sends a request for the service and reads its answer.
func get(ctx context.Context, next http.RoundTripper) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://shop/", nil)
	if err != nil {
		return 0, err
	}
	resp, err := next.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode, err
}

// gets sends n requests one after the other, and returns how many got 200.
func gets(t *testing.T, next http.RoundTripper, n int) (good int) {
	t.Helper()
	for range n {
		if status, err := get(t.Context(), next); err == nil && status == http.StatusOK {
			good++
		}
	}
	return good
}

// run is what came of a load.
type run struct {
	mu        sync.Mutex
	latencies []time.Duration
	failures  int
}

// loads has so many workers send one request after the other for a time.
func loads(t *testing.T, next http.RoundTripper, workers int, d time.Duration) *run {
	t.Helper()
	r := new(run)
	var all sync.WaitGroup
	end := time.Now().Add(d)
	for range workers {
		all.Go(func() {
			for time.Now().Before(end) {
				begin := time.Now()
				status, err := get(t.Context(), next)
				r.mu.Lock()
				r.latencies = append(r.latencies, time.Since(begin))
				if err != nil || status != http.StatusOK {
					r.failures++
				}
				r.mu.Unlock()
			}
		})
	}
	all.Wait()
	return r
}

func (r *run) p99() time.Duration {
	slices.Sort(r.latencies)
	return r.latencies[len(r.latencies)*99/100]
}

func (r *run) failed() float64 { return float64(r.failures) / float64(len(r.latencies)) }

// shot returns what a Pool knows of a host.
func shot(t *testing.T, pool *route.Pool, addr string) route.HostSnapshot {
	t.Helper()
	for _, h := range pool.Snapshot().Hosts {
		if h.Addr == addr {
			return h
		}
	}
	require.Fail(t, "no such host", addr)
	return route.HostSnapshot{}
}

func health(t *testing.T, pool *route.Pool, addr string) string {
	t.Helper()
	return shot(t, pool, addr).Health
}

// stream is a body that has no end until it is told one.
type stream struct{ end chan error }

func newStream() *stream { return &stream{end: make(chan error, 1)} }

func (s *stream) Read([]byte) (int, error) { return 0, <-s.end }
func (s *stream) Close() error             { return nil }
