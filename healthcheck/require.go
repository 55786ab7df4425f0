package healthcheck

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/failsoft/failsoft/internal/rw"
)

// Require returns a middleware for routes that cannot work without the named checks:
// while one of them fails it refuses requests at once, with 503 and Retry-After. A
// check that is unknown lets them pass. One that has no Probe lets a request pass
// per Period, or nobody would ever find out; one that is OnDemand is probed when a
// request wants to know. Until Start nothing is refused. Start returns an error for a
// name that is no check's; one that is required only after Start refuses nothing.
func (c *Checker) Require(names ...string) func(http.Handler) http.Handler {
	names = slices.Clone(names)
	c.mu.Lock()
	if !c.started.Load() {
		c.required = append(c.required, names...)
	}
	c.mu.Unlock()
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := c.failing(names); err != nil {
				c.refuse(w, r, err)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// failing returns what is wrong with the first of the checks that fails, or nil.
func (c *Checker) failing(names []string) *UnhealthyError {
	if !c.started.Load() {
		return nil
	}
	now := c.now()
	var mayTry *check
	for _, name := range names {
		k := c.byName[name]
		if k == nil {
			continue
		}
		if k.wanted(now) {
			c.launch(k)
		}
		switch {
		case k.status(now) != Fail:
		case k.Probe != nil || k.heldDown(now):
			return k.unhealthy(now)
		case mayTry == nil:
			mayTry = k // if nothing else refuses; a request finds out about all of them
		}
	}
	if mayTry != nil && !mayTry.tries(now) {
		return mayTry.unhealthy(now)
	}
	return nil
}

// tries reports whether a request may find out whether a failed check that nobody
// probes has recovered.
func (k *check) tries(now int64) bool {
	next := k.trial.Load()
	return now >= next && k.trial.CompareAndSwap(next, now+int64(k.Period))
}

// heldDown reports whether a hand has set the status.
func (k *check) heldDown(now int64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.override.holds(now)
}

func (k *check) unhealthy(now int64) *UnhealthyError {
	k.mu.Lock()
	defer k.mu.Unlock()
	after := max(k.Period/8, time.Second)
	if k.override.holds(now) {
		return &UnhealthyError{
			Check: k.name, Err: errors.New(byHand(k.override.Override)),
			After: min(time.Duration(k.override.until-now), k.Period),
		}
	}
	return &UnhealthyError{Check: k.name, Err: k.result.Err, After: after}
}

// refuse answers a request that cannot be served.
func (c *Checker) refuse(w http.ResponseWriter, r *http.Request, err *UnhealthyError) {
	if c.cfg.Refused != nil {
		rw.RefusalHeader(w.Header(), r, err.After)
		c.cfg.Refused(w, r, err)
		return
	}
	rw.Refuse(w, r, http.StatusServiceUnavailable, err.After, "temporarily unavailable")
}
