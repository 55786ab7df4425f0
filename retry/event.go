package retry

import (
	"context"
	"log/slog"
	"time"
)

// Kind is what an Event tells.
type Kind uint8

// The kinds of event.
const (
	Attempted Kind = iota + 1 // an attempt came back, good ones too: Attempt, Host, Status or Err, Elapsed
	Waiting                   // for another, if nothing comes between: Wait, and what the last one came to
	Stopped                   // another would have been worth making and was not: Reason
)

// String returns the kind's name.
func (k Kind) String() string { return name(k, "unknown", "attempted", "waiting", "stopped") }

// MarshalText makes a Kind readable in JSON.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Event is something that happened to a call. Config.Observe gets each on the
// goroutine that makes the call, in order for that call and unordered between
// calls. It is called without any lock held and may call back into the Retrier;
// a panic in it is contained. An attempt that panics has no event. The context is
// the caller's; the number of the attempt is in the Event.
type Event struct {
	Kind    Kind
	Key     string        // what the call draws its budget from
	Attempt int           // counted from 1
	Host    string        // where the attempt went, if known
	Status  int           // of its response, or 0
	Err     error         // of the attempt, or what stopped the call
	Elapsed time.Duration // of the attempt, to the headers
	Wait    time.Duration // until the next attempt
	Reason  Reason        // why there is no next attempt
}

// LogValue makes an Event a group of the fields that its kind has.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("kind", e.Kind.String()),
		slog.String("key", e.Key),
		slog.Int("attempt", e.Attempt),
	}
	if e.Host != "" {
		attrs = append(attrs, slog.String("host", e.Host))
	}
	if e.Status != 0 {
		attrs = append(attrs, slog.Int("status", e.Status))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err))
	}
	switch e.Kind {
	case Attempted:
		attrs = append(attrs, slog.Duration("elapsed", e.Elapsed))
	case Waiting:
		attrs = append(attrs, slog.Duration("wait", e.Wait))
	case Stopped:
		attrs = append(attrs, slog.String("reason", e.Reason.String()))
	}
	return slog.GroupValue(attrs...)
}

// tell gives e to the observer and contains its panics: who watches a call must
// not break it.
func (r *Retrier) tell(ctx context.Context, e Event) {
	if r.cfg.Observe == nil {
		return
	}
	defer func() { _ = recover() }()
	r.cfg.Observe(ctx, e)
}

// name returns the word for an enumerated value.
func name[T ~uint8](value T, words ...string) string {
	if int(value) < len(words) {
		return words[value]
	}
	return "unknown"
}
