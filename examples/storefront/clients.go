package main

import (
	"net/http"
	"time"

	"github.com/failsoft/failsoft/breaker"
	"github.com/failsoft/failsoft/budget"
	"github.com/failsoft/failsoft/hedge"
	"github.com/failsoft/failsoft/retry"
	"github.com/failsoft/failsoft/route"
	"github.com/failsoft/failsoft/stale"
)

// deadline is how long a call may take on either side, attempts and the waits
// between them included.
const deadline = time.Second

// naiveClient is the client that people write: shared, and with a timeout. It asks the
// replicas of an upstream in turn.
func naiveClient(hosts map[string][]string, calls meter) *http.Client {
	return &http.Client{Timeout: deadline, Transport: calls.over(&turns{hosts: hosts, next: newBase()})}
}

// failsoftClient is the same client with failsoft in five places. A cache stands
// outermost, as the cheapest call is the one not made, and as it answers when all
// below has come to nothing. Retries and hedges stand above the choice of a replica,
// so that each attempt can go to another one. So does the breaker, with a circuit for
// each upstream: it is for when all of an upstream is down. Innermost, pools choose the
// replica, and pass over one that hangs while others serve. health is told of what
// becomes of circuits and replicas, and calls of those that the cache does not answer by
// itself.
func failsoftClient(hosts map[string][]string, cache *stale.Cache, health *known, calls meter) *http.Client {
	below := calls.over(resilient(hosts, newBase(), health))
	return &http.Client{Timeout: deadline, Transport: cache.Transport(below)}
}

// newCache returns the cache, to be closed in the end. All else is as it is by
// default: for an hour an old part of the page is better than none, and one that is
// late is not waited for if there is an old one.
func newCache() *stale.Cache {
	return stale.MustNew(stale.Config{
		// A front asks on behalf of all of its visitors. The default is a cache for
		// one user, which would show the next one what was meant for the last.
		Shared: true,
		// What others may want too goes on when the visitor has left or has been
		// answered, and the deadline with them.
		FetchTimeout: deadline,
	})
}

// resilient reads from the outside in, a call's way down to its connection.
func resilient(hosts map[string][]string, base http.RoundTripper, health *known) http.RoundTripper {
	extra := budget.MustNew(budget.Config{Ratio: ratio}) // of retries and hedges together
	return newRetrier(extra).Transport(newHedger(extra).Transport(
		newBreakers(health).Transport(routed(hosts, base, health))))
}

// newBreakers returns the circuits, one for each host in a URL: for each upstream, as
// that of a replica is chosen below.
func newBreakers(health *known) *breaker.Breaker {
	return breaker.MustNew(breaker.Config{
		Rules: rules(),
		// The default takes more than half of all circuits open for a fault on
		// our own side, and lets all calls pass. With four, all of what we call may
		// well be down.
		MaxOpenFraction: breaker.Off,
		Observe:         health.circuit,
	})
}

// routed sends requests for an upstream's name to its replicas. Each pool lets those for
// others pass, so that one stands in the other. A pool without a Resolver or a Check has
// nothing to be closed.
func routed(hosts map[string][]string, base http.RoundTripper, health *known) http.RoundTripper {
	next := base
	for name, addrs := range hosts {
		next = newPool(name, addrs, health).Transport(next)
	}
	return next
}

// newPool returns what chooses a replica. All else is as it is by default: of two at
// random the one that has less to do, by how long its calls take and how many it has. One
// that hangs falls behind with the first call that it does not answer.
func newPool(name string, addrs []string, health *known) *route.Pool {
	cfg := route.Config{Names: []string{name}, Observe: health.replica}
	for _, addr := range addrs {
		cfg.Hosts = append(cfg.Hosts, route.Host{Addr: addr})
	}
	return route.MustNew(cfg)
}

// ratio is how much of an extra attempt each call pays for. The default of a
// tenth is for upstreams with many replicas; of three, one that stalls takes a
// third of all calls with it until its circuit opens.
const ratio = 0.2

// tryTimeout is how long an attempt may take, of those that make up a call.
const tryTimeout = 400 * time.Millisecond

func newRetrier(extra *budget.Budget) *retry.Retrier {
	return retry.MustNew(retry.Config{
		// Short enough that a second attempt fits into the deadline, but above
		// what calls take on a slow day. A shorter one would give up on answers
		// that are on their way, just when the upstreams have no time to spare.
		TryTimeout: tryTimeout,
		// A visitor who cannot be served is told so at once, rather than kept
		// until a circuit lets calls pass again.
		MaxRetryAfter: time.Millisecond,
		Budget:        extra,
		// Upstreams can tell retries from demand. Ours draw new luck for them.
		AttemptHeader: true,
	})
}

func newHedger(extra *budget.Budget) *hedge.Hedger {
	return hedge.MustNew(hedge.Config{
		// Three times the default, as one of three replicas that stalls takes every
		// third call; but less than what the budget pays for, to leave retries some.
		Percent: 15,
		// Some three times what a call takes. On a good day that leaves hedges
		// unspent, of which 30 are saved up: enough until the circuit is open. The
		// delay that finds itself, the default, spends them on all days alike, and
		// grows while a third of all calls outlive it.
		Delay: 40 * time.Millisecond,
		// The retrier has paid in for the call already.
		Budget: extra.SpendOnly(),
		// What lost to a hedge was canceled, which says nothing about its replica:
		// hedges that always help would hide from the breaker what they help
		// against. So losers go on for as long as it takes to see a stall.
		LoserGrace:    2 * rules().StalledAfter,
		AttemptHeader: true,
	})
}

// rules are on the scale of a drill, whose outages last for seconds. For those
// of real life, which last for minutes, leave out all but StalledAfter.
func rules() breaker.Rules {
	return breaker.Rules{
		Consecutive: 5,
		// Sees a black hole before five calls have timed out in it. No replica of
		// ours that works goes for so long without an answer to any of its calls.
		StalledAfter: 250 * time.Millisecond,
		StalledMin:   5,
		// One call each 0.3 s or so finds out whether a replica is back.
		OpenTime:     100 * time.Millisecond,
		MaxOpenTime:  200 * time.Millisecond,
		Probes:       1,
		ProbeTimeout: 200 * time.Millisecond,
		// Ours come back with all their strength, and refusing a part of the
		// visitors for longer would help nobody.
		Ramp: breaker.Off,
	}
}

// newBase returns connections that are kept open between calls, for either side.
func newBase() *http.Transport {
	return &http.Transport{MaxIdleConnsPerHost: 128, IdleConnTimeout: time.Minute}
}

// turns sends requests for an upstream's name to its replicas in turn: visitors one after
// the other are served by different ones.
type turns struct {
	hosts map[string][]string
	next  http.RoundTripper
}

// RoundTrip sends a copy, as a RoundTripper must not change its request.
func (t *turns) RoundTrip(req *http.Request) (*http.Response, error) {
	hosts := t.hosts[req.URL.Host]
	if len(hosts) == 0 {
		return t.next.RoundTrip(req)
	}
	url := *req.URL
	url.Host = hosts[visitorOf(req)%len(hosts)]
	routed := req.WithContext(req.Context())
	routed.URL = &url
	return t.next.RoundTrip(routed)
}

// CloseIdleConnections closes those of the transport below.
func (t *turns) CloseIdleConnections() {
	(&http.Client{Transport: t.next}).CloseIdleConnections()
}
