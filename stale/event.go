package stale

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// Kind is what an Event tells.
type Kind uint8

// The kinds of event.
const (
	Hit         Kind = iota + 1 // an entry answered: Reason, Age
	Miss                        // the origin's answer went to the client: Detail is why
	Stored                      // a response was stored: Bytes
	NotStored                   // a response was not stored: Detail is why
	FetchFailed                 // the origin failed: Err, or Status
	Purged                      // Key, a tag or everything was purged: Detail
	StoreFailed                 // the Store failed or was too slow, which is a miss: Err
	Panicked                    // code of the user's panicked where nobody waits: Err
)

// String returns the kind's name.
func (k Kind) String() string {
	return name(k, "unknown", "hit", "miss", "stored", "not stored", "fetch failed", "purged", "store failed",
		"panicked")
}

// MarshalText makes a Kind readable in JSON.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Reason is why an entry answers.
type Reason uint8

// The reasons.
const (
	Fresh        Reason = iota
	Renewed             // the origin has just said that it still holds
	Revalidating        // within its stale-while-revalidate: it is refreshed behind the answer
	Slow                // the origin takes longer than StaleAfter
	Failed              // the origin failed
	TimedOut            // the origin did not answer within FetchTimeout
	Refused             // a policy of ours refused the request to the origin
	Failing             // the origin failed a moment ago, and is left alone
	Sick                // Healthy says no
	reasons             // how many there are
)

// String returns the reason in words.
func (r Reason) String() string {
	return name(r, "fresh", "renewed", "revalidating", "slow", "failed", "timed out", "refused", "failing", "sick")
}

// MarshalText makes a Reason readable in JSON.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// IsStale reports whether an entry that answers for this reason is stale.
func (r Reason) IsStale() bool { return r > Renewed }

func name[T ~uint8](value T, names ...string) string {
	if int(value) < len(names) {
		return names[value]
	}
	return "unknown"
}

// Event is something that happened. Config.Observe gets it on the goroutine that
// caused it, without any lock held; it may call back into the Cache, and its panics
// are contained. Events are not ordered between requests.
type Event struct {
	Kind   Kind
	Key    string        // of the resource, as the Store knows it
	Reason Reason        // of a Hit
	Age    time.Duration // of the entry that answered
	Status int           // of the origin's answer, if there was one
	Bytes  int64         // of what was stored
	Detail string
	Err    error
}

// LogValue makes an Event a group of the fields that its kind has.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("kind", e.Kind.String()), slog.String("key", e.Key)}
	if e.Kind == Hit {
		attrs = append(attrs, slog.String("reason", e.Reason.String()), slog.Duration("age", e.Age))
	}
	if e.Status != 0 {
		attrs = append(attrs, slog.Int("status", e.Status))
	}
	if e.Bytes != 0 {
		attrs = append(attrs, slog.Int64("bytes", e.Bytes))
	}
	if e.Detail != "" {
		attrs = append(attrs, slog.String("detail", e.Detail))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err))
	}
	return slog.GroupValue(attrs...)
}

// tell gives e to the observer and contains its panics.
func (c *Cache) tell(ctx context.Context, e Event) {
	if c.cfg.Observe == nil {
		return
	}
	if fl, ok := ctx.Value(flightKey{}).(*flight); ok && fl.c == c && fl.defers(e) {
		return
	}
	c.observe(ctx, e)
}

func (c *Cache) observe(ctx context.Context, e Event) {
	defer func() { _ = recover() }()
	c.cfg.Observe(ctx, e)
}

// flightKey is where a flight stands in its own context.
type flightKey struct{}

// defers keeps an event of a flight that others wait for until they need not any
// more: an observer may well ask for what the flight is to bring.
func (fl *flight) defers(e Event) bool {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.over || fl.told && fl.res.fate != landed {
		return false
	}
	fl.events = append(fl.events, e)
	return true
}

// deliver tells what was deferred.
func (fl *flight) deliver() {
	fl.mu.Lock()
	events := fl.events
	fl.events = nil
	fl.mu.Unlock()
	for _, e := range events {
		fl.c.observe(fl.ctx, e)
	}
}

// guarded runs code of the user's that answers yes or no; a panic in it is no, and
// an event.
func (c *Cache) guarded(ctx context.Context, what string, otherwise bool, ask func() bool) (yes bool) {
	defer func() {
		if value := recover(); value != nil {
			yes = otherwise
			err := fmt.Errorf("stale: %s: %w", what, crashOf(value).err())
			c.tell(ctx, Event{Kind: Panicked, Detail: what, Err: err})
		}
	}()
	return ask()
}
