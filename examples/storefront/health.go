package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/failsoft/failsoft/breaker"
	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/route"
)

// newHealth returns what knows how a service is.
func newHealth(service string) *healthcheck.Checker {
	return healthcheck.MustNew(healthcheck.Config{Service: service})
}

// endpoints adds to a service's routes what a platform asks: whether to restart it,
// and whether to send it requests. Around all of them it tells clients as well.
func endpoints(mux *http.ServeMux, health *healthcheck.Checker) http.Handler {
	mux.Handle("GET /livez", health.Handler(healthcheck.Live))
	mux.Handle("GET /readyz", health.Handler(healthcheck.Ready))
	return health.InBand(mux)
}

// known makes what the breaker and the pools know of the upstreams the health of these:
// a check passes while all replicas are used, warns while some are not, and fails when
// the circuit is open. No check has a probe: it would find that a replica accepts
// connections, and these know what became of calls.
//
// healthcheck.Observer is this without a lock, for what has one source. Here the last to
// look at both must be the last to report.
type known struct {
	checker  *healthcheck.Checker
	hosts    map[string][]string // by upstream
	upstream map[string]string   // by host

	mu   sync.Mutex
	open map[string]bool // circuits, by upstream
	out  map[string]bool // replicas that are ejected, by host
}

func newKnown(hosts map[string][]string) *known {
	k := &known{
		checker: newHealth(failsoft), hosts: hosts, upstream: make(map[string]string),
		open: make(map[string]bool), out: make(map[string]bool),
	}
	for name, replicas := range hosts {
		// A failure degrades, which is the default, even for what no page can do
		// without: all fronts have the same upstreams, and if these made them
		// unready, nobody would be left to say so.
		k.checker.MustAdd(name, healthcheck.Check{})
		for _, host := range replicas {
			k.upstream[host] = name
		}
	}
	return k
}

// begin reports once, as soon as the checker is started: who is well says nothing before
// that is over.
func (k *known) begin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name := range k.hosts {
		k.report(name)
	}
}

// circuit is for the Observe field of a breaker.Config.
func (k *known) circuit(_ context.Context, e breaker.Event) {
	if _, mine := k.hosts[e.Key]; e.Kind != breaker.Changed || !mine {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.open[e.Key] = e.State == breaker.Open || e.State == breaker.HalfOpen
	k.report(e.Key)
}

// replica is for the Observe field of a route.Config. What is ejected stays so until a
// request of its probation has gone well.
func (k *known) replica(_ context.Context, e route.Event) {
	name, mine := k.upstream[e.Addr]
	if e.Kind != route.Ejected && e.Kind != route.Returned || !mine {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.out[e.Addr] = e.Kind == route.Ejected
	k.report(name)
}

// report tells the check of an upstream. It needs the lock.
func (k *known) report(name string) {
	out := 0
	for _, host := range k.hosts[name] {
		if k.out[host] {
			out++
		}
	}
	r := healthcheck.Result{Status: healthcheck.Pass, Observed: out, Unit: "ejected replicas"}
	switch {
	case k.open[name]:
		r.Status = healthcheck.Fail
	case out > 0:
		r.Status = healthcheck.Warn
	}
	_ = k.checker.Report(name, r) // the name is known, and the checker is started before the first call
}

// statuses is what the checks of a service say, in the order of the upstreams.
func statuses(health *healthcheck.Checker) string {
	sources := upstreams()
	parts := make([]string, len(sources))
	for i, u := range sources {
		parts[i] = fmt.Sprintf("%s %v", u.name, health.Status(u.name))
	}
	return strings.Join(parts, ", ")
}
