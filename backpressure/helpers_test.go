package backpressure_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/backpressure"
)

const ms = time.Millisecond

var errDown = errors.New("down")

// bubble runs test in virtual time.
func bubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

// fixed is a Config of n places, without a gate for the processor: what else runs on
// the machine is none of a test's business.
func fixed(n int) backpressure.Config {
	return backpressure.Config{Limit: backpressure.Fixed(n), CPUThreshold: backpressure.Off}
}

// impatient is fixed, and nobody waits.
func impatient(n int) backpressure.Config {
	cfg := fixed(n)
	cfg.MaxWait = backpressure.Off
	return cfg
}

// admitted makes a call that must be let in.
func admitted(t *testing.T, l *backpressure.Limiter, r backpressure.Request) backpressure.Permit {
	t.Helper()
	p, err := l.Acquire(t.Context(), r)
	require.NoError(t, err)
	return p
}

// refused makes a call that must not be let in.
func refused(t *testing.T, l *backpressure.Limiter, r backpressure.Request) *backpressure.LimitedError {
	t.Helper()
	_, err := l.Acquire(t.Context(), r)
	return limited(t, err)
}

// limited is err, which must be a refusal.
func limited(t *testing.T, err error) *backpressure.LimitedError {
	t.Helper()
	require.ErrorIs(t, err, backpressure.ErrLimited)
	refusal, ok := errors.AsType[*backpressure.LimitedError](err)
	require.True(t, ok)
	return refusal
}

// full returns a Limiter all of whose places are taken, and their permits.
func full(t *testing.T, cfg backpressure.Config, n int) (*backpressure.Limiter, []backpressure.Permit) {
	t.Helper()
	l := backpressure.MustNew(cfg)
	permits := make([]backpressure.Permit, n)
	for i := range permits {
		permits[i] = admitted(t, l, backpressure.Request{})
	}
	return l, permits
}

// heat lets the load of the processors be believed, among requests of all classes.
func heat(l *backpressure.Limiter) {
	for n := range 500 {
		time.Sleep(ms)
		p, _ := l.TryAcquire(context.Background(), backpressure.Request{Class: backpressure.Class(n % 4)})
		p.Done(backpressure.Ignore)
	}
}

// shot returns the snapshot of a limit.
func shot(t *testing.T, l *backpressure.Limiter, key string) backpressure.KeySnapshot {
	t.Helper()
	for _, k := range l.Snapshot().Keys {
		if k.Key == key {
			return k
		}
	}
	require.Failf(t, "no such limit", "%q", key)
	return backpressure.KeySnapshot{}
}

// atRest says that nothing is left under way.
func atRest(t *testing.T, l *backpressure.Limiter) {
	t.Helper()
	for _, k := range l.Snapshot().Keys {
		require.Zero(t, k.InFlight, "calls under way of %q", k.Key)
		require.Zero(t, k.Streams, "streams of %q", k.Key)
		require.Zero(t, k.Queued, "waiting for %q", k.Key)
	}
}

// diary records events, and can be read while others write.
type diary struct {
	mu  sync.Mutex
	all []backpressure.Event
}

func (d *diary) observe(_ context.Context, e backpressure.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, e)
}

// of returns the events of a kind.
func (d *diary) of(kind backpressure.Kind) (found []backpressure.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.all {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

// roundTrip is a base transport.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// answers is a base that always answers with status; header is a list of names and
// values.
func answers(status int, header ...string) roundTrip {
	return func(req *http.Request) (*http.Response, error) {
		h := make(http.Header)
		for i := 0; i+1 < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{
			StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h,
			Body: io.NopCloser(strings.NewReader("body")), ContentLength: 4, Request: req,
		}, nil
	}
}

// get is a request of a client.
func get(t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	return req
}

// exchange sends a request through rt and reads the answer.
func exchange(rt http.RoundTripper, req *http.Request) (status int, err error) {
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// paced teaches a Limiter with one place that it becomes free every 100 ms.
func paced(t *testing.T, l *backpressure.Limiter) {
	t.Helper()
	for range 50 {
		p := admitted(t, l, backpressure.Request{})
		time.Sleep(100 * ms)
		p.Done(backpressure.Success)
	}
}
