package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/failsoft/failsoft/breaker"
	"github.com/failsoft/failsoft/healthcheck"
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

// circuits makes the circuits of a breaker, which are per replica, the health of
// the upstreams: a check passes while all replicas are called, warns while some are
// not, and fails when none is. No check has a probe: it would find that a replica
// accepts connections, and the breaker knows what became of calls.
//
// healthcheck.Observer is this without a lock. It is for circuits that have a check
// each; where several share one, the last to count them must be the last to report.
type circuits struct {
	health   *healthcheck.Checker
	hosts    map[string][]string // by upstream
	upstream map[string]string   // by host

	mu   sync.Mutex
	open map[string]bool // by host
}

func newCircuits(hosts map[string][]string) *circuits {
	c := &circuits{
		health: newHealth(failsoft), hosts: hosts,
		upstream: make(map[string]string), open: make(map[string]bool),
	}
	for name, replicas := range hosts {
		// A failure degrades, which is the default, even for what no page can do
		// without: all fronts have the same upstreams, and if these made them
		// unready, nobody would be left to say so.
		c.health.MustAdd(name, healthcheck.Check{})
		for _, host := range replicas {
			c.upstream[host] = name
		}
	}
	return c
}

// begin reports once, as soon as health is started: circuits are closed until they
// have a reason to open, and say nothing before that.
func (c *circuits) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.hosts {
		c.report(name)
	}
}

// observe is for the Observe field of a breaker.Config.
func (c *circuits) observe(_ context.Context, e breaker.Event) {
	name, known := c.upstream[e.Key]
	if e.Kind != breaker.Changed || !known {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[e.Key] = e.State == breaker.Open || e.State == breaker.HalfOpen
	c.report(name)
}

// report counts an upstream's open circuits and tells its check. It needs the lock.
func (c *circuits) report(name string) {
	all, open := len(c.hosts[name]), 0
	for _, host := range c.hosts[name] {
		if c.open[host] {
			open++
		}
	}
	r := healthcheck.Result{Status: healthcheck.Pass, Observed: open, Unit: "open circuits"}
	switch {
	case open == all:
		r.Status = healthcheck.Fail
	case open > 0:
		r.Status = healthcheck.Warn
	}
	_ = c.health.Report(name, r) // the name is known, and health is started before the first call
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
