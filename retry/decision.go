package retry

import (
	"net/http"
	"time"

	"github.com/failsoft/failsoft/internal/outcome"
)

// facts is all that the decision about another attempt looks at.
type facts struct {
	attempts    int           // sent so far
	maxAttempts int           // that may be sent
	judged      Outcome       // what the user's Judge said
	kind        outcome.Kind  // what became of the attempt
	status      int           // of its response, or 0
	replayable  bool          // the request can be sent again
	repeatable  bool          // and the server may see it twice
	hint        time.Duration // how long it was asked to wait, or 0
	previous    time.Duration // the wait before this attempt
	now         time.Time
	deadline    time.Time // of the caller; zero is none
	u, v        float64   // evenly from [0,1)
}

// decide returns how long to wait before the next attempt, or why there is
// none. What it does not know of is the budget, which is asked last: only an
// attempt that would be made is refused.
func (cfg *Config) decide(f facts) (wait time.Duration, stop Reason) {
	switch {
	case !f.worthRepeating():
		return 0, Final
	case f.attempts >= f.maxAttempts:
		return 0, OutOfAttempts
	case !f.replayable || !f.safe():
		return 0, NotRepeatable
	case f.kind == outcome.Refused && f.hint == 0 && f.judged != Again:
		return 0, Refused
	case f.hint > cfg.MaxRetryAfter:
		return 0, RetryAfterTooLong
	}
	wait = cfg.delay(f.attempts, f.previous, f.u)
	if f.hint > 0 {
		wait = cfg.hintedDelay(f.attempts, f.previous, f.hint, f.u, f.v)
	}
	if !f.deadline.IsZero() && !f.now.Add(wait).Before(f.deadline) {
		return 0, DeadlineTooNear
	}
	return wait, goOn
}

// worthRepeating reports whether another attempt may end better.
func (f facts) worthRepeating() bool {
	if f.judged != ByRule {
		return f.judged == Again
	}
	switch f.kind {
	case outcome.Throttled, outcome.Timeout, outcome.Unsent, outcome.Broken, outcome.Refused:
		return true
	case outcome.ServerError:
		// 500 is more often a bug than a moment's trouble, 501 will not change.
		return f.status == http.StatusBadGateway ||
			f.status == http.StatusServiceUnavailable ||
			f.status == http.StatusGatewayTimeout
	case outcome.OK, outcome.ClientError, outcome.Canceled:
		return false
	default:
		return false
	}
}

// safe reports whether another attempt can do no harm: the request says so, or
// the server has not seen it.
func (f facts) safe() bool {
	return f.repeatable || f.kind == outcome.Unsent || f.kind == outcome.Refused
}

// Idempotent reports whether req may be sent more than once by the rules of
// net/http: its method is idempotent (RFC 9110, section 9.2.2: GET, HEAD,
// OPTIONS, TRACE, PUT, DELETE), or it has an Idempotency-Key or
// X-Idempotency-Key header.
func Idempotent(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace,
		http.MethodPut, http.MethodDelete:
		return true
	}
	_, key := req.Header["Idempotency-Key"]
	_, oldKey := req.Header["X-Idempotency-Key"]
	return key || oldKey
}
