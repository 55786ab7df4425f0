package bench_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bohde/codel"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/go-kratos/aegis/ratelimit"
	"github.com/go-kratos/aegis/ratelimit/bbr"
	"github.com/stretchr/testify/assert"
	shedding "github.com/zeromicro/go-zero/core/load"

	"github.com/failsoft/failsoft/backpressure"
	"github.com/failsoft/failsoft/bench"
)

// What it costs to be let in and to give the place back.
func TestBackpressureCost(t *testing.T) {
	ops := limiterOps(t)
	measured := measure(ops)
	promises := map[string]float64{"failsoft, Acquire and Done": 0, "failsoft, without the CPU gate": 0}
	keep(t, promises, ops, measured)
	costs("backpressure", ops, measured).publish(t)
}

// What it costs to be refused.
func TestBackpressureRefusalCost(t *testing.T) {
	ops := refusalOps(t)
	measured := measure(ops)
	for i, o := range ops {
		if o.name == "failsoft" {
			assert.Zero(t, measured[i].allocs, o.name)
		}
	}
	costs("backpressure, refused", ops, measured).publish(t)
}

// What it costs to wrap a handler.
func TestBackpressureHandlerCost(t *testing.T) {
	ops := handlerOps(t)
	measured := measure(ops)
	keep(t, map[string]float64{"failsoft": 2}, ops, measured)
	costs("backpressure, handler", ops, measured).publish(t)
}

func BenchmarkBackpressure(b *testing.B)        { benchmark(b, limiterOps(b)) }
func BenchmarkBackpressureRefused(b *testing.B) { benchmark(b, refusalOps(b)) }
func BenchmarkBackpressureHandler(b *testing.B) { benchmark(b, handlerOps(b)) }

// acquiring is a call of ours that does nothing.
func acquiring(tb testing.TB, cfg backpressure.Config) func() {
	tb.Helper()
	l, ctx := backpressure.MustNew(cfg), tb.Context()
	return func() {
		p, err := l.Acquire(ctx, backpressure.Request{})
		if err != nil {
			panic(err)
		}
		p.Done(backpressure.Success)
	}
}

// acquiringFailsafe is the same of failsafe's.
func acquiringFailsafe(tb testing.TB, l adaptivelimiter.AdaptiveLimiter[any]) func() {
	tb.Helper()
	ctx := tb.Context()
	return func() {
		p, err := l.AcquirePermit(ctx)
		if err != nil {
			panic(err)
		}
		p.Record()
	}
}

func limiterOps(tb testing.TB) []op {
	tb.Helper()
	ctx, begun, quiet := tb.Context(), time.Now(), backpressure.Config{CPUThreshold: backpressure.Off}
	keyed := backpressure.MustNew(backpressure.Config{})
	through, places := failsafe.With(adaptivelimiter.NewWithDefaults[any]()), bulkhead.New[any](1)
	lock, limiter, shedder := codel.New(codel.Options{MaxOutstanding: 10, MaxPending: 10, TargetLatency: time.Millisecond}),
		bbr.NewLimiter(), shedding.NewAdaptiveShedder()
	return []op{
		{name: "the clock, twice: time.Since", run: func() { _, _ = time.Since(begun), time.Since(begun) }},
		{name: "failsoft, Acquire and Done", run: acquiring(tb, backpressure.Config{})},
		{name: "failsoft, without the CPU gate", run: acquiring(tb, quiet)},
		{name: "failsoft, of a key", run: func() {
			p, err := keyed.Acquire(ctx, backpressure.Request{Key: "shop.test"})
			if err != nil {
				panic(err)
			}
			p.Done(backpressure.Success)
		}},
		{name: "failsafe, adaptive", run: acquiringFailsafe(tb, adaptivelimiter.NewWithDefaults[any]())},
		{name: "failsafe, queueing(2, 3)", run: acquiringFailsafe(tb, adaptivelimiter.NewBuilder[any]().WithQueueing(2, 3).Build())},
		{name: "failsafe, With(adaptive).Run", run: func() {
			if err := through.Run(func() error { return nil }); err != nil {
				panic(err)
			}
		}},
		{name: "kratos, bbr", run: func() {
			if done, err := limiter.Allow(); err == nil {
				done(ratelimit.DoneInfo{})
			}
		}},
		{name: "go-zero, shedder", run: func() {
			if promise, err := shedder.Allow(); err == nil {
				promise.Pass()
			}
		}},
		{name: "codel, a fixed number", run: func() {
			if err := lock.Acquire(ctx); err != nil {
				panic(err)
			}
			lock.Release()
		}},
		{name: "failsoft, all cores", fork: forked(acquiring(tb, backpressure.Config{CPUThreshold: backpressure.Off}))},
		{name: "failsoft, all cores, one place", fork: forked(acquiring(tb, backpressure.Config{
			CPUThreshold: backpressure.Off, Limit: backpressure.Fixed(1), MaxWait: time.Minute,
		}))},
		{name: "failsafe, bulkhead, all cores, one place", fork: forked(func() {
			if err := places.AcquirePermit(ctx); err != nil {
				panic(err)
			}
			places.ReleasePermit()
		})},
		{name: "failsafe, adaptive, all cores", fork: forked(acquiringFailsafe(tb, adaptivelimiter.NewWithDefaults[any]()))},
	}
}

func forked(run func()) func() func() { return func() func() { return run } }

func refusalOps(tb testing.TB) []op {
	tb.Helper()
	ctx := tb.Context()
	full := func(cfg backpressure.Config) func() {
		cfg.Limit = backpressure.Fixed(1)
		l := backpressure.MustNew(cfg)
		if _, err := l.Acquire(ctx, backpressure.Request{}); err != nil { // and keeps it
			panic(err)
		}
		return func() {
			if _, err := l.Acquire(ctx, backpressure.Request{}); err == nil {
				panic("there is a place")
			}
		}
	}
	adaptive := adaptivelimiter.NewBuilder[any]().WithLimits(1, 1, 1).Build()
	if _, err := adaptive.AcquirePermit(ctx); err != nil {
		panic(err)
	}
	through := failsafe.With(adaptive)
	places := bulkhead.New[any](1)
	places.TryAcquirePermit()
	lock := codel.New(codel.Options{MaxOutstanding: 1, TargetLatency: time.Millisecond})
	if err := lock.Acquire(ctx); err != nil {
		panic(err)
	}
	return []op{
		{name: "failsoft", run: full(backpressure.Config{MaxWait: backpressure.Off})},
		{name: "failsoft, without the CPU gate", run: full(backpressure.Config{MaxWait: backpressure.Off, CPUThreshold: backpressure.Off})},
		{name: "failsafe, adaptive, TryAcquirePermit", run: func() { adaptive.TryAcquirePermit() }},
		{name: "failsafe, With(adaptive).Run", run: func() { _ = through.Run(func() error { return nil }) }},
		{name: "failsafe, bulkhead", run: func() { places.TryAcquirePermit() }},
		{name: "codel, its queue full", run: func() { _ = lock.Acquire(ctx) }},
	}
}

// noWriter is a ResponseWriter that costs nothing.
type noWriter struct{ header http.Header }

func (w *noWriter) Header() http.Header         { return w.header }
func (w *noWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *noWriter) WriteHeader(int)             {}

func handlerOps(tb testing.TB) []op {
	tb.Helper()
	w := &noWriter{header: http.Header{}}
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, "http://shop.test/", http.NoBody)
	if err != nil {
		panic(err)
	}
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	ops := []op{{name: "bare", run: func() { next.ServeHTTP(w, req) }}}
	for _, g := range bench.Guards() {
		if g.Name == "no limit" || strings.HasPrefix(g.Name, "semaphore") {
			continue
		}
		wrapped := g.Wrap(next)
		ops = append(ops, op{name: g.Name, run: func() { wrapped.ServeHTTP(w, req) }})
	}
	refused := bench.RefuseAll(next)
	return append(ops, op{name: "failsoft, refused", run: func() { refused.ServeHTTP(w, req) }})
}
