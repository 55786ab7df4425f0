package rttest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/failsoft/failsoft/internal/rt"
)

// scope runs the base under a context of its own, and says what became of it.
func scope(
	settle func(resp *http.Response, err error, cancel context.CancelFunc),
) func(http.RoundTripper) http.RoundTripper {
	return around(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		ctx, cancel := context.WithCancel(req.Context())
		resp, err := next.RoundTrip(req.WithContext(ctx))
		settle(resp, err, cancel)
		return resp, err
	})
}

func endTwins() []twin {
	return []twin{
		{
			"the body outlives the call", "cancels at return", "context canceled",
			scope(func(_ *http.Response, _ error, cancel context.CancelFunc) { cancel() }),
		},
		{
			"contexts end with the body", "never cancels", "1 still registered",
			scope(func(*http.Response, error, context.CancelFunc) {}),
		},
		{
			"contexts end with the body", "forgets the end of the body", "body read: 1 still registered",
			scope(func(resp *http.Response, err error, cancel context.CancelFunc) {
				if err != nil || resp.Body == http.NoBody {
					cancel()
					return
				}
				resp.Body = reader{resp.Body, closeFunc(func() error { cancel(); return nil })}
			}),
		},
		{
			"contexts end with the body", "forgets those without one", "no body, body read: 1 still registered",
			scope(func(resp *http.Response, err error, cancel context.CancelFunc) {
				if err != nil {
					cancel()
				} else if resp.Body != http.NoBody {
					rt.OnBodyEnd(resp, nil, release(cancel))
				}
			}),
		},
		{
			"contexts end with a failed call", "waits for the body", "errors only: 1 still registered",
			scope(func(resp *http.Response, err error, cancel context.CancelFunc) {
				if err == nil {
					rt.OnBodyEnd(resp, nil, release(cancel))
				}
			}),
		},
		{"cancel is prompt during an attempt", "hides the end", "the call took 1h", before(unheard)},
		{
			"cancel is prompt during an attempt", "hides the reason", "the error is \"left\"",
			after(func(resp *http.Response, err error) (*http.Response, error) {
				if err != nil {
					err = errors.New("left")
				}
				return resp, err
			}),
		},
		{
			"cancel is prompt between attempts", "sleeps", "503, Request.Cancel: the call took 10ms",
			retrying(func(r *retrier) {
				r.pause = func(c rt.Caller) error {
					linger(10 * time.Millisecond)
					return c.Ended(time.Now())
				}
			}),
		},
		{
			"cancel is prompt between attempts", "knows contexts only", "error, Request.Cancel: the call took 10ms",
			retrying(func(r *retrier) {
				r.pause = func(c rt.Caller) error {
					c.Cancel = nil
					return c.Sleep(10 * time.Millisecond)
				}
			}),
		},
		{
			"cancel is prompt while a response is discarded", "gives it its time", "the call took 50ms",
			retrying(func(r *retrier) {
				r.discard = func(_ context.Context, resp *http.Response) {
					linger(50 * time.Millisecond)
					_ = resp.Body.Close()
				}
			}),
		},
		{
			"cancel is prompt behind another call", "queues deafly", "the call took 1h",
			func(next http.RoundTripper) http.RoundTripper {
				slot := make(chan struct{}, 1)
				return tripFunc(func(req *http.Request) (*http.Response, error) {
					slot <- struct{}{}
					defer func() { <-slot }()
					return next.RoundTrip(req)
				})
			},
		},
		{"cancel is prompt while the body is read", "hides the end", "the body ended after 1h", before(unheard)},
		{
			"cancel is prompt while the body is read", "hides the reason", "the error is \"left\"",
			afterResponse(func(resp *http.Response) {
				body := resp.Body
				resp.Body = reader{readFunc(func(p []byte) (int, error) {
					n, err := body.Read(p)
					if err != nil && !errors.Is(err, io.EOF) {
						err = errors.New("left")
					}
					return n, err
				}), body}
			}),
		},
		{
			"no attempt starts after the end", "does not ask", "started when the caller had left",
			retrying(func(r *retrier) {
				r.ended = func(rt.Caller) error { return nil }
				r.pause = func(rt.Caller) error { return nil }
			}),
		},
	}
}

// closeFunc is a closer in one function.
type closeFunc func() error

func (f closeFunc) Close() error { return f() }
