package bench_test

import (
	"cmp"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/bench"
)

const (
	routeHosts   = 5
	routeWorkers = 50
	routeAt      = "http://" + bench.RouteName + "/users/42"
	routeBegin   = 4 * time.Second // how long the experiment is that others have made
	routeWhole   = 30 * time.Second
	routeTrial   = 500 * time.Millisecond // of a rival in an ordinary run
	routeUsual   = 10 * time.Millisecond
)

func routeAddrs(n int) (addrs []string) {
	for i := range n {
		addrs = append(addrs, "host-"+string(rune('a'+i))+".example:80")
	}
	return addrs
}

// routeAnswer is what a host does with a request.
type routeAnswer struct {
	latency time.Duration
	status  int // 0 is 200
	err     error
	never   bool
}

// usually is ten milliseconds, give or take a fifth.
func usually() time.Duration {
	return time.Duration((0.8 + 0.4*rand.Float64()) * float64(routeUsual))
}

// routeLoad is workers who each send one request after the other, in virtual time.
type routeLoad struct {
	workers int // routeWorkers if 0
	hosts   int // routeHosts if 0, none if below
	length  time.Duration
	timeout time.Duration // none if 0
	answer  func(addr string, at time.Duration) routeAnswer
}

// routed is what became of a call, and routedTo an attempt of one.
type routed struct {
	at, took time.Duration
	failed   bool
	tried    []string
}

type routeKey struct{}

type routedTo struct {
	addr string
	at   time.Duration
}

type routeResult struct {
	calls    []routed
	attempts []routedTo
}

// run lets a contender go through the load.
func (l routeLoad) run(t *testing.T, contender bench.Route) (r *routeResult) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r = new(routeResult)
		var mu sync.Mutex
		begun := time.Now()
		through, end := contender.New(routeAddrs(max(cmp.Or(l.hosts, routeHosts), 0)), roundTrip(func(req *http.Request) (*http.Response, error) {
			at := time.Since(begun)
			mu.Lock()
			r.attempts = append(r.attempts, routedTo{req.URL.Host, at})
			if c, ok := req.Context().Value(routeKey{}).(*routed); ok {
				c.tried = append(c.tried, req.URL.Host)
			}
			mu.Unlock()
			return l.answer(req.URL.Host, at).give(req)
		}))
		defer end()
		var all sync.WaitGroup
		for range cmp.Or(l.workers, routeWorkers) {
			all.Go(func() {
				for time.Since(begun) < l.length {
					c := l.call(t, through, begun)
					mu.Lock()
					r.calls = append(r.calls, *c)
					mu.Unlock()
				}
			})
		}
		all.Wait()
	})
	return r
}

func (l routeLoad) call(t *testing.T, through http.RoundTripper, begun time.Time) *routed {
	t.Helper()
	c := &routed{at: time.Since(begun)}
	ctx, cancel := context.WithValue(t.Context(), routeKey{}, c), func() {}
	if l.timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, l.timeout)
	}
	defer cancel()
	status, err := fetch(ctx, through, routeAt)
	c.took = time.Since(begun) - c.at
	c.failed = err != nil || status != http.StatusOK
	if c.took == 0 { // it was refused at once: nobody asks again in the same instant
		time.Sleep(routeUsual)
	}
	return c
}

// fetch sends one request and closes its answer.
func fetch(ctx context.Context, through http.RoundTripper, where string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return 0, err
	}
	resp, err := through.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode, err
}

func (a routeAnswer) give(req *http.Request) (*http.Response, error) {
	if a.never {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	timer := time.NewTimer(a.latency)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	if a.err != nil {
		return nil, a.err
	}
	return &http.Response{
		StatusCode: max(a.status, http.StatusOK), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: http.NoBody, Request: req,
	}, nil
}

// shareOf is the share as a cell, which is empty where nothing was measured.
func (r *routeResult) shareOf(addr string) string {
	if len(r.attempts) == 0 {
		return ""
	}
	return percent(r.share(addr))
}

func (r *routeResult) failures() string {
	if len(r.calls) == 0 {
		return ""
	}
	return percent(r.failed())
}

// span is the part of a result between two times.
func (r *routeResult) span(from, to time.Duration) *routeResult {
	return &routeResult{
		calls: slices.Collect(func(yield func(routed) bool) {
			for _, c := range r.calls {
				if c.at >= from && c.at < to && !yield(c) {
					return
				}
			}
		}),
		attempts: slices.Collect(func(yield func(routedTo) bool) {
			for _, a := range r.attempts {
				if a.at >= from && a.at < to && !yield(a) {
					return
				}
			}
		}),
	}
}

// share is the part of all attempts that a host got, in per cent.
func (r *routeResult) share(addr string) float64 {
	n := 0
	for _, a := range r.attempts {
		if a.addr == addr {
			n++
		}
	}
	return 100 * float64(n) / float64(max(len(r.attempts), 1))
}

// failed is the part of all calls that failed, in per cent.
func (r *routeResult) failed() float64 {
	n := 0
	for _, c := range r.calls {
		if c.failed {
			n++
		}
	}
	return 100 * float64(n) / float64(max(len(r.calls), 1))
}

func (r *routeResult) percentile(t *testing.T, quantile float64) time.Duration {
	t.Helper()
	require.NotEmpty(t, r.calls)
	latencies := make([]time.Duration, 0, len(r.calls))
	for _, c := range r.calls {
		latencies = append(latencies, c.took)
	}
	return percentile(latencies, quantile)
}

// eachRoute is each, for these contenders.
func eachRoute[R any](t *testing.T, contenders []bench.Route, find func(t *testing.T, i int) R) []R {
	t.Helper()
	found := make([]R, len(contenders))
	t.Run("each", func(t *testing.T) {
		for i, contender := range contenders {
			t.Run(contender.Name, func(t *testing.T) {
				t.Parallel()
				found[i] = find(t, i)
			})
		}
	})
	return found
}

// routeLength is how long a load is: that of ours, which comes first, so long that what
// is asserted can be seen.
func routeLength(i int) time.Duration {
	switch {
	case inFull():
		return routeWhole
	case i == 0:
		return 2 * routeBegin
	default:
		return routeTrial
	}
}

func percent(value float64) string { return fixed(value, 2) }
