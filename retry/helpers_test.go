package retry_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/budget"
	"github.com/failsoft/failsoft/retry"
)

// script is a base transport that answers the n-th attempt, counted from 1.
type script func(n int, req *http.Request) (*http.Response, error)

// base returns a transport that follows s, and the count of attempts it saw.
func (s script) base() (http.RoundTripper, *atomic.Int64) {
	seen := new(atomic.Int64)
	return roundTripFunc(func(req *http.Request) (*http.Response, error) {
		if req.Body != nil {
			_, _ = io.Copy(io.Discard, req.Body)
			_ = req.Body.Close()
		}
		return s(int(seen.Add(1)), req)
	}), seen
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// answer makes a response; header is a list of names and values.
func answer(req *http.Request, status int, body string, header ...string) *http.Response {
	h := make(http.Header)
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}
}

// always answers every attempt alike.
func always(status int, header ...string) script {
	return func(_ int, req *http.Request) (*http.Response, error) {
		return answer(req, status, "body of a "+http.StatusText(status), header...), nil
	}
}

// thenOK fails the first attempts with status and answers 200 after that.
func thenOK(failures, status int, header ...string) script {
	return func(n int, req *http.Request) (*http.Response, error) {
		if n <= failures {
			return answer(req, status, "busy", header...), nil
		}
		return answer(req, http.StatusOK, "fine"), nil
	}
}

// failing returns err from every attempt.
func failing(err error) script {
	return func(int, *http.Request) (*http.Response, error) { return nil, err }
}

// hang waits until the attempt's context ends and returns its error, as
// net/http does over HTTP/2.
func hang(_ int, req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

func request(t *testing.T, method, body string) *http.Request {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://shop.test/prices", reader)
	require.NoError(t, err)
	return req
}

// rich is a budget that pays for everything, for tests of something else.
func rich() *budget.Budget { return budget.MustNew(budget.Config{Ratio: 1, Floor: 10_000}) }

// send makes one call through cfg and s, and reads the response.
func send(t *testing.T, cfg retry.Config, s script, req *http.Request) (reply, int64) {
	t.Helper()
	base, seen := s.base()
	if cfg.Budget == nil {
		cfg.Budget = rich()
	}
	start := time.Now()
	resp, err := retry.MustNew(cfg).Transport(base).RoundTrip(req)
	got := reply{err: err, took: time.Since(start)}
	if resp != nil {
		got.status = resp.StatusCode
		body, readErr := io.ReadAll(resp.Body)
		got.body, got.readErr = string(body), readErr
		require.NoError(t, resp.Body.Close())
	}
	require.NotEqual(t, err == nil, resp == nil, "exactly one of response and error")
	return got, seen.Load()
}

type reply struct {
	status  int
	body    string
	readErr error
	err     error
	took    time.Duration
}

// refusal is an error as our own policies make it.
type refusal struct{ after time.Duration }

func (refusal) Error() string               { return "breaker: open" }
func (refusal) Unsent() bool                { return true }
func (r refusal) RetryAfter() time.Duration { return r.after }

var errBoom = errors.New("boom")
