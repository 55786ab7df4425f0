package route_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/route"
)

// names are the addresses of five hosts, of which tests change the first.
var names = []string{"a:1", "b:1", "c:1", "d:1", "e:1"}

// A host that fails fast looks idle and quick. It gets no more than half a percent of
// the requests, from the first one on.
func TestRequirement3FastFailures(t *testing.T) {
	for _, status := range []int{http.StatusInternalServerError, http.StatusServiceUnavailable} {
		bubble(t, fmt.Sprint(status), func(t *testing.T) {
			f := newFleet(10*ms, names...)
			f.set("a:1", func(r *replica) { r.latency, r.status = ms/5, status })
			_, next := poolOf(t, f, route.Config{})
			first := loads(t, next, 50, 4*time.Second)
			t.Logf("the first 4 s: %d of %d requests (%.3f %%)", f.seen("a:1"), len(first.latencies), 100*f.share("a:1"))
			assert.LessOrEqual(t, f.share("a:1"), 0.005)
			assert.InDelta(t, f.share("a:1"), first.failed(), 1e-9)
			f.reset()
			loads(t, next, 50, 16*time.Second)
			t.Logf("the next 16 s: %.4f %%", 100*f.share("a:1"))
			assert.LessOrEqual(t, f.share("a:1"), 0.0005)
			assert.Positive(t, f.seen("a:1"), "it is asked now and then")
		})
	}
	bubble(t, "without ejection", func(t *testing.T) {
		f := newFleet(10*ms, names...)
		f.set("a:1", func(r *replica) { r.latency, r.status = ms/5, 500 })
		_, next := poolOf(t, f, route.Config{Consecutive: route.Off, SuccessMargin: route.Off})
		loads(t, next, 50, time.Second)
		f.reset()
		loads(t, next, 50, 10*time.Second)
		t.Logf("%.3f %%", 100*f.share("a:1"))
		assert.LessOrEqual(t, f.share("a:1"), 0.02, "the score alone keeps it away")
	})
}

func TestRequirement3SlowHost(t *testing.T) {
	bubble(t, "ten times slower", func(t *testing.T) {
		f := newFleet(10*ms, names...)
		f.set("a:1", func(r *replica) { r.latency = 100 * ms })
		_, next := poolOf(t, f, route.Config{})
		r := loads(t, next, 50, 4*time.Second)
		t.Logf("%.2f %% of %d, p99 %v", 100*f.share("a:1"), len(r.latencies), r.p99())
		assert.LessOrEqual(t, r.p99(), 15*ms)
		assert.LessOrEqual(t, f.share("a:1"), 0.01)
	})
	bubble(t, "becomes slow, and quick again", func(t *testing.T) {
		f := newFleet(10*ms, names...)
		_, next := poolOf(t, f, route.Config{})
		loads(t, next, 50, 2*time.Second)
		assert.InDelta(t, 0.2, f.share("a:1"), 0.02)
		f.set("a:1", func(r *replica) { r.latency = 100 * ms })
		loads(t, next, 50, time.Second)
		f.reset()
		loads(t, next, 50, 4*time.Second)
		assert.LessOrEqual(t, f.share("a:1"), 0.01)
		f.set("a:1", func(r *replica) { r.latency = 10 * ms })
		loads(t, next, 20, 40*time.Second)
		f.reset()
		loads(t, next, 50, 4*time.Second)
		assert.InDelta(t, 0.2, f.share("a:1"), 0.03, "what was is forgotten")
	})
	bubble(t, "weights do not make it better", func(t *testing.T) {
		f := newFleet(10*ms, names...)
		f.set("a:1", func(r *replica) { r.latency = 100 * ms })
		hosts := make([]route.Host, len(names))
		for i, addr := range names {
			hosts[i] = route.Host{Addr: addr, Weight: 10 + i%2}
		}
		_, next := poolOf(t, f, route.Config{Hosts: hosts})
		r := loads(t, next, 50, 4*time.Second)
		t.Logf("%.2f %% of %d, p99 %v", 100*f.share("a:1"), len(r.latencies), r.p99())
		assert.LessOrEqual(t, r.p99(), 15*ms)
	})
}

// A pair of 1:10 gets about 1:10, whether there is little to do or much.
func TestRequirement3Weights(t *testing.T) {
	for _, workers := range []int{1, 2, 5, 50} { // a few do not quite: a second request at once goes elsewhere rather
		bubble(t, fmt.Sprintf("1:10 with %d workers", workers), func(t *testing.T) {
			f := newFleet(10*ms, "a:1", "b:1")
			_, next := poolOf(t, f, route.Config{Hosts: []route.Host{{Addr: "a:1"}, {Addr: "b:1", Weight: 10}}})
			loads(t, next, workers, max(60*time.Second/time.Duration(workers), 4*time.Second))
			t.Logf("%.1f %%", 100*f.share("a:1"))
			assert.InDelta(t, 1.0/11, f.share("a:1"), 0.04)
		})
		bubble(t, fmt.Sprintf("1:2:3 with %d workers", workers), func(t *testing.T) {
			f := newFleet(10*ms, "a:1", "b:1", "c:1")
			_, next := poolOf(t, f, route.Config{Hosts: []route.Host{
				{Addr: "a:1"}, {Addr: "b:1", Weight: 2}, {Addr: "c:1", Weight: 3},
			}})
			loads(t, next, workers, max(60*time.Second/time.Duration(workers), 4*time.Second))
			assert.InDelta(t, 1.0/6, f.share("a:1"), 0.08)
			assert.InDelta(t, 2.0/6, f.share("b:1"), 0.08)
		})
	}
	bubble(t, "1:1000", func(t *testing.T) {
		f := newFleet(ms, "a:1", "b:1")
		_, next := poolOf(t, f, route.Config{Hosts: []route.Host{{Addr: "a:1"}, {Addr: "b:1", Weight: 1000}}})
		gets(t, next, 20_000)
		// About 20. One run in ten thousand has more than 38, and next to none more than 50.
		assert.InDelta(t, 26, f.seen("a:1"), 24)
	})
}

// Equal hosts get equal shares.
func TestRequirement3EqualShares(t *testing.T) {
	for _, workers := range []int{1, 50} {
		for _, latency := range []time.Duration{ms / 3, 10 * ms, 300 * ms} {
			bubble(t, fmt.Sprintf("%d workers, %v", workers, latency), func(t *testing.T) {
				f := newFleet(latency, names...)
				_, next := poolOf(t, f, route.Config{})
				loads(t, next, workers, 2000*latency/time.Duration(min(workers, 5)))
				for _, addr := range names {
					assert.InDelta(t, 0.2, f.share(addr), 0.04, addr)
				}
			})
		}
	}
}

// A host that is new gets a share that grows.
func TestRequirement3SlowStart(t *testing.T) {
	bubble(t, "new", func(t *testing.T) {
		f := newFleet(10*ms, names...)
		resolver := newByHand()
		_, next := poolOf(t, f, route.Config{
			Hosts: hostsAt(names[1:]...), Resolver: resolver.resolve, SlowStart: 10 * time.Second,
		})
		loads(t, next, 20, 12*time.Second)
		resolver.hosts(hostsAt(names...)...)
		shares := make([]float64, 12)
		for i := range shares {
			f.reset()
			loads(t, next, 50, time.Second)
			shares[i] = f.share("a:1")
		}
		t.Logf("%.3f", shares)
		assert.Less(t, shares[0], 0.06)
		assert.InDelta(t, 0.1, shares[4], 0.05)
		assert.InDelta(t, 0.2, shares[11], 0.03)
		for i := range shares[:9] {
			assert.Less(t, shares[i], shares[i+1]+0.02, "%v", shares)
		}
	})
	bubble(t, "off", func(t *testing.T) {
		f := newFleet(10*ms, names...)
		resolver := newByHand()
		_, next := poolOf(t, f, route.Config{
			Hosts: hostsAt(names[1:]...), Resolver: resolver.resolve, SlowStart: route.Off,
		})
		loads(t, next, 50, time.Second)
		resolver.hosts(hostsAt(names...)...)
		f.reset()
		loads(t, next, 50, 4*time.Second)
		assert.InDelta(t, 0.2, f.share("a:1"), 0.03)
	})
}

func hostsAt(addrs ...string) (hosts []route.Host) {
	for _, addr := range addrs {
		hosts = append(hosts, route.Host{Addr: addr})
	}
	return hosts
}

// Requests stay in the zone, and leave it in the measure in which hosts there are lost.
func TestRequirement3Zones(t *testing.T) {
	zoned := func() []route.Host {
		var hosts []route.Host
		for i := range 8 {
			hosts = append(hosts, route.Host{Addr: fmt.Sprintf("h%d:1", i), Zone: []string{"here", "there"}[i%2]})
		}
		return hosts
	}
	here := func(f *fleet) (share float64) {
		for i := 0; i < 8; i += 2 {
			share += f.share(fmt.Sprintf("h%d:1", i))
		}
		return share
	}
	fleetOf := func() *fleet {
		f := newFleet(10*ms, "x:1")
		delete(f.hosts, "x:1")
		for _, h := range zoned() {
			f.hosts[h.Addr] = &replica{latency: 10 * ms}
		}
		return f
	}
	// Three of four are more than 0.7. Of what spills over, those here get what they
	// can take: at most their part.
	for out, want := range [][2]float64{{1, 1}, {1, 1}, {0.5 / 0.7, 2.0 / 6}, {0.25 / 0.7, 1.0 / 5}, {0, 0}} {
		bubble(t, fmt.Sprintf("%d of 4 ill", out), func(t *testing.T) {
			f := fleetOf()
			for i := range out {
				f.set(fmt.Sprintf("h%d:1", 2*i), func(r *replica) { r.check = 503 })
			}
			_, next := poolOf(t, f, route.Config{
				Hosts: zoned(), Zone: "here", Check: route.Check{Path: "/health"}, SlowStart: route.Off,
			})
			time.Sleep(2 * time.Second) // the first checks
			loads(t, next, 40, 4*time.Second)
			t.Logf("%.3f, at least %.3f", here(f), want[0])
			assert.GreaterOrEqual(t, here(f), want[0]-0.02)
			assert.LessOrEqual(t, here(f), want[0]+(1-want[0])*want[1]+0.02)
		})
	}
	bubble(t, "nobody here", func(t *testing.T) {
		f := fleetOf()
		_, next := poolOf(t, f, route.Config{Hosts: zoned(), Zone: "elsewhere"})
		assert.Equal(t, 100, gets(t, next, 100))
		assert.InDelta(t, 0.5, here(f), 0.2)
	})
}
