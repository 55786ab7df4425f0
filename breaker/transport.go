package breaker

import (
	"net/http"
	"time"

	"github.com/failsoft/failsoft/internal/outcome"
	"github.com/failsoft/failsoft/internal/rt"
)

// Transport returns a RoundTripper that sends each request through next, or
// http.DefaultTransport if next is nil, if the circuit of its host lets it pass.
// Where it does not, the error is an *OpenError and nothing was sent.
//
// A response counts when its body has been read to the end or closed: a body
// that breaks off is a failure, whatever its status. It belongs inside of retry
// and hedge, so that it counts attempts.
func (b *Breaker) Transport(next http.RoundTripper) http.RoundTripper {
	return &transport{breaker: b, next: rt.Base(next)}
}

type transport struct {
	breaker *Breaker
	next    http.RoundTripper
}

// RoundTrip asks, sends, and counts.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil {
		return t.next.RoundTrip(req) // which says what is wrong with it
	}
	call, err := t.enter(req)
	if err != nil {
		return nil, err
	}
	var resp *http.Response
	settled := false
	defer func() { // next, or a Judge, panicked or ended the goroutine
		if settled {
			return
		}
		call.panicked()
		if resp != nil {
			_ = resp.Body.Close()
		}
	}()
	resp, err = rt.RoundTrip(t.next, req)
	t.settle(call, resp, err)
	settled = true
	return resp, err
}

// enter asks, and closes the body of a request that is not sent, also where Key panics.
func (t *transport) enter(req *http.Request) (call Call, err error) {
	passed := false
	defer func() {
		if !passed && req.Body != nil {
			_ = req.Body.Close()
		}
	}()
	call, err = t.breaker.Allow(req.Context(), t.key(req))
	passed = err == nil
	return call, err
}

func (t *transport) key(req *http.Request) string {
	if t.breaker.cfg.Key != nil {
		return t.breaker.cfg.Key(req)
	}
	return req.URL.Host
}

// settle counts what is known by now. A good status is only a promise until the
// body has ended, except where the body is no message but a connection.
func (t *transport) settle(call Call, resp *http.Response, err error) {
	judged := t.breaker.judge(call, resp, err)
	if err != nil {
		hint, _ := outcome.Hint(err)
		call.end(result{outcome: judged, err: err, hint: hint})
		return
	}
	if judged != Success && resp != nil {
		call.Headers()
	}
	if judged != Success || !rt.Readable(resp) || resp.StatusCode == http.StatusSwitchingProtocols {
		call.end(statusResult(judged, resp))
		return
	}
	call.Headers()
	s := &settlement{call: call}
	rt.OnBodyEnd(resp, &s.body, s)
}

func statusResult(judged Outcome, resp *http.Response) result {
	res := result{outcome: judged}
	if judged == Failure || judged == Overload {
		res.err = &StatusError{Status: resp.StatusCode}
		res.hint, _ = outcome.RetryAfter(resp.Header, time.Now())
	}
	return res
}

// settlement waits for the end of a response's body.
type settlement struct {
	call Call
	body rt.Body
}

// BodyEnd counts the response.
func (s *settlement) BodyEnd(err error) {
	if err == nil {
		s.call.end(result{outcome: Success})
		return
	}
	defer s.call.panicked() // should Judge panic; otherwise the call has ended by then
	s.call.end(result{outcome: s.call.b.judge(s.call, nil, err), err: err})
}

// CloseIdleConnections closes those of the transport below.
func (t *transport) CloseIdleConnections() { rt.CloseIdle(t.next) }
