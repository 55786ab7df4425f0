package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/failsoft/failsoft/breaker"
	"github.com/failsoft/failsoft/budget"
	"github.com/failsoft/failsoft/hedge"
	"github.com/failsoft/failsoft/retry"
	"github.com/failsoft/failsoft/stale"
)

// deadline is how long a call may take on either side, attempts and the waits
// between them included.
const deadline = time.Second

// naiveClient is the client that people write: shared, and with a timeout.
func naiveClient(hosts map[string][]string, calls meter) *http.Client {
	return &http.Client{Timeout: deadline, Transport: calls.over(&replicas{hosts: hosts, next: newPool()})}
}

// failsoftClient is the same client with failsoft in four places. A cache stands
// outermost, as the cheapest call is the one not made, and as it answers when all
// below has come to nothing. Retries and hedges stand above the choice of a
// replica, so that each attempt can go to another one. A breaker stands below it,
// with a circuit for each replica: one that hangs is passed over, and the other two
// serve. A circuit for all three would stay closed and let every third call hang,
// or open and refuse what two of them could answer. health is told of what becomes
// of the circuits, and calls of those that the cache does not answer by itself.
func failsoftClient(hosts map[string][]string, cache *stale.Cache, health *circuits, calls meter) *http.Client {
	below := calls.over(resilient(hosts, newPool(), health.observe))
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
func resilient(
	hosts map[string][]string, pool http.RoundTripper, observe func(context.Context, breaker.Event),
) http.RoundTripper {
	extra := budget.MustNew(budget.Config{Ratio: ratio}) // of retries and hedges together
	breakers := breaker.MustNew(breaker.Config{
		Rules: rules(),
		// The default takes more than half of all circuits open for a fault on
		// our own side, and lets all calls pass. With six, all of what we call may
		// well be down.
		MaxOpenFraction: breaker.Off,
		Observe:         observe,
	})
	choice := &replicas{hosts: hosts, next: breakers.Transport(pool)}
	return newRetrier(extra).Transport(newHedger(extra).Transport(choice))
}

// ratio is how much of an extra attempt each call pays for. The default of a
// tenth is for upstreams with many replicas; of three, one that stalls takes a
// third of all calls with it until its circuit opens.
const ratio = 0.2

func newRetrier(extra *budget.Budget) *retry.Retrier {
	return retry.MustNew(retry.Config{
		// Short enough that a second attempt fits into the deadline, but above
		// what calls take on a slow day. A shorter one would give up on answers
		// that are on their way, just when the upstreams have no time to spare.
		TryTimeout: 400 * time.Millisecond,
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

// newPool returns connections that are kept open between calls, for either side.
func newPool() *http.Transport {
	return &http.Transport{MaxIdleConnsPerHost: 128, IdleConnTimeout: time.Minute}
}

// replicas sends requests for an upstream's name to its hosts in turn: visitors
// one after the other start with different hosts, and each further attempt of a
// call goes to another one. A counter would spread first attempts as well, but
// others move it on between two attempts: every third would meet the same host
// again.
type replicas struct {
	hosts map[string][]string
	next  http.RoundTripper
}

// RoundTrip passes over hosts that a breaker below refuses to call: nothing was
// sent, so that trying the next one costs no attempt. First attempts go up the
// list and further ones down, so that these two meet only where a single host is
// left. Requests with a body would need a new one for each host, from GetBody.
func (r *replicas) RoundTrip(req *http.Request) (resp *http.Response, err error) {
	hosts := r.hosts[req.URL.Host]
	if len(hosts) == 0 {
		return r.next.RoundTrip(req)
	}
	before := attempt(retry.Attempt(req.Context()), hedge.Attempt(req.Context())) - 1
	step := 1
	if before > 0 {
		step = len(hosts) - 1 // one down, modulo their number
	}
	for i := range hosts {
		turn := visitorOf(req) + step*(before+i)
		resp, err = r.next.RoundTrip(to(hosts[turn%len(hosts)], req))
		if !errors.Is(err, breaker.ErrOpen) {
			break
		}
	}
	return resp, err
}

// attempt counts the attempts of a call from 1: each retry is hedged in its turn.
func attempt(tries, hedged int) int { return (tries-1)*hedge.DefaultMaxAttempts + hedged }

// to returns a copy of a request for another host, as a RoundTripper must not
// change its request.
func to(host string, req *http.Request) *http.Request {
	url := *req.URL
	url.Host = host
	routed := req.WithContext(req.Context())
	routed.URL = &url
	return routed
}

// CloseIdleConnections closes those of the transport below.
func (r *replicas) CloseIdleConnections() {
	(&http.Client{Transport: r.next}).CloseIdleConnections()
}
