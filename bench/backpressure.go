package bench

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/bohde/codel"
	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"github.com/go-kratos/aegis/ratelimit"
	"github.com/go-kratos/aegis/ratelimit/bbr"

	"github.com/failsoft/failsoft/backpressure"
)

// nameOurs is ours at its defaults.
const nameOurs = "failsoft"

// Limiter is one way to let in what can be finished in time. New makes a new one, as
// a machine with so many processors would: where ours begins depends on that. What it
// returns calls work if that is let in.
type Limiter struct {
	Name string
	New  func(processors int) Limit
}

// Limit runs work, or returns an error without.
type Limit func(ctx context.Context, work func(context.Context)) error

// LimiterOurs returns ours. Its CPU gate has nothing to do where the time is virtual.
func LimiterOurs(name string, cfg backpressure.Config) Limiter {
	cfg.CPULoad = func() float64 { return 0 }
	return Limiter{name, func(processors int) Limit {
		l := onProcessors(processors, func() *backpressure.Limiter { return backpressure.MustNew(cfg) })
		return func(ctx context.Context, work func(context.Context)) error {
			return l.Run(ctx, "", func(ctx context.Context) error {
				work(ctx)
				return nil
			})
		}
	}}
}

// LimiterStrict is ours as the documentation says for lower latency: who finds no
// place is refused.
func LimiterStrict() Limiter {
	return LimiterOurs("failsoft, MaxWait: Off", backpressure.Config{MaxWait: backpressure.Off})
}

// LimiterRivals returns who finds the limit by itself, too.
func LimiterRivals() []Limiter {
	return []Limiter{
		failsafeLimiter("failsafe, defaults", false, adaptivelimiter.NewBuilder[any]()),
		// Not its default, but what BuildPrioritized sets up.
		failsafeLimiter("failsafe, queueing(2, 3)", true, adaptivelimiter.NewBuilder[any]().WithQueueing(2, 3)),
		failsafeLimiter("failsafe, 100 ms windows", false, adaptivelimiter.NewBuilder[any]().
			WithRecentWindow(100*time.Millisecond, 30*time.Second, 50)),
		kratosLimiter(),
	}
}

// kratosLimiter is BBR as kratos has it, told that the processors are busy: it limits
// nothing otherwise, and in virtual time they are not. (go-zero's cannot be told: how
// much it lets in depends on how busy they really are.)
func kratosLimiter() Limiter {
	return Limiter{"kratos, as if CPU was short", func(int) Limit {
		l := bbr.NewLimiter(bbr.WithCPUThreshold(0))
		return func(ctx context.Context, work func(context.Context)) error {
			done, err := l.Allow()
			if err != nil {
				return err
			}
			defer done(ratelimit.DoneInfo{})
			work(ctx)
			return nil
		}
	}}
}

// LimiterCoDel is a queue by controlled delay in front of so many places, which it has
// to be told.
func LimiterCoDel(name string, opts codel.Options) Limiter {
	return Limiter{name, func(int) Limit {
		lock := codel.New(opts)
		return func(ctx context.Context, work func(context.Context)) error {
			if err := lock.Acquire(ctx); err != nil {
				return err
			}
			defer lock.Release()
			work(ctx)
			return nil
		}
	}}
}

// LimiterQueue is what that is compared with: a queue bounded by number.
func LimiterQueue(name string, places, pending int) Limiter {
	return Limiter{name, func(int) Limit {
		all, free := make(chan struct{}, places+pending), make(chan struct{}, places)
		return func(ctx context.Context, work func(context.Context)) error {
			select {
			case all <- struct{}{}:
			default:
				return errNoPlace
			}
			defer func() { <-all }()
			select {
			case free <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			defer func() { <-free }()
			work(ctx)
			return nil
		}
	}}
}

// LimiterFixed lets so many in, whatever happens.
func LimiterFixed(name string, n int) Limiter {
	return Limiter{name, func(int) Limit {
		places := make(chan struct{}, n)
		return func(ctx context.Context, work func(context.Context)) error {
			select {
			case places <- struct{}{}:
			default:
				return errNoPlace
			}
			defer func() { <-places }()
			work(ctx)
			return nil
		}
	}}
}

var errNoPlace = errors.New("no place")

// failsafeLimiter acquires as failsafe's own executor does, for the policy's own
// maximum wait: none, unless it queues. AcquirePermit alone would wait for as long as
// the client does, and put the limiter in a much worse light than it deserves.
func failsafeLimiter(name string, queues bool, builder adaptivelimiter.Builder[any]) Limiter {
	return Limiter{name, func(int) Limit {
		l := builder.Build()
		acquire := func(ctx context.Context) (adaptivelimiter.Permit, error) {
			return l.AcquirePermitWithMaxWait(ctx, 0)
		}
		if queues {
			acquire = l.AcquirePermit
		}
		return func(ctx context.Context, work func(context.Context)) error {
			permit, err := acquire(ctx)
			if err != nil {
				return err
			}
			defer permit.Record()
			work(ctx)
			return nil
		}
	}}
}

// oneMachine guards the number of processors, which is the process's.
type oneMachine struct{ sync.Mutex }

var machine oneMachine

func onProcessors[T any](n int, build func() T) T {
	machine.Lock()
	defer machine.Unlock()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(n))
	return build()
}
