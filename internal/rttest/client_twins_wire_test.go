package rttest_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/failsoft/failsoft/internal/rt"
)

func wireTwins() []twin {
	sendTwice := around(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		req = req.WithContext(req.Context())
		var content []byte
		if req.Body != nil {
			content, _ = io.ReadAll(req.Body)
		}
		req.Body = io.NopCloser(bytes.NewReader(content))
		resp, err := next.RoundTrip(req)
		if !failed(resp, err) {
			return resp, err
		}
		if resp != nil {
			rt.Discard(req.Context(), resp, nil)
		}
		req.Body = io.NopCloser(bytes.NewReader(content))
		return next.RoundTrip(req)
	})
	return []twin{
		{
			"Expect: 100-continue waits", "reads ahead", "before the server asked for it",
			before(func(req *http.Request) *http.Request {
				req = req.WithContext(req.Context())
				req.Body = buffer(req.Body)
				return req
			}),
		},
		{
			"CloseIdleConnections reaches the base", "lacks it", "reached the base 0 times",
			func(next http.RoundTripper) http.RoundTripper { return tripFunc(next.RoundTrip) },
		},
		{
			"CloseIdleConnections reaches the base", "insists on it", "panic",
			func(next http.RoundTripper) http.RoundTripper { return insistent{next} },
		},
		{
			"events stream", "buffers", "event 0 came 3h0m0s after it was sent",
			afterResponse(func(resp *http.Response) { resp.Body = buffer(resp.Body) }),
		},
		{
			"a long download is not cut", "has a timeout", "context deadline exceeded",
			around(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
				ctx, cancel := context.WithTimeout(req.Context(), 30*time.Second)
				resp, err := next.RoundTrip(req.WithContext(ctx))
				if err != nil {
					cancel()
					return nil, err
				}
				rt.OnBodyEnd(resp, nil, release(cancel))
				return resp, nil
			}),
		},
		{
			"http.Client: cookies and redirects", "drops cookies", `the server got ""`,
			before(func(req *http.Request) *http.Request {
				req = req.Clone(req.Context())
				req.Header.Del("Cookie")
				return req
			}),
		},
		{
			"http.Client: cookies and redirects", "keeps one answer", "the response is said to be that of /login",
			func(next http.RoundTripper) http.RoundTripper {
				var first *http.Request
				return tripFunc(func(req *http.Request) (*http.Response, error) {
					if first == nil {
						first = req
					}
					resp, err := next.RoundTrip(req)
					if err == nil {
						resp.Request = first
					}
					return resp, err
				})
			},
		},
		{
			"http.Client: timeout", "takes its time", "the call took 2s",
			after(func(resp *http.Response, err error) (*http.Response, error) {
				if err != nil {
					linger(time.Second)
				}
				return resp, err
			}),
		},
		{"ReverseProxy: a body is sent once", "buffers and repeats", "asked 2 times", sendTwice},
		{
			"ReverseProxy: a broken answer is aborted", "ends it well", "want unexpected EOF",
			afterResponse(func(resp *http.Response) {
				body := resp.Body
				resp.Body = reader{readFunc(func(p []byte) (int, error) {
					n, err := body.Read(p)
					if err != nil {
						err = io.EOF
					}
					return n, err
				}), body}
			}),
		},
		{
			"ReverseProxy: an upgrade works", "wraps the body", "no upgrade",
			afterResponse(func(resp *http.Response) { resp.Body = reader{resp.Body, resp.Body} }),
		},
		{
			"connections are reused", "closes only", "connections, want at most 1",
			retrying(func(r *retrier) {
				r.discard = func(_ context.Context, resp *http.Response) { _ = resp.Body.Close() }
			}),
		},
		{
			"sockets are reused", "closes only", "connections, want at most 1",
			retrying(func(r *retrier) {
				r.discard = func(_ context.Context, resp *http.Response) { _ = resp.Body.Close() }
			}),
		},
		{
			"sockets are reused", "leaves it open", "connections, want at most 1",
			retrying(func(r *retrier) { r.discard = func(context.Context, *http.Response) {} }),
		},
		{
			"answers belong to their requests", "remembers an answer", "the answer to",
			func(next http.RoundTripper) http.RoundTripper {
				var (
					once sync.Once
					kept []byte
				)
				return tripFunc(func(req *http.Request) (*http.Response, error) {
					resp, err := next.RoundTrip(req)
					if err != nil {
						return nil, err
					}
					once.Do(func() { kept, _ = io.ReadAll(resp.Body) })
					resp.Body = reader{bytes.NewReader(kept), resp.Body}
					return resp, nil
				})
			},
		},
	}
}

// insistent calls what its base may not have.
type insistent struct{ http.RoundTripper }

func (i insistent) CloseIdleConnections() {
	i.RoundTripper.(interface{ CloseIdleConnections() }).CloseIdleConnections()
}
