package healthcheck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The defaults of a Config and of a Check.
const (
	DefaultPeriod  = 10 * time.Second
	DefaultTimeout = time.Second
	DefaultFall    = 3
	DefaultRise    = 2
	DefaultMaxWait = 500 * time.Millisecond
)

// The bounds of what can be asked for.
const (
	leastPeriod = time.Millisecond
	mostPeriod  = 24 * time.Hour
)

// Config is what holds for all checks of a Checker. The zero Config is the
// default.
type Config struct {
	// Service and Version describe the process in the answers, if set.
	Service string
	Version string

	// Authorize says who may see more than the status: names, errors, observed
	// values. Nil means nobody. It is called for every request to an endpoint.
	Authorize func(*http.Request) bool `json:"-"`

	// ShowErrors says that those who may see details also see the text of errors,
	// which may name hosts, users and queries. Otherwise they see what results have
	// for the Public, and the rest is for Observe.
	ShowErrors bool

	// MaxWait is how long a request for health may wait for first results. Zero
	// means 500 ms, half of what balancers grant; at most a minute.
	MaxWait time.Duration

	// Refused writes the answer to a request that Require does not let through.
	// Nil means 503 with Retry-After.
	Refused func(http.ResponseWriter, *http.Request, error) `json:"-"`

	// Observe is told what happens; see Event. It may be called by several
	// goroutines at once. Nil means nobody is.
	Observe func(ctx context.Context, e Event) `json:"-"`

	_ struct{}
}

// Check is one thing that can be healthy or not. The zero values of all fields but
// Probe are the defaults; without a Probe, Feed is what tells.
type Check struct {
	// Probe finds out. It must heed its context, which ends a tenth before Timeout
	// and has nothing to do with any request. One that is still running at Timeout
	// is stuck: the check fails at once, and is not probed again before it
	// returns. Errs makes one of a function that returns an error. Nil means that
	// the check lives by Feed.
	Probe func(context.Context) Result `json:"-"`

	// Impact is what a failure means for Groups. Zero is Degrades: dependencies
	// are shared, and what makes one instance unready makes all of them.
	Impact Impact

	// Groups are those that the check is part of: Live, Ready, Startup or your own.
	// Nil means Ready.
	Groups []string

	// Affects are the routes that do not work without it, as http.ServeMux
	// patterns. They are told to those who read the details; Require is what acts
	// on it.
	Affects []string

	// Component says what kind of thing it is: component, datastore, system.
	Component string

	// Period is the time from one result to the next probe, a tenth of it left to
	// chance; after a failure it begins at an eighth and doubles up to that. Zero
	// means 10 s, or Timeout where that is longer; from 1 ms to 24 h.
	Period time.Duration

	// OnDemand makes it probe only when somebody asks and the last result is
	// older than this: for services that are idle most of the time. Who asks
	// first waits, see Config.MaxWait; while a later probe runs the last result is the answer. Zero
	// is no. There is no Period then, and it cannot be in Startup, which systemd and
	// Watch ask for without asking.
	OnDemand time.Duration

	// Timeout is how long a probe may take. Zero means 1 s, or Period where that is
	// shorter; at most Period. Be generous: a probe that is a little late and does
	// not heed its context fails the check at once, whatever Fall says.
	Timeout time.Duration

	// Fall is how many results in a row must be worse than the status, and Rise
	// how many better, to change it. The first result ever counts at once. Zero
	// means 3 and 2.
	Fall, Rise int

	_ struct{}
}

// Errs makes a Probe of a function that returns an error.
func Errs(fn func(context.Context) error) func(context.Context) Result {
	if fn == nil {
		return nil
	}
	return func(ctx context.Context) Result { return Result{Err: fn(ctx)} }
}

func (cfg *Config) complete() error {
	cfg.MaxWait = cmp.Or(cfg.MaxWait, DefaultMaxWait)
	if cfg.MaxWait < 0 || cfg.MaxWait > time.Minute {
		return fmt.Errorf("healthcheck: Config.MaxWait is %v, not from 0 to 1m", cfg.MaxWait)
	}
	return nil
}

// complete replaces every zero by its default and returns everything that is
// wrong with the check.
func (def *Check) complete() error {
	var both error
	if def.OnDemand != 0 && def.Period != 0 {
		both = fmt.Errorf("Check.OnDemand is %v and Period %v: it is one or the other", def.OnDemand, def.Period)
	}
	def.Period = cmp.Or(def.OnDemand, def.Period, max(DefaultPeriod, def.Timeout))
	def.Timeout = cmp.Or(def.Timeout, min(DefaultTimeout, max(def.Period, leastPeriod)))
	def.Fall = cmp.Or(def.Fall, DefaultFall)
	def.Rise = cmp.Or(def.Rise, DefaultRise)
	if len(def.Groups) == 0 {
		def.Groups = []string{Ready}
	}
	def.Groups = slices.Compact(slices.Sorted(slices.Values(def.Groups)))
	def.Affects = slices.Clone(def.Affects)
	return errors.Join(both, def.validate())
}

func (def *Check) validate() error {
	var wrong []error
	bad := func(format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("Check."+format, args...))
	}
	if def.Period < leastPeriod || def.Period > mostPeriod {
		field := "Period"
		if def.OnDemand != 0 {
			field = "OnDemand"
		}
		bad("%s is %v, not from %v to %v", field, def.Period, leastPeriod, mostPeriod)
	}
	if def.Timeout <= 0 || def.Timeout > def.Period {
		bad("Timeout is %v, not positive and at most the Period of %v", def.Timeout, def.Period)
	}
	if def.OnDemand > 0 && def.Probe == nil {
		bad("OnDemand is %v, but there is no Probe", def.OnDemand)
	}
	if def.OnDemand != 0 && slices.Contains(def.Groups, Startup) {
		bad("OnDemand is %v, which a check of the group %q cannot be", def.OnDemand, Startup)
	}
	if def.Fall < 1 || def.Rise < 1 {
		bad("Fall is %d and Rise %d, not at least 1", def.Fall, def.Rise)
	}
	if def.Impact > Informational {
		bad("Impact is %d, none of Degrades, Critical, Informational", def.Impact)
	}
	for _, group := range def.Groups {
		switch {
		case !plainName(group):
			bad("Groups has %q, which is no name", group)
		case group == full:
			bad("Groups has %q, which is the group of all checks anyway", group)
		}
	}
	for _, pattern := range def.Affects {
		if err := checkPattern(pattern); err != nil {
			bad("Affects: %w", err)
		}
	}
	return errors.Join(wrong...)
}

// plainName reports whether s can be the name of a check or a group: something
// that stands in a URL and on a screen.
func plainName(s string) bool {
	return s != "" && len(s) <= 100 && strings.Count(s, ":") < 2 && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r == 0x7f || r > 0x7e || strings.ContainsRune(`"'<>\/?#%`, r)
	})
}

// checkPattern returns what http.ServeMux would not take of a pattern: it panics.
func checkPattern(pattern string) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%q is no pattern: %v", pattern, v)
		}
	}()
	http.NewServeMux().Handle(pattern, http.NotFoundHandler())
	return nil
}
