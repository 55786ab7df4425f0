package checks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"time"

	"github.com/failsoft/failsoft/healthcheck"
)

// Off switches a threshold off, where one takes it.
const Off = -1

// ErrMisconfigured is what the error of a probe is to errors.Is if the probe can
// never pass as it was asked for.
var ErrMisconfigured = errors.New("checks: misconfigured")

// Probe is what every function here returns: the Probe of a healthcheck.Check.
type Probe = func(context.Context) healthcheck.Result

// wrong formats one thing that is wrong with what a probe was asked for.
func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrMisconfigured, fmt.Errorf(format, args...))
}

// misconfigured returns a probe that only says what is wrong with it.
func misconfigured(err error) Probe {
	return func(context.Context) healthcheck.Result { return failed(err, "the check is misconfigured") }
}

// passed is a result without complaint.
func passed(observed any, unit string) healthcheck.Result {
	return healthcheck.Result{Status: healthcheck.Pass, Observed: observed, Unit: unit}
}

// failed is a failure that may have a text for everybody.
func failed(err error, public string) healthcheck.Result {
	return healthcheck.Result{Status: healthcheck.Fail, Err: err, Public: public}
}

// measured is a result by what was measured. public says it in words, which matters
// if the status is not Pass: events and refusals then have them as an error.
func measured(s healthcheck.Status, observed any, unit, public string) healthcheck.Result {
	res := healthcheck.Result{Status: s, Observed: observed, Unit: unit}
	if s != healthcheck.Pass {
		res.Err, res.Public = errors.New("checks: "+public), public
	}
	return res
}

// took is a pass that tells how long it has taken.
func took(since time.Time) healthcheck.Result {
	return passed(math.Round(float64(time.Since(since).Microseconds()))/1000, "ms")
}

// unreachable is the failure of a probe that asks somebody else. Everybody is told
// what kind of failure it is; where and as whom the probe asked is in err.
func unreachable(err error) healthcheck.Result { return failed(err, kind(err)) }

func kind(err error) string {
	timeout, isNet := errors.AsType[net.Error](err)
	if errors.Is(err, context.DeadlineExceeded) || isNet && timeout.Timeout() {
		return "no answer in time"
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "the name cannot be resolved"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return "no connection"
	}
	return ""
}

// number is what thresholds are made of.
type number interface{ ~int | ~int64 | ~float64 }

// thresholds are where a measured value begins to be bad.
type thresholds[T number] struct{ warn, fail T }

// rising completes thresholds for what gets worse as it grows. A default gives way
// to the other threshold if that was given and they contradict each other.
func rising[T number](of string, warn, fail, defaultWarn, defaultFail T) (thresholds[T], error) {
	t := thresholds[T]{warn, fail}
	if warn == 0 {
		t.warn = defaultWarn
		if fail > 0 {
			t.warn = min(t.warn, fail)
		}
	}
	t.fail = cmp.Or(fail, max(defaultFail, t.warn))
	return t, errors.Join(
		t.valid(of),
		when(t.warn > t.fail && t.fail > 0, "%s.Warn is %v, above Fail, %v", of, t.warn, t.fail),
	)
}

// falling completes thresholds for what gets worse as it shrinks, likewise.
func falling[T number](of string, warn, fail, defaultWarn, defaultFail T) (thresholds[T], error) {
	t := thresholds[T]{warn, fail}
	if warn == 0 {
		t.warn = defaultWarn
		if fail > 0 {
			t.warn = max(t.warn, fail)
		}
	}
	if fail == 0 {
		t.fail = defaultFail
		if warn > 0 {
			t.fail = min(t.fail, warn)
		}
	}
	return t, errors.Join(
		t.valid(of),
		when(t.warn < t.fail && t.warn > 0, "%s.Warn is %v, below Fail, %v", of, t.warn, t.fail),
	)
}

func (t thresholds[T]) valid(of string) error {
	return errors.Join(
		when(!valid(t.warn), "%s.Warn is %v", of, t.warn),
		when(!valid(t.fail), "%s.Fail is %v", of, t.fail),
	)
}

func valid[T number](v T) bool { return v >= 0 || v == Off } // NaN is neither

// atLeast returns how bad v is, if more is worse.
func (t thresholds[T]) atLeast(v T) healthcheck.Status {
	switch {
	case t.fail >= 0 && v >= t.fail:
		return healthcheck.Fail
	case t.warn >= 0 && v >= t.warn:
		return healthcheck.Warn
	default:
		return healthcheck.Pass
	}
}

// atMost returns how bad v is, if less is worse.
func (t thresholds[T]) atMost(v T) healthcheck.Status {
	switch {
	case t.fail >= 0 && v <= t.fail:
		return healthcheck.Fail
	case t.warn >= 0 && v <= t.warn:
		return healthcheck.Warn
	default:
		return healthcheck.Pass
	}
}

// when returns an error if bad.
func when(bad bool, format string, args ...any) error {
	if !bad {
		return nil
	}
	return wrong(format, args...)
}

// ratios makes sure that thresholds are parts of a whole.
func ratios(of string, t thresholds[float64]) error {
	return when(t.warn > 1 || t.fail > 1 || math.IsInf(t.warn, 0) || math.IsInf(t.fail, 0),
		"%s: %v and %v are not in (0,1]", of, t.warn, t.fail)
}

// seconds returns d as what is shown of it, with no more digits than it is worth.
func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }
