package stale

import (
	"cmp"
	"context"
	"errors"
	"time"
)

// The defaults of a LoaderConfig that a Config does not have.
const (
	DefaultTTL         = time.Minute
	DefaultLoadTimeout = 30 * time.Second
	DefaultMaxEntries  = 10_000 // LoaderConfig.MaxCost where no Cost is given
)

// LoadOutcome is what a LoaderConfig.JudgeError makes of the error of a load.
type LoadOutcome uint8

// The outcomes of a load that returned an error.
const (
	LoadByRule  LoadOutcome = iota // as the rules of this package say
	LoadFailed                     // an old value may answer; if it happens again the error is remembered
	LoadRefused                    // as LoadFailed, but for its caller only: never remembered, nor given to others
	LoadGone                       // the error is the answer: what was there is there no more
)

// String returns the outcome's name.
func (o LoadOutcome) String() string {
	names := [...]string{"by rule", "failed", "refused", "gone"}
	if int(o) < len(names) {
		return names[o]
	}
	return "unknown"
}

// LoaderConfig says what a Loader loads, when an old value is better than none,
// and how much of everything. All but Load has defaults that are meant for
// production.
type LoaderConfig[K comparable, V any] struct {
	// Load returns the value of a key. Its context has the values of the caller's,
	// but ends with LoadTimeout or the Loader only, and is marked as Background
	// where nobody waits. All who ask for the key get what it returns: what the value
	// depends on, and who may see it, has to be in the key, and not to be taken from
	// the context. It may say MarkDegraded. Required.
	Load func(ctx context.Context, key K) (V, error) `json:"-"`

	// Cost says what a value takes of MaxCost, key included, in bytes for example.
	// Nil counts each as 1.
	Cost func(key K, value V) int64 `json:"-"`

	// Storable says which values are worth keeping. The others are for those who
	// wait at that moment, and end what was kept before. Nil keeps all.
	Storable func(value V) bool `json:"-"`

	// JudgeError says what the error of a load means. Nil, or LoadByRule, means:
	// LoadRefused for refusals by a policy of ours, LoadFailed for all others. What
	// stands for "there is no such thing" should be LoadGone, or old values outlive
	// what they are of by StaleIfError. It is not remembered: where many ask for what
	// is not there, a value that says so is better than an error.
	JudgeError func(error) LoadOutcome `json:"-"`

	// Healthy says whether what Load asks is well, for StaleIfSick; nil is always.
	// It is called by Get and must answer at once: Status of a healthcheck.Checker does.
	Healthy func() bool `json:"-"`

	// MaxCost bounds the sum of the costs. Zero means 10,000, or 64 MiB
	// where there is a Cost. A single cost above 4 Gi is too much in any case.
	MaxCost int64

	// MaxRefreshes bounds the loads at a time that nobody asked to wait for: past it,
	// old values answer without. Zero means 64.
	MaxRefreshes int

	// TTL is how long a value is fresh. Zero means one minute; or Off: every Get
	// loads, and old values are for when that fails or is slow.
	TTL time.Duration

	// StaleWhileRevalidate is how long past TTL a value answers at once, and is
	// refreshed behind. Zero means not at all.
	StaleWhileRevalidate time.Duration

	// StaleIfError is how long past TTL a value answers when the load fails. Zero
	// means one hour; or Off.
	StaleIfError time.Duration

	// StaleIfSick is how long past TTL a value answers at once while Healthy says
	// no. Zero means a day, if there is Healthy; or Off.
	StaleIfSick time.Duration

	// StaleAfter is how long a caller waits for a load while there is an old value
	// that StaleIfError allows: then that answers, and the load goes on. Zero means
	// the 95th percentile of the loads, learned, from 50 ms to 1 s; or Off.
	StaleAfter time.Duration

	// EarlyRefresh is the factor by which busy keys are refreshed before they are
	// stale: 1 does so early enough that hardly anybody has to wait, more does
	// earlier (XFetch). Zero means 1; or Off.
	EarlyRefresh float64

	// FailureTTL is how long, plus or minus a quarter, a key is left alone after two
	// failures in a row where no old value may answer: callers get the error in a
	// *LoadError. Zero means 2 s; or Off.
	FailureTTL time.Duration

	// LoadTimeout bounds a load. One that does not heed it is given up 100 ms later:
	// it counts as failed, and its key is not loaded again until it has returned.
	// Zero means 30 s; or Off.
	LoadTimeout time.Duration

	// Observe is told what happens; see Event. Nil means nobody is.
	Observe func(ctx context.Context, e Event) `json:"-"`

	_ struct{}
}

// complete replaces every zero by its default and returns everything that is
// wrong with cfg.
func (cfg *LoaderConfig[K, V]) complete() error {
	most := int64(DefaultMaxEntries)
	if cfg.Cost != nil {
		most = DefaultMaxBytes
	}
	cfg.MaxCost = cmp.Or(cfg.MaxCost, most)
	cfg.MaxRefreshes = cmp.Or(cfg.MaxRefreshes, DefaultMaxRefreshes)
	cfg.TTL = cmp.Or(cfg.TTL, DefaultTTL)
	cfg.StaleWhileRevalidate = cmp.Or(cfg.StaleWhileRevalidate, Off)
	cfg.StaleIfError = cmp.Or(cfg.StaleIfError, DefaultStaleIfError)
	cfg.StaleIfSick = cmp.Or(cfg.StaleIfSick, 24*time.Hour)
	cfg.EarlyRefresh = cmp.Or(cfg.EarlyRefresh, 1)
	cfg.FailureTTL = cmp.Or(cfg.FailureTTL, DefaultFailureTTL)
	cfg.LoadTimeout = cmp.Or(cfg.LoadTimeout, DefaultLoadTimeout)
	return cfg.validate()
}

func (cfg *LoaderConfig[K, V]) validate() error {
	var wrong []error
	if cfg.Load == nil {
		wrong = append(wrong, bad("LoaderConfig.Load is required"))
	}
	atLeastOne := func(field string, n int64) {
		if n < 1 {
			wrong = append(wrong, bad("LoaderConfig.%s is %d, not at least 1", field, n))
		}
	}
	atLeastOne("MaxCost", cfg.MaxCost)
	atLeastOne("MaxRefreshes", int64(cfg.MaxRefreshes))
	within := func(field string, d time.Duration) {
		if (d <= 0 || d > longest) && d != Off {
			wrong = append(wrong, bad("LoaderConfig.%s is %v, not above 0 and at most %v, nor Off", field, d, longest))
		}
	}
	within("TTL", cfg.TTL)
	within("StaleWhileRevalidate", cfg.StaleWhileRevalidate)
	within("StaleIfError", cfg.StaleIfError)
	within("StaleIfSick", cfg.StaleIfSick)
	if cfg.StaleAfter != 0 {
		within("StaleAfter", cfg.StaleAfter)
	}
	within("FailureTTL", cfg.FailureTTL)
	within("LoadTimeout", cfg.LoadTimeout)
	if cfg.EarlyRefresh != Off && !(cfg.EarlyRefresh > 0 && cfg.EarlyRefresh <= 100) { // so written, NaN is wrong too
		wrong = append(wrong, bad("LoaderConfig.EarlyRefresh is %v, not in (0,100] nor Off", cfg.EarlyRefresh))
	}
	return errors.Join(wrong...)
}

func (cfg *LoaderConfig[K, V]) rules() loadRules {
	r := loadRules{
		ttl: cfg.TTL, revalidate: cfg.StaleWhileRevalidate, onError: cfg.StaleIfError, ifSick: cfg.StaleIfSick,
		failureTTL: cfg.FailureTTL, early: max(cfg.EarlyRefresh, 0),
	}
	if cfg.Healthy == nil {
		r.ifSick = Off
	}
	return r
}
