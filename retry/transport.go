package retry

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/internal/outcome"
	"github.com/failsoft/failsoft/internal/rt"
)

// Transport returns a RoundTripper that sends each request through next, or
// http.DefaultTransport if next is nil, as often as it takes and is allowed.
//
// The last response is handed over as it is, whatever its status. Responses
// before it are drained and closed before the wait. Bodies are sent again only
// if the request has GetBody, which http.NewRequest sets for the usual readers.
// Signing belongs below, so that each attempt is signed; cookies and redirects
// stay above, in http.Client.
func (r *Retrier) Transport(next http.RoundTripper) http.RoundTripper {
	return &transport{retrier: r, next: rt.Base(next)}
}

type transport struct {
	retrier *Retrier
	next    http.RoundTripper
}

// RoundTrip is the loop over the attempts: send, settle, and where it goes on,
// discard, wait, send again.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil {
		return t.next.RoundTrip(req) // which says what is wrong with it
	}
	c := t.retrier.begin(rt.CallerOf(req), t.key(req))
	defer c.letGo()
	for send := req; ; {
		resp, err := t.send(&c, send)
		res := t.result(&c, send, resp, err)
		wait, stop := c.settle(&res)
		if stop != goOn {
			return resp, c.finish(&res, stop, nil)
		}
		rt.Keep(c.Ctx, resp, c.abort())
		stop, cause := c.pause(&res, wait)
		if stop == goOn {
			send, stop, cause = t.again(&c, req)
		}
		if stop != goOn {
			return t.handOver(&c, resp, &res, stop, cause)
		}
	}
}

// key asks the user's Key. Should that panic, the body is closed, as nobody else
// will.
func (t *transport) key(req *http.Request) string {
	named := false
	defer func() {
		if !named && req.Body != nil {
			_ = req.Body.Close()
		}
	}()
	key := t.retrier.cfg.Key(req)
	named = true
	return key
}

// send makes one attempt. Without a time limit of our own there is nothing to
// watch, and the request goes down as it came.
func (t *transport) send(c *call, req *http.Request) (*http.Response, error) {
	limit := ownLimit(c.Ctx, c.begun, c.limits.tryTimeout)
	idle := max(t.retrier.cfg.BodyIdleTimeout, 0) // NoTimeout is none
	if limit == 0 && idle == 0 {
		c.try = nil
		return rt.RoundTrip(t.next, req)
	}
	c.try = newTry(req.Context(), c.begun, limit, idle)
	return c.try.roundTrip(t.next, req)
}

// result collects what there is to know of an attempt. Should a func of the
// user's panic, the response is closed, as nobody else will see it.
func (t *transport) result(c *call, sent *http.Request, resp *http.Response, err error) result {
	known := false
	defer func() {
		if !known && resp != nil {
			_ = resp.Body.Close()
		}
	}()
	cfg := &t.retrier.cfg
	res := result{err: err, host: rt.HostOf(sent, resp, err)}
	if resp != nil {
		res.status = resp.StatusCode
		res.kind = outcome.OfStatus(resp.StatusCode)
	} else {
		res.kind = outcome.OfError(c.Ctx, err)
	}
	if cfg.Judge != nil {
		res.judged = cfg.Judge(resp, err)
	}
	if isPermanent(err) {
		res.judged = Accept
	}
	if !res.final() {
		res.hint = hintOf(resp, err)
		res.replayable = rt.Replayable(sent)
		res.repeatable = cfg.Repeatable(sent)
	}
	known = true
	return res
}

// again makes the request of the next attempt, with a body of its own, and pays
// for it.
func (t *transport) again(c *call, req *http.Request) (*http.Request, Reason, error) {
	again, err := rt.Replay(c.mark(c.attempts+1), req)
	if err != nil {
		return nil, BodyLost, err
	}
	if t.retrier.cfg.AttemptHeader {
		again.Header = again.Header.Clone()
		if again.Header == nil {
			again.Header = make(http.Header)
		}
		again.Header.Set(attempt.RetryHeader, strconv.Itoa(attempt.Retry(again.Context())))
	}
	stop := c.pay()
	if stop != goOn && rt.HasBody(again) {
		_ = again.Body.Close()
	}
	return again, stop, nil
}

// handOver ends a call after its last response has been put away: the caller
// still gets it, unless it has canceled the call.
func (t *transport) handOver(
	c *call, resp *http.Response, res *result, stop Reason, cause error,
) (*http.Response, error) {
	if resp != nil && !errors.Is(cause, context.Canceled) {
		_ = c.finish(res, stop, cause) // for the event
		return resp, nil
	}
	return nil, c.finish(res, stop, cause)
}

// CloseIdleConnections closes those of the transport below.
func (t *transport) CloseIdleConnections() { rt.CloseIdle(t.next) }

// hintOf returns how long the answer, or a policy's refusal, asks to wait.
func hintOf(resp *http.Response, err error) (wait time.Duration) {
	if resp != nil {
		wait, _ = outcome.RetryAfter(resp.Header, time.Now())
		return wait
	}
	wait, _ = outcome.Hint(err)
	return wait
}
