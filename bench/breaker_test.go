package bench_test

import (
	"context"
	"net/http"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/sony/gobreaker/v2"

	"github.com/failsoft/failsoft/bench"
	"github.com/failsoft/failsoft/breaker"
)

// What a breaker adds to each call. The first row is the core of ours, called as
// its own documentation says.
func TestBreaker(t *testing.T) {
	ops := breakerOps()
	measured := measure(ops)
	keep(t, map[string]float64{
		"failsoft, Allow and Done":                 0,
		"failsoft, Run":                            0,
		"failsoft, Do":                             0,
		"failsoft, refused":                        1,
		"failsoft, Allow and Done, all cores":      0,
		"failsoft, Allow and Done, a key for each": 0,
	}, ops, measured)
	costs("breaker", ops, measured).publish(t)
}

func BenchmarkBreaker(b *testing.B) { benchmark(b, breakerOps()) }

var breakerConfig = bench.CircuitConfig{Window: 10 * time.Second}

func breakerOps() []op {
	ctx := context.Background()
	ok := func() error { return nil }
	okOf := func(context.Context) error { return nil }
	okExec := func(failsafe.Execution[*http.Response]) error { return nil }
	okValue := func(context.Context) (int, error) { return 42, nil }
	okEmpty := func() (struct{}, error) { return struct{}{}, nil }

	ours, core, safe := bench.FailsoftBreaker(breakerConfig), bench.Gobreaker(breakerConfig), bench.FailsafeBreaker(breakerConfig)
	executor, resiliency, rubyist := failsafe.With(safe).WithContext(ctx), bench.Resiliency(), bench.Rubyist(breakerConfig)
	oursOpen, coreOpen, safeOpen := openFailsoft(), gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout:     24 * time.Hour,
		ReadyToTrip: func(gobreaker.Counts) bool { return true },
	}), circuitbreaker.NewBuilder[*http.Response]().WithDelay(24*time.Hour).Build()
	_, _ = coreOpen.Execute(func() (struct{}, error) { return struct{}{}, errDown })
	safeOpen.Open()
	refused := failsafe.With(safeOpen).WithContext(ctx)
	var workers atomic.Int64
	allow := func(key string) func() {
		return func() {
			call, err := ours.Allow(ctx, key)
			if err != nil {
				panic(err)
			}
			call.Done(nil)
		}
	}
	execute := func() { _, _ = core.Execute(okEmpty) }
	return []op{
		{name: "gobreaker, Execute", run: execute},
		{name: "failsoft, Allow and Done", run: allow(circuitKey)},
		{name: "failsoft, Run", run: func() { _ = ours.Run(ctx, circuitKey, okOf) }},
		{name: "failsoft, Do", run: func() { _, _ = breaker.Do(ctx, ours, circuitKey, okValue) }},
		{name: "failsafe-go, With(cb).Run", run: func() { _ = executor.RunWithExecution(okExec) }},
		{name: "failsafe-go, permit and record", run: func() {
			if safe.TryAcquirePermit() {
				safe.RecordSuccess()
			}
		}},
		{name: "go-resiliency, Run", run: func() { _ = resiliency.Run(ok) }},
		{name: "rubyist, Call", run: func() { _ = rubyist.Call(ok, 0) }},
		{name: "gobreaker, refused", run: func() { _, _ = coreOpen.Execute(okEmpty) }},
		{name: "failsoft, refused", run: func() { _, _ = oursOpen.Allow(ctx, circuitKey) }},
		{name: "failsafe-go, refused", run: func() { _ = refused.RunWithExecution(okExec) }},
		{name: "gobreaker, Execute, all cores", fork: func() func() { return execute }},
		{name: "failsoft, Allow and Done, all cores", fork: func() func() { return allow(circuitKey) }},
		{name: "failsoft, Allow and Done, a key for each", fork: func() func() {
			return allow(circuitKey + strconv.FormatInt(workers.Add(1)%int64(runtime.GOMAXPROCS(0)), 10))
		}},
	}
}

const circuitKey = "service.example:443"

// openFailsoft returns one with an open circuit. Its open time is drawn at
// random, so it is drawn until it is long enough.
func openFailsoft() *breaker.Breaker {
	b := breaker.MustNew(breaker.Config{Rules: breaker.Rules{OpenTime: 24 * time.Hour}})
	for _ = b.Trip(circuitKey); b.Snapshot().Circuits[0].RetryAfter < time.Hour; _ = b.Trip(circuitKey) {
		_ = b.Reset(circuitKey)
	}
	return b
}

// What a breaker adds to an exchange of an http.Client.
func TestBreakerTransport(t *testing.T) {
	for _, c := range []struct {
		name  string
		base  http.RoundTripper
		extra float64
	}{{"22 bytes", stub{}, 1}, {"204", noContent{}, 0}} {
		t.Run(c.name, func(t *testing.T) {
			ops := breakerTransportOps(c.base)
			measured := measure(ops)
			keep(t, map[string]float64{"failsoft": c.extra}, ops, measured)
			costs("breaker transport, "+c.name, ops, measured).publish(t)
		})
	}
}

func BenchmarkBreakerTransport(b *testing.B) { benchmark(b, breakerTransportOps(noContent{})) }

func breakerTransportOps(base http.RoundTripper) []op {
	buf := make([]byte, 512)
	exchanging := func(name string, transport http.RoundTripper) op {
		client := &http.Client{Transport: transport}
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, where, nil)
		return op{name: name, run: func() {
			if err != nil || exchange(client, req, buf) < 0 {
				panic("the answer was lost on its way")
			}
		}}
	}
	return []op{
		exchanging("bare", struct{ http.RoundTripper }{base}),
		exchanging("failsoft", bench.FailsoftBreaker(breakerConfig).Transport(base)),
		exchanging("failsafe-go", failsafehttp.NewRoundTripper(base, bench.FailsafeBreaker(breakerConfig))),
	}
}

// noContent is a server that answers 204.
type noContent struct{}

func (noContent) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusNoContent, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: http.NoBody, Request: req,
	}, nil
}
