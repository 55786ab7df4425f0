package backpressure

import "context"

// Run calls fn if it is let in, and returns its error, or a *LimitedError.
func (l *Limiter) Run(ctx context.Context, key string, fn func(context.Context) error) error {
	_, err := Do(ctx, l, key, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) })
	return err
}

// Do calls fn if it is let in, and returns what it returns, or a *LimitedError. A
// panic of fn gives the place back and goes on.
func Do[T any](ctx context.Context, l *Limiter, key string, fn func(context.Context) (T, error)) (T, error) {
	p, err := l.Acquire(ctx, Request{Key: key, Class: ClassOf(ctx)})
	if err != nil {
		var none T
		return none, err
	}
	defer p.Done(Ignore) // fn panicked or ended the goroutine; otherwise it has been released by then
	if level := l.dim.at(); level > 0 {
		ctx = withLevel(ctx, level, 0, false)
	}
	value, err := fn(ctx)
	p.Release(ctx, err)
	return value, err
}
