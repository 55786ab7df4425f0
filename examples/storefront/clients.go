package main

import (
	"net/http"
	"time"

	"github.com/failsoft/failsoft/budget"
	"github.com/failsoft/failsoft/retry"
)

// deadline is how long a call may take on either side, attempts and the waits
// between them included.
const deadline = time.Second

// naiveClient is the client that people write: shared, and with a timeout.
func naiveClient(base http.RoundTripper) *http.Client {
	return &http.Client{Timeout: deadline, Transport: base}
}

// failsoftClient is the same client with failsoft between it and its transport.
func failsoftClient(base http.RoundTripper) *http.Client {
	retrier := retry.MustNew(retry.Config{
		// Short enough that a second attempt fits into the deadline, but above
		// what calls take on a slow day. A shorter one would give up on answers
		// that are on their way, just when the upstreams have no time to spare.
		TryTimeout: 400 * time.Millisecond,
		Budget:     budget.MustNew(budget.Config{Ratio: ratio}),
		// Upstreams can tell retries from demand. Ours draw new luck for them.
		AttemptHeader: true,
	})
	return &http.Client{Timeout: deadline, Transport: retrier.Transport(base)}
}

// ratio is how much of an extra attempt each call pays for. The default of a
// tenth is for upstreams with many replicas; of three, one that stalls takes a
// third of all calls with it. What the ratio costs in a blackout is in the
// table at the end.
const ratio = 0.2

// newBase returns what both clients send through: a pool of connections, kept
// open between calls, below a choice of replicas.
func newBase(hosts map[string][]string) *replicas {
	return &replicas{
		hosts: hosts,
		next:  &http.Transport{MaxIdleConnsPerHost: 128, IdleConnTimeout: time.Minute},
	}
}

// replicas sends requests for an upstream's name to its hosts in turn: visitors
// one after the other start with different hosts, and each further attempt of a
// call goes to the next one. A counter would spread first attempts as well, but
// others move it on between two attempts: every third would meet the same host
// again.
type replicas struct {
	hosts map[string][]string
	next  *http.Transport
}

// RoundTrip sends a copy, as a RoundTripper must not change its request.
func (r *replicas) RoundTrip(req *http.Request) (*http.Response, error) {
	hosts := r.hosts[req.URL.Host]
	if len(hosts) == 0 {
		return r.next.RoundTrip(req)
	}
	turn := visitorOf(req) + retry.Attempt(req.Context()) - 1
	url := *req.URL
	url.Host = hosts[turn%len(hosts)]
	routed := req.WithContext(req.Context())
	routed.URL = &url
	return r.next.RoundTrip(routed)
}

// CloseIdleConnections closes those of the transport below.
func (r *replicas) CloseIdleConnections() { r.next.CloseIdleConnections() }
