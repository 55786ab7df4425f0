package bench_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/bench"
)

// inFull says that the tables are wanted. An ordinary run spends its time on
// what it asserts, and lets the rivals only show that they still work.
func inFull() bool { return *rounds > 1 || *docs != "" }

// draw tells how long an attempt takes, and whether it fails then.
type draw func(a try, luck *rand.Rand) (latency time.Duration, fails bool)

// try is what the latency of an attempt may depend on.
type try struct {
	call, number uint64
	at           time.Duration // since the beginning
	req          *http.Request
}

// workload is calls that come at random and do not wait for each other, in
// virtual time. What an attempt takes depends on the number of the call and on
// which attempt of it this is, so that all contenders have the same luck.
type workload struct {
	calls int
	burst int     // so many come at once, 1 if 0
	rate  float64 // bursts per second
	draw  draw
}

// call is what became of one.
type call struct {
	number   uint64
	at, took time.Duration
	attempts atomic.Uint64
	failed   bool
}

type callKey struct{}

var errAttempt = errors.New("attempt failed")

// run lets all calls go through the transport and returns them.
func (w workload) run(t *testing.T, through bench.Transport) (calls []call) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		calls = w.underway(through)
	})
	return calls
}

// each returns what is to be found out about each of the contenders, on all
// cores at once: virtual time does not notice.
func each[R any](t *testing.T, contenders []bench.Transport, find func(t *testing.T, i int) R) []R {
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

func (w workload) underway(through bench.Transport) []call {
	begun := time.Now()
	transport := through.Wrap(roundTrip(func(req *http.Request) (*http.Response, error) {
		return w.attempt(req, begun)
	}))
	template, err := http.NewRequestWithContext(context.Background(), http.MethodGet, where, nil)
	if err != nil {
		panic(err)
	}
	calls := make([]call, w.calls)
	arrivals := rand.New(rand.NewPCG(1, 1))
	var all sync.WaitGroup
	for i := range calls {
		if i%max(w.burst, 1) == 0 {
			time.Sleep(time.Duration(arrivals.ExpFloat64() / w.rate * float64(time.Second)))
		}
		c := &calls[i]
		c.number, c.at = uint64(i), time.Since(begun)
		all.Go(func() {
			resp, err := transport.RoundTrip(template.WithContext(context.WithValue(context.Background(), callKey{}, c)))
			c.took, c.failed = time.Since(begun)-c.at, err != nil
			if err == nil {
				_ = resp.Body.Close()
			}
		})
	}
	all.Wait()
	time.Sleep(time.Minute) // What is left of losers ends.
	return calls
}

func (w workload) attempt(req *http.Request, begun time.Time) (*http.Response, error) {
	c := req.Context().Value(callKey{}).(*call)
	a := try{call: c.number, number: c.attempts.Add(1), at: time.Since(begun), req: req}
	latency, fails := w.draw(a, rand.New(rand.NewPCG(a.call, a.number)))
	timer := time.NewTimer(latency)
	defer timer.Stop()
	select {
	case <-req.Context().Done():
		return nil, context.Cause(req.Context())
	case <-timer.C:
	}
	if fails {
		return nil, errAttempt
	}
	return noContent{}.RoundTrip(req)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// truth returns the quantile of what a first attempt takes, from
// draws that no call makes.
func (d draw) truth(quantile float64) time.Duration {
	latencies := make([]time.Duration, 200_000)
	for i := range latencies {
		latencies[i], _ = d(try{}, rand.New(rand.NewPCG(uint64(i), 1<<32)))
	}
	return percentile(latencies, quantile)
}

// percentile returns the smallest latency that so many do not exceed.
func percentile(latencies []time.Duration, quantile float64) time.Duration {
	sorted := slices.Sorted(slices.Values(latencies))
	return sorted[max(int(math.Ceil(quantile*float64(len(sorted))))-1, 0)]
}

// result is what some calls come to.
type result struct {
	p50, p99, p999 time.Duration
	extra, errors  float64 // per cent of the calls
}

func resultOf(t *testing.T, calls []*call) result {
	t.Helper()
	require.NotEmpty(t, calls)
	latencies := make([]time.Duration, len(calls))
	attempts, failed := 0, 0
	for i, c := range calls {
		latencies[i] = c.took
		attempts += int(c.attempts.Load())
		if c.failed {
			failed++
		}
	}
	share := 100 / float64(len(calls))
	return result{
		p50: percentile(latencies, 0.5), p99: percentile(latencies, 0.99), p999: percentile(latencies, 0.999),
		extra: float64(attempts-len(calls)) * share, errors: float64(failed) * share,
	}
}

// between returns those of the calls that came in a span of time.
func between(calls []call, from, to time.Duration) []*call {
	var those []*call
	for i := range calls {
		if c := &calls[i]; c.at >= from && c.at < to {
			those = append(those, c)
		}
	}
	return those
}

func everything(calls []call) []*call { return between(calls, 0, math.MaxInt64) }

func millis(d time.Duration) string { return fixed(float64(d)/float64(time.Millisecond), 1) }

func lognormal(luck *rand.Rand, median time.Duration, sigma float64) time.Duration {
	return time.Duration(float64(median) * math.Exp(sigma*luck.NormFloat64()))
}
