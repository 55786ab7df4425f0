package retry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/failsoft/failsoft/budget"
)

// Named durations that switch a wait or a limit off.
const (
	// Immediately is a Config.BaseDelay by which the next attempt is sent
	// without waiting: for short timeouts and another host, not for a host that
	// is overloaded. A Retry-After is still waited for.
	Immediately time.Duration = -1

	// NoTimeout is a TryTimeout by which an attempt may take as long as its
	// caller has.
	NoTimeout time.Duration = -1
)

// The defaults of a Config.
const (
	DefaultMaxAttempts   = 3
	DefaultTryTimeout    = 5 * time.Second
	DefaultBaseDelay     = 50 * time.Millisecond
	DefaultMaxDelay      = 2 * time.Second
	DefaultMaxRetryAfter = 5 * time.Second
)

// longest is the longest wait that can be asked for: far above what makes
// sense, far below what overflows.
const longest = 24 * time.Hour

// Outcome is what a Judge makes of an attempt.
type Outcome uint8

// The outcomes that a Judge can tell.
const (
	ByRule Outcome = iota // as the rules of this package say
	Accept                // the caller gets it, good or bad
	Again                 // worth another attempt, if all else allows one
)

// String returns the outcome's name.
func (o Outcome) String() string { return name(o, "by rule", "accept", "again") }

// Config says what is tried again, how often, and when. The zero Config is the
// default, meant for production. To read one from a file, decode into a struct of
// your own, in which durations are text: see the example.
type Config struct {
	// Key names what a request draws its budget from. Nil means the host,
	// req.URL.Host.
	Key func(*http.Request) string `json:"-"`

	// Judge overrides, per attempt, what is worth another one. It must not read
	// the body. Nil, or ByRule, means: 429, 502, 503, 504, timeouts and errors
	// of the transport. A Judge does not make a request safe to repeat, that is
	// for Repeatable, and does not overrule Permanent.
	Judge func(*http.Response, error) Outcome `json:"-"`

	// JudgeError is Judge for Do and Run. Nil, or ByRule, means: every error but
	// a Permanent one and a refusal that gives no hint when to come back.
	JudgeError func(error) Outcome `json:"-"`

	// Repeatable says which requests may reach the server more than once. Nil
	// means Idempotent. Where it says no, only what provably was not sent is
	// sent again.
	Repeatable func(*http.Request) bool `json:"-"`

	// MaxAttempts is the most often that a call is sent, the first time
	// included. Zero means 3; from 1 (never again) to 1000.
	MaxAttempts int

	// Budget pays for attempts after the first. Nil means one of this Retrier's
	// own, budget.Config{}: a tenth of the requests, and at least one per second
	// for each key.
	Budget *budget.Budget `json:"-"`

	// TryTimeout is how long an attempt may take to the response headers, sending
	// the body included, and how long one call of a function may take. A caller
	// with less time left shortens it. It also ends the repeats that net/http
	// makes of itself inside one RoundTrip, up to 63 s over HTTP/2. Zero means 5 s;
	// or NoTimeout, for slow uploads above all.
	//
	// It does not divide the caller's time: behind an http.Client.Timeout of 5 s
	// or less the default never comes to bear, and an attempt that hangs is the
	// only one. Set it to about a third of that.
	//
	// Those below see it as their context's deadline until the headers are there,
	// and its end as a cancellation with a *TimeoutError as its context.Cause.
	// Beware that the context package takes no deadline that is later than one
	// it sees: a layer below that sets one of its own for the whole exchange must
	// set less than TryTimeout, or stand outside of the Retrier. BodyIdleTimeout
	// is the limit to use for bodies.
	TryTimeout time.Duration

	// BodyIdleTimeout is how long a Read of the final response's body may block.
	// The attempt is not repeated then, the Read fails with a *TimeoutError.
	// Zero, or NoTimeout, means as long as the caller has. It does not apply to
	// upgraded connections.
	BodyIdleTimeout time.Duration

	// BaseDelay is the bound of the first wait; each further one doubles it.
	// Zero means 50 ms; or Immediately.
	BaseDelay time.Duration

	// MaxDelay bounds all waits but those that the server asks for. Zero means
	// 2 s, or BaseDelay where that is longer. At most 24 h.
	MaxDelay time.Duration

	// Jitter is how a wait is drawn below its bound. Zero means FullJitter.
	Jitter Jitter

	// MaxRetryAfter is the longest Retry-After that is waited for, be it a
	// server's or one of our own policies'. What asks for more, or for more than
	// the caller has left, is handed over at once. Zero means 5 s; at most 24 h.
	MaxRetryAfter time.Duration

	// AttemptHeader tells the server the number of the attempt, from the second
	// one on, in a Retry-Attempt header. Read it there with RequestAttempt.
	AttemptHeader bool

	// Observe is told what happens; see Event. Nil means nobody is.
	Observe func(ctx context.Context, e Event) `json:"-"`

	_ struct{}
}

// complete replaces every zero by its default and returns everything that is
// wrong with cfg.
func (cfg *Config) complete() error {
	if cfg.Key == nil {
		cfg.Key = func(req *http.Request) string { return req.URL.Host }
	}
	if cfg.Repeatable == nil {
		cfg.Repeatable = Idempotent
	}
	cfg.MaxAttempts = cmp.Or(cfg.MaxAttempts, DefaultMaxAttempts)
	cfg.TryTimeout = cmp.Or(cfg.TryTimeout, DefaultTryTimeout)
	cfg.BaseDelay = cmp.Or(cfg.BaseDelay, DefaultBaseDelay)
	cfg.MaxDelay = cmp.Or(cfg.MaxDelay, max(DefaultMaxDelay, cfg.BaseDelay))
	cfg.MaxRetryAfter = cmp.Or(cfg.MaxRetryAfter, DefaultMaxRetryAfter)
	if err := cfg.validate(); err != nil {
		return err
	}
	if cfg.Budget == nil {
		cfg.Budget = budget.MustNew(budget.Config{})
	}
	return nil
}

func (cfg *Config) validate() error {
	var wrong []error
	bad := func(format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("retry: Config."+format, args...))
	}
	if cfg.MaxAttempts < 1 || cfg.MaxAttempts > 1000 {
		bad("MaxAttempts is %d, not from 1 to 1000", cfg.MaxAttempts)
	}
	if cfg.TryTimeout < 0 && cfg.TryTimeout != NoTimeout {
		bad("TryTimeout is %v, neither positive nor NoTimeout", cfg.TryTimeout)
	}
	if cfg.BodyIdleTimeout < 0 && cfg.BodyIdleTimeout != NoTimeout {
		bad("BodyIdleTimeout is %v, neither positive nor NoTimeout", cfg.BodyIdleTimeout)
	}
	if cfg.BaseDelay > longest || cfg.BaseDelay < 0 && cfg.BaseDelay != Immediately {
		bad("BaseDelay is %v, neither positive, up to 24h, nor Immediately", cfg.BaseDelay)
	}
	if cfg.MaxDelay < 0 || cfg.MaxDelay > longest {
		bad("MaxDelay is %v, not from 0 to 24h", cfg.MaxDelay)
	} else if cfg.MaxDelay < cfg.BaseDelay {
		bad("MaxDelay of %v is below BaseDelay of %v", cfg.MaxDelay, cfg.BaseDelay)
	}
	if cfg.Jitter > DecorrelatedJitter {
		bad("Jitter is %d, neither FullJitter nor DecorrelatedJitter", cfg.Jitter)
	}
	if cfg.Jitter == DecorrelatedJitter && cfg.BaseDelay == Immediately {
		bad("Jitter is DecorrelatedJitter, but BaseDelay is Immediately: there is no wait to draw")
	}
	if cfg.MaxRetryAfter < 0 || cfg.MaxRetryAfter > longest {
		bad("MaxRetryAfter is %v, not from 0 to 24h", cfg.MaxRetryAfter)
	}
	return errors.Join(wrong...)
}
