package stale

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/failsoft/failsoft/internal/outcome"
	"github.com/failsoft/failsoft/stale/internal/policy"
)

// sink is where the body of an answer goes: into fill, to the leader alone, or,
// where it is zero, nowhere.
type sink struct {
	fill   *fill
	leader *landing // what the door completes and publishes
}

// headers takes the status and the header of an answer, which belong to the flight
// from here on, and says what is to become of the body.
func (fl *flight) headers(status int, header http.Header) sink {
	if fl.ctx.Err() != nil && !fl.inline {
		fl.fail(context.Cause(fl.ctx), nil) // a handler that returns when it is canceled has not meant 200
		return sink{}
	}
	now := time.Now()
	res := landing{status: status, header: header, at: now}
	if status == http.StatusNotModified && fl.sentConditions() {
		if !fl.renewed(&res) {
			fl.again, fl.x.whole = true, true
			return sink{}
		}
		fl.publish(res)
		return sink{}
	}
	method, asked := fl.x.asOf()
	res.terms = policy.Read(fl.x.role.rules, method, asked, status, header, fl.begun, now)
	if !isCanonical(header) { // what it says may be said under a name that nobody here looks for
		res.terms.Reason = policy.Malformed
	}
	if res.kind = fl.c.judge(fl, status, header); res.kind != outcome.OK && !fl.meant(&res) {
		return fl.trouble(res)
	}
	fl.c.latency.learn(fl.x.host(), now.Sub(fl.begun))
	if body := fl.keep(&res); body != nil {
		fl.publish(res)
		return sink{fill: body}
	}
	fl.c.forgive(fl)
	fl.heard(&res)
	res.fate = private
	fl.c.notKept(fl, &res)
	return fl.handOver(res)
}

// judge says what an answer of the origin tells of it: OK, ServerError for a
// failure, Throttled and Refused for what says nothing of the next request.
func (c *Cache) judge(fl *flight, status int, header http.Header) outcome.Kind {
	switch {
	case fl.answer.Refused() && status >= http.StatusBadRequest:
		return outcome.Refused // below, it was part of something that the handler could do without
	case status == http.StatusNotModified && !fl.inline:
		return outcome.ServerError // nobody asked for that
	case status == http.StatusTooManyRequests:
		return outcome.Throttled
	case c.isFailure(fl.x.req, status, header):
		return outcome.ServerError
	default:
		return outcome.OK
	}
}

// isFailure reports whether an answer is worse than an old one.
func (c *Cache) isFailure(req *http.Request, status int, header http.Header) bool {
	switch status {
	case http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return c.cfg.ErrorWhen != nil && c.guarded(req.Context(), "ErrorWhen", false, func() bool {
		return c.cfg.ErrorWhen(&http.Response{
			Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status,
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: header, Body: http.NoBody, ContentLength: -1, Request: req,
		})
	})
}

// sentConditions reports whether the flight has asked the origin if what is stored
// still holds. A request alongside asks what its client wants to know.
func (fl *flight) sentConditions() bool { return !fl.inline && fl.x.validates() }

// renewed takes a 304: the stored response holds again, with the fields of the new
// header. It is not if the 304 is about something else.
func (fl *flight) renewed(res *landing) bool {
	x := fl.x
	if !policy.SameRepresentation(x.stored.Header, res.header) {
		return false
	}
	res.fate = renewed
	fl.c.latency.learn(x.host(), res.at.Sub(fl.begun))
	fl.c.forgive(fl)
	res.entry = fl.c.renew(fl, res.header, res.at)
	return true
}

// keep begins to store a response, if that is allowed and there is room. One that
// the Store will not take, as it is down, can be read along with all the same.
func (fl *flight) keep(res *landing) *fill {
	if res.terms.Reason != policy.None || isLive(res.header) {
		return nil
	}
	body := newFill(&fl.c.reserve, fl.c.cfg.MaxObject, lengthOf(res.header))
	if !body.kept {
		return nil
	}
	res.header = clipped(res.header) // shared by all who read along
	res.fate, res.fill, res.asked = landed, body, fl.x.asked(res.terms.Vary)
	if !fl.inline {
		body.unread = fl.deserted
	}
	res.read = body.follow() // closed by publish if the leader has left
	return body
}

// isLive reports whether a response is a stream of events, which is for who is there
// when they happen, whatever it says of its lifetime.
func isLive(header http.Header) bool {
	kind := strings.ToLower(header.Get("Content-Type"))
	return strings.HasPrefix(kind, "text/event-stream") || strings.HasPrefix(kind, "multipart/x-mixed-replace")
}

// lengthOf is the length of the body that a header announces, or -1.
func lengthOf(header http.Header) int64 {
	length, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64)
	if err != nil || length < 0 {
		return -1
	}
	return length
}

// meant reports whether a failure is one that the origin itself wants to be kept for
// a while, and nothing better is there that it would take the place of.
func (fl *flight) meant(res *landing) bool {
	better := fl.x.stored != nil && (fl.x.verdict.OnError || fl.x.verdict.Use != policy.Validate)
	return res.kind == outcome.ServerError && res.terms.Reason == policy.None &&
		res.terms.Lifetime > res.terms.Age && !res.terms.Heuristic && !better
}

// trouble takes an answer that tells of a failure. The leader gets it if there is
// nothing older for it.
func (fl *flight) trouble(res landing) sink {
	res.fate = failed
	fl.c.failed(fl, res.kind, res.status, nil)
	if res.kind != outcome.Throttled && fl.x.onError() {
		fl.publish(res)
		return sink{}
	}
	return fl.handOver(res)
}

// handOver gives the answer to the leader alone, if it is still there.
func (fl *flight) handOver(res landing) sink {
	if !fl.attach() {
		fl.publish(res)
		fl.cancel(nil)
		return sink{}
	}
	return sink{leader: &res}
}

// fail ends a flight without an answer.
func (fl *flight) fail(err error, down *crash) {
	kind := outcome.OfError(fl.ctx, err)
	fl.c.failed(fl, kind, 0, err)
	fl.publish(landing{fate: failed, err: err, crash: down, kind: kind, at: time.Now()})
}

// end ends the body of an answer, and stores the answer if all of it is there.
func (fl *flight) end(trailer http.Header, err error) {
	if err == nil && fl.ctx.Err() != nil {
		err = context.Cause(fl.ctx)
	}
	body := fl.res.fill
	switch {
	case body.isEnded():
	case fl.c.store.local: // who has read all of it and asks again finds it stored, or what kept it from that
		fl.settle(trailer, err)
		fl.c.leave(fl)
		body.end(err, trailer)
	default:
		if err != nil || fl.answer.Degraded() {
			fl.c.leave(fl) // first, or who asks when it is over could get this yet
		}
		body.end(err, trailer)
		fl.settle(trailer, err)
	}
	fl.deliver()
}

// settle stores an answer whose body has ended well, or says why not.
func (fl *flight) settle(trailer http.Header, err error) {
	body, kept := fl.res.fill.whole()
	unread := errors.Is(err, errUnread) || fl.res.fill.isAbandoned() // which is no failure of the origin's
	switch {
	case fl.res.fate != landed:
		return
	case err != nil && !unread:
		fl.c.failed(fl, outcome.OfError(fl.ctx, err), 0, err)
		return
	case err == nil:
		fl.c.forgive(fl)
	}
	switch why, lasting := fl.unfit(kept, unread); why {
	case "":
		fl.c.commit(fl, body, trailer)
	default:
		fl.c.notStored(fl, why, lasting)
	}
}

// unfit says why a body that has ended well, or was not read to its end, is not
// stored, and whether that is so for the next one, too.
func (fl *flight) unfit(kept, unread bool) (why string, lasting bool) {
	switch {
	case fl.res.fill.isTooLarge():
		return tooLarge, true
	case unread:
		return "unread", false
	case !kept:
		return noRoom, false
	case !fl.held:
		return "store-failed", false
	case fl.answer.Degraded():
		return "degraded", false
	default:
		return "", false
	}
}
