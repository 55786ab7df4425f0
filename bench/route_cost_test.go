package bench_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/go-kratos/kratos/v2/selector"
	"github.com/go-kratos/kratos/v2/selector/p2c"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"resty.dev/v3"

	"github.com/failsoft/failsoft/bench"
	"github.com/failsoft/failsoft/route"
)

const (
	routeAllocs = 2 // at most, the copy of the request included

	// routeBatch is short, so that some are not disturbed: the collector is not at work
	// in these either.
	routeBatch  = time.Millisecond
	routeRounds = 20 // for each round
)

// What is nobody spared who sends a request elsewhere: a copy of it and of its URL.
const (
	routeCopy     = "a copy of the request"
	routeCopyAll  = "all cores: " + routeCopy
	routeFailsoft = "failsoft"
)

// routeOp is compared with the copy that is part of it, or stands for itself.
type routeOp struct {
	op

	copied string
}

// routeOps are whole requests over a base that answers at once, and what the rivals have
// that is no transport by itself.
func routeOps(tb testing.TB) []routeOp {
	tb.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, routeAt, nil)
	require.NoError(tb, err)
	hosts := routeAddrs(routeHosts)
	base := noBody{&http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}}
	through := func(contender bench.Route) func() {
		next, end := contender.New(hosts, base)
		tb.Cleanup(end)
		return sends(next, req)
	}
	copies := sends(roundTrip(func(req *http.Request) (*http.Response, error) {
		return base.RoundTrip(bench.Elsewhere(req, hosts[0]))
	}), req)
	all := bench.Routes()
	ours, kratos := through(all[0]), through(all[1])
	restys, err := bench.RestyBalancer(hosts)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = restys.Close() })
	cores := func(run func()) func() func() { return func() func() { return run } }
	return []routeOp{
		{op{name: routeCopy, run: copies}, ""},
		{op{name: "no copy", run: sends(base, req)}, ""},
		{op{name: routeFailsoft, run: ours}, routeCopy},
		{op{name: "failsoft, weights", run: through(weighted())}, routeCopy},
		{op{name: "kratos, p2c, and a copy", run: kratos}, routeCopy},
		{op{name: "go-kit, round robin, and a copy", run: through(all[5])}, routeCopy},
		{op{name: "kratos, p2c: Select and done", run: kratosPicks(bench.KratosSelector(p2c.NewBuilder(), hosts))}, ""},
		{op{name: "resty, weighted round robin: NextWithContext and Feedback", run: restyPicks(restys)}, ""},
		{op{name: routeCopyAll, fork: cores(copies)}, ""},
		{op{name: "all cores: failsoft", fork: cores(ours)}, routeCopyAll},
		{op{name: "all cores: kratos, p2c, and a copy", fork: cores(kratos)}, routeCopyAll},
	}
}

// weighted is ours with hosts of different weights.
func weighted() bench.Route {
	return bench.Route{New: func(addrs []string, base http.RoundTripper) (http.RoundTripper, func()) {
		var hosts []route.Host
		for i, addr := range addrs {
			hosts = append(hosts, route.Host{Addr: addr, Weight: 1 + i})
		}
		pool := route.MustNew(route.Config{Names: []string{bench.RouteName}, Hosts: hosts})
		return pool.Transport(base), func() { _ = pool.Close(context.Background()) }
	}}
}

func sends(next http.RoundTripper, req *http.Request) func() {
	return func() {
		resp, err := next.RoundTrip(req)
		if err != nil {
			panic(err)
		}
		_ = resp.Body.Close()
	}
}

func kratosPicks(selects selector.Selector) func() {
	ctx := context.Background()
	return func() {
		_, done, err := selects.Select(ctx)
		if err != nil {
			panic(err)
		}
		done(ctx, selector.DoneInfo{})
	}
}

func restyPicks(balancer resty.LoadBalancer) func() {
	ctx := context.Background()
	return func() {
		where, err := balancer.NextWithContext(ctx)
		if err != nil {
			panic(err)
		}
		balancer.Feedback(&resty.RequestFeedback{BaseURL: where, Success: true, Attempt: 1})
	}
}

type noBody struct{ resp *http.Response }

func (b noBody) RoundTrip(*http.Request) (*http.Response, error) { return b.resp, nil }

// What a request costs that is routed. On a shared machine the least of many is what
// comes closest to what it takes.
func TestRouteCost(t *testing.T) {
	ops := routeOps(t)
	nanos := leasts(ops)
	tab := &table{name: "route, cost"}
	tab.row("", "least ns/op", "above the copy", "ratio to it", "B/op", "allocs")
	for _, o := range ops {
		allocs, took := o.allocs(), nanos[o.name]
		if o.name == routeFailsoft {
			assert.LessOrEqual(t, allocs, float64(routeAllocs))
		}
		above, ratio := "", ""
		if o.copied != "" {
			above, ratio = fmt.Sprintf("%+.0f", took-nanos[o.copied]), fixed(took/nanos[o.copied], 2)
		}
		tab.row(o.name, fixed(took, 0), above, ratio, fixed(o.bytes(), 0), fixed(allocs, 0))
	}
	tab.publish(t)
}

// leasts measures like measure, in turns, and returns the least of each.
func leasts(ops []routeOp) map[string]float64 {
	calls := make([]int, len(ops))
	for i, o := range ops {
		calls[i] = o.fill(routeBatch)
	}
	least := make(map[string]float64)
	for round := range routeRounds * max(*rounds, 1) {
		for i := range ops {
			turn := (i + round) % len(ops)
			took := float64(ops[turn].time(calls[turn])) / float64(calls[turn])
			if so, ok := least[ops[turn].name]; !ok || took < so {
				least[ops[turn].name] = took
			}
		}
	}
	return least
}

func BenchmarkRoute(b *testing.B) {
	var ops []op
	for _, o := range routeOps(b) {
		ops = append(ops, o.op)
	}
	benchmark(b, ops)
}
