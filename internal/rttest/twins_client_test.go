package rttest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/internal/rt"
	"github.com/failsoft/failsoft/internal/rttest"
)

// twin is a policy that is correct but for one flaw.
type twin struct {
	clause string // The clause that must fail on it.
	flaw   string
	report string // Part of what the clause must report.
	wrap   func(next http.RoundTripper) http.RoundTripper
}

func TestEveryClientClauseFailsOnItsTwins(t *testing.T) {
	for _, twin := range clientTwins() {
		t.Run(twin.clause+"/"+twin.flaw, func(t *testing.T) {
			report := rttest.Fails(t, func(tb rttest.TB) { rttest.RunClause(tb, twin.clause, twin.wrap) })
			assert.Contains(t, report, twin.report)
		})
	}
}

func TestEveryClientClauseHasATwin(t *testing.T) {
	twins := clientTwins()
	for _, clause := range rttest.ClauseNames() {
		assert.True(t, slices.ContainsFunc(twins, func(tw twin) bool { return tw.clause == clause }), clause)
	}
}

func TestRefusal(t *testing.T) {
	refuse := errors.New("refused")
	correct := func(http.RoundTripper) http.RoundTripper {
		return tripFunc(func(req *http.Request) (*http.Response, error) {
			_ = req.Body.Close()
			return nil, refuse
		})
	}
	rttest.Refusal(t, correct)

	twins := map[string]struct {
		wrap   func(http.RoundTripper) http.RoundTripper
		report string
	}{
		"was not closed": {wrap: around(func(http.RoundTripper, *http.Request) (*http.Response, error) {
			return nil, refuse
		})},
		"the base was reached": {wrap: around(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
			return next.RoundTrip(req)
		})},
		"an error and no response": {wrap: around(func(_ http.RoundTripper, req *http.Request) (*http.Response, error) {
			_ = req.Body.Close()
			return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: http.NoBody}, nil
		})},
		"still registered": {wrap: around(func(_ http.RoundTripper, req *http.Request) (*http.Response, error) {
			context.AfterFunc(req.Context(), func() {})
			_ = req.Body.Close()
			return nil, refuse
		})},
		"Body of the request was modified": {wrap: around(func(_ http.RoundTripper, req *http.Request) (*http.Response, error) {
			_ = req.Body.Close()
			req.Body = http.NoBody
			return nil, refuse
		})},
	}
	for report, twin := range twins {
		t.Run("a twin is told: "+report, func(t *testing.T) {
			got := rttest.Fails(t, func(tb rttest.TB) { rttest.RunRefusal(tb, twin.wrap) })
			assert.Contains(t, got, report)
		})
	}
}

// around makes a policy of a function that has the base as an argument.
func around(
	trip func(next http.RoundTripper, req *http.Request) (*http.Response, error),
) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		return &outer{next, trip}
	}
}

type outer struct {
	next http.RoundTripper
	trip func(http.RoundTripper, *http.Request) (*http.Response, error)
}

func (o *outer) RoundTrip(req *http.Request) (*http.Response, error) { return o.trip(o.next, req) }
func (o *outer) CloseIdleConnections()                               { rt.CloseIdle(o.next) }

// before changes the request.
func before(change func(req *http.Request) *http.Request) func(http.RoundTripper) http.RoundTripper {
	return around(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		return next.RoundTrip(change(req))
	})
}

// after changes the response.
func after(
	change func(*http.Response, error) (*http.Response, error),
) func(http.RoundTripper) http.RoundTripper {
	return around(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		return change(next.RoundTrip(req))
	})
}

// afterResponse changes a response in place.
func afterResponse(change func(*http.Response)) func(http.RoundTripper) http.RoundTripper {
	return after(func(resp *http.Response, err error) (*http.Response, error) {
		if err == nil {
			change(resp)
		}
		return resp, err
	})
}

// retrying gives a retrier a flaw.
func retrying(flaw func(*retrier)) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		r := newRetrier(next)
		flaw(r)
		return r
	}
}

func always(*http.Request) bool { return true }

// resend sends the body a second time as it is.
func resend(ctx context.Context, req *http.Request) (*http.Request, error) {
	return req.WithContext(ctx), nil
}

// changed replays the request and changes it.
func changed(change func(req *http.Request)) func(context.Context, *http.Request) (*http.Request, error) {
	return func(ctx context.Context, req *http.Request) (*http.Request, error) {
		again, err := rt.Replay(ctx, req)
		if err == nil {
			change(again)
		}
		return again, err
	}
}

// unheard hides the end of its caller from the base.
func unheard(req *http.Request) *http.Request {
	req = req.WithContext(context.WithoutCancel(req.Context()))
	req.Cancel = nil //nolint:staticcheck // It is a way to leave as any other.
	return req
}

// reader is a body that reads from elsewhere.
type reader struct {
	io.Reader
	io.Closer
}

// readFunc is a reader in one function.
type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func buffer(body io.ReadCloser) io.ReadCloser {
	content, _ := io.ReadAll(body)
	_ = body.Close()
	return io.NopCloser(bytes.NewReader(content))
}

func clientTwins() []twin {
	return slices.Concat(requestTwins(), responseTwins(), endTwins(), attemptTwins(), wireTwins())
}
