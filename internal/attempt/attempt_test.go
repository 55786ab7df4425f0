package attempt_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/internal/attempt"
)

// marks is all that a context says of its attempt.
type marks struct {
	retry, hedge int
	extra        bool
	hosts        *attempt.Hosts
}

func marksOf(ctx context.Context) marks {
	return marks{attempt.Retry(ctx), attempt.Hedge(ctx), attempt.Extra(ctx), attempt.Tried(ctx)}
}

func TestAbsenceMeansTheFirstAttempt(t *testing.T) {
	assert.Equal(t, marks{retry: 1, hedge: 1}, marksOf(t.Context()))
	assert.False(t, attempt.Background(t.Context()))
}

func TestMarksOfNestedPolicies(t *testing.T) {
	outer, inner := new(attempt.Hosts), new(attempt.Hosts)
	retried := attempt.WithRetry(t.Context(), 2, outer)
	hedged := attempt.WithHedge(t.Context(), 3, inner)
	type key struct{}
	cases := map[string]struct {
		ctx  context.Context
		want marks
	}{
		"retry":                           {retried, marks{2, 1, true, outer}},
		"hedge":                           {hedged, marks{1, 3, true, inner}},
		"retry, marked though the first":  {attempt.WithRetry(t.Context(), 1, outer), marks{1, 1, false, outer}},
		"hedge, marked though the first":  {attempt.WithHedge(t.Context(), 1, outer), marks{1, 1, false, outer}},
		"hedge inside retry":              {attempt.WithHedge(retried, 4, nil), marks{2, 4, true, outer}},
		"hedge inside, its own hosts":     {attempt.WithHedge(retried, 4, inner), marks{2, 4, true, inner}},
		"first hedge of a second attempt": {attempt.WithHedge(retried, 1, nil), marks{2, 1, true, outer}},
		"retry inside hedge":              {attempt.WithRetry(hedged, 5, nil), marks{5, 3, true, inner}},
		"retry inside, its own hosts":     {attempt.WithRetry(hedged, 5, outer), marks{5, 3, true, outer}},
		"first retry of a second hedge":   {attempt.WithRetry(hedged, 1, nil), marks{1, 3, true, inner}},
		"retry inside retry":              {attempt.WithRetry(retried, 7, nil), marks{7, 1, true, outer}},
		"derived further":                 {context.WithValue(retried, key{}, 1), marks{2, 1, true, outer}},
		"without hosts":                   {attempt.WithRetry(t.Context(), 2, nil), marks{2, 1, true, nil}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := marksOf(c.ctx)
			assert.Same(t, c.want.hosts, got.hosts)
			assert.Equal(t, c.want, got)
		})
	}
}

func TestMarkingLeavesTheContextAboveAsItWas(t *testing.T) {
	hosts := new(attempt.Hosts)
	above := attempt.WithRetry(t.Context(), 2, hosts)
	_ = attempt.WithHedge(above, 9, new(attempt.Hosts))
	_ = attempt.WithRetry(above, 9, new(attempt.Hosts))
	assert.Equal(t, marks{2, 1, true, hosts}, marksOf(above))
}

func TestMarkKeepsWhatTheContextCarries(t *testing.T) {
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "kept"))
	marked := attempt.WithHedge(attempt.WithRetry(ctx, 2, nil), 2, nil)
	assert.Equal(t, "kept", marked.Value(key{}))
	cancel()
	assert.ErrorIs(t, marked.Err(), context.Canceled)
}

func TestBackground(t *testing.T) {
	background := attempt.WithBackground(t.Context())
	assert.True(t, attempt.Background(background))
	assert.False(t, attempt.Extra(background), "a refresh is demand of its own")
	assert.True(t, attempt.Background(attempt.WithHedge(attempt.WithRetry(background, 2, nil), 2, nil)))
	assert.True(t, attempt.Background(context.WithoutCancel(background)))
	assert.True(t, attempt.Extra(attempt.WithBackground(attempt.WithRetry(t.Context(), 2, nil))))
}

func TestReadingMarksAllocatesNothing(t *testing.T) {
	hosts := new(attempt.Hosts)
	hosts.Add("a")
	for name, ctx := range map[string]context.Context{
		"unmarked": t.Context(),
		"marked":   attempt.WithBackground(attempt.WithHedge(attempt.WithRetry(t.Context(), 2, hosts), 3, nil)),
	} {
		assert.Zero(t, testing.AllocsPerRun(100, func() {
			_ = attempt.Retry(ctx) + attempt.Hedge(ctx)
			_ = attempt.Extra(ctx) || attempt.Background(ctx)
			_ = attempt.Tried(ctx).Rank("a")
			attempt.MarkDegraded(ctx)
		}), name)
	}
}

func TestAnswerIsMarkedFromBelow(t *testing.T) {
	ctx, answer := attempt.WithAnswer(t.Context())
	below := attempt.WithRetry(ctx, 2, nil)
	assert.False(t, answer.Degraded())
	attempt.MarkDegraded(below)
	assert.True(t, answer.Degraded())
	attempt.MarkDegraded(below)
	assert.True(t, answer.Degraded(), "it stays so")
}

func TestMarkDegradedWithoutAnAnswerDoesNothing(t *testing.T) {
	assert.NotPanics(t, func() { attempt.MarkDegraded(t.Context()) })
}

func TestNestedAnswersAreDegradedFromTheInsideOut(t *testing.T) {
	outerCtx, outer := attempt.WithAnswer(t.Context())
	middleCtx, middle := attempt.WithAnswer(outerCtx)
	_, inner := attempt.WithAnswer(middleCtx)

	attempt.MarkDegraded(middleCtx)
	assert.True(t, outer.Degraded())
	assert.True(t, middle.Degraded())
	assert.False(t, inner.Degraded(), "what a layer above leaves out was not missing below")
}

func TestAnswersSideBySideAreApart(t *testing.T) {
	aCtx, a := attempt.WithAnswer(t.Context())
	_, b := attempt.WithAnswer(t.Context())
	attempt.MarkDegraded(aCtx)
	assert.True(t, a.Degraded())
	assert.False(t, b.Degraded())
}

func TestAnswerIsMarkedByManyAtOnce(t *testing.T) {
	outerCtx, outer := attempt.WithAnswer(t.Context())
	ctx, inner := attempt.WithAnswer(outerCtx)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			attempt.MarkDegraded(ctx)
			assert.True(t, inner.Degraded())
			assert.True(t, outer.Degraded())
		})
	}
	all.Wait()
}
