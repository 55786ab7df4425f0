package backpressure_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/backpressure"
	"github.com/failsoft/failsoft/internal/attempt"
)

func TestBadInputPermitIsReleasedOnce(t *testing.T) {
	t.Run("however often", func(t *testing.T) {
		l, permits := full(t, impatient(2), 2)
		permits[0].Done(backpressure.Success)
		permits[0].Done(backpressure.Success)
		permits[0].Release(t.Context(), errDown)
		assert.Equal(t, 1, shot(t, l, "").InFlight)
	})
	t.Run("and not when its place belongs to the next", func(t *testing.T) {
		l := backpressure.MustNew(impatient(1))
		first := admitted(t, l, backpressure.Request{})
		first.Done(backpressure.Success)
		second := admitted(t, l, backpressure.Request{})
		first.Done(backpressure.Success)
		assert.Equal(t, 1, shot(t, l, "").InFlight)
		_ = refused(t, l, backpressure.Request{})
		second.Done(backpressure.Success)
		atRest(t, l)
	})
	t.Run("by copies, too", func(t *testing.T) {
		l := backpressure.MustNew(impatient(1))
		p := admitted(t, l, backpressure.Request{})
		same := p
		same.Done(backpressure.Success)
		p.Done(backpressure.Success)
		atRest(t, l)
	})
	t.Run("by many at once", func(t *testing.T) {
		l := backpressure.MustNew(impatient(1))
		p := admitted(t, l, backpressure.Request{})
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() { p.Done(backpressure.Success) })
		}
		all.Wait()
		atRest(t, l)
	})
	t.Run("as a stream", func(t *testing.T) {
		l := backpressure.MustNew(impatient(1))
		p := admitted(t, l, backpressure.Request{Stream: true})
		p.Done(backpressure.Success)
		p.Done(backpressure.Success)
		atRest(t, l)
	})
	t.Run("and none is none", func(t *testing.T) {
		var p backpressure.Permit
		assert.NotPanics(t, func() {
			p.Done(backpressure.Success)
			p.Release(t.Context(), errDown)
		})
	})
}

func TestAcquire(t *testing.T) {
	bubble(t, "waits for a place", func(t *testing.T) {
		l, permits := full(t, fixed(1), 1)
		time.AfterFunc(10*ms, func() { permits[0].Done(backpressure.Success) })
		start := time.Now()
		p := admitted(t, l, backpressure.Request{})
		assert.Equal(t, 10*ms, time.Since(start))
		p.Done(backpressure.Success)
		atRest(t, l)
	})
	bubble(t, "waits for MaxWait at most", func(t *testing.T) {
		l, _ := full(t, fixed(1), 1)
		start := time.Now()
		refusal := refused(t, l, backpressure.Request{})
		assert.Equal(t, backpressure.WaitedTooLong, refusal.Refusal)
		assert.Equal(t, backpressure.DefaultMaxWait, time.Since(start))
		assert.Zero(t, shot(t, l, "").Queued)
	})
	bubble(t, "does not wait where it only tries", func(t *testing.T) {
		l, _ := full(t, fixed(1), 1)
		start := time.Now()
		_, err := l.TryAcquire(t.Context(), backpressure.Request{})
		assert.Equal(t, backpressure.AtLimit, limited(t, err).Refusal)
		assert.Zero(t, time.Since(start))
	})
	bubble(t, "says of what class a refusal is", func(t *testing.T) {
		var events diary
		cfg := impatient(1)
		cfg.Observe = events.observe
		l, _ := full(t, cfg, 1)
		_, err := l.Acquire(attempt.WithBackground(t.Context()), backpressure.Request{Class: backpressure.Critical})
		assert.Equal(t, backpressure.Background, limited(t, err).Class)
		assert.Equal(t, backpressure.Default, refused(t, l, backpressure.Request{Class: 77}).Class)
		require.Len(t, events.of(backpressure.Refused), 2)
		assert.Equal(t, backpressure.Background, events.of(backpressure.Refused)[0].Class)
		assert.Equal(t, [4]uint64{1, 0, 0, 1}, shot(t, l, "").Counts.Refused)
	})
	bubble(t, "does not wait for a caller that has left", func(t *testing.T) {
		l, _ := full(t, fixed(1), 1)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errDown)
		start := time.Now()
		_, err := l.Acquire(ctx, backpressure.Request{})
		require.ErrorIs(t, err, errDown)
		assert.Zero(t, time.Since(start))
	})
}

func TestFree(t *testing.T) {
	l := backpressure.MustNew(impatient(3))
	assert.Equal(t, 3, l.Free(backpressure.Request{}))
	p := admitted(t, l, backpressure.Request{})
	assert.Equal(t, 2, l.Free(backpressure.Request{}))
	assert.Equal(t, 3, l.Free(backpressure.Request{Key: "another"}))
	admitted(t, l, backpressure.Request{})
	admitted(t, l, backpressure.Request{})
	assert.Equal(t, 0, l.Free(backpressure.Request{}))
	p.Done(backpressure.Success)
	assert.Equal(t, 1, l.Free(backpressure.Request{}))
}

// The documentation gives these numbers.
func TestFreeByClass(t *testing.T) {
	for class, want := range map[backpressure.Class][2]int{
		backpressure.Critical:   {45, 50},
		backpressure.Default:    {45, 45},
		backpressure.Sheddable:  {41, 41},
		backpressure.Background: {36, 36},
	} {
		r := backpressure.Request{Class: class}
		assert.Equal(t, want[0], backpressure.MustNew(fixed(45)).Free(r), "%v of a fixed limit", class)
		assert.Equal(t, want[1], backpressure.MustNew(backpressure.Config{StartLimit: 45}).Free(r), "%v", class)
	}
}

func TestDo(t *testing.T) {
	bubble(t, "returns what fn does", func(t *testing.T) {
		l := backpressure.MustNew(impatient(1))
		n, err := backpressure.Do(t.Context(), l, "k", func(context.Context) (int, error) { return 7, errDown })
		assert.Equal(t, 7, n)
		require.ErrorIs(t, err, errDown)
		atRest(t, l)
	})
	bubble(t, "does not call fn where it is not let in", func(t *testing.T) {
		l, _ := full(t, impatient(1), 1)
		err := l.Run(t.Context(), "", func(context.Context) error {
			t.Error("it was called")
			return nil
		})
		_ = limited(t, err)
	})
	bubble(t, "gives the place back where fn panics", func(t *testing.T) {
		l := backpressure.MustNew(impatient(1))
		assert.PanicsWithValue(t, "boom", func() {
			_ = l.Run(t.Context(), "", func(context.Context) error { panic("boom") })
		})
		atRest(t, l)
	})
	bubble(t, "goes by the class of the context", func(t *testing.T) {
		l := backpressure.MustNew(impatient(1))
		ctx := backpressure.WithClass(t.Context(), backpressure.Critical)
		require.NoError(t, l.Run(ctx, "", func(context.Context) error { return nil }))
		assert.Equal(t, [4]uint64{0, 1, 0, 0}, shot(t, l, "").Counts.Admitted)
	})
	bubble(t, "takes errors as JudgeError says", func(t *testing.T) {
		cfg := impatient(1)
		cfg.JudgeError = func(error) backpressure.Outcome { return backpressure.Success }
		l := backpressure.MustNew(cfg)
		_ = l.Run(t.Context(), "", func(context.Context) error {
			time.Sleep(ms)
			return errDown
		})
		assert.Equal(t, ms, shot(t, l, "").Latency)
	})
}
