package backpressure

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"
)

// The defaults of a ThrottleConfig.
const (
	DefaultThrottleRatio  = 2.0
	DefaultThrottleWindow = 3 * time.Second
	DefaultMaxPause       = 30 * time.Second
)

// ThrottleConfig says when a client holds its requests back. The zero ThrottleConfig
// is the default, meant for production.
type ThrottleConfig struct {
	// Key names whose refusals are counted together. Nil means the host, req.URL.Host.
	// If it panics, it is the host, too.
	Key func(*http.Request) string `json:"-"`

	// Class says how much a request matters: each class is counted by itself, as a
	// server refuses the lesser ones first. It should be that of the server, for which
	// the same func may do: of requests that are all of one class here, those are held
	// back as well that the server would let in, because it refuses others. Nil means
	// what the context says, see
	// WithClass, which is Default if it says nothing; also if it panics. What is marked
	// as work that nobody waits for, such as the refreshes of package stale, is
	// Background in any case.
	Class func(*http.Request) Class `json:"-"`

	// Judge says what an answer or error is; Overload is a refusal, Success is none,
	// Ignore does not count. Nil, or ByRule, means: 429 and 503 are refusals,
	// timeouts, too, and errors with a RetryAfter method; what never reached the server
	// and what the caller has left do not count; the rest are none.
	Judge func(*http.Response, error) Outcome `json:"-"`

	// JudgeError is Judge for Run.
	JudgeError func(error) Outcome `json:"-"`

	// Ratio is how many requests are made for each that is accepted, from 1.1 to 100.
	// Less spares the server more and needs longer to find out that it is well again.
	// Zero means 2.
	Ratio float64

	// Window is how long requests and answers are remembered: the time constant of an
	// exponential decay, from 100 ms to an hour. Zero means 3 s.
	Window time.Duration

	// MaxPause bounds how long the server's Retry-After is heeded for all requests,
	// which is done only if at least nine of ten answers were refusals, out of at
	// least twenty, and only for as long as they are: one request in twenty goes on
	// asking. Zero means 30 s; or Off, to never do so.
	MaxPause time.Duration

	// MaxKeys bounds the keys of each class. Zero means 1024. Past it, those that have
	// asked nothing for a while give way; if there is none, new keys are counted
	// together.
	MaxKeys int

	// Observe is told of refusals, and of panics in Key and Class. Nil means nobody is.
	Observe func(ctx context.Context, e Event) `json:"-"`

	_ struct{}
}

// mostKeys bounds MaxKeys.
const mostKeys = 100_000_000

// complete replaces every zero by its default and returns everything that is wrong
// with cfg.
func (cfg *ThrottleConfig) complete() error {
	cfg.Ratio = cmp.Or(cfg.Ratio, DefaultThrottleRatio)
	cfg.Window = cmp.Or(cfg.Window, DefaultThrottleWindow)
	cfg.MaxPause = cmp.Or(cfg.MaxPause, DefaultMaxPause)
	cfg.MaxKeys = cmp.Or(cfg.MaxKeys, DefaultMaxKeys)
	var wrong []error
	if !(cfg.Ratio >= 1.1 && cfg.Ratio <= 100) { // NaN is neither
		wrong = append(wrong, bad("ThrottleConfig.Ratio is %v, not from 1.1 to 100", cfg.Ratio))
	}
	if cfg.Window < 100*time.Millisecond || cfg.Window > longest {
		wrong = append(wrong, bad("ThrottleConfig.Window is %v, not from 100ms to %v", cfg.Window, longest))
	}
	if pause := cfg.MaxPause; pause != Off && (pause <= 0 || pause > longest) {
		wrong = append(wrong, bad("ThrottleConfig.MaxPause is %v, not above 0 and at most %v, nor Off", pause, longest))
	}
	if cfg.MaxKeys < 1 || cfg.MaxKeys > mostKeys {
		wrong = append(wrong, bad("ThrottleConfig.MaxKeys is %d, not from 1 to %d", cfg.MaxKeys, mostKeys))
	}
	return errors.Join(wrong...)
}
