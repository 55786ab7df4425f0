package route

import (
	"context"
	"log/slog"
	"time"
)

// Kind is what an Event tells.
type Kind uint8

// The kinds of event.
const (
	Added         Kind = iota + 1 // a host is new
	Removed                       // a host is gone
	Ejected                       // a host gets no requests: Reason, For
	Returned                      // its probation has ended well
	Drained                       // a host wants no new work: For
	FoundIll                      // checks of a host have failed: Err
	FoundWell                     // they succeed again
	PanicBegan                    // too few hosts are usable: all are used
	PanicEnded                    // enough are usable again
	ResolveFailed                 // the hosts stay as they are: Err
	ReadStale                     // a replica answered for want of a primary

	CookieIgnored   // of Writes: a cookie is not to be believed: Err
	PositionIgnored // of Writes: time alone ends the pin: Reason
	MarkedLate      // of Writes: the next request will not know of a write: Reason
)

// String returns the kind's name.
func (k Kind) String() string {
	return name(k, "unknown", "added", "removed", "ejected", "returned", "drained", "found ill", "found well",
		"panic began", "panic ended", "resolve failed", "read stale",
		"cookie ignored", "position ignored", "marked late")
}

// Event is something that happened in a Pool. Config.Observe gets it without any lock
// held, may call back into the Pool, and its panics are contained. Events come in the
// order in which they happened, on the goroutine that caused them or on one that is
// already delivering; but for ReadStale and those of Writes, which come on the goroutine
// of their request.
type Event struct {
	Kind   Kind
	Addr   string
	Reason string
	For    time.Duration
	Err    error
}

// LogValue makes an Event a group of the fields that its kind has.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("kind", e.Kind.String())}
	if e.Addr != "" {
		attrs = append(attrs, slog.String("addr", e.Addr))
	}
	if e.Reason != "" {
		attrs = append(attrs, slog.String("reason", e.Reason))
	}
	if e.For != 0 {
		attrs = append(attrs, slog.Duration("for", e.For))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err))
	}
	return slog.GroupValue(attrs...)
}

// deliver tells what is pending.
func (p *Pool) deliver() {
	p.events.Deliver(func(e Event) { p.tell(context.Background(), e) })
}

func (p *Pool) tell(ctx context.Context, e Event) { tell(ctx, p.cfg.Observe, e) }

func tell(ctx context.Context, observe func(context.Context, Event), e Event) {
	if observe == nil {
		return
	}
	defer func() { _ = recover() }() // an observer is not to fail what it observes
	observe(ctx, e)
}

// name is the word for a value of one of the small types.
func name[T ~uint8](value T, words ...string) string {
	if int(value) < len(words) {
		return words[value]
	}
	return "unknown"
}
