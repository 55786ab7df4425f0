package breaker

import (
	"context"
	"log/slog"
)

// Kind is what an Event tells.
type Kind uint8

// The kinds of event.
const (
	Changed    Kind = iota + 1 // the state: From, State, Cause
	Overridden                 // the override: Override, Reason
	Rejected                   // a call was refused, or would have been in shadow mode: Err
	Unguarded                  // a call passed an open circuit because too many are open
)

// String returns the kind's name.
func (k Kind) String() string {
	return name(k, "unknown", "changed", "overridden", "rejected", "unguarded")
}

// Event is something that happened to a circuit. Config.Observe gets it without
// any lock held, may call back into the Breaker, and its panics are contained.
//
// Changed and Overridden come in the order in which they happened to a key, on
// the goroutine that caused them or on one that is already delivering for that
// key. The others come on the goroutine of the call, unordered.
type Event struct {
	Kind     Kind
	Key      string
	Seq      uint64 // of Changed and Overridden, counted from 1 per key
	From     State
	State    State
	Cause    Cause
	Override Mode
	Reason   string // of an override
	Err      error  // the latest failure, or the refusal
}

// LogValue makes an Event a group of the fields that its kind has.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("kind", e.Kind.String()),
		slog.String("key", e.Key),
		slog.String("state", e.State.String()),
	}
	if e.Kind == Changed {
		attrs = append(attrs, slog.String("from", e.From.String()), slog.String("cause", e.Cause.String()))
	}
	if e.Override != Auto || e.Kind == Overridden {
		attrs = append(attrs, slog.String("override", e.Override.String()), slog.String("reason", e.Reason))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err))
	}
	return slog.GroupValue(attrs...)
}

// queue keeps an event until the lock is released.
func (c *circuit) queue(e Event) {
	c.seq++
	e.Key, e.Seq = c.key, c.seq
	c.pending = append(c.pending, e)
}

// deliver tells what is pending, in order. The goroutine that finds nobody
// telling tells it all, including what others queue meanwhile: in order, and
// without a lock around the observer, which may even end the goroutine.
func (b *Breaker) deliver(ctx context.Context, c *circuit) {
	if !c.startTelling() {
		return
	}
	told := false
	defer func() {
		if !told { // an observer ends the goroutine: let others tell
			c.stopTelling()
		}
	}()
	for {
		events := c.takePending()
		if len(events) == 0 {
			told = true // and somebody else may be telling by now
			return
		}
		for _, e := range events {
			b.tell(ctx, e)
		}
	}
}

func (c *circuit) startTelling() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.telling {
		return false
	}
	c.telling = true
	return true
}

// takePending returns what is to be told. When that is nothing, the telling is
// over under the same lock, so that no event falls between two tellers.
func (c *circuit) takePending() []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	events := c.pending
	c.pending = nil
	c.telling = len(events) > 0
	return events
}

// stopTelling ends the telling before all has been told.
func (c *circuit) stopTelling() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.telling = false
}

// tell gives e to the observer and contains its panics.
func (b *Breaker) tell(ctx context.Context, e Event) {
	if b.cfg.Observe == nil {
		return
	}
	defer func() { _ = recover() }()
	b.cfg.Observe(ctx, e)
}

// name returns the word for an enumerated value.
func name[T ~uint8](value T, words ...string) string {
	if int(value) < len(words) {
		return words[value]
	}
	return "unknown"
}
