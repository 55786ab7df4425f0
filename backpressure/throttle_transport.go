package backpressure

import (
	"net/http"
	"time"

	"github.com/failsoft/failsoft/internal/rt"
)

// Transport returns a RoundTripper that sends those requests through next, or
// http.DefaultTransport if next is nil, that are not held back. The error of one that
// is, is a *LimitedError: retry waits for as long as it says, and breaker does not
// count it. It belongs inside of retry and hedge, so that it sees attempts.
func (t *Throttle) Transport(next http.RoundTripper) http.RoundTripper {
	return &throttled{throttle: t, next: rt.Base(next)}
}

type throttled struct {
	throttle *Throttle
	next     http.RoundTripper
}

func (t *throttled) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil {
		return t.next.RoundTrip(req) // which says what is wrong with it
	}
	a, err := t.enter(req)
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	resp, err := rt.RoundTrip(t.next, req)
	a.settle(req.Context(), resp, err, time.Now())
	return resp, err
}

// enter asks whether a request may go. Should a func of the user's panic, the body is
// closed, as nobody else will.
func (t *throttled) enter(req *http.Request) (a Attempt, err error) {
	asked := false
	defer func() {
		if !asked && req.Body != nil {
			_ = req.Body.Close()
		}
	}()
	key, class := req.URL.Host, ClassOf(req.Context())
	if t.throttle.cfg.Key != nil {
		key = t.throttle.cfg.Key(req)
	}
	if t.throttle.cfg.Class != nil {
		class = t.throttle.cfg.Class(req)
	}
	a, err = t.throttle.Allow(req.Context(), key, class)
	asked = true
	return a, err
}

// CloseIdleConnections closes those of the transport below.
func (t *throttled) CloseIdleConnections() { rt.CloseIdle(t.next) }
