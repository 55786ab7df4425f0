package breaker

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/failsoft/failsoft/internal/outcome"
	"github.com/failsoft/failsoft/internal/rw"
)

// Handler returns a handler that answers 503 with Retry-After where the circuit
// is open, and otherwise calls next and counts what it does: 5xx but 501 and
// panics are failures, what the client has left is ignored. So is 429, which
// limits one caller and must not close the door to all.
func (b *Breaker) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		key := ""
		if b.cfg.Key != nil {
			key = b.cfg.Key(req)
		}
		call, err := b.Allow(req.Context(), key)
		if err != nil {
			b.refuse(w, req, err)
			return
		}
		serve(call, next, w, req)
	})
}

// serve calls next and counts what it does. A panic goes on as it came.
func serve(call Call, next http.Handler, w http.ResponseWriter, req *http.Request) {
	judged := ByRule // until the header is written
	wrapped, seen := rw.Wrap(w, rw.Hooks{
		Header: func(status int, header http.Header) {
			// A bad answer is none to build on before the handler has returned.
			if judged = call.b.judgeStatus(status, header); judged == Success {
				call.Headers()
			}
		},
		Hijack: func() { call.DoneAs(Success) }, // what follows is no answer but a connection
	})
	returned := false
	defer func() {
		if !returned {
			call.end(result{outcome: call.ignoredOr(Failure), err: errPanicked})
		}
	}()
	next.ServeHTTP(wrapped, req)
	status := seen.Status()
	if status == 0 {
		status = http.StatusOK // net/http writes it when the handler returns
	}
	if judged == ByRule {
		judged = call.b.judgeStatus(status, w.Header())
	}
	res := result{outcome: call.ignoredOr(judged)}
	if res.outcome == Failure || res.outcome == Overload {
		res.err = &StatusError{Status: status}
		res.hint, _ = outcome.RetryAfter(w.Header(), time.Now())
	}
	returned = true
	call.end(res)
}

// ignoredOr is o, unless the client has left, after which nothing proves
// anything.
func (call Call) ignoredOr(o Outcome) Outcome {
	if errors.Is(call.ctx.Err(), context.Canceled) {
		return Ignored
	}
	return o
}

// judgeStatus says what a handler's answer counts as.
func (b *Breaker) judgeStatus(status int, header http.Header) Outcome {
	if b.cfg.Judge != nil {
		resp := &http.Response{StatusCode: status, Header: header, Body: http.NoBody}
		if judged := b.cfg.Judge(resp, nil); judged != ByRule {
			return judged
		}
	}
	if status == http.StatusTooManyRequests {
		return Ignored // a limit that works for one caller says nothing about the others
	}
	return ofStatus(status)
}

func (b *Breaker) refuse(w http.ResponseWriter, req *http.Request, err error) {
	wait, _ := outcome.Hint(err)
	if b.cfg.Refused != nil {
		rw.RefusalHeader(w.Header(), req, wait)
		b.cfg.Refused(w, req, err)
		return
	}
	rw.Refuse(w, req, http.StatusServiceUnavailable, wait, "temporarily unavailable")
}
