package hedge

import (
	"context"
	"log/slog"
	"time"
)

// Kind is what an Event tells.
type Kind uint8

// The kinds of event. Each attempt that is Sent is told of once more, when it has
// Won or Lost; the goroutines that tell the two may overtake each other. A panic that
// nobody waited for comes on top.
const (
	Sent     Kind = iota + 1 // an attempt beyond the first goes out: Attempt, Trigger, Delay
	Won                      // and was the answer: Status, Elapsed
	Lost                     // or failed or panicked (Status or Err), or another one won, or the caller left (Err)
	Refused                  // an attempt would have helped and was not made: Reason
	Panicked                 // in an attempt that nobody waited for any more: Err is a *PanicError
)

// String returns the kind's name.
func (k Kind) String() string {
	return name(k, "unknown", "sent", "won", "lost", "refused", "panicked")
}

// MarshalText makes a Kind readable in JSON.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Trigger is what calls for an attempt.
type Trigger uint8

// The triggers.
const (
	Slow      Trigger = iota + 1 // the delay is over, and there is no answer
	Failure                      // an attempt failed
	Multicast                    // Delay is AtOnce
)

// String returns the trigger's name.
func (t Trigger) String() string { return name(t, "none", "slow", "failure", "multicast") }

// MarshalText makes a Trigger readable in JSON.
func (t Trigger) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Event is something that happened to a call. Config.Observe gets it on the
// goroutine that caused it, which may be that of any attempt, so that Won and Lost
// may also come when the call has returned. It is called without any lock held and may
// call back into the Hedger; a panic in it is contained. Calls whose first attempt
// is the answer, in time, have no events. The context is the caller's.
type Event struct {
	Kind    Kind
	Key     string
	Attempt int           // counted from 1
	Trigger Trigger       // of Sent and Refused
	Delay   time.Duration // of Sent by Slow: what the attempt before it outlived
	Elapsed time.Duration // since the call began
	Status  int           // of the attempt's response, or 0
	Err     error
	Reason  Reason // of Refused
}

// LogValue makes an Event a group of the fields that its kind has.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("kind", e.Kind.String()),
		slog.String("key", e.Key),
		slog.Int("attempt", e.Attempt),
		slog.Duration("elapsed", e.Elapsed),
	}
	if e.Trigger != 0 {
		attrs = append(attrs, slog.String("trigger", e.Trigger.String()))
	}
	if e.Delay != 0 {
		attrs = append(attrs, slog.Duration("delay", e.Delay))
	}
	if e.Kind == Refused {
		attrs = append(attrs, slog.String("reason", e.Reason.String()))
	}
	if e.Status != 0 {
		attrs = append(attrs, slog.Int("status", e.Status))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err))
	}
	return slog.GroupValue(attrs...)
}

// tell gives e to the observer and contains its panics: who watches a call must
// not break it.
func (h *Hedger) tell(ctx context.Context, e Event) {
	if h.cfg.Observe == nil {
		return
	}
	defer func() { _ = recover() }()
	h.cfg.Observe(ctx, e)
}

// name returns the word for an enumerated value.
func name[T ~uint8](value T, words ...string) string {
	if int(value) < len(words) {
		return words[value]
	}
	return "unknown"
}
