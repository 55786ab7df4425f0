package rttest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/failsoft/failsoft/internal/rt"
)

func responseTwins() []twin {
	return []twin{
		{
			"a response is no error", "makes an error of 500", "500 to GET: no response",
			after(func(resp *http.Response, err error) (*http.Response, error) {
				if err == nil && resp.StatusCode == http.StatusInternalServerError {
					_ = resp.Body.Close()
					return nil, errors.New("status 500")
				}
				return resp, err
			}),
		},
		{
			"a response is no error", "closes the last response", "502 to PUT: read the response body",
			afterResponse(func(resp *http.Response) {
				if resp.StatusCode == http.StatusBadGateway {
					_ = resp.Body.Close()
				}
			}),
		},
		{
			"either a response or an error", "returns both", "a response and the error",
			after(func(resp *http.Response, err error) (*http.Response, error) {
				if err == nil && resp.StatusCode == http.StatusServiceUnavailable {
					return resp, errors.New("unavailable")
				}
				return resp, err
			}),
		},
		{
			"either a response or an error", "returns neither", "neither a response nor an error",
			after(func(resp *http.Response, _ error) (*http.Response, error) { return resp, nil }),
		},
		{
			"the error is the base's", "prints it", "the error of the base is lost",
			after(func(resp *http.Response, err error) (*http.Response, error) {
				if err != nil {
					err = fmt.Errorf("failed: %v", err) //nolint:errorlint // This is the flaw.
				}
				return resp, err
			}),
		},
		{
			"the error is the base's", "hides Timeout", "is no timeout any more",
			after(func(resp *http.Response, err error) (*http.Response, error) {
				if err != nil {
					err = fmt.Errorf("failed: %w", err)
				}
				return resp, err
			}),
		},
		{
			"discarded responses are drained and closed", "does nothing", "drained false, closed false",
			retrying(func(r *retrier) { r.discard = func(context.Context, *http.Response) {} }),
		},
		{
			"discarded responses are drained and closed", "closes only", "drained false, closed true",
			retrying(func(r *retrier) {
				r.discard = func(_ context.Context, resp *http.Response) { _ = resp.Body.Close() }
			}),
		},
		{
			"discarded responses are drained and closed", "drains only", "drained true, closed false",
			retrying(func(r *retrier) {
				r.discard = func(_ context.Context, resp *http.Response) { _, _ = io.Copy(io.Discard, resp.Body) }
			}),
		},
		{
			"discarded responses are drained and closed", "closes at the end", "when attempt 2 arrived",
			retrying(func(r *retrier) {
				r.discard = func(ctx context.Context, resp *http.Response) {
					time.AfterFunc(time.Minute, func() { rt.Discard(ctx, resp, nil) })
				}
			}),
		},
		{
			"an endless discarded body holds nothing", "reads it all", "bytes of a discarded body were read",
			retrying(func(r *retrier) { r.discard = drainAll }),
		},
		{
			"an endless discarded body holds nothing", "leaves it open", "was not closed",
			retrying(func(r *retrier) { r.discard = func(context.Context, *http.Response) {} }),
		},
		{
			"a stalled discarded body holds nothing", "waits for it", "stalled: the call took 1h",
			retrying(func(r *retrier) { r.discard = drainAll }),
		},
		{
			"a stalled discarded body holds nothing", "waits for each read", "dripping: the call took 10",
			retrying(func(r *retrier) { r.discard = drainAll }),
		},
		{
			"an upgraded connection stays one", "wraps the body", "is no io.ReadWriteCloser",
			afterResponse(func(resp *http.Response) { resp.Body = reader{resp.Body, resp.Body} }),
		},
		{
			"trailers arrive", "copies the response", "HTTP/1.1, unannounced: the trailer",
			after(func(resp *http.Response, err error) (*http.Response, error) {
				if err != nil {
					return nil, err
				}
				shallow := *resp
				return &shallow, nil
			}),
		},
		{
			"trailers arrive", "drops the trailers", "HTTP/2, announced: the trailer",
			after(func(resp *http.Response, err error) (*http.Response, error) {
				if err != nil {
					return nil, err
				}
				shallow := *resp
				shallow.Trailer = nil
				return &shallow, nil
			}),
		},
	}
}

func drainAll(_ context.Context, resp *http.Response) {
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
}
