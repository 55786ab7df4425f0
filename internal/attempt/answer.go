package attempt

import (
	"context"
	"sync/atomic"
)

// Answer is what the layers below say of the answer that is being made, to a
// layer above that may want to keep it.
type Answer struct {
	degraded atomic.Bool
	refused  atomic.Bool
	outer    *Answer // caches nest; what is degraded inside is degraded outside
}

// Degraded reports whether a layer below left something out of the answer: it
// serves this caller, but must not be stored for others.
func (a *Answer) Degraded() bool { return a.degraded.Load() }

// Refused reports whether the answer is the refusal of a Handler of ours: it says
// nothing of what the next request will get.
func (a *Answer) Refused() bool { return a.refused.Load() }

type answerKey struct{}

// WithAnswer puts a fresh Answer into ctx for the layers below to mark.
func WithAnswer(ctx context.Context) (context.Context, *Answer) {
	outer, _ := ctx.Value(answerKey{}).(*Answer)
	a := &Answer{outer: outer}
	return context.WithValue(ctx, answerKey{}, a), a
}

// MarkDegraded tells every Answer that stands in ctx that something was left
// out. Without an Answer in ctx it does nothing.
func MarkDegraded(ctx context.Context) {
	a, _ := ctx.Value(answerKey{}).(*Answer)
	for ; a != nil; a = a.outer {
		a.degraded.Store(true)
	}
}

// MarkRefused tells every Answer that stands in ctx that a Handler of ours has
// refused the request.
func MarkRefused(ctx context.Context) {
	a, _ := ctx.Value(answerKey{}).(*Answer)
	for ; a != nil; a = a.outer {
		a.refused.Store(true)
	}
}
