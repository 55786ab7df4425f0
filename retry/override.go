package retry

import (
	"context"
	"net/http"
	"time"

	"github.com/failsoft/failsoft/internal/attempt"
)

// Override is what one call does differently from its Retrier's Config. Zero
// fields keep what the Config says, and so do values that a Config could not
// have.
type Override struct {
	// MaxAttempts is as in Config; 1 sends the call once.
	MaxAttempts int

	// TryTimeout is as in Config, NoTimeout included.
	TryTimeout time.Duration

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
	tryTimeout  time.Duration // 0 is none
	repeatable  bool
}

func (cfg *Config) limits(ctx context.Context) limits {
	l := limits{maxAttempts: cfg.MaxAttempts, tryTimeout: cfg.TryTimeout}
	o, _ := ctx.Value(overrideKey{}).(Override)
	if o.MaxAttempts >= 1 && o.MaxAttempts <= 1000 {
		l.maxAttempts = o.MaxAttempts
	}
	if o.TryTimeout > 0 || o.TryTimeout == NoTimeout {
		l.tryTimeout = o.TryTimeout
	}
	l.tryTimeout = max(l.tryTimeout, 0)
	l.repeatable = o.Repeatable
	return l
}

// Attempt returns which attempt of a call ctx belongs to, counted from 1, for
// transports and functions below a Retrier.
func Attempt(ctx context.Context) int { return attempt.Retry(ctx) }

// RequestAttempt returns which attempt of a call a server has received, as the
// client's Retry-Attempt header tells it (see Config.AttemptHeader): 1 without
// the header, at most 100. An overloaded server that refuses retries first
// loses the least work. Clients can write what they like there, so that a low
// number must not buy anything.
func RequestAttempt(req *http.Request) int {
	return attempt.FromHeader(req.Header, attempt.RetryHeader)
}
