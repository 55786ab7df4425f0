package hedge_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/hedge"
)

// step is what one call of a function comes to.
type step struct {
	takes time.Duration
	err   error
}

const forever = time.Duration(1) << 60

// invoke calls Do with a function that goes by steps, the last for all further
// calls, and whose value is the number of the attempt.
func invoke(ctx context.Context, h *hedge.Hedger, steps ...step) (value int, took time.Duration, err error) {
	return invokeAs(ctx, h, "db", steps...)
}

func invokeAs(ctx context.Context, h *hedge.Hedger, key string, steps ...step) (value int, took time.Duration, err error) {
	start := time.Now()
	value, err = hedge.Do(ctx, h, key, func(ctx context.Context) (int, error) {
		n := hedge.Attempt(ctx)
		s := steps[min(n, len(steps))-1]
		timer := time.NewTimer(s.takes)
		defer timer.Stop()
		select {
		case <-timer.C:
			return n, s.err
		case <-ctx.Done():
			return n, ctx.Err()
		}
	})
	return value, time.Since(start), err
}

func TestDoFollowsTheRules(t *testing.T) {
	other := errors.New("other")
	for name, tt := range map[string]struct {
		steps []step
		value int
		took  time.Duration
		err   error
		sent  uint64
	}{
		"in time":                       {[]step{{10*ms - 1, nil}}, 1, 10*ms - 1, nil, 0},
		"slow":                          {[]step{{forever, nil}, {5 * ms, nil}}, 2, 15 * ms, nil, 1},
		"slow, but first after all":     {[]step{{12 * ms, nil}, {5 * ms, nil}}, 1, 12 * ms, nil, 1},
		"an error starts the next":      {[]step{{2 * ms, errBoom}, {5 * ms, nil}}, 2, 7 * ms, nil, 1},
		"a hedge's error is not it":     {[]step{{30 * ms, nil}, {0, errBoom}}, 1, 30 * ms, nil, 1},
		"all fail: value and error":     {[]step{{2 * ms, errBoom}, {5 * ms, other}}, 1, 7 * ms, errBoom, 1},
		"all fail, the hedge sooner":    {[]step{{20 * ms, other}, {5 * ms, errBoom}}, 2, 20 * ms, errBoom, 1},
		"somebody's canceled":           {[]step{{0, context.Canceled}, {0, nil}}, 2, 0, nil, 1},
		"somebody's deadline":           {[]step{{0, context.DeadlineExceeded}, {0, nil}}, 2, 0, nil, 1},
		"a refusal of a limiter inside": {[]step{{0, refusal{}}, {0, nil}}, 2, 0, nil, 1},
	} {
		bubble(t, name, func(t *testing.T) {
			h := hedge.MustNew(fixed(hedge.Config{}))
			value, took, err := invoke(t.Context(), h, tt.steps...)
			assert.Equal(t, tt.value, value)
			assert.Equal(t, tt.took, took)
			if tt.err == nil {
				assert.NoError(t, err)
			} else {
				var failed *hedge.Error
				require.ErrorAs(t, err, &failed)
				assert.Len(t, failed.Tries, 2)
				assert.ErrorIs(t, err, tt.err)
				assert.NotErrorIs(t, err, other)
			}
			synctest.Wait()
			assert.Equal(t, tt.sent, shot(t, h).Sent)
			assert.Equal(t, "db", shot(t, h).Key)
		})
	}
	bubble(t, "a refusal with a wait is the server's word", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{}))
		_, _, err := invoke(t.Context(), h, step{0, hintError{time.Second}})
		assert.Equal(t, hintError{time.Second}, err)
		assert.EqualValues(t, 1, shot(t, h).Refused[hedge.Pushback])
	})
	bubble(t, "a warm-up too", func(t *testing.T) {
		h := hedge.MustNew(hedge.Config{})
		for range 20 {
			_, took, err := invoke(t.Context(), h, step{30 * ms, nil})
			require.NoError(t, err)
			assert.Equal(t, 30*ms, took)
		}
		value, took, err := invoke(t.Context(), h, step{forever, nil}, step{0, nil})
		require.NoError(t, err)
		assert.Equal(t, 2, value)
		assert.Equal(t, 30*ms, took.Round(ms))
	})
	bubble(t, "all at once", func(t *testing.T) {
		h := hedge.MustNew(hedge.Config{Delay: hedge.AtOnce, MaxAttempts: 3})
		value, took, err := invoke(t.Context(), h, step{forever, nil}, step{forever, nil}, step{5 * ms, nil})
		require.NoError(t, err)
		assert.Equal(t, 3, value)
		assert.Equal(t, 5*ms, took)
	})
	bubble(t, "Off", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{}))
		_, took, err := invoke(hedge.Off(t.Context()), h, step{20 * ms, errBoom}, step{0, nil})
		assert.Equal(t, errBoom, err)
		assert.Equal(t, 20*ms, took)
		assert.Empty(t, h.Snapshot().Keys)
	})
}

// hintError is an answer of a server that asks to come back later.
type hintError struct{ after time.Duration }

func (hintError) Error() string               { return "busy" }
func (e hintError) RetryAfter() time.Duration { return e.after }

func TestDoByTheUsersJudge(t *testing.T) {
	notFound := errors.New("no rows")
	judge := func(err error) hedge.Outcome {
		if errors.Is(err, notFound) {
			return hedge.Accept
		}
		return hedge.ByRule
	}
	bubble(t, "an error that is an answer", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{JudgeError: judge}))
		value, took, err := invoke(t.Context(), h, step{15 * ms, notFound}, step{forever, nil})
		assert.Equal(t, 1, value)
		assert.Equal(t, notFound, err)
		assert.Equal(t, 15*ms, took)
	})
	bubble(t, "of a hedge after the first has failed", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{JudgeError: judge}))
		_, _, err := invoke(t.Context(), h, step{0, errBoom}, step{0, notFound})
		assert.Equal(t, notFound, err)
	})
	bubble(t, "the others fail", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{JudgeError: judge}))
		value, _, err := invoke(t.Context(), h, step{0, errBoom}, step{0, nil})
		assert.Equal(t, 2, value)
		assert.NoError(t, err)
	})
}

func TestDoEndsWithItsCaller(t *testing.T) {
	bubble(t, "before it is called", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errBoom)
		h := hedge.MustNew(fixed(hedge.Config{}))
		err := h.Run(ctx, "db", func(context.Context) error {
			t.Error("called")
			return nil
		})
		assert.ErrorIs(t, err, errBoom)
		assert.ErrorIs(t, err, context.Canceled)
	})
	bubble(t, "while it runs", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*ms)
		defer cancel()
		_, took, err := invoke(ctx, hedge.MustNew(fixed(hedge.Config{})), step{forever, nil})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 30*ms, took)
	})
	bubble(t, "whose end is told with what had failed before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(30*ms, cancel)
		_, took, err := invoke(ctx, hedge.MustNew(fixed(hedge.Config{})), step{0, errBoom}, step{forever, nil})
		assert.ErrorIs(t, err, context.Canceled)
		assert.ErrorIs(t, err, errBoom)
		assert.Equal(t, 30*ms, took)
	})
	bubble(t, "and the contexts of its functions end with it", func(t *testing.T) {
		var mu sync.Mutex
		var ctxs []context.Context
		err := hedge.MustNew(fixed(hedge.Config{})).Run(t.Context(), "db", func(ctx context.Context) error {
			mu.Lock()
			ctxs = append(ctxs, ctx)
			mu.Unlock()
			if hedge.Attempt(ctx) == 1 {
				<-ctx.Done()
				assert.EqualError(t, context.Cause(ctx), overtaken)
				return ctx.Err()
			}
			assert.NoError(t, ctx.Err())
			return nil
		})
		require.NoError(t, err)
		require.Len(t, ctxs, 2)
		for _, ctx := range ctxs {
			assert.Error(t, ctx.Err())
		}
	})
	bubble(t, "a function that does not heed its context is waited for", func(t *testing.T) {
		start := time.Now()
		err := hedge.MustNew(fixed(hedge.Config{})).Run(t.Context(), "db", func(ctx context.Context) error {
			if hedge.Attempt(ctx) == 1 {
				<-time.NewTimer(time.Second).C
			}
			return nil
		})
		require.NoError(t, err)
		assert.Equal(t, time.Second, time.Since(start))
	})
}

type closer struct{ closed bool }

func (c *closer) Close() error {
	c.closed = true // of a nil it panics
	return nil
}

func TestDoClosesWhatComesTooLate(t *testing.T) {
	first, second := &closer{}, &closer{}
	for name, late := range map[string]*closer{"a value": first, "a nil that has a Close": nil} {
		bubble(t, name, func(t *testing.T) {
			got, err := hedge.Do(t.Context(), hedge.MustNew(fixed(hedge.Config{})), "db",
				func(ctx context.Context) (*closer, error) {
					if hedge.Attempt(ctx) == 1 {
						<-ctx.Done()
						return late, nil
					}
					return second, nil
				})
			require.NoError(t, err)
			assert.Same(t, second, got)
			synctest.Wait()
			assert.False(t, second.closed, "the winner's is the caller's")
		})
	}
	assert.True(t, first.closed)
}

func TestDoIsHTTPsSibling(t *testing.T) {
	bubble(t, "the doors share what is known of a key", func(t *testing.T) {
		h := hedge.MustNew(hedge.Config{Key: func(*http.Request) string { return "db" }})
		for range 10 {
			_, _, err := invoke(t.Context(), h, step{30 * ms, nil})
			require.NoError(t, err)
			call(t, h.Transport(newBase(after(20*ms, answers(200)))), get(t))
		}
		assert.Equal(t, 30*ms, shot(t, h).Delay.Round(ms))
	})
}
