package breaker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Off switches a rule or a phase off, where a Config takes it: as a rate, a
// number or a duration.
const Off = -1

// The defaults of a Config.
const (
	DefaultWindow          = 10 * time.Second
	DefaultMaxKeys         = 1024
	DefaultMaxOpenFraction = 0.5
)

// Config says what counts, when a circuit opens, and how it closes again. The
// zero Config is the default, meant for production.
type Config struct {
	// Key names the circuit of a request. Nil means the host, req.URL.Host, on
	// the client and one circuit, "", on the server.
	Key func(*http.Request) string `json:"-"`

	// Judge says what a response (before its body has been read) or a transport
	// error counts as. Nil, or ByRule, means: errors of the transport and 5xx
	// but 501 are failures, 429 is overload, the rest are successes. What the
	// caller has ended is ignored before Judge is asked.
	Judge func(*http.Response, error) Outcome `json:"-"`

	// JudgeError is Judge for Do, Run and Call.Done. Nil, or ByRule, means: every
	// error is a failure, except refusals by policies of ours, which are ignored.
	JudgeError func(error) Outcome `json:"-"`

	// Rules say when a circuit opens and how it closes. Reconfigure changes them
	// while the Breaker works.
	Rules Rules

	// Window is the time over which rates are taken, in steps of a tenth. Zero
	// means 10 s; from 100 ms to 1 h.
	Window time.Duration

	// Probe, if set, finds out whether what failed works again, in place of
	// callers' requests: these are refused until the circuit closes. It is called
	// on a goroutine of its own, one at a time for each circuit, with a context
	// that ends after Rules.ProbeTimeout, when a call asks for a circuit whose
	// open time is over. If it ignores its context, callers' requests take its
	// place the next time. The circuit that keys beyond MaxKeys share is probed by
	// callers' requests only, as its key is no name of anything.
	Probe func(ctx context.Context, key string) error `json:"-"`

	// MaxKeys bounds the number of circuits. Zero means 1024. Past it, the one
	// unused for longest gives way if it is at rest: closed with an empty window,
	// or not called for Rules.HealAfter since it could have recovered. If none is,
	// new keys share one circuit, with the key "(overflow)" in snapshots.
	MaxKeys int

	// MaxOpenFraction is the part of all circuits, in (0,1], that may be open. If
	// more are, all let calls pass until fewer are: what fails so widely is
	// likely on this side, and refusing everything helps nobody. It counts from
	// five circuits on. Zero means 0.5; or Off, for circuits of a few services that
	// may well be down together.
	MaxOpenFraction float64

	// Refused writes the answer to a request that Handler does not let through.
	// Nil means 503 with Retry-After.
	Refused func(http.ResponseWriter, *http.Request, error) `json:"-"`

	// Observe is told what happens; see Event. Nil means nobody is.
	Observe func(ctx context.Context, e Event) `json:"-"`

	_ struct{}
}

// Rules are the thresholds of a circuit. The rules that open it are joined by
// OR, and each has a minimum of its own. Zero fields mean the defaults.
type Rules struct {
	// FailureRate opens the circuit when this part of the calls in the window,
	// in (0,1], has failed, out of at least FailureMin. Zero means 0.5 of at
	// least 20; or Off.
	FailureRate float64
	FailureMin  int

	// SlowAfter makes a call slow whose response headers took longer, or whose
	// function did. Zero means that no call is. SlowRate opens the circuit when
	// this part of the calls in the window, in (0,1], was slow, out of at least
	// SlowMin. Zero means 0.8 of at least 20. SlowBody counts the time to the end
	// of the body instead: not for streams.
	SlowAfter time.Duration
	SlowRate  float64
	SlowMin   int
	SlowBody  bool

	// OverloadRate opens the circuit when this part of the calls in the window,
	// in (0,1], was answered with 429, out of at least OverloadMin. Zero means
	// 0.5 of at least 20; or Off.
	OverloadRate float64
	OverloadMin  int

	// Consecutive opens the circuit after so many failures with no success in
	// between, however far apart. Zero means 10; or Off.
	Consecutive int

	// StalledAfter opens the circuit when at least StalledMin calls have waited
	// for longer without headers, and no call has been answered for as long: a
	// black hole is seen before its calls end. Zero means 30 s and 10 calls; or
	// Off, or more than the longest of long polls.
	StalledAfter time.Duration
	StalledMin   int

	// OpenTime bounds how long the circuit stays open the first time. Each
	// further time without HealAfter of health in between doubles the bound, up
	// to MaxOpenTime; the time itself is drawn evenly from 0 to the bound. A
	// Retry-After of the failed calls prolongs it, up to MaxRetryAfter. Zero means
	// 1 s, 30 s, 1 min and 1 min.
	OpenTime      time.Duration
	MaxOpenTime   time.Duration
	MaxRetryAfter time.Duration
	HealAfter     time.Duration

	// Probes is how many calls at a time may find out whether what failed works
	// again, and how many results decide it: at least ProbeRate of them, in
	// (0,1], must be successes. A probe without headers after ProbeTimeout has
	// failed. Zero means 3, 0.6 and 5 s.
	Probes       int
	ProbeRate    float64
	ProbeTimeout time.Duration

	// Ramp is how long it takes from a tenth of the calls to all of them, once
	// the probes have succeeded. The circuit opens again by the same rules, with
	// a quarter of their minima. Zero means 10 s; or Off.
	Ramp time.Duration

	_ struct{}
}

// complete replaces every zero by its default and returns everything that is
// wrong with cfg.
func (cfg *Config) complete() error {
	cfg.Window = cmp.Or(cfg.Window, DefaultWindow)
	cfg.MaxKeys = cmp.Or(cfg.MaxKeys, DefaultMaxKeys)
	cfg.MaxOpenFraction = cmp.Or(cfg.MaxOpenFraction, DefaultMaxOpenFraction)
	wrong := []error{cfg.Rules.complete()}
	if cfg.Window < 100*time.Millisecond || cfg.Window > time.Hour {
		wrong = append(wrong, bad("Config.Window is %v, not from 100ms to 1h", cfg.Window))
	}
	if cfg.MaxKeys < 1 {
		wrong = append(wrong, bad("Config.MaxKeys is %d, not at least 1", cfg.MaxKeys))
	}
	if cfg.MaxOpenFraction != Off && !isRate(cfg.MaxOpenFraction) {
		wrong = append(wrong, bad("Config.MaxOpenFraction is %v, not in (0,1] nor Off", cfg.MaxOpenFraction))
	}
	return errors.Join(wrong...)
}

func bad(format string, args ...any) error { return fmt.Errorf("breaker: "+format, args...) }

func isRate(rate float64) bool { return rate > 0 && rate <= 1 } // NaN is none

func (r *Rules) complete() error {
	r.FailureRate = cmp.Or(r.FailureRate, 0.5)
	r.FailureMin = cmp.Or(r.FailureMin, 20)
	r.SlowRate = cmp.Or(r.SlowRate, 0.8)
	r.SlowMin = cmp.Or(r.SlowMin, 20)
	r.OverloadRate = cmp.Or(r.OverloadRate, 0.5)
	r.OverloadMin = cmp.Or(r.OverloadMin, 20)
	r.Consecutive = cmp.Or(r.Consecutive, 10)
	r.StalledAfter = cmp.Or(r.StalledAfter, 30*time.Second)
	r.StalledMin = cmp.Or(r.StalledMin, 10)
	r.OpenTime = cmp.Or(r.OpenTime, time.Second)
	r.MaxOpenTime = cmp.Or(r.MaxOpenTime, max(30*time.Second, r.OpenTime))
	r.MaxRetryAfter = cmp.Or(r.MaxRetryAfter, time.Minute)
	r.HealAfter = cmp.Or(r.HealAfter, time.Minute)
	r.Probes = cmp.Or(r.Probes, 3)
	r.ProbeRate = cmp.Or(r.ProbeRate, 0.6)
	r.ProbeTimeout = cmp.Or(r.ProbeTimeout, 5*time.Second)
	r.Ramp = cmp.Or(r.Ramp, 10*time.Second)
	return r.validate()
}

// longest bounds all durations: far above what makes sense, far below what
// overflows.
const longest = 24 * time.Hour

func (r *Rules) validate() error {
	var wrong []error
	rate := func(field string, value float64, off bool) {
		if !isRate(value) && (!off || value != Off) {
			wrong = append(wrong, bad("Rules.%s is %v, not in (0,1]", field, value))
		}
	}
	number := func(field string, value, most int, off bool) {
		if (value < 1 || value > most) && (!off || value != Off) {
			wrong = append(wrong, bad("Rules.%s is %d, not from 1 to %d", field, value, most))
		}
	}
	duration := func(field string, value time.Duration, off bool) {
		if (value <= 0 || value > longest) && (!off || value != Off) {
			wrong = append(wrong, bad("Rules.%s is %v, not from 1ns to 24h", field, value))
		}
	}
	rate("FailureRate", r.FailureRate, true)
	rate("SlowRate", r.SlowRate, false)
	rate("OverloadRate", r.OverloadRate, true)
	rate("ProbeRate", r.ProbeRate, false)
	const many = 1_000_000
	number("FailureMin", r.FailureMin, many, false)
	number("SlowMin", r.SlowMin, many, false)
	number("OverloadMin", r.OverloadMin, many, false)
	number("Consecutive", r.Consecutive, many, true)
	number("StalledMin", r.StalledMin, many, false)
	number("Probes", r.Probes, 1000, false)
	if r.SlowAfter != 0 {
		duration("SlowAfter", r.SlowAfter, false)
	} else if r.SlowBody {
		wrong = append(wrong, bad("Rules.SlowBody is set, but SlowAfter is not"))
	}
	duration("StalledAfter", r.StalledAfter, true)
	duration("OpenTime", r.OpenTime, false)
	duration("MaxOpenTime", r.MaxOpenTime, false)
	duration("MaxRetryAfter", r.MaxRetryAfter, false)
	duration("HealAfter", r.HealAfter, false)
	duration("ProbeTimeout", r.ProbeTimeout, false)
	duration("Ramp", r.Ramp, true)
	if r.MaxOpenTime < r.OpenTime {
		wrong = append(wrong, bad("Rules.MaxOpenTime of %v is below OpenTime of %v", r.MaxOpenTime, r.OpenTime))
	}
	return errors.Join(wrong...)
}
