package rt

import (
	"context"
	"fmt"
	"net/http"
)

// HasBody reports whether req carries body bytes, as net/http sees it.
func HasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

// Replayable reports whether req can be sent more than once: without a body, or
// with one that GetBody makes anew. Seeking in the first body, or copying it,
// is no substitute: the transport may still read it after RoundTrip has
// returned. A request with trailers cannot be replayed, since their values are
// filled in while the first body is read.
func Replayable(req *http.Request) bool {
	return len(req.Trailer) == 0 && (!HasBody(req) || req.GetBody != nil)
}

// Replay returns req as it is sent again, under ctx and with a body of its own.
// Header and URL are shared with req: good for attempts that are over when
// RoundTrip returns, and to be replaced, not changed, by who needs others.
func Replay(ctx context.Context, req *http.Request) (*http.Request, error) {
	if !HasBody(req) {
		return req.WithContext(ctx), nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, fmt.Errorf("get the request body again: %w", err)
	}
	again := req.WithContext(ctx)
	again.Body = body
	return again, nil
}
