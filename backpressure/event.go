package backpressure

import (
	"context"
	"log/slog"
	"strconv"
)

// Kind is what an Event tells.
type Kind uint8

// The kinds of event.
const (
	Refused      Kind = iota + 1 // a call was not let in: Refusal, Err
	LimitChanged                 // Limit, Reason
	LevelChanged                 // Level
	Panicked                     // code of the user's that decides panicked: Err
	StoreFailed                  // the Store of a Rate did not answer: Err
)

// String returns the kind's name.
func (k Kind) String() string {
	return name(k, "unknown", "refused", "limit changed", "level changed", "panicked", "store failed")
}

// Reason is why a limit has changed.
type Reason uint8

// The reasons.
const (
	Unchanged Reason = iota
	Grown            // calls are as quick as ever, and more want in
	Probed           // calls are slow: cut, to see whether that makes them quicker
	Confirmed        // it did: the cut stands
	Undone           // it did not: the cut is undone
	Rebased          // twice in a row it did not: calls take longer now, for reasons of their own
	Cut              // calls are slow (AIMD)
	Errors           // most calls are refused, or time out
)

// String returns the reason in words.
func (r Reason) String() string {
	return name(r, "unchanged", "grown", "probed", "confirmed", "undone", "rebased", "cut", "errors")
}

// MarshalText makes a Reason readable in JSON.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

func name[T ~uint8](value T, names ...string) string {
	if int(value) < len(names) {
		return names[value]
	}
	return "unknown (" + strconv.Itoa(int(value)) + ")"
}

// Event is something that happened. Config.Observe gets it on the goroutine that
// caused it, without any lock held; it may call back in, and its panics are
// contained. Events are not ordered between calls.
type Event struct {
	Kind    Kind
	Key     string
	Class   Class
	Refusal Refusal // why a call was not let in
	Limit   int
	Reason  Reason // why a limit has changed
	Level   float64
	Err     error
}

// LogValue makes an Event a group of the fields that its kind has.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("kind", e.Kind.String()), slog.String("key", e.Key)}
	switch e.Kind {
	case Refused:
		attrs = append(attrs, slog.String("class", e.Class.String()), slog.String("refusal", e.Refusal.String()))
	case LimitChanged:
		attrs = append(attrs, slog.Int("limit", e.Limit), slog.String("reason", e.Reason.String()))
	case LevelChanged:
		attrs = append(attrs, slog.Float64("level", e.Level))
	case Panicked, StoreFailed:
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err))
	}
	return slog.GroupValue(attrs...)
}

// tell gives e to the observer and contains its panics.
func (l *Limiter) tell(ctx context.Context, e Event) {
	defer func() { _ = recover() }()
	l.cfg.Observe(ctx, e)
}
