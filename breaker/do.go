package breaker

import "context"

// Do calls fn if the circuit of key lets it pass, and counts what becomes of it:
// its error, the time it takes, a panic or an end of its goroutine. A refusal is
// an *OpenError, and fn is not called.
func Do[T any](
	ctx context.Context, b *Breaker, key string, fn func(context.Context) (T, error),
) (value T, err error) {
	call, err := b.Allow(ctx, key)
	if err != nil {
		return value, err
	}
	returned := false
	defer func() { // fn, or a Judge, panicked or ended the goroutine
		if !returned {
			call.panicked()
		}
	}()
	value, err = fn(ctx)
	call.Done(err)
	returned = true
	return value, err
}

// Run is Do for functions that return only an error.
func (b *Breaker) Run(ctx context.Context, key string, fn func(context.Context) error) error {
	_, err := Do(ctx, b, key, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, fn(ctx)
	})
	return err
}
