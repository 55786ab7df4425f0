package breaker

import "time"

// Mode is what an operator has set a circuit to, whatever its state.
type Mode uint8

// The modes.
const (
	Auto        Mode = iota // as the rules say
	Isolated                // refuses every call
	ForceClosed             // lets every call pass, and counts none
	Shadow                  // counts and changes state, but lets every call pass
)

// String returns the mode's name.
func (m Mode) String() string { return name(m, "auto", "isolated", "force-closed", "shadow") }

// MarshalText makes a Mode readable in JSON.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// Override is a Mode with its reason and its end. It stands beside the state:
// when it ends, the circuit goes on in the state that it has.
type Override struct {
	Mode   Mode
	Reason string        // for those who wonder; shown in errors, events and snapshots
	TTL    time.Duration // how long it holds, or is still to hold; 0 is until it is lifted
}

// override is an Override as the circuit keeps it.
type override struct {
	Mode

	reason string
	until  int64 // 0 is for ever
}

// freezes reports whether results change nothing.
func (o override) freezes() bool { return o.Mode == ForceClosed || o.Mode == Isolated }

// holds reports whether the override is in force at now.
func (o override) holds(now int64) bool {
	return o.Mode != Auto && (o.until == 0 || now < o.until)
}

// set puts the circuit under an override, or lifts it.
func (c *circuit) set(o Override, now int64) {
	next := override{Mode: o.Mode}
	if o.Mode != Auto {
		next.reason = o.Reason
	}
	if o.TTL > 0 {
		next.until = now + int64(o.TTL)
	}
	if next == c.override {
		return
	}
	c.override = next
	if o.Mode == Auto && (c.state == Closed || c.state == Ramping) {
		c.lastAnswer = now // nothing was counted; begin with the benefit of the doubt
	}
	c.queue(Event{Kind: Overridden, From: c.state, State: c.state, Override: o.Mode, Reason: o.Reason})
}

// expireOverride lifts an override whose time is over.
func (c *circuit) expireOverride(now int64) {
	if c.override.until != 0 && now >= c.override.until {
		c.set(Override{Reason: "expired"}, now)
	}
}

// current returns the override as a caller sees it.
func (c *circuit) current(now int64) Override {
	o := Override{Mode: c.override.Mode, Reason: c.override.reason}
	if c.override.until != 0 {
		o.TTL = time.Duration(c.override.until - now)
	}
	return o
}
