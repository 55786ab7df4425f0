package hedge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/failsoft/failsoft/budget"
)

// AtOnce is a Config.Delay by which all attempts of a call are sent at once:
// multicast. It multiplies the load by Config.MaxAttempts, slow or not.
const AtOnce time.Duration = -1

// The defaults of a Config.
const (
	DefaultPercent     = 5.0
	DefaultMaxAttempts = 2
	DefaultMinDelay    = time.Millisecond
	DefaultMaxKeys     = 1024
)

// The bounds of what can be asked for: far beyond what makes sense.
const (
	mostAttempts = 16
	longest      = time.Hour
	leastPercent = 0.01
)

// Outcome is what a Judge makes of an attempt.
type Outcome uint8

// The outcomes that a Judge can tell.
const (
	ByRule Outcome = iota // as the rules of this package say
	Accept                // good enough to be the call's answer
	Fail                  // loses to any other attempt, and starts the next
)

// String returns the outcome's name.
func (o Outcome) String() string { return name(o, "by rule", "accept", "fail") }

// Config says what is hedged, how much of it, and when. The zero Config is the
// default, meant for production: hedge the slowest 5 % of reads. To read one from
// a file, decode into a struct of your own, in which durations are text.
type Config struct {
	// Key names what a request is slow or fast for: the delay is found, and the
	// load bounded, for each key by itself. Nil means the host, req.URL.Host. A
	// service with fast and slow routes is better served by a key per route.
	Key func(*http.Request) string `json:"-"`

	// Judge overrides, per attempt, what is good enough to be the answer. It must not
	// read the body, and may be called by several attempts at once, the last of them
	// while the call returns. Nil, or ByRule, means: errors of the transport, 429 and
	// 5xx but 501 are not. Of these 429, 500, what is above 504, and refusals by a
	// policy of ours below (unless there are Endpoints) start no other attempt.
	Judge func(*http.Response, error) Outcome `json:"-"`

	// JudgeError is Judge for Do and Run. Nil, or ByRule, means: every error
	// fails.
	JudgeError func(error) Outcome `json:"-"`

	// Repeatable says which requests may reach the server more than once, and at
	// the same time. Nil means Safe.
	Repeatable func(*http.Request) bool `json:"-"`

	// Endpoints are base URLs (scheme and host, no path) that serve the same. The
	// attempts of a call go to different ones, and first attempts to each in
	// turn. It is for multicast without package route, at least two. Nil means
	// that requests go where their URL says, or where a router below sends them:
	// it finds the hosts that the other attempts of a call went to.
	Endpoints []string

	// Percent is the one knob: how many attempts the timer adds, at most, per
	// hundred calls. Zero means 5; from 0.01 to 100. It is exact over time, with up to
	// 60 hedges of credit per key, and none to begin with: at 5 % the 20th call of a
	// key pays for its first hedge, with a fixed Delay too. AtOnce has no use for it.
	Percent float64

	// MaxAttempts is the most attempts that a call makes, the first included.
	// Zero means 2, or with AtOnce one for each of Endpoints; from 1 (never hedge)
	// to 16.
	MaxAttempts int

	// Budget pays for every further attempt, those that a failure starts too. Nil
	// means one of this Hedger's own: a tenth of the calls, or twice Percent where
	// that is more (but one for each at most), and at least one per second for each key.
	// With AtOnce nil means none.
	Budget *budget.Budget `json:"-"`

	// MaxKeys bounds the number of keys. Zero means 1024. Past it the key unused
	// for longest is forgotten; its calls begin with a warm-up.
	MaxKeys int

	// Delay is how long a call waits for its first attempt before it makes
	// another, and for that before the next. Zero means that it is found: the
	// delay that Percent of the first attempts outlive. Or a fixed one, of which
	// Percent is the bound all the same; or AtOnce.
	Delay time.Duration

	// MinDelay is the least delay that is found. Zero means 1 ms.
	MinDelay time.Duration

	// MaxDelay is the longest delay that is found. Zero means an hour: none. While
	// more than Percent of calls outlive it, the rest do without a hedge.
	MaxDelay time.Duration

	// LoserGrace is how long an HTTP/1 attempt may go on after another one has
	// won, so that its connection can be used again: net/http closes the
	// connections of canceled requests. Zero means none; at most a minute, and not
	// past the caller's deadline. It costs a goroutine per call, and the server the
	// work. Over HTTP/2, and for requests with a body, losers are canceled at once.
	LoserGrace time.Duration

	// AttemptHeader tells the server the number of the attempt, from the second
	// one on, in a Hedge-Attempt header. Read it there with RequestAttempt.
	AttemptHeader bool

	// Observe is told what happens; see Event. Nil means nobody is.
	Observe func(ctx context.Context, e Event) `json:"-"`

	_ struct{}
}

// complete replaces every zero by its default and returns everything that is
// wrong with cfg.
func (cfg *Config) complete() error {
	if err := cfg.validate(); err != nil {
		return err
	}
	if cfg.Key == nil {
		cfg.Key = func(req *http.Request) string { return req.URL.Host }
	}
	if cfg.Repeatable == nil {
		cfg.Repeatable = Safe
	}
	cfg.Percent = cmp.Or(cfg.Percent, DefaultPercent)
	if cfg.Delay == AtOnce {
		cfg.MaxAttempts = cmp.Or(cfg.MaxAttempts, len(cfg.Endpoints))
	} else if cfg.Budget == nil {
		ratio := min(max(budget.DefaultRatio, 2*cfg.Percent/100), 1)
		cfg.Budget = budget.MustNew(budget.Config{Ratio: ratio, MaxKeys: cfg.MaxKeys})
	}
	cfg.MaxAttempts = cmp.Or(cfg.MaxAttempts, DefaultMaxAttempts)
	cfg.MaxKeys = cmp.Or(cfg.MaxKeys, DefaultMaxKeys)
	cfg.MinDelay = cmp.Or(cfg.MinDelay, DefaultMinDelay)
	cfg.MaxDelay = cmp.Or(cfg.MaxDelay, longest)
	return nil
}

func (cfg *Config) validate() error {
	var wrong []error
	bad := func(format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("hedge: Config."+format, args...))
	}
	if cfg.Percent != 0 && !(cfg.Percent >= leastPercent && cfg.Percent <= 100) { // so written, NaN is wrong too
		bad("Percent is %v, not from 0.01 to 100", cfg.Percent)
	}
	if cfg.Percent != 0 && cfg.Delay == AtOnce {
		bad("Percent is %v, but Delay is AtOnce, which hedges every call", cfg.Percent)
	}
	if cfg.MaxAttempts < 0 || cfg.MaxAttempts > mostAttempts {
		bad("MaxAttempts is %d, not from 1 to %d", cfg.MaxAttempts, mostAttempts)
	}
	if cfg.MaxKeys < 0 {
		bad("MaxKeys is %d, not positive", cfg.MaxKeys)
	}
	cfg.validateDelays(bad)
	if cfg.Endpoints != nil && len(cfg.Endpoints) < 2 {
		bad("Endpoints has %d, fewer than the two that hedging between them takes", len(cfg.Endpoints))
	}
	if len(cfg.Endpoints) > mostAttempts && cfg.MaxAttempts == 0 && cfg.Delay == AtOnce {
		bad("Endpoints has %d for a multicast, more than %d", len(cfg.Endpoints), mostAttempts)
	}
	cfg.validateEndpoints(bad)
	return errors.Join(wrong...)
}

func (cfg *Config) validateEndpoints(bad func(string, ...any)) {
	seen := make(map[string]bool)
	for _, text := range cfg.Endpoints {
		endpoint, err := parseEndpoint(text)
		switch {
		case err != nil:
			bad("Endpoints: %w", err)
		case seen[endpoint.Host]:
			bad("Endpoints has %q twice", endpoint.Host)
		default:
			seen[endpoint.Host] = true
		}
	}
}

func (cfg *Config) validateDelays(bad func(string, ...any)) {
	within := func(name string, d, most time.Duration) {
		if d < 0 || d > most {
			bad("%s is %v, not from 0 to %v", name, d, most)
		}
	}
	within("MinDelay", cfg.MinDelay, longest)
	within("MaxDelay", cfg.MaxDelay, longest)
	within("LoserGrace", cfg.LoserGrace, time.Minute)
	least := cmp.Or(cfg.MinDelay, DefaultMinDelay)
	if cfg.MaxDelay > 0 && cfg.MaxDelay < least {
		bad("MaxDelay of %v is below MinDelay of %v", cfg.MaxDelay, least)
	}
	switch {
	case cfg.Delay == AtOnce || cfg.Delay == 0:
	case cfg.Delay < 0 || cfg.Delay > longest:
		bad("Delay is %v, neither positive, up to %v, nor AtOnce", cfg.Delay, longest)
	case cfg.MaxDelay > 0 && cfg.Delay > cfg.MaxDelay:
		bad("Delay of %v is above MaxDelay of %v", cfg.Delay, cfg.MaxDelay)
	case cfg.Delay < cfg.MinDelay:
		bad("Delay of %v is below MinDelay of %v", cfg.Delay, cfg.MinDelay)
	}
}

// parseEndpoint reads one of Config.Endpoints.
func parseEndpoint(text string) (*url.URL, error) {
	endpoint, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	bare := url.URL{Scheme: endpoint.Scheme, Host: endpoint.Host}
	if endpoint.Path == "/" {
		endpoint.Path = ""
	}
	if endpoint.Scheme != "http" && endpoint.Scheme != "https" || endpoint.Hostname() == "" || *endpoint != bare {
		return nil, fmt.Errorf("%q is not of the form http://host or https://host:port", text)
	}
	return endpoint, nil
}

// Safe is the default Config.Repeatable: requests that change nothing (GET, HEAD,
// OPTIONS, TRACE) and those that carry an Idempotency-Key or X-Idempotency-Key. PUT
// and DELETE may be repeated one after the other but not side by side: the
// slower one would arrive after what the caller does next.
func Safe(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	_, keyed := req.Header["Idempotency-Key"]
	_, xKeyed := req.Header["X-Idempotency-Key"]
	return keyed || xKeyed
}
