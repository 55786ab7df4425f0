package bench

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/failsafe-go/failsafe-go/timeout"

	"github.com/failsoft/failsoft/retry"
)

// Func is what the contenders call.
type Func = func(context.Context) (int, error)

// Function is one way to call a function again.
type Function struct {
	Name string
	Call func(ctx context.Context, fn Func) (int, error)
}

// Functions returns who is measured on functions. The first is what the others
// are compared with.
func Functions() []Function {
	return []Function{
		{"bare", func(ctx context.Context, fn Func) (int, error) { return fn(ctx) }},
		failsoftFunc("failsoft, no timeout", retry.Config{TryTimeout: retry.NoTimeout}),
		{"backoff", withBackoff},
		failsafeFunc("failsafe", retrypolicy.NewWithDefaults[int]()),
		failsoftFunc("failsoft, per try (default)", retry.Config{}),
		failsafeFunc("failsafe, per try", retrypolicy.NewWithDefaults[int](), timeout.New[int](tryTimeout)),
	}
}

func failsoftFunc(name string, cfg retry.Config) Function {
	r := retry.MustNew(cfg)
	return Function{name, func(ctx context.Context, fn Func) (int, error) {
		return retry.Do(ctx, r, "key", fn)
	}}
}

// withBackoff leaves the backoff to the library's default: one that is passed
// in cannot be shared between calls, so that it would be made a second time.
func withBackoff(ctx context.Context, fn Func) (int, error) {
	return backoff.Retry(ctx, func() (int, error) { return fn(ctx) },
		backoff.WithMaxTries(attempts), backoff.WithMaxElapsedTime(time.Minute))
}

// failsafeFunc keeps one executor for all calls, and hands each call's context
// through it, as ours does.
func failsafeFunc(name string, policies ...failsafe.Policy[int]) Function {
	executor := failsafe.With(policies...)
	return Function{name, func(ctx context.Context, fn Func) (int, error) {
		return executor.WithContext(ctx).GetWithExecution(func(exec failsafe.Execution[int]) (int, error) {
			return fn(exec.Context())
		})
	}}
}
