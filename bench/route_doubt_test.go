package bench_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/bench"
	"github.com/failsoft/failsoft/route"
)

const (
	routeDeadline = 100 * time.Millisecond
	routeOutage   = time.Second
	routeAfter    = 3 * time.Minute // more than the longest that somebody takes
)

// failingChecks answers 503 to every check. Whom they are about answers 200.
type failingChecks struct{}

func (failingChecks) RoundTrip(req *http.Request) (*http.Response, error) {
	return routeAnswer{status: http.StatusServiceUnavailable}.give(req)
}

// What becomes of requests where what is thought to be known is wrong, or nothing is.
func TestRouteInDoubt(t *testing.T) {
	all := bench.Routes()
	contenders := []bench.Route{all[0], all[1], all[4], all[5]}
	tab := &table{name: "route, in doubt"}
	tab.row("", "all checks fail, hosts answer: calls that fail, %", "1 in 100 fails at each host, %",
		"all fail for 1 s: more calls that fail", "for so long, s", "no hosts are known: after ms", "error")
	results := eachRoute(t, contenders, func(t *testing.T, i int) []string {
		checked := ""
		if i == 0 {
			checked = percent(whileChecksFail(t))
		}
		row := []string{checked, percent(fewFail(t, contenders[i], i))}
		more, until := routeRecovers(t, contenders[i], i)
		row = append(row, fixed(float64(more), 0), fixed(until.Seconds(), 1))
		return append(row, unresolved(t, contenders[i], i)...)
	})
	for i, row := range results {
		tab.row(append([]string{contenders[i].Name}, row...)...)
	}
	tab.publish(t)
}

func whileChecksFail(t *testing.T) float64 {
	t.Helper()
	ours := bench.RouteOurs("failsoft, checks", route.Config{Check: route.Check{
		Path: "/health", Every: 100 * time.Millisecond, Transport: failingChecks{},
	}})
	r := routeLoad{length: routeBegin, answer: func(string, time.Duration) routeAnswer {
		return routeAnswer{latency: usually()}
	}}.run(t, ours)
	assert.Zero(t, r.failed(), "calls that fail with the checks")
	assert.NotEmpty(t, r.calls)
	return r.failed()
}

// fewFail is the part of the calls that fail where one in a hundred would.
func fewFail(t *testing.T, contender bench.Route, i int) float64 {
	t.Helper()
	r := routeLoad{length: routeLength(i), answer: func(string, time.Duration) routeAnswer {
		a := routeAnswer{latency: usually()}
		if rand.Float64() < 0.01 {
			a.status = http.StatusInternalServerError
		}
		return a
	}}.run(t, contender)
	if i == 0 {
		assert.LessOrEqual(t, r.failed(), 1.3, "one in a hundred and no more")
	}
	return r.failed()
}

// routeRecovers returns how many calls fail after all hosts are well again, and until when.
func routeRecovers(t *testing.T, contender bench.Route, i int) (more int, until time.Duration) {
	t.Helper()
	length := routeOutage + routeAfter
	if !inFull() {
		length = routeOutage + 3*time.Second
	}
	r := routeLoad{workers: 10, length: length, answer: func(_ string, at time.Duration) routeAnswer {
		a := routeAnswer{latency: usually()}
		if at < routeOutage {
			a.status = http.StatusServiceUnavailable
		}
		return a
	}}.run(t, contender)
	for _, c := range r.calls {
		if c.failed && c.at >= routeOutage {
			more++
			until = max(until, c.at+c.took-routeOutage)
		}
	}
	if i == 0 {
		assert.Zero(t, more, "calls that fail after the outage")
	}
	return more, until
}

// unresolved returns when a call comes back for which no host is known, and with what.
// Its caller has 100 ms.
func unresolved(t *testing.T, contender bench.Route, i int) (cells []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var through http.RoundTripper
		var end func()
		if i == 0 {
			pool := route.MustNew(route.Config{
				Names:    []string{bench.RouteName},
				Resolver: func(ctx context.Context, _ func([]route.Host, error)) { <-ctx.Done() },
			})
			through, end = pool.Transport(failingChecks{}), func() { assert.NoError(t, pool.Close(context.Background())) }
		} else {
			through, end = contender.New(nil, failingChecks{})
		}
		defer end()
		ctx, cancel := context.WithTimeout(t.Context(), routeDeadline)
		defer cancel()
		begun := time.Now()
		_, err := fetch(ctx, through, routeAt)
		took := time.Since(begun)
		require.Error(t, err)
		if i == 0 {
			assert.Equal(t, routeDeadline, took)
		}
		cells = []string{millis(took), "`" + err.Error() + "`"}
	})
	return cells
}
