package main

import (
	"errors"
	"net/http"
	"time"

	"github.com/failsoft/failsoft/breaker"
	"github.com/failsoft/failsoft/budget"
	"github.com/failsoft/failsoft/retry"
)

// deadline is how long a call may take on either side, attempts and the waits
// between them included.
const deadline = time.Second

// naiveClient is the client that people write: shared, and with a timeout.
func naiveClient(hosts map[string][]string) *http.Client {
	return &http.Client{Timeout: deadline, Transport: &replicas{hosts: hosts, next: newPool()}}
}

// failsoftClient is the same client with failsoft in two places: retries above
// the choice of a replica, so that each attempt can go to another one, and a
// breaker below it, with a circuit for each replica: one that hangs is passed
// over, and the other two serve. A circuit for all three would stay closed and
// let every third call hang, or open and refuse what two of them could answer.
func failsoftClient(hosts map[string][]string) *http.Client {
	breakers := breaker.MustNew(breaker.Config{
		Rules: rules(),
		// The default takes more than half of all circuits open for a fault on
		// our own side, and lets all calls pass. With six, all of what we call may
		// well be down.
		MaxOpenFraction: breaker.Off,
	})
	retrier := retry.MustNew(retry.Config{
		// Short enough that a second attempt fits into the deadline, but above
		// what calls take on a slow day. A shorter one would give up on answers
		// that are on their way, just when the upstreams have no time to spare.
		TryTimeout: 400 * time.Millisecond,
		// A visitor who cannot be served is told so at once, rather than kept
		// until a circuit lets calls pass again.
		MaxRetryAfter: time.Millisecond,
		Budget:        budget.MustNew(budget.Config{Ratio: ratio}),
		// Upstreams can tell retries from demand. Ours draw new luck for them.
		AttemptHeader: true,
	})
	choice := &replicas{hosts: hosts, next: breakers.Transport(newPool())}
	return &http.Client{Timeout: deadline, Transport: retrier.Transport(choice)}
}

// ratio is how much of an extra attempt each call pays for. The default of a
// tenth is for upstreams with many replicas; of three, one that stalls takes a
// third of all calls with it until its circuit opens.
const ratio = 0.2

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
// call goes to the next one. A counter would spread first attempts as well, but
// others move it on between two attempts: every third would meet the same host
// again.
type replicas struct {
	hosts map[string][]string
	next  http.RoundTripper
}

// RoundTrip passes over hosts that a breaker below refuses to call: nothing was
// sent, so that trying the next one costs no attempt. Requests with a body would
// need a new one for each, from GetBody.
func (r *replicas) RoundTrip(req *http.Request) (resp *http.Response, err error) {
	hosts := r.hosts[req.URL.Host]
	if len(hosts) == 0 {
		return r.next.RoundTrip(req)
	}
	turn := visitorOf(req) + retry.Attempt(req.Context()) - 1
	for i := range hosts {
		resp, err = r.next.RoundTrip(to(hosts[(turn+i)%len(hosts)], req))
		if !errors.Is(err, breaker.ErrOpen) {
			break
		}
	}
	return resp, err
}

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
