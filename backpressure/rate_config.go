package backpressure

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net/http"
	"time"
)

// The defaults of a RateConfig.
const (
	DefaultRateStoreTimeout = 50 * time.Millisecond
	DefaultRateMaxKeys      = 10_000
)

// StoreFailure is what a Rate does when its Store does not answer.
type StoreFailure uint8

// The ways to go on.
const (
	FailLocal  StoreFailure = iota // limit each process by itself, to its part of the whole
	FailOpen                       // let everything in
	FailClosed                     // refuse everything
)

// String returns the way's name.
func (f StoreFailure) String() string { return name(f, "fail local", "fail open", "fail closed") }

// RateConfig says how many calls there may be in so much time. PerSecond has to be
// given.
type RateConfig struct {
	// Key names whose calls are counted together. Nil means the host, req.URL.Host, on
	// the client, and on the server the address of the client without its port, for
	// IPv6 the first 64 bits of it. Behind a proxy that is the proxy's: name the tenant
	// then. If it panics, it is as if it was nil.
	Key func(*http.Request) string `json:"-"`

	// PerSecond is how many calls a key may make in the long run: above 0, which may be
	// far below 1, and at most 1e9.
	PerSecond float64

	// Burst is how many calls a key may make at once after it has made none for a
	// while. Zero means those of one second, but at least one.
	Burst int

	// MaxWait is how long Transport, Run and Wait wait for their turn; a call whose
	// turn would come later, or after its deadline, is refused at once. Zero means one
	// second, at most an hour; or Off. Handler and Allow never wait.
	MaxWait time.Duration

	// MaxKeys bounds the keys that are known at a time. Zero means 10,000. Past it,
	// those that have all of their burst give way; if there is none, new keys share one
	// limit.
	MaxKeys int

	// Store counts for several processes together. Nil counts in this one. When it
	// does not answer within StoreTimeout, which is 50 ms where it is zero, OnFailure
	// says how to go on; FailLocal divides the limit by Instances, or by one.
	Store        RateStore `json:"-"`
	StoreTimeout time.Duration
	OnFailure    StoreFailure
	Instances    int

	// Fields adds RateLimit and RateLimit-Policy to the answers of Handler, as the
	// IETF draft "RateLimit header fields for HTTP" has them in its 11th version; they
	// may still change. Policy is the name in there; "" means default.
	Fields bool
	Policy string

	// Refused writes the answer to a request that Handler does not let in; Retry-After
	// and Cache-Control: no-store are in its header already. Nil means 429 with a line of
	// text.
	Refused func(http.ResponseWriter, *http.Request, error) `json:"-"`

	// Observe is told of refusals, of failures of the Store and of a Key that panics.
	// Nil means nobody is.
	Observe func(ctx context.Context, e Event) `json:"-"`

	_ struct{}
}

// RateStore counts calls for several processes. Its methods are called concurrently, by
// at most a thousand calls at a time, and must heed their context; errors and panics
// are as good as no answer. What it answers is bounded: who is refused has nothing
// left, and comes back after a while.
type RateStore interface {
	// Take counts one call of key and reports whether it is within the limit, how many
	// more would be, and when the next will be.
	Take(ctx context.Context, key string, perSecond float64, burst int) (RateState, error)
}

// RateState is what is known of a key after a call.
type RateState struct {
	Allowed   bool
	Remaining int
	After     time.Duration // until a call is within the limit again; 0 if one is now

	guessed bool // the Store has not answered
}

// mostBurst bounds Burst: header fields have no larger numbers than of 15 digits.
const mostBurst = 1 << 30

// complete replaces every zero by its default and returns everything that is wrong
// with cfg.
func (cfg *RateConfig) complete() error {
	cfg.Burst = cmp.Or(cfg.Burst, int(min(max(math.Ceil(cfg.PerSecond), 1), mostBurst)))
	cfg.MaxWait = cmp.Or(cfg.MaxWait, time.Second)
	cfg.MaxKeys = cmp.Or(cfg.MaxKeys, DefaultRateMaxKeys)
	cfg.StoreTimeout = cmp.Or(cfg.StoreTimeout, DefaultRateStoreTimeout)
	cfg.Instances = cmp.Or(cfg.Instances, 1)
	cfg.Policy = cmp.Or(cfg.Policy, "default")
	var wrong []error
	if !(cfg.PerSecond > 0 && cfg.PerSecond <= 1e9) { // NaN is neither
		wrong = append(wrong, bad("RateConfig.PerSecond is %v, not above 0 and at most 1e9", cfg.PerSecond))
	}
	if cfg.Burst < 1 || cfg.Burst > mostBurst {
		wrong = append(wrong, bad("RateConfig.Burst is %d, not from 1 to %d", cfg.Burst, mostBurst))
	}
	if wait := cfg.MaxWait; wait != Off && (wait <= 0 || wait > longest) {
		wrong = append(wrong, bad("RateConfig.MaxWait is %v, not above 0 and at most %v, nor Off", wait, longest))
	}
	if cfg.MaxKeys < 1 || cfg.MaxKeys > mostKeys {
		wrong = append(wrong, bad("RateConfig.MaxKeys is %d, not from 1 to %d", cfg.MaxKeys, mostKeys))
	}
	if wait := cfg.StoreTimeout; wait <= 0 || wait > longest {
		wrong = append(wrong, bad("RateConfig.StoreTimeout is %v, not above 0 and at most %v", wait, longest))
	}
	if cfg.OnFailure > FailClosed {
		wrong = append(wrong, bad("RateConfig.OnFailure is none of FailLocal, FailOpen and FailClosed"))
	}
	if cfg.Instances < 1 {
		wrong = append(wrong, bad("RateConfig.Instances is %d, not at least 1", cfg.Instances))
	}
	for _, c := range []byte(cfg.Policy) {
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			wrong = append(wrong, bad("RateConfig.Policy is %q, which cannot stand in a header", cfg.Policy))
			break
		}
	}
	return errors.Join(wrong...)
}
