package backpressure

import (
	"context"
	"net/http"
	"time"

	"github.com/failsoft/failsoft/internal/outcome"
	"github.com/failsoft/failsoft/internal/rt"
)

// Transport returns a RoundTripper that sends those requests through next, or
// http.DefaultTransport if next is nil, that are not held back. The error of one that
// is, is a *LimitedError: retry waits for as long as it says, and breaker does not
// count it. It belongs inside of retry and hedge, so that it sees attempts, and outside
// of Rate and Limiter; see "Order".
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
	t.settle(a, req, resp, err)
	return resp, err
}

// settle counts what became of a request. Should the user's Judge panic, the response
// is closed, as nobody else will see it.
func (t *throttled) settle(a Attempt, req *http.Request, resp *http.Response, err error) {
	judged := false
	defer func() {
		if !judged && resp != nil {
			_ = resp.Body.Close()
		}
	}()
	is := t.throttle.judge(req.Context(), resp, err)
	judged = true
	var wait time.Duration
	if resp != nil {
		wait, _ = outcome.RetryAfter(resp.Header, time.Now())
	} else {
		wait, _ = outcome.Hint(err)
	}
	a.settle(is, wait)
}

// enter asks whether a request may go. Should a func of the user's end the goroutine,
// the body is closed, as nobody else will.
func (t *throttled) enter(req *http.Request) (a Attempt, err error) {
	asked := false
	defer func() {
		if !asked && req.Body != nil {
			_ = req.Body.Close()
		}
	}()
	a, err = t.throttle.Allow(req.Context(), t.throttle.key(req), t.throttle.class(req))
	asked = true
	return a, err
}

func (t *Throttle) key(req *http.Request) (key string) {
	key = req.URL.Host
	if t.cfg.Key != nil {
		defer func() { t.contain(req.Context(), recover()) }()
		key = t.cfg.Key(req)
	}
	return key
}

func (t *Throttle) class(req *http.Request) (class Class) {
	class = ClassOf(req.Context())
	if t.cfg.Class != nil {
		defer func() { t.contain(req.Context(), recover()) }()
		class = t.cfg.Class(req)
	}
	return class
}

// contain tells of a panic in a func of the user's, which has said nothing then.
func (t *Throttle) contain(ctx context.Context, value any) {
	if value != nil {
		t.tell(ctx, Event{Kind: Panicked, Err: bad("a func of the ThrottleConfig panicked: %v", value)})
	}
}

// CloseIdleConnections closes those of the transport below.
func (t *throttled) CloseIdleConnections() { rt.CloseIdle(t.next) }
