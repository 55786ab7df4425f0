package hedge

import (
	"context"
	"net/http"
	"time"

	"github.com/failsoft/failsoft/internal/attempt"
)

// Override is what one call does differently from its Hedger's Config. Zero fields
// keep what the Config says, and so do values that a Config could not have.
type Override struct {
	// Delay is as in Config. What it starts is bounded by Percent and Budget as
	// ever; but with AtOnce, which is meant to hedge every call, by Budget only.
	Delay time.Duration

	// MaxAttempts is as in Config; 1 sends the call once.
	MaxAttempts int

	// Repeatable says that this request may reach the server more than once,
	// whatever its method.
	Repeatable bool

	_ struct{}
}

type overrideKey struct{}

// With returns a context under which calls follow o. Of nested overrides the
// innermost counts, as a whole.
func With(ctx context.Context, o Override) context.Context {
	return context.WithValue(ctx, overrideKey{}, o)
}

// Off returns a context under which calls are sent once.
func Off(ctx context.Context) context.Context { return With(ctx, Override{MaxAttempts: 1}) }

// limits is what a call may do.
type limits struct {
	maxAttempts int
	delay       time.Duration // 0: the one that is found
	repeatable  bool
}

// limits returns what a call under ctx may do. Work that nobody waits for is not
// hedged, and neither is what is a hedge already.
func (cfg *Config) limits(ctx context.Context) limits {
	l := limits{maxAttempts: cfg.MaxAttempts, delay: cfg.Delay}
	o, _ := ctx.Value(overrideKey{}).(Override)
	if o.MaxAttempts >= 1 && o.MaxAttempts <= mostAttempts {
		l.maxAttempts = o.MaxAttempts
	}
	if o.Delay == AtOnce || o.Delay > 0 && o.Delay <= longest {
		l.delay = o.Delay
	}
	l.repeatable = o.Repeatable
	if attempt.Background(ctx) || attempt.Hedge(ctx) > 1 {
		l.maxAttempts = 1
	}
	return l
}

// Attempt returns which attempt of a call ctx belongs to, counted from 1, for
// transports and functions below a Hedger. A limiter there should let those above
// 1 have what is free, and never a place in its queue.
func Attempt(ctx context.Context) int { return attempt.Hedge(ctx) }

// RequestAttempt returns which attempt of a call a server has received, as the
// client's Hedge-Attempt header tells it (see Config.AttemptHeader): 1 without the
// header, at most 100. Clients can write what they like there, so that a low
// number must not buy anything.
func RequestAttempt(req *http.Request) int {
	return attempt.FromHeader(req.Header, attempt.HedgeHeader)
}
