package bench

import (
	"math/rand/v2"
	"net/http"
	"sync/atomic"
)

// FewestRoute is as simple as a balancer can be that knows what is in flight, and
// nothing else: httplb, which was not to be had, documents such ones. It asks the host
// with the fewest of so many that are drawn, or of all if 0.
func FewestRoute(name string, drawn int) Route {
	return Route{name, func(hosts []string, base http.RoundTripper) (http.RoundTripper, func()) {
		base = orDefault(base)
		all := make([]counted, len(hosts))
		for i, addr := range hosts {
			all[i].addr = addr
		}
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			h := fewest(all, drawn)
			h.inFlight.Add(1)
			defer h.inFlight.Add(-1)
			return base.RoundTrip(Elsewhere(req, h.addr))
		}), func() {}
	}}
}

type counted struct {
	addr     string
	inFlight atomic.Int64
}

func fewest(all []counted, drawn int) *counted {
	first := rand.IntN(len(all))
	if drawn == 2 {
		second := (first + 1 + rand.IntN(len(all)-1)) % len(all)
		return fewer(&all[first], &all[second])
	}
	best := &all[first]
	for i := range all {
		best = fewer(best, &all[(first+i)%len(all)])
	}
	return best
}

func fewer(a, b *counted) *counted {
	if b.inFlight.Load() < a.inFlight.Load() {
		return b
	}
	return a
}
