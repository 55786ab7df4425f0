package bench_test

import (
	"math"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/bench"
)

const (
	routeShare = 0.5 // per cent of the traffic that a host that fails may get
	routeP99   = 15 * time.Millisecond
)

// oneBad is a service of which the first host is bad.
func oneBad(bad routeAnswer) func(string, time.Duration) routeAnswer {
	first := routeAddrs(1)[0]
	return func(addr string, _ time.Duration) routeAnswer {
		if addr == first {
			return bad
		}
		return routeAnswer{latency: usually()}
	}
}

// What a host gets that fails at once, which makes it the fastest, and the one with the
// least to do.
func TestRouteFailsFast(t *testing.T) {
	contenders, first := bench.Routes(), routeAddrs(1)[0]
	tab := &table{name: "route, fails fast"}
	head := []string{"%"}
	rows := make([][]string, len(contenders))
	for _, status := range []int{http.StatusInternalServerError, http.StatusServiceUnavailable} {
		head = append(head, strconv.Itoa(status)+": to it, first 4 s", "later", "calls that fail")
		bad := oneBad(routeAnswer{latency: 200 * time.Microsecond, status: status})
		results := eachRoute(t, contenders, func(t *testing.T, i int) *routeResult {
			return routeLoad{length: routeLength(i), answer: bad}.run(t, contenders[i])
		})
		for i, r := range results {
			begin, later := r.span(0, routeBegin), r.span(routeBegin, math.MaxInt64)
			if i == 0 {
				assert.LessOrEqual(t, begin.share(first), routeShare, "at first, %d", status)
				assert.LessOrEqual(t, later.share(first), routeShare, "later, %d", status)
				assert.LessOrEqual(t, r.failed(), routeShare, "calls, %d", status)
			}
			rows[i] = append(rows[i], begin.shareOf(first), later.shareOf(first), percent(r.failed()))
		}
	}
	tab.row(head...)
	for i, row := range rows {
		tab.row(append([]string{contenders[i].Name}, row...)...)
	}
	tab.publish(t)
}

// What callers notice of a host that is ten times slower.
func TestRouteSlow(t *testing.T) {
	contenders, first := bench.Routes(), routeAddrs(1)[0]
	slow := func(addr string, _ time.Duration) routeAnswer {
		if addr == first {
			return routeAnswer{latency: 10 * usually()}
		}
		return routeAnswer{latency: usually()}
	}
	results := eachRoute(t, contenders, func(t *testing.T, i int) *routeResult {
		return routeLoad{length: routeLength(i), answer: slow}.run(t, contenders[i])
	})
	tab := &table{name: "route, slow"}
	tab.row("", "first 4 s: to it, %", "calls/s", "p50 ms", "p99", "p99.9", "later: to it, %", "p99", "p99.9")
	for i, all := range results {
		r, later := all.span(0, routeBegin), all.span(routeBegin, math.MaxInt64)
		if i == 0 {
			assert.LessOrEqual(t, r.percentile(t, 0.99), routeP99, "p99")
			assert.LessOrEqual(t, later.percentile(t, 0.99), routeP99, "p99 later")
		}
		rate := float64(len(r.calls)) / min(routeLength(i), routeBegin).Seconds()
		row := []string{contenders[i].Name, percent(r.share(first)), fixed(rate, 0)}
		row = append(row, quantiles(t, r, 0.5, 0.99, 0.999)...)
		row = append(row, later.shareOf(first))
		tab.row(append(row, quantiles(t, later, 0.99, 0.999)...)...)
	}
	tab.publish(t)
}

func quantiles(t *testing.T, r *routeResult, which ...float64) (cells []string) {
	t.Helper()
	for _, quantile := range which {
		if len(r.calls) == 0 {
			cells = append(cells, "")
			continue
		}
		cells = append(cells, millis(r.percentile(t, quantile)))
	}
	return cells
}

// What a host gets that takes requests and never answers. Callers have 200 ms.
func TestRouteBlackHole(t *testing.T) {
	contenders, first := bench.Routes(), routeAddrs(1)[0]
	hole := oneBad(routeAnswer{never: true})
	results := eachRoute(t, contenders, func(t *testing.T, i int) *routeResult {
		return routeLoad{length: routeLength(i), timeout: 200 * time.Millisecond, answer: hole}.run(t, contenders[i])
	})
	tab := &table{name: "route, black hole"}
	tab.row("to it, %", "first second", "to 4 s", "later", "calls that fail, first second", "to 4 s", "later")
	spans := [][2]time.Duration{{0, time.Second}, {time.Second, routeBegin}, {routeBegin, math.MaxInt64}}
	for i, r := range results {
		row := []string{contenders[i].Name}
		for n, span := range spans {
			part := r.span(span[0], span[1])
			if i == 0 && n > 0 {
				assert.LessOrEqual(t, part.share(first), routeShare, "from %v on", span[0])
			}
			row = append(row, part.shareOf(first))
		}
		for _, span := range spans {
			row = append(row, r.span(span[0], span[1]).failures())
		}
		tab.row(row...)
	}
	tab.publish(t)
}
