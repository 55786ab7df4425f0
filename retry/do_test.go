package retry_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/budget"
	"github.com/failsoft/failsoft/retry"
)

func TestDoRepeatsEveryErrorBut(t *testing.T) {
	tests := map[string]struct {
		err    error
		calls  int
		reason retry.Reason // 0: the error comes back as it is
	}{
		"none":                  {nil, 1, 0},
		"any":                   {errBoom, 3, retry.OutOfAttempts},
		"io.EOF":                {io.EOF, 3, retry.OutOfAttempts},
		"somebody's canceled":   {context.Canceled, 3, retry.OutOfAttempts},
		"permanent":             {retry.Permanent(errBoom), 1, 0},
		"refusal with a hint":   {refusal{time.Second}, 3, retry.OutOfAttempts},
		"refusal without":       {refusal{}, 1, retry.Refused},
		"refusal for too long":  {refusal{time.Hour}, 1, retry.RetryAfterTooLong},
		"permanent inside text": {wrapped{retry.Permanent(errBoom)}, 1, 0},
	}
	for name, tt := range tests {
		bubble(t, name, func(t *testing.T) {
			calls := 0
			value, err := retry.Do(t.Context(), retry.MustNew(retry.Config{Budget: rich()}), "db",
				func(context.Context) (int, error) {
					calls++
					return calls * 10, tt.err
				})
			assert.Equal(t, tt.calls, calls)
			assert.Equal(t, tt.calls*10, value, "the last attempt's value")
			var failed *retry.Error
			if tt.reason != 0 {
				require.ErrorAs(t, err, &failed)
				assert.Equal(t, tt.reason, failed.Reason)
				assert.ErrorIs(t, err, tt.err)
			} else {
				assert.NotErrorAs(t, err, &failed)
			}
		})
	}
	bubble(t, "permanent, for a Retrier further out too", func(t *testing.T) {
		calls := 0
		r := retry.MustNew(retry.Config{})
		err := r.Run(t.Context(), "db", func(ctx context.Context) error {
			return r.Run(ctx, "db", func(context.Context) error {
				calls++
				return retry.Permanent(errBoom)
			})
		})
		assert.Equal(t, 1, calls)
		require.ErrorIs(t, err, errBoom)
		require.EqualError(t, err, "boom")
		assert.NoError(t, retry.Permanent(nil))
	})
	bubble(t, "permanent, although its time was up", func(t *testing.T) {
		calls := 0
		err := retry.MustNew(retry.Config{}).Run(t.Context(), "db", func(ctx context.Context) error {
			calls++
			<-ctx.Done()
			return retry.Permanent(errors.Join(errBoom, ctx.Err()))
		})
		assert.Equal(t, 1, calls)
		assert.ErrorIs(t, err, errBoom)
	})
	bubble(t, "the caller's end", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		err := retry.MustNew(retry.Config{}).Run(ctx, "db", func(context.Context) error {
			calls++
			cancel()
			return errBoom
		})
		assert.Equal(t, 1, calls)
		assert.Equal(t, errBoom, err)
	})
	bubble(t, "the caller's end before the start", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := retry.MustNew(retry.Config{}).Run(ctx, "db", func(context.Context) error {
			t.Error("called")
			return nil
		})
		assert.ErrorIs(t, err, context.Canceled)
	})
	bubble(t, "what JudgeError accepts", func(t *testing.T) {
		calls := 0
		judge := func(err error) retry.Outcome {
			if err == io.EOF { //nolint:errorlint // the plain one
				return retry.Accept
			}
			return retry.ByRule
		}
		err := retry.MustNew(retry.Config{JudgeError: judge}).Run(t.Context(), "db", func(context.Context) error {
			if calls++; calls == 1 {
				return errBoom
			}
			return io.EOF
		})
		assert.Equal(t, 2, calls)
		assert.ErrorIs(t, err, io.EOF)
	})
}

type wrapped struct{ error }

func (w wrapped) Unwrap() error { return w.error }

func TestRunSucceedsLate(t *testing.T) {
	bubble(t, "third time", func(t *testing.T) {
		var numbers []int
		r := retry.MustNew(retry.Config{Budget: rich()})
		err := r.Run(t.Context(), "db", func(ctx context.Context) error {
			if numbers = append(numbers, retry.Attempt(ctx)); len(numbers) < 3 {
				return errBoom
			}
			return nil
		})
		require.NoError(t, err)
		assert.Equal(t, []int{1, 2, 3}, numbers)
		assert.EqualValues(t, 1, r.Snapshot().Recovered)
	})
}

func TestDoLimitsEachAttempt(t *testing.T) {
	bubble(t, "a function that honors its context", func(t *testing.T) {
		start := time.Now()
		err := retry.MustNew(retry.Config{TryTimeout: time.Second, BaseDelay: retry.Immediately}).Run(t.Context(), "db",
			func(ctx context.Context) error {
				<-ctx.Done()
				assert.Equal(t, context.DeadlineExceeded, ctx.Err(), "not a cancellation")
				return ctx.Err()
			})
		assert.Equal(t, 3*time.Second, time.Since(start))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
	bubble(t, "a value that comes late is still good", func(t *testing.T) {
		value, err := retry.Do(t.Context(), retry.MustNew(retry.Config{TryTimeout: time.Second}), "db",
			func(context.Context) (string, error) {
				time.Sleep(2 * time.Second)
				return "late", nil
			})
		require.NoError(t, err)
		assert.Equal(t, "late", value)
	})
	bubble(t, "its context ends with it", func(t *testing.T) {
		var below context.Context
		_ = retry.MustNew(retry.Config{}).Run(t.Context(), "db", func(ctx context.Context) error {
			below = ctx
			return nil
		})
		assert.Error(t, below.Err())
	})
	bubble(t, "a panic too", func(t *testing.T) {
		var below context.Context
		assert.Panics(t, func() {
			_ = retry.MustNew(retry.Config{}).Run(t.Context(), "db", func(ctx context.Context) error {
				below = ctx
				panic("fn")
			})
		})
		assert.Error(t, below.Err())
	})
}

func TestDoDrawsFromTheBudgetOfItsKey(t *testing.T) {
	bubble(t, "keys", func(t *testing.T) {
		r := retry.MustNew(retry.Config{Budget: budget.MustNew(budget.Config{Floor: 0.1})})
		for key, want := range map[string]int{"a": 2, "b": 2} {
			calls := 0
			_ = r.Run(t.Context(), key, func(context.Context) error { calls++; return errBoom })
			assert.Equal(t, want, calls, key)
		}
	})
}
