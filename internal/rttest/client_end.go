package rttest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing/synctest"
	"time"
)

// bodyOutlivesTheCall: http.Transport ties a response body to the context of its request, so that a
// policy which cancels an attempt when RoundTrip returns hands out a body that cannot be read.
func bodyOutlivesTheCall(tb TB, p policy) {
	for _, s := range scenarios() {
		tb := in(tb, "%s", s.name)
		b := newBase(s.script)
		res := call(tb, p.over(b), newRequest(newCaller(), tb, http.MethodGet))
		if res.err != nil {
			continue
		}
		time.Sleep(time.Hour)
		res.checkAnswer(tb, res.resp.StatusCode)
	}
}

// contextsEndWithTheBody: reading to the end must do, as Close must, because callers forget one or
// the other; and where there is no body, callers forget both.
func contextsEndWithTheBody(tb TB, p policy) {
	empty := func(t *trip) (*http.Response, error) { return t.respond(http.StatusOK, 0, nil), nil }
	cases := append(scenarios(),
		scenario{"no body", empty},
		scenario{"error then no body", first(fail(errBase), empty)},
		scenario{"slow then no body", first(slowly(empty), empty)},
	)
	uses := map[string]func(io.ReadCloser){
		"read":   func(body io.ReadCloser) { _, _ = io.Copy(io.Discard, body) },
		"closed": func(body io.ReadCloser) { _ = body.Close() },
	}
	for _, s := range cases {
		for use, end := range uses {
			tb := in(tb, "%s, body %s", s.name, use)
			ctx := newCaller()
			res := call(tb, p.over(newBase(s.script)), newRequest(ctx, tb, http.MethodGet))
			if res.resp != nil && res.resp.Body != http.NoBody {
				end(res.resp.Body)
			}
			ctx.checkReleased(tb)
			res.drop()
		}
	}
}

// contextsEndWithFailure: there is no body to wait for.
func contextsEndWithFailure(tb TB, p policy) {
	for _, s := range scenarios() {
		tb := in(tb, "%s", s.name)
		ctx := newCaller()
		b := newBase(s.script)
		res := call(tb, p.over(b), newRequest(ctx, tb, http.MethodGet))
		res.drop()
		if res.err != nil {
			ctx.checkReleased(tb)
			p.checkSettled(tb, b)
		}
	}
}

// ending is a way in which a caller leaves.
type ending struct {
	name string
	is   error // Nil where the context does not end; net/http promises no particular error then.
	// arrange makes the caller leave after a while; 0 is at once.
	arrange func(req *http.Request, after time.Duration) *http.Request
}

func endings() []ending {
	return []ending{
		{"context canceled", context.Canceled, func(req *http.Request, after time.Duration) *http.Request {
			ctx, cancel := context.WithCancel(req.Context())
			leave(cancel, after)
			return req.WithContext(ctx)
		}},
		{"deadline", context.DeadlineExceeded, func(req *http.Request, after time.Duration) *http.Request {
			ctx, cancel := context.WithTimeout(req.Context(), after)
			leave(cancel, after+time.Hour) // Frees the context; it is over by then.
			return req.WithContext(ctx)
		}},
		{"Request.Cancel", nil, func(req *http.Request, after time.Duration) *http.Request {
			gone := make(chan struct{})
			leave(func() { close(gone) }, after)
			req.Cancel = gone //nolint:staticcheck // http.Client.Timeout still closes it.
			return req
		}},
	}
}

func leave(fn func(), after time.Duration) {
	if after <= 0 {
		fn()
		return
	}
	time.AfterFunc(after, fn)
}

// checkPrompt reports a call that lasted longer than its caller stayed, or that ended for the wrong
// reason. The instant is exact: time is virtual.
func (e ending) checkPrompt(ctx context.Context, tb TB, res result, after time.Duration) {
	tb.Helper()
	if res.took > after {
		tb.Errorf("the call took %v, its caller left after %v", res.took, after)
	}
	e.checkReason(ctx, tb, res.err)
}

// checkReason reports an error that does not say that the caller left, if he did by his context.
func (e ending) checkReason(ctx context.Context, tb TB, err error) {
	tb.Helper()
	if err != nil && ctx.Err() != nil && !errors.Is(err, e.is) {
		tb.Errorf("the error is %q, want %q", err, e.is)
	}
}

// cancelDuringAttempt: the base returns at the instant when its caller leaves, and so must the call.
func cancelDuringAttempt(tb TB, p policy) {
	for _, end := range endings() {
		tb := in(tb, "%s", end.name)
		req := end.arrange(newRequest(newCaller(), tb, http.MethodGet), time.Second)
		res := call(tb, p.over(newBase(slowly(answer(http.StatusOK)))), req)
		if res.drop(); res.err == nil {
			tb.Errorf("no error")
		}
		end.checkPrompt(req.Context(), tb, res, time.Second)
	}
}

// cancelBetweenAttempts leaves a nanosecond after the first attempt: in the midst of a backoff, or
// in the second attempt where there is none. A policy may also have returned before.
func cancelBetweenAttempts(tb TB, p policy) {
	hang := slowly(answer(http.StatusOK))
	cases := []scenario{
		{"503", first(answer(http.StatusServiceUnavailable), hang)},
		{"error", first(fail(errBase), hang)},
	}
	for _, s := range cases {
		for _, end := range endings() {
			tb := in(tb, "%s, %s", s.name, end.name)
			req := end.arrange(newRequest(newCaller(), tb, http.MethodGet), time.Nanosecond)
			res := call(tb, p.over(newBase(s.script)), req)
			end.checkPrompt(req.Context(), tb, res, time.Nanosecond)
			res.drop()
		}
	}
}

// cancelWhileDiscarding leaves before the 50 ms are over that a stalled body is given.
func cancelWhileDiscarding(tb TB, p policy) {
	const after = 10 * time.Millisecond

	for _, end := range endings() {
		tb := in(tb, "%s", end.name)
		s := first(flowing(http.StatusServiceUnavailable, stalled()), slowly(answer(http.StatusOK)))
		req := end.arrange(newRequest(newCaller(), tb, http.MethodGet), after)
		res := call(tb, p.over(newBase(s)), req)
		end.checkPrompt(req.Context(), tb, res, after)
		res.drop()
	}
}

// cancelBehindAnotherCall: a caller may leave a queue, or what else one call holds up another with.
func cancelBehindAnotherCall(tb TB, p policy) {
	for _, end := range endings() {
		tb := in(tb, "%s", end.name)
		rt := p.over(newBase(slowly(answer(http.StatusOK))))
		other := make(chan result, 1)
		ahead := newRequest(newCaller(), tb, http.MethodGet)
		go func() { other <- observe(rt, ahead) }()
		synctest.Wait()

		req := end.arrange(newRequest(newCaller(), tb, http.MethodPut), time.Second)
		res := call(tb, rt, req)
		res.drop()
		end.checkPrompt(req.Context(), tb, res, time.Second)
		(<-other).drop()
	}
}

// cancelWhileReading: a caller who leaves while the answer comes in is not to be kept either.
func cancelWhileReading(tb TB, p policy) {
	for _, end := range endings() {
		tb := in(tb, "%s", end.name)
		begin := time.Now()
		req := end.arrange(newRequest(newCaller(), tb, http.MethodGet), time.Second)
		res := call(tb, p.over(newBase(flowing(http.StatusOK, stalled()))), req)
		if res.err != nil {
			tb.Fatalf("no response: %v", res.err)
		}
		_, err := io.Copy(io.Discard, res.resp.Body)
		if took := time.Since(begin); err == nil || took != time.Second {
			tb.Errorf("the body ended after %v with %v, want an error at the end of its caller", took, err)
		}
		end.checkReason(req.Context(), tb, err)
		res.drop()
	}
}

// noAttemptAfterTheEnd: nobody would see its answer, and the server has enough to do.
func noAttemptAfterTheEnd(tb TB, p policy) {
	cases := append(scenarios(), scenario{"all slow", slowly(answer(http.StatusOK))})

	for _, s := range cases {
		for _, end := range endings() {
			for _, after := range []time.Duration{time.Nanosecond, time.Second} {
				tb := in(tb, "%s, %s after %v", s.name, end.name, after)
				b := newBase(s.script)
				req := end.arrange(newRequest(newCaller(), tb, http.MethodGet), after)
				call(tb, p.over(b), req).drop()
				time.Sleep(time.Minute)

				for _, t := range b.seen() {
					if t.n > 1 && t.tooLate && !p.multiple { // which may be on its way to the base by then
						tb.Errorf("attempt %d started when the caller had left", t.n)
					}
				}
			}
		}
	}
}
