package bench

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	gosundheit "github.com/AppsFlyer/go-sundheit"
	sundheithttp "github.com/AppsFlyer/go-sundheit/http"
	alexliesenfeld "github.com/alexliesenfeld/health"
	etherlabs "github.com/etherlabsio/healthcheck"
	hellofresh "github.com/hellofresh/health-go/v5"

	"github.com/failsoft/failsoft/healthcheck"
)

// HealthConfig is what is to be known: as many checks as wanted, all with the
// same probe.
type HealthConfig struct {
	Checks  int
	Probe   func(context.Context) error
	Period  time.Duration // how old a result may become, for those that probe when asked
	Timeout time.Duration
}

// Health is one way to know it.
type Health struct {
	Name string

	// InBackground says that it probes although nobody asks.
	InBackground bool

	// OneGoroutine says that it has one, however many checks there are, but for
	// the probes that run.
	OneGoroutine bool

	// Virtual says that it works in virtual time. The others hold a mutex while
	// they probe, or leave goroutines that never end: neither is for a bubble.
	Virtual bool

	// New returns an endpoint that answers with all details, and what ends it.
	New func(cfg HealthConfig) (endpoint http.Handler, stop func())
}

// Healths returns who is measured, ours first. The others are set up so that they
// probe with a timeout and, where they can, no more often than once per period.
func Healths() []Health {
	return []Health{
		{"failsoft", true, true, true, failsoftPeriodic},
		{"failsoft, on demand", false, true, true, failsoftOnDemand},
		{"alexliesenfeld, periodic", true, false, false, alexliesenfeldPeriodic},
		{"alexliesenfeld, cached", false, false, false, alexliesenfeldCached},
		{"hellofresh", false, false, false, hellofreshHealth},
		{"go-sundheit", true, false, true, sundheit},
		{"etherlabs", false, false, false, etherlabsHealth},
	}
}

// HealthCommonTimeout is alexliesenfeld's with the timeout given to the checker
// and not to each check.
func HealthCommonTimeout() Health {
	return Health{"alexliesenfeld, common timeout", true, false, false, alexliesenfeldCommon}
}

// HealthBare only probes: a timer for each check, and for each probe a goroutine
// and a context with a deadline. Nobody learns what the probes find.
func HealthBare() Health {
	return Health{"bare: timer, goroutine, context", true, true, true, bareHealth}
}

func bareHealth(cfg HealthConfig) (endpoint http.Handler, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	for range cfg.Checks {
		timers := make(chan *time.Timer, 1)
		timers <- time.AfterFunc(0, func() {
			probing, done := context.WithTimeout(ctx, cfg.Timeout)
			defer done()
			_ = cfg.Probe(probing)
			timer := <-timers
			timers <- timer
			if ctx.Err() == nil {
				timer.Reset(cfg.Period - rand.N(cfg.Period/10))
			}
		})
	}
	return nil, cancel
}

func failsoftPeriodic(cfg HealthConfig) (endpoint http.Handler, stop func()) {
	return failsoftHealth(cfg, healthcheck.Check{Period: cfg.Period})
}

func failsoftOnDemand(cfg HealthConfig) (endpoint http.Handler, stop func()) {
	return failsoftHealth(cfg, healthcheck.Check{OnDemand: cfg.Period})
}

// failsoftHealth has checks that decide on the endpoint's code, which is not the
// default, and authorizes everybody to see all.
func failsoftHealth(cfg HealthConfig, def healthcheck.Check) (endpoint http.Handler, stop func()) {
	c := healthcheck.MustNew(healthcheck.Config{Authorize: func(*http.Request) bool { return true }})
	def.Probe, def.Timeout, def.Impact = healthcheck.Errs(cfg.Probe), cfg.Timeout, healthcheck.Critical
	for i := range cfg.Checks {
		c.MustAdd(checkName(i), def)
	}
	err := c.Start()
	return usable(c.Handler(healthcheck.Ready), err), func() { _ = c.Close(context.Background()) }
}

func alexliesenfeldPeriodic(cfg HealthConfig) (endpoint http.Handler, stop func()) {
	return alexliesenfeldWith(cfg, cfg.Timeout)
}

func alexliesenfeldCommon(cfg HealthConfig) (endpoint http.Handler, stop func()) {
	return alexliesenfeldWith(cfg, 0)
}

func alexliesenfeldWith(cfg HealthConfig, own time.Duration) (endpoint http.Handler, stop func()) {
	options := make([]alexliesenfeld.CheckerOption, 0, 1+cfg.Checks)
	options = append(options, alexliesenfeld.WithTimeout(cfg.Timeout))
	for i := range cfg.Checks {
		options = append(options, alexliesenfeld.WithPeriodicCheck(cfg.Period, 0, alexliesenfeld.Check{
			Name: checkName(i), Check: cfg.Probe, Timeout: own,
		}))
	}
	c := alexliesenfeld.NewChecker(options...)
	return alexliesenfeld.NewHandler(c), c.Stop
}

func alexliesenfeldCached(cfg HealthConfig) (endpoint http.Handler, stop func()) {
	options := make([]alexliesenfeld.CheckerOption, 0, 2+cfg.Checks)
	options = append(options, alexliesenfeld.WithTimeout(cfg.Timeout), alexliesenfeld.WithCacheDuration(cfg.Period))
	for i := range cfg.Checks {
		options = append(options, alexliesenfeld.WithCheck(alexliesenfeld.Check{
			Name: checkName(i), Check: cfg.Probe, Timeout: cfg.Timeout,
		}))
	}
	c := alexliesenfeld.NewChecker(options...)
	return alexliesenfeld.NewHandler(c), c.Stop
}

// hellofreshHealth may probe everything at once; by default it is as many checks
// as there are cores. It has no cache.
func hellofreshHealth(cfg HealthConfig) (endpoint http.Handler, stop func()) {
	h, err := hellofresh.New(hellofresh.WithMaxConcurrent(cfg.Checks))
	if err != nil {
		return usable(nil, err), func() {}
	}
	for i := range cfg.Checks {
		err = errors.Join(err, h.Register(hellofresh.Config{
			Name: checkName(i), Check: cfg.Probe, Timeout: cfg.Timeout,
		}))
	}
	return usable(h.Handler(), err), func() {}
}

func sundheit(cfg HealthConfig) (endpoint http.Handler, stop func()) {
	h := gosundheit.New()
	var err error
	for i := range cfg.Checks {
		err = errors.Join(err, h.RegisterCheck(&sundheitCheck{checkName(i), cfg.Probe},
			gosundheit.ExecutionPeriod(cfg.Period), gosundheit.ExecutionTimeout(cfg.Timeout)))
	}
	return usable(sundheithttp.HandleHealthJSON(h), err), h.DeregisterAll
}

type sundheitCheck struct {
	name  string
	probe func(context.Context) error
}

// Name is unique.
func (c *sundheitCheck) Name() string { return c.name }

// Execute probes.
func (c *sundheitCheck) Execute(ctx context.Context) (details any, err error) {
	return "", c.probe(ctx)
}

// etherlabsHealth has no cache. Version 2, which has one, is not to be had.
func etherlabsHealth(cfg HealthConfig) (endpoint http.Handler, stop func()) {
	options := make([]etherlabs.Option, 0, 1+cfg.Checks)
	options = append(options, etherlabs.WithTimeout(cfg.Timeout))
	for i := range cfg.Checks {
		options = append(options, etherlabs.WithChecker(checkName(i), etherlabs.CheckerFunc(cfg.Probe)))
	}
	return etherlabs.Handler(options...), func() {}
}

func checkName(i int) string { return "dependency-" + strconv.Itoa(i) }

// usable returns the endpoint of a contender, or one that says why it could not be
// set up: no table counts that as an answer.
func usable(endpoint http.Handler, err error) http.Handler {
	if err == nil {
		return endpoint
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	})
}
