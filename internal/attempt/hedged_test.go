package attempt_test

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/internal/attempt"
)

// holder is what Hedged is for: a struct that is allocated per attempt anyway.
type holder struct{ attempt.Hedged }

func hold(ctx context.Context, n int, hosts *attempt.Hosts) *holder {
	return &holder{attempt.Hedging(ctx, n, hosts)}
}

func TestHedgedMarksAsWithHedgeDoes(t *testing.T) {
	outer, inner := new(attempt.Hosts), new(attempt.Hosts)
	retried := attempt.WithRetry(t.Context(), 2, outer)
	background := attempt.WithBackground(t.Context())
	type key struct{}
	for name, above := range map[string]context.Context{
		"nothing above":         t.Context(),
		"a retry above":         retried,
		"a hedge above":         attempt.WithHedge(t.Context(), 7, outer),
		"another holder above":  hold(retried, 5, nil),
		"background work":       background,
		"something between":     context.WithValue(retried, key{}, 1),
		"a retry without hosts": attempt.WithRetry(t.Context(), 3, nil),
	} {
		for _, hosts := range []*attempt.Hosts{nil, inner} {
			for _, n := range []int{1, 2, 16} {
				t.Run(name, func(t *testing.T) {
					want := attempt.WithHedge(above, n, hosts)
					held := hold(above, n, hosts)
					for _, got := range []context.Context{held, context.WithValue(held, key{}, 2)} {
						assert.Same(t, attempt.Tried(want), attempt.Tried(got))
						assert.Equal(t, marksOf(want), marksOf(got))
						assert.Equal(t, attempt.Background(want), attempt.Background(got))
					}
				})
			}
		}
	}
	assert.Equal(t, marks{2, 3, true, outer}, marksOf(hold(retried, 3, nil)), "the outer policy's number and hosts stay")
	assert.Equal(t, marks{2, 1, true, inner}, marksOf(hold(retried, 1, inner)))
}

func TestMarksInsideOfAHedged(t *testing.T) {
	outer, inner := new(attempt.Hosts), new(attempt.Hosts)
	held := hold(t.Context(), 3, outer)
	assert.Equal(t, marks{4, 3, true, outer}, marksOf(attempt.WithRetry(held, 4, nil)))
	assert.Equal(t, marks{1, 5, true, inner}, marksOf(attempt.WithHedge(held, 5, inner)))
	assert.Equal(t, marks{1, 3, true, outer}, marksOf(held), "the one above is as it was")
	assert.Equal(t, marks{1, 3, true, outer}, marksOf(context.WithoutCancel(held)))
}

func TestHedgedKeepsWhatTheContextCarries(t *testing.T) {
	type key struct{}
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, "kept"))
	ctx, answer := attempt.WithAnswer(ctx)
	held := hold(ctx, 2, nil)
	assert.Equal(t, "kept", held.Value(key{}))
	assert.Nil(t, held.Value("what nobody put there"))
	attempt.MarkDegraded(held)
	assert.True(t, answer.Degraded())
	assert.NoError(t, held.Err())
	cancel(cause)
	assert.ErrorIs(t, held.Err(), context.Canceled)
	assert.Same(t, cause, context.Cause(held))
	<-held.Done()
}

func TestTheMarkOfAHedgedIsFree(t *testing.T) {
	hosts := new(attempt.Hosts)
	ctx := attempt.WithRetry(t.Context(), 2, hosts)
	var held *holder
	assert.InDelta(t, 1, testing.AllocsPerRun(100, func() { held = hold(ctx, 2, hosts) }), 0, "the holder itself")
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		_ = attempt.Retry(held) + attempt.Hedge(held)
		_ = attempt.Tried(held).Rank("a")
	}))
}

// opaque is a context that package context does not see through.
type opaque struct{ context.Context }

func (opaque) Value(any) any { return nil }

// Package context watches a parent that it does not know from a goroutine per
// child. net/http derives a context for each request.
func TestContextsDerivedFromAHedgedNeedNoGoroutine(t *testing.T) {
	const children = 50
	ctx, end := context.WithCancel(t.Context())
	defer end()
	goroutines := func(parent context.Context) int {
		before := runtime.NumGoroutine()
		for range children {
			child, cancel := context.WithCancel(parent)
			t.Cleanup(cancel)
			assert.NoError(t, child.Err())
		}
		return runtime.NumGoroutine() - before
	}
	assert.Less(t, goroutines(hold(ctx, 2, nil)), children/2)
	assert.GreaterOrEqual(t, goroutines(opaque{ctx}), children/2, "it can be seen where there are some")

	child, cancel := context.WithCancel(hold(ctx, 2, nil))
	defer cancel()
	end()
	assert.ErrorIs(t, child.Err(), context.Canceled, "and is canceled with its parent, at once")
}
