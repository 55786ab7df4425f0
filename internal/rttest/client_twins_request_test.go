package rttest_test

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/failsoft/failsoft/internal/rt"
)

func requestTwins() []twin {
	return []twin{
		{
			"the request is not modified", "writes a header", "the headers of the request were modified",
			before(func(req *http.Request) *http.Request {
				req.Header.Set("Retry-Attempt", "1")
				return req
			}),
		},
		{
			"the request is not modified", "writes into a header", "the headers of the request were modified",
			before(func(req *http.Request) *http.Request {
				req.Header["X-Many"][0] = "zero"
				return req
			}),
		},
		{
			"the request is not modified", "puts another body in", "the field Body of the request was modified",
			before(func(req *http.Request) *http.Request {
				req.Body = buffer(req.Body)
				return req
			}),
		},
		{
			"the request is not modified", "puts another context in", "the field ctx of the request was modified",
			before(func(req *http.Request) *http.Request {
				*req = *req.WithContext(context.WithValue(req.Context(), io.EOF, 1))
				return req
			}),
		},
		{
			"the request is not modified", "rewrites the URL", "the URL of the request was modified",
			before(func(req *http.Request) *http.Request {
				req.URL.Host = "replica.example"
				return req
			}),
		},
		{
			"every attempt is the caller's request", "loses a header", `503 then 200: attempt 2: its header X-Many is []`,
			retrying(func(r *retrier) { r.replay = changed(func(req *http.Request) { req.Header = http.Header{} }) }),
		},
		{
			"every attempt is the caller's request", "loses the host", "attempt 2: it is PUT to ",
			retrying(func(r *retrier) { r.replay = changed(func(req *http.Request) { req.Host = "" }) }),
		},
		{
			"every attempt is the caller's request", "loses the query", "attempt 2: it asks for http://base.example/path",
			retrying(func(r *retrier) {
				r.replay = changed(func(req *http.Request) { req.URL = req.URL.JoinPath(); req.URL.RawQuery = "" })
			}),
		},
		{
			"every attempt is the caller's request", "loses the context", "its context lacks the values",
			before(func(req *http.Request) *http.Request { return req.WithContext(context.Background()) }),
		},
		{
			"the request body is closed on every path", "hides Close", "200: request body 1 of 1 was not closed",
			before(func(req *http.Request) *http.Request {
				req = req.WithContext(req.Context())
				req.Body = io.NopCloser(req.Body)
				return req
			}),
		},
		{
			"the request body is closed on every path", "opens one too many", "503 then 200: request body 2 of 3 was not closed",
			retrying(func(r *retrier) {
				r.ended = func(rt.Caller) error { return nil }
				r.discard = discard
				r.replay = func(ctx context.Context, req *http.Request) (*http.Request, error) {
					_, _ = req.GetBody()
					return rt.Replay(ctx, req)
				}
			}),
		},
		{
			"the request body is closed when the caller has left before", "returns early", "request body 1 of 1 was not closed",
			around(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
				if err := rt.CallerOf(req).Ended(time.Now()); err != nil {
					return nil, err
				}
				return next.RoundTrip(req)
			}),
		},
		{"the request body is closed when the caller has left before", "goes on", "although its caller had left", before(unheard)},
		{
			"a body is replayed through GetBody", "seeks", "was rewound by Seek",
			retrying(func(r *retrier) {
				r.replay = func(ctx context.Context, req *http.Request) (*http.Request, error) {
					_, err := req.Body.(io.Seeker).Seek(0, io.SeekStart)
					return req.WithContext(ctx), err
				}
			}),
		},
		{
			"a body is replayed through GetBody", "sends the first body again", "was read after it was closed",
			retrying(func(r *retrier) { r.replay = resend }),
		},
		{
			"a body is replayed through GetBody", "forgets the body", `attempt 2 sent the body ""`,
			retrying(func(r *retrier) { r.replay = changed(func(req *http.Request) { req.Body = http.NoBody }) }),
		},
		{
			"a body is replayed through GetBody", "loses the length", "has content length -1",
			retrying(func(r *retrier) { r.replay = changed(func(req *http.Request) { req.ContentLength = -1 }) }),
		},
		{
			"a body without GetBody is sent once", "sends it again", "3 attempts reached the base",
			retrying(func(r *retrier) { r.may, r.replay = always, resend }),
		},
		{
			"a failing GetBody loses no answer", "asks too late", "no second body",
			around(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
				resp, err := next.RoundTrip(req)
				if !failed(resp, err) {
					return resp, err
				}
				if resp != nil {
					rt.Discard(req.Context(), resp, nil)
				}
				again, err := rt.Replay(req.Context(), req)
				if err != nil {
					return nil, err
				}
				return next.RoundTrip(again)
			}),
		},
		{
			"a request with trailers is sent once", "sends it again", "3 attempts reached the base",
			retrying(func(r *retrier) { r.may = always }),
		},
		{
			"a request with trailers is sent once", "clones it", "sent the trailer",
			before(func(req *http.Request) *http.Request { return req.Clone(req.Context()) }),
		},
		{
			"no body stays no body", "wraps it", "http.NoBody: attempt 1 has the body",
			before(func(req *http.Request) *http.Request {
				req = req.WithContext(req.Context())
				if req.Body != nil {
					req.Body = io.NopCloser(req.Body)
				}
				return req
			}),
		},
		{
			"no body stays no body", "makes one up", "nil: attempt 1 has the body",
			before(func(req *http.Request) *http.Request {
				req = req.WithContext(req.Context())
				req.Body = http.NoBody
				return req
			}),
		},
		{
			"no body stays no body", "wraps that of the response", "the body of the response is no longer http.NoBody",
			afterResponse(func(resp *http.Response) { resp.Body = io.NopCloser(resp.Body) }),
		},
		{
			"POST and PATCH are sent once", "sends them again", "PATCH, error then 200: 2 attempts reached the base",
			retrying(func(r *retrier) { r.may = always }),
		},
		{
			"an idempotency key is sent along", "loses it", `attempt 2 has the key ""`,
			retrying(func(r *retrier) {
				r.replay = changed(func(req *http.Request) {
					req.Header = req.Header.Clone()
					req.Header.Del("Idempotency-Key")
				})
			}),
		},
		{
			"a broken request is an error", "looks at the URL", "nil URL: the policy panicked",
			before(func(req *http.Request) *http.Request {
				_ = req.URL.Host
				return req
			}),
		},
		{
			"a broken request is an error", "writes a header", "nil Header: the policy panicked",
			before(func(req *http.Request) *http.Request {
				header := req.Header.Clone()
				header["Retry-Attempt"] = nil
				return req
			}),
		},
	}
}
