package breaker

import (
	"net/http"

	"github.com/failsoft/failsoft/internal/outcome"
)

// Outcome is what a call counts as.
type Outcome uint8

// The outcomes.
const (
	ByRule   Outcome = iota // from a Judge: as the rules of this package say
	Success                 // good, and in time
	Failure                 // what opens circuits
	Slow                    // good, but later than Rules.SlowAfter
	Overload                // 429: the server asks for less
	Ignored                 // proves nothing, such as a call that its caller canceled
)

// String returns the outcome's name.
func (o Outcome) String() string {
	return name(o, "by rule", "success", "failure", "slow", "overload", "ignored")
}

// judge says what a response or a transport error counts as. The caller's end
// is judged by the context, never by the error. An end by a timeout counts as
// a failure, unless the caller gave the call less time than would be slow: an
// impatient caller proves nothing.
func (b *Breaker) judge(call Call, resp *http.Response, err error) Outcome {
	kind := outcome.Of(call.ctx, resp, err)
	if neutral(call, kind) {
		return Ignored
	}
	if b.cfg.Judge != nil {
		if judged := b.cfg.Judge(resp, err); judged != ByRule {
			return judged
		}
	}
	if err == nil && resp != nil {
		return ofStatus(resp.StatusCode)
	}
	return ofKind(kind)
}

// ofStatus says what an answer counts as. 501 says that the server cannot, not
// that it is in trouble.
func ofStatus(status int) Outcome {
	if status == http.StatusNotImplemented {
		return Success
	}
	return ofKind(outcome.OfStatus(status))
}

// judgeError says what the error of a function counts as.
func (b *Breaker) judgeError(call Call, err error) Outcome {
	kind := outcome.OfError(call.ctx, err)
	if neutral(call, kind) {
		return Ignored
	}
	if b.cfg.JudgeError != nil {
		if judged := b.cfg.JudgeError(err); judged != ByRule {
			return judged
		}
	}
	return ofKind(kind)
}

func ofKind(kind outcome.Kind) Outcome {
	switch kind {
	case outcome.OK, outcome.ClientError:
		return Success
	case outcome.Throttled:
		return Overload
	case outcome.Canceled, outcome.Refused:
		return Ignored
	case outcome.ServerError, outcome.Timeout, outcome.Unsent, outcome.Broken:
		return Failure
	default:
		return Failure
	}
}

// neutral reports whether a call proves nothing because of how it ended.
func neutral(call Call, kind outcome.Kind) bool {
	switch kind {
	case outcome.Canceled:
		return true
	case outcome.Timeout:
		return call.ctx.Err() != nil && call.impatient()
	default:
		return false
	}
}
