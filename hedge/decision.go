package hedge

import (
	"net/http"
	"time"

	"github.com/failsoft/failsoft/internal/outcome"
)

// verdict is what becomes of an attempt's answer.
type verdict uint8

const (
	unjudged verdict = iota // it came when the call was over, or has crashed
	accepted                // it is the call's answer
	hopeless                // it loses to any other, but another attempt would not help
	failed                  // it loses to any other, and another attempt is made at once
)

// facts is what there is to know of an attempt that came back.
type facts struct {
	kind   outcome.Kind
	status int
	judged Outcome
	hint   time.Duration // how long the server asks to wait
	hinted bool          // by a Retry-After
}

// verdict is the rule of the package, which a Judge may overrule.
func (f *facts) verdict() verdict {
	switch f.judged {
	case Accept:
		return accepted
	case Fail:
		return failed
	case ByRule:
	}
	switch f.kind {
	case outcome.OK, outcome.ClientError:
		return accepted
	case outcome.Throttled, outcome.Canceled, outcome.Refused:
		return hopeless
	case outcome.ServerError:
		return ofServerError(f.status)
	default:
		return failed
	}
}

// ofServerError: 501 is an answer, 500 most often a fault that every host has.
func ofServerError(status int) verdict {
	switch status {
	case http.StatusNotImplemented:
		return accepted
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return failed
	default:
		return hopeless
	}
}

// pushesBack reports whether the server asks for less load.
func (f *facts) pushesBack() bool {
	return f.kind == outcome.Throttled || f.hinted && f.kind != outcome.Refused &&
		(f.status == 0 || f.status == http.StatusServiceUnavailable)
}

// tellsOfLoad reports whether an attempt says anything of the state of the server:
// those that never reached it do not, and neither do those that were canceled.
func (f *facts) tellsOfLoad() bool {
	return f.kind != outcome.Unsent && f.kind != outcome.Refused && f.kind != outcome.Canceled
}

// learn tells the gate of an attempt that came back.
func (g *gate) learn(f *facts, now int64) {
	if f.pushesBack() {
		g.push(now, f.hint)
	}
	if f.tellsOfLoad() {
		g.attempted(f.verdict() != accepted)
	}
}
