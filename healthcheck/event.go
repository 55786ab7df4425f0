package healthcheck

import (
	"log/slog"
	"time"
)

// Kind is what an Event tells.
type Kind uint8

// The kinds of event.
const (
	Probed     Kind = iota + 1 // a probe came back: Check, Found, Elapsed, Err
	Changed                    // the status of a check: Check, From, Status, Err
	Stuck                      // a probe does not come back: Check
	Unstuck                    // and now has: Check, Elapsed
	Overridden                 // by hand, or no longer: Scope, Status (Unknown: lifted), Reason
	Draining                   // Drain or Shutdown was called
)

// String returns the kind's name.
func (k Kind) String() string {
	return name(k, "unknown", "probed", "changed", "stuck", "unstuck", "overridden", "draining")
}

// MarshalText makes a Kind readable in JSON.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Event is something that happened to a check. Config.Observe gets those of one
// check, or of one scope, in the order in which they happened, on the goroutine that
// caused them or on one that is already telling. No lock is held, it may call back into
// the Checker (but for Close and Shutdown, which wait for it), and its panics are
// contained. An observer that falls behind by 1,000 events loses the oldest. That a
// result has become too old is found out by reading, and is no event.
type Event struct {
	Kind    Kind
	Check   string
	Scope   string
	From    Status
	Status  Status
	Found   Status // by this probe; the status takes several
	Err     error
	Reason  string
	Elapsed time.Duration
}

// LogValue makes an Event a group of the fields that its kind has.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("kind", e.Kind.String())}
	text := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	text("check", e.Check)
	text("scope", e.Scope)
	switch e.Kind {
	case Probed:
		text("found", e.Found.String())
	case Changed:
		text("from", e.From.String())
		text("status", e.Status.String())
	case Overridden:
		text("status", e.Status.String())
		text("reason", e.Reason)
	case Stuck, Unstuck, Draining:
	}
	if e.Elapsed != 0 {
		attrs = append(attrs, slog.Duration("elapsed", e.Elapsed))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err))
	}
	return slog.GroupValue(attrs...)
}

// tell gives e to the observer and contains its panics.
func (c *Checker) tell(e Event) {
	if c.cfg.Observe == nil {
		return
	}
	defer func() { _ = recover() }()
	c.cfg.Observe(c.ctx, e)
}
