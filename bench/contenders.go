// Package bench puts failsoft beside other libraries that do the same job, on
// the same stubs, in the same run. It has a go.mod of its own, so that nobody
// who uses failsoft downloads its rivals. Nobody imports it; the figures stand
// in docs/benchmarks.md, and `make -C bench tables` measures them again.
//
// Each rival is set up as its documentation advises a careful user, and to the
// same policy as ours where it can be: three attempts, waits from 50 ms to 2 s.
package bench

import (
	"net/http"
	"time"

	"github.com/PuerkitoBio/rehttp"
	"github.com/hashicorp/go-retryablehttp"

	"github.com/failsoft/failsoft/budget"
	"github.com/failsoft/failsoft/retry"
)

const (
	attempts   = 3
	minWait    = 50 * time.Millisecond
	maxWait    = 2 * time.Second
	tryTimeout = 5 * time.Second
)

// Transport is one way to send HTTP requests again. Wrap makes a new one each
// time, so that one made in a synctest bubble lives in its time.
type Transport struct {
	Name string
	Wrap func(base http.RoundTripper) http.RoundTripper
}

// HappyPath returns who is measured where nothing fails. The first is what the
// others are compared with. A name that says "per try" has a timeout for each
// attempt, which is where most of the cost is.
func HappyPath() []Transport {
	return []Transport{
		// A wrapper that does nothing, because an http.Client treats its own
		// transport no differently from a wrapped one.
		{Name: "bare", Wrap: func(base http.RoundTripper) http.RoundTripper { return passThrough{base} }},
		failsoft("failsoft, no timeout", retry.Config{TryTimeout: retry.NoTimeout}),
		rehttpWith("rehttp", 0),
		retryableHTTP("retryablehttp", attempts-1, minWait, maxWait, 0),
		failsafeTransport("failsafe", failsafeConfig{}),
		failsoft("failsoft, per try (default)", retry.Config{}),
		rehttpWith("rehttp, per try", tryTimeout),
		retryableHTTP("retryablehttp, per try", attempts-1, minWait, maxWait, tryTimeout),
		failsafeTransport("failsafe, per try", failsafeConfig{perTry: tryTimeout}),
	}
}

// Outage returns who is measured where everything fails, ours first.
func Outage() []Transport {
	return []Transport{
		failsoft("failsoft, defaults", retry.Config{}),
		rehttpWith("rehttp, 3 attempts", 0),
		retryableHTTP("retryablehttp, 3 attempts", attempts-1, minWait, maxWait, 0),
		// What NewClient sets up: four retries, one second doubling to thirty.
		retryableHTTP("retryablehttp, defaults", 4, time.Second, 30*time.Second, 0),
		failsafeTransport("failsafe, defaults", failsafeConfig{}),
		failsafeTransport("failsafe, its budget", failsafeConfig{budget: true}),
		failsafeTransport("failsafe, its budget and backoff", failsafeConfig{budget: true, backoff: true}),
	}
}

// Connections returns who is measured on real sockets, ours first. All wait a
// millisecond at most, as waiting is not what is measured.
func Connections() []Transport {
	return []Transport{
		failsoft("failsoft", retry.Config{
			BaseDelay: retry.Immediately,
			// Every call is to be repeated, which the default budget exists to prevent.
			Budget: budget.MustNew(budget.Config{Floor: 1000}),
		}),
		rehttpDelayed("rehttp", rehttp.ConstDelay(time.Millisecond), 0),
		retryableHTTP("retryablehttp", attempts-1, time.Millisecond, time.Millisecond, 0),
		failsafeTransport("failsafe", failsafeConfig{}),
	}
}

type passThrough struct{ http.RoundTripper }

func failsoft(name string, cfg retry.Config) Transport {
	return Transport{name, func(base http.RoundTripper) http.RoundTripper {
		return retry.MustNew(cfg).Transport(base)
	}}
}

func rehttpWith(name string, perTry time.Duration) Transport {
	return rehttpDelayed(name, rehttp.ExpJitterDelay(minWait, maxWait), perTry)
}

func rehttpDelayed(name string, delay rehttp.DelayFn, perTry time.Duration) Transport {
	// It has no rule of its own what to repeat, so it gets ours. What decides
	// soonest comes first: a good response costs it two comparisons.
	rule := rehttp.RetryAll(
		rehttp.RetryMaxRetries(attempts-1),
		rehttp.RetryAny(
			rehttp.RetryStatuses(http.StatusTooManyRequests, http.StatusBadGateway,
				http.StatusServiceUnavailable, http.StatusGatewayTimeout),
			rehttp.RetryIsErr(func(err error) bool { return err != nil }),
		),
		rehttp.RetryHTTPMethods(http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete),
	)
	return Transport{name, func(base http.RoundTripper) http.RoundTripper {
		t := rehttp.NewTransport(base, rule, delay)
		t.PerAttemptTimeout = perTry
		return t
	}}
}

func retryableHTTP(name string, again int, least, most, perTry time.Duration) Transport {
	return Transport{name, func(base http.RoundTripper) http.RoundTripper {
		client := retryablehttp.NewClient()
		client.HTTPClient.Transport = base
		client.HTTPClient.Timeout = perTry // The only limit for each attempt that it has; it covers the body too.
		client.Logger = nil                // It logs every request otherwise.
		client.RetryMax, client.RetryWaitMin, client.RetryWaitMax = again, least, most
		// Like ours, hand over the last response instead of an error without it.
		client.ErrorHandler = retryablehttp.PassthroughErrorHandler
		return &retryablehttp.RoundTripper{Client: client}
	}}
}
