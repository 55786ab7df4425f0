package rttest_test

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/failsoft/failsoft/internal/rt"
)

// tripFunc is a RoundTripper in one function.
type tripFunc func(*http.Request) (*http.Response, error)

func (f tripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// retrier is a policy of three attempts, one after the other. With parts() it is correct; a twin
// replaces one part by a worse one.
type retrier struct {
	next    http.RoundTripper
	may     func(*http.Request) bool
	replay  func(context.Context, *http.Request) (*http.Request, error)
	discard func(context.Context, *http.Response)
	pause   func(rt.Caller) error
	ended   func(rt.Caller) error
}

func newRetrier(next http.RoundTripper) *retrier {
	return &retrier{
		next:    next,
		may:     repeatable,
		replay:  rt.Replay,
		discard: discard,
		pause:   func(c rt.Caller) error { return c.Sleep(time.Millisecond) },
		ended:   func(c rt.Caller) error { return c.Ended(time.Now()) },
	}
}

func discard(ctx context.Context, resp *http.Response) { rt.Discard(ctx, resp, nil) }

func (r *retrier) RoundTrip(req *http.Request) (*http.Response, error) {
	caller, send := rt.CallerOf(req), req

	for attempt := 1; ; attempt++ {
		resp, err := r.next.RoundTrip(send)
		if attempt == 3 || !failed(resp, err) || !r.may(req) || r.ended(caller) != nil {
			return resp, err
		}
		again, replayErr := r.replay(req.Context(), req)
		if replayErr != nil {
			return resp, err
		}
		if resp != nil {
			r.discard(req.Context(), resp)
		}
		if err := r.pause(caller); err != nil {
			if again.Body != nil {
				_ = again.Body.Close()
			}
			return nil, err
		}
		send = again
	}
}

func (r *retrier) CloseIdleConnections() { rt.CloseIdle(r.next) }

// linger waits as nobody should, deaf to his caller. The time is that of the bubble of the clause.
func linger(d time.Duration) { <-time.NewTimer(d).C }

func failed(resp *http.Response, err error) bool {
	return err != nil || resp.StatusCode == http.StatusServiceUnavailable
}

func repeatable(req *http.Request) bool {
	if !rt.Replayable(req) || req.URL == nil || req.Header == nil {
		return false
	}
	if req.Header.Get("Idempotency-Key") != "" || req.Header.Get("X-Idempotency-Key") != "" {
		return true
	}
	return slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodPut}, req.Method)
}
