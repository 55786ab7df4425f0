package bench

import (
	"net/http"
	"time"

	"github.com/cristalhq/hedgedhttp"
	"github.com/failsafe-go/failsafe-go/budget"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/failsafe-go/failsafe-go/hedgepolicy"
	"resty.dev/v3"

	"github.com/failsoft/failsoft/hedge"
)

// hedges is how many requests may be on their way for one, where a rival has to
// be told.
const hedges = 2

// Target is the share of calls that hedges may follow, the default of ours, and
// the quantile that the rivals are to hedge at, for the same load.
const (
	Target   = hedge.DefaultPercent / 100
	quantile = 1 - Target
)

// HedgeNone returns who sends everything once.
func HedgeNone() Transport {
	return Transport{Name: "no hedge", Wrap: func(base http.RoundTripper) http.RoundTripper { return base }}
}

// HedgeOracle is what nobody knows beforehand: a hedge at the quantile of the
// very distribution that the latencies are drawn from.
func HedgeOracle(truth time.Duration) Transport {
	return static("static, true p95 (as hedgedhttp)", truth)
}

// HedgeOurs returns ours at its defaults.
func HedgeOurs() Transport { return Hedge("failsoft, defaults", hedge.Config{}) }

// HedgeRivals returns who hedges in virtual time. Those who can be told a fixed
// delay are told the truth, which is more than a user could.
func HedgeRivals(truth time.Duration) []Transport {
	return []Transport{
		adaptive("t-digest p90, up to 3 (as hedgedhttp in Thanos)", 0.9, 3),
		adaptive("t-digest p95, up to 2 (as hedgedhttp)", quantile, hedges),
		failsafeHedge("failsafe, true p95", failsafeHedgeConfig{delay: truth}),
		failsafeHedge("failsafe, its p95", failsafeHedgeConfig{}),
		failsafeHedge("failsafe, its p95, successes only", failsafeHedgeConfig{successes: true}),
		failsafeHedge("failsafe, its p95, successes only, budget", failsafeHedgeConfig{successes: true, budget: true}),
		restyHedge("resty, true p95", truth),
		{Name: "resty, defaults", Wrap: func(base http.RoundTripper) http.RoundTripper {
			return restyOver(resty.NewHedging(), base)
		}},
	}
}

// HedgeHappyPath returns who is measured where nothing is slow. The first is
// what the others are compared with. The delay is never reached, so that
// nothing but the readiness to hedge is measured.
func HedgeHappyPath() []Transport {
	const never = time.Second
	return []Transport{
		{Name: "bare", Wrap: func(base http.RoundTripper) http.RoundTripper { return passThrough{base} }},
		Hedge("failsoft, defaults", hedge.Config{}),
		Hedge("failsoft, 1 s", hedge.Config{Delay: never}),
		Hedge("failsoft, 1 s, any method", hedge.Config{
			Delay:      never,
			Repeatable: func(*http.Request) bool { return true },
		}),
		hedgedHTTP("hedgedhttp, up to 0", never, 0),
		hedgedHTTP("hedgedhttp, 1 s", never, hedges),
		failsafeHedge("failsafe, 1 s", failsafeHedgeConfig{delay: never}),
		failsafeHedge("failsafe, its p95", failsafeHedgeConfig{}),
		restyHedge("resty, 1 s", never),
	}
}

// HedgeConnections returns who hedges over real connections after a delay, ours
// first. The grace is how long a loser of ours may go on.
func HedgeConnections(delay, grace time.Duration) []Transport {
	return []Transport{
		Hedge("failsoft, with LoserGrace", hedge.Config{Delay: delay, Percent: 100, LoserGrace: grace}),
		HedgeNone(),
		Hedge("failsoft, without", hedge.Config{Delay: delay, Percent: 100}),
		hedgedHTTP("hedgedhttp", delay, hedges),
		failsafeHedge("failsafe", failsafeHedgeConfig{delay: delay}),
		restyHedge("resty", delay),
	}
}

// Hedge returns ours.
func Hedge(name string, cfg hedge.Config) Transport {
	return Transport{name, func(base http.RoundTripper) http.RoundTripper {
		return hedge.MustNew(cfg).Transport(base)
	}}
}

// unusable is a contender that could not be set up: its calls fail, and the tables
// count that.
type unusable struct{ err error }

func (u unusable) RoundTrip(*http.Request) (*http.Response, error) { return nil, u.err }

func hedgedHTTP(name string, delay time.Duration, upTo int) Transport {
	return Transport{name, func(base http.RoundTripper) http.RoundTripper {
		transport, err := hedgedhttp.NewRoundTripper(delay, upTo, base)
		if err != nil {
			return unusable{err}
		}
		return transport
	}}
}

// failsafeHedgeConfig is how failsafe's policy is set up. Without a delay it
// estimates the quantile, with the age that its documentation shows.
type failsafeHedgeConfig struct {
	delay time.Duration

	// successes waits for one and estimates from these alone. By default the first
	// result wins, an error too.
	successes bool

	// budget limits hedges to our share of what is in flight, and to no fewer than 3.
	budget bool
}

func failsafeHedge(name string, cfg failsafeHedgeConfig) Transport {
	return Transport{name, func(base http.RoundTripper) http.RoundTripper {
		builder := hedgepolicy.NewBuilderWithDelay[*http.Response](cfg.delay)
		if cfg.delay == 0 {
			builder = hedgepolicy.NewBuilderWithDelayQuantile[*http.Response](quantile, 1000, 100)
		}
		if cfg.successes {
			builder = builder.CancelIf(func(_ *http.Response, err error) bool { return err == nil })
		}
		if cfg.budget {
			builder = builder.WithBudget(budget.NewBuilder().WithMaxRate(Target).WithMinConcurrency(3).Build())
		}
		return failsafehttp.NewRoundTripper(base, builder.WithMaxHedges(hedges-1).Build())
	}}
}

// restyHedge has no rate, because resty's is not a limit: it is one more delay
// of every hedge.
func restyHedge(name string, delay time.Duration) Transport {
	return Transport{name, func(base http.RoundTripper) http.RoundTripper {
		return restyOver(resty.NewHedging().SetDelay(delay).SetMaxRequest(hedges).SetMaxRequestPerSecond(0), base)
	}}
}

func restyOver(h *resty.Hedging, base http.RoundTripper) http.RoundTripper {
	h.SetTransport(base)
	return h
}
