package healthcheck

import (
	"fmt"
	"math"
	"time"
)

// Override is what a hand sets the status of a check or a group to, whatever the
// results say. Draining, which is by hand too, is stronger.
type Override struct {
	Status Status        // Pass, Warn or Fail
	Reason string        // for those who wonder; shown where details are
	TTL    time.Duration // how long it holds, or is still to hold; 0 is until it is lifted
}

// held is an Override as it is kept.
type held struct {
	Override

	until int64
}

// holds reports whether there is an override at now.
func (h *held) holds(now int64) bool { return h.Status != Unknown && now < h.until }

// left returns the override with the time that it is still to hold.
func (h *held) left(now int64) Override {
	o := h.Override
	if h.until != math.MaxInt64 {
		o.TTL = time.Duration(h.until - now)
	}
	return o
}

// Override sets the status of a check or a group by hand, in the place of an
// override that there may be.
func (c *Checker) Override(scope string, o Override) error {
	if o.Status == Unknown || o.Status > Fail {
		return fmt.Errorf("healthcheck: Override.Status is %v, none of pass, warn, fail", o.Status)
	}
	if o.TTL < 0 {
		return fmt.Errorf("healthcheck: Override.TTL is %v, not positive", o.TTL)
	}
	return c.setOverride(scope, o)
}

// Lift ends an override. Without one it does nothing.
func (c *Checker) Lift(scope string) error { return c.setOverride(scope, Override{}) }

func (c *Checker) setOverride(scope string, o Override) error {
	if !c.started.Load() {
		return ErrNotStarted
	}
	now := c.now()
	h := held{o, math.MaxInt64}
	if o.TTL > 0 && now < math.MaxInt64-int64(o.TTL) {
		h.until = now + int64(o.TTL)
	}
	k, g := c.byName[scope], c.groups[scope]
	switch {
	case k != nil:
		k.hold(h, now)
		k.tellGroups(now)
		k.deliver()
	case g != nil:
		g.hold(h, now)
		g.events.Deliver(c.tell)
	default:
		return fmt.Errorf("%w: %q", ErrUnknownName, scope)
	}
	return nil
}

// hold puts the check under an override, or lifts it.
func (k *check) hold(h held, now int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h.Status != Unknown || k.override.holds(now) {
		k.put(h.event(k.name))
	}
	k.override = h
	k.see(now)
}

// hold puts the group under an override, or lifts it.
func (g *group) hold(h held, now int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if h.Status != Unknown || g.override.holds(now) {
		g.events.Put(h.event(g.name))
	}
	g.override = h
	g.renewed(now)
}

func (h *held) event(scope string) Event {
	return Event{Kind: Overridden, Scope: scope, Status: h.Status, Reason: h.Reason}
}

// Overrides returns the overrides that hold, by scope.
func (c *Checker) Overrides() map[string]Override {
	all := make(map[string]Override)
	if !c.started.Load() {
		return all
	}
	now := c.now()
	note := func(scope string, h held) {
		if !h.holds(now) {
			return
		}
		all[scope] = h.left(now)
	}
	for _, k := range c.checks {
		k.mu.Lock()
		h := k.override
		k.mu.Unlock()
		note(k.name, h)
	}
	for _, g := range c.groups {
		g.mu.Lock()
		h := g.override
		g.mu.Unlock()
		note(g.name, h)
	}
	return all
}
