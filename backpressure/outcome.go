package backpressure

import (
	"context"
	"net/http"

	"github.com/failsoft/failsoft/internal/outcome"
)

// Outcome is what a finished call tells of load.
type Outcome uint8

// The outcomes.
const (
	ByRule   Outcome = iota // the package's own rule decides
	Success                 // its latency is one that calls have
	Overload                // the other side has too much to do
	Ignore                  // it says nothing: it failed quickly, or for reasons of its own
)

// String returns the outcome's name.
func (o Outcome) String() string { return name(o, "by rule", "success", "overload", "ignore") }

// judge says what became of a call to somebody else.
func (l *Limiter) judge(ctx context.Context, resp *http.Response, err error) Outcome {
	if judged := l.askJudge(ctx, resp, err); judged != ByRule {
		return judged
	}
	switch {
	case err != nil || resp == nil:
		return ofKind(outcome.OfError(ctx, err))
	case resp.StatusCode == http.StatusTooManyRequests:
		return Overload
	default:
		return ofStatus(resp.StatusCode)
	}
}

// judgeServed says what the answer of a handler tells.
func (l *Limiter) judgeServed(ctx context.Context, status int, header http.Header) Outcome {
	if l.cfg.Judge != nil {
		resp := &http.Response{StatusCode: status, Header: header, Body: http.NoBody}
		if judged := l.askJudge(ctx, resp, nil); judged != ByRule {
			return judged
		}
	}
	return ofStatus(status)
}

func (l *Limiter) judgeError(ctx context.Context, err error) Outcome {
	if judged := l.askJudgeError(ctx, err); judged != ByRule {
		return judged
	}
	return ofKind(outcome.OfError(ctx, err))
}

// askJudge asks the user's func. If it panics the call is over all the same, and tells
// nothing.
func (l *Limiter) askJudge(ctx context.Context, resp *http.Response, err error) (judged Outcome) {
	if l.cfg.Judge == nil {
		return ByRule
	}
	defer func() {
		if value := recover(); value != nil {
			judged = Ignore
			l.contain(ctx, value)
		}
	}()
	return l.cfg.Judge(resp, err)
}

func (l *Limiter) askJudgeError(ctx context.Context, err error) (judged Outcome) {
	if l.cfg.JudgeError == nil {
		return ByRule
	}
	defer func() {
		if value := recover(); value != nil {
			judged = Ignore
			l.contain(ctx, value)
		}
	}()
	return l.cfg.JudgeError(err)
}

// ofStatus is the rule for answers. 429 from a handler is a limit for one caller, and
// tells nothing of all of them together.
func ofStatus(status int) Outcome {
	switch {
	case status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		return Overload
	case status >= http.StatusBadRequest:
		return Ignore // quick failures would make the latency of calls look good
	default:
		return Success
	}
}

// ofKind is the rule for what ended with an error, or without.
func ofKind(kind outcome.Kind) Outcome {
	switch kind {
	case outcome.OK:
		return Success
	case outcome.Timeout:
		return Overload
	default:
		return Ignore
	}
}
