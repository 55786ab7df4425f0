package bench_test

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/go-kit/kit/sd/lb"
	"github.com/stretchr/testify/assert"
	"resty.dev/v3"

	"github.com/failsoft/failsoft/bench"
	"github.com/failsoft/failsoft/budget"
	"github.com/failsoft/failsoft/retry"
)

const routeTry = 200 * time.Millisecond

// errRouteReset is what a transport returns then.
var errRouteReset = &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}

// retried puts the same retry above all contenders: a second attempt, at once.
func retried(below bench.Route) bench.Route {
	return bench.Route{
		Name: "failsoft's retry over " + below.Name,
		New: func(hosts []string, base http.RoundTripper) (http.RoundTripper, func()) {
			through, end := below.New(hosts, base)
			return retry.MustNew(retry.Config{
				MaxAttempts: 2, BaseDelay: retry.Immediately, TryTimeout: routeTry,
				// Where it goes is the subject, and not how many there are.
				Budget: budget.MustNew(budget.Config{Floor: 10_000}),
			}).Transport(through), end
		},
	}
}

// ownRetries are the pairs of which both parts are a rival's.
func ownRetries() []bench.Route {
	restys := bench.RestyRoute("resty, its retry", func(c *resty.Client) {
		c.SetRetryCount(1).SetRetryWaitTime(time.Millisecond).SetRetryMaxWaitTime(time.Millisecond).SetTimeout(routeTry).
			AddRetryConditions(func(_ *resty.Response, err error) bool { return err != nil })
	})
	kits := bench.Route{Name: "go-kit, its retry", New: func(hosts []string, base http.RoundTripper) (http.RoundTripper, func()) {
		balancer := bench.KitBalancer(hosts, roundTrip(func(req *http.Request) (*http.Response, error) {
			ctx, cancel := context.WithTimeout(req.Context(), routeTry)
			defer cancel()
			return base.RoundTrip(req.WithContext(ctx))
		}))
		return bench.KitRetry(lb.Retry(2, time.Minute, balancer)), func() {}
	}}
	return []bench.Route{restys, kits}
}

// Where a second attempt goes.
func TestRouteRetry(t *testing.T) {
	var contenders []bench.Route
	for _, contender := range bench.Routes() {
		contenders = append(contenders, retried(contender))
	}
	contenders = append(contenders, ownRetries()...)
	some := func(string, time.Duration) routeAnswer {
		a := routeAnswer{latency: usually()}
		if rand.Float64() < 0.05 {
			a = routeAnswer{latency: time.Millisecond, err: errRouteReset}
		}
		return a
	}
	hole := oneBad(routeAnswer{never: true})
	results := eachRoute(t, contenders, func(t *testing.T, i int) [2]*routeResult {
		length := 2 * routeBegin
		if !inFull() {
			length = 2 * routeTrial
		}
		return [2]*routeResult{
			routeLoad{length: length, answer: some}.run(t, contenders[i]),
			routeLoad{length: length, answer: hole}.run(t, contenders[i]),
		}
	})
	tab := &table{name: "route, retry"}
	tab.row("", "5 % fail: second attempts", "to the same host, %", "calls that fail, %",
		"black hole: second attempts", "to the same host, %", "calls that fail, %")
	for i, r := range results {
		row := []string{contenders[i].Name}
		for _, part := range r {
			second, same := part.seconds()
			if i == 0 {
				assert.NotZero(t, second)
				assert.Zero(t, same, "second attempts at the host of the first")
			}
			cell := ""
			if second > 0 {
				cell = fixed(100*float64(same)/float64(second), 1)
			}
			row = append(row, fixed(float64(second), 0), cell, percent(part.failed()))
		}
		tab.row(row...)
	}
	tab.publish(t)
}

// seconds returns how many calls had a second attempt, and of how many it went where the
// first one did.
func (r *routeResult) seconds() (all, same int) {
	for _, c := range r.calls {
		if len(c.tried) < 2 {
			continue
		}
		all++
		if c.tried[0] == c.tried[1] {
			same++
		}
	}
	return all, same
}
