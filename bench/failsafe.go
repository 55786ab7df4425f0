package bench

import (
	"net/http"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/budget"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/failsafe-go/failsafe-go/timeout"
)

// failsafeConfig is what is added to failsafe's HTTP policy as it comes: three
// attempts without a wait.
type failsafeConfig struct {
	perTry  time.Duration
	backoff bool

	// budget is failsafe's own at its defaults: a fifth of what is in flight, and
	// three at any rate.
	budget bool
}

func failsafeTransport(name string, cfg failsafeConfig) Transport {
	return Transport{name, func(base http.RoundTripper) http.RoundTripper {
		// Like ours, hand over the last response instead of an error without it.
		retries := failsafehttp.NewRetryPolicyBuilder().ReturnLastFailure()
		if cfg.backoff {
			// It has no full jitter: a quarter up and down is the nearest.
			retries = retries.WithBackoff(minWait, maxWait).WithJitterFactor(0.25)
		}
		if cfg.budget {
			retries = retries.WithBudget(budget.New())
		}
		policies := []failsafe.Policy[*http.Response]{retries.Build()}
		if cfg.perTry > 0 {
			// Inside of the retries; outside of them it would limit the call.
			policies = append(policies, timeout.New[*http.Response](cfg.perTry))
		}
		return failsafehttp.NewRoundTripper(base, policies...)
	}}
}
