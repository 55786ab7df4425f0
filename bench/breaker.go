package bench

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/cenk/backoff"
	"github.com/eapache/go-resiliency/breaker"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	circuit "github.com/rubyist/circuitbreaker"
	"github.com/sony/gobreaker/v2"

	failsoftbreaker "github.com/failsoft/failsoft/breaker"
)

// All breakers get the same policy, as far as they can express it: open when
// half of at least 20 calls in the window have failed, or 10 in a row; stay open
// for a second; then let one probe decide.
const (
	failureRate = 0.5
	failureMin  = 20
	consecutive = 10
	openTime    = time.Second
)

// CircuitConfig is what a scenario needs of a breaker.
type CircuitConfig struct {
	Window time.Duration

	// Tuned asks for what the breaker does not do by itself but can be told to
	// do, see the constructors. One that cannot ignores it.
	Tuned bool

	// Listener, if set, is called at each change of state.
	Listener func()
}

// Circuit is one breaker. RoundTrip is nil where it has no door for HTTP.
type Circuit struct {
	Run       func(context.Context, func(context.Context) error) error
	State     func() string
	RoundTrip func(*http.Request) (*http.Response, error)
}

// Breaker makes circuits above a base. Tunes says that it can be tuned, Listens
// that it calls listeners.
type Breaker struct {
	Name    string
	Tunes   bool
	Listens bool
	New     func(cfg CircuitConfig, base http.RoundTripper) Circuit
}

// Breakers returns who goes through the scenarios, ours first. hystrix-go is
// not among them, since it does not work in a bubble: each of its circuits has
// goroutines that never end.
func Breakers() []Breaker {
	return []Breaker{
		{Name: "failsoft", Listens: true, New: failsoftCircuit},
		{Name: "gobreaker", Tunes: true, Listens: true, New: gobreakerCircuit},
		{Name: "failsafe-go", Tunes: true, Listens: true, New: failsafeCircuit},
		{Name: "go-resiliency", New: resiliencyCircuit},
		{Name: "rubyist", New: rubyistCircuit},
	}
}

const circuitKey = "service.example"

// FailsoftBreaker returns ours with the common policy. The ramp is off, because
// nobody else has one.
func FailsoftBreaker(cfg CircuitConfig) *failsoftbreaker.Breaker {
	var observe func(context.Context, failsoftbreaker.Event)
	if cfg.Listener != nil {
		observe = func(_ context.Context, e failsoftbreaker.Event) {
			if e.Kind == failsoftbreaker.Changed {
				cfg.Listener()
			}
		}
	}
	return failsoftbreaker.MustNew(failsoftbreaker.Config{
		Window:  cfg.Window,
		Observe: observe,
		Rules: failsoftbreaker.Rules{
			FailureRate: failureRate, FailureMin: failureMin, Consecutive: consecutive,
			OpenTime: openTime, Probes: 1, ProbeRate: 1, ProbeTimeout: time.Second, Ramp: failsoftbreaker.Off,
		},
	})
}

func failsoftCircuit(cfg CircuitConfig, base http.RoundTripper) Circuit {
	b := FailsoftBreaker(cfg)
	return Circuit{
		Run: func(ctx context.Context, fn func(context.Context) error) error {
			return b.Run(ctx, circuitKey, fn)
		},
		State:     func() string { return b.State(circuitKey).String() },
		RoundTrip: b.Transport(base).RoundTrip,
	}
}

// Gobreaker returns gobreaker with the common policy and a rolling window.
// Tuned, it is told not to count what was canceled.
func Gobreaker(cfg CircuitConfig) *gobreaker.CircuitBreaker[struct{}] {
	settings := gobreaker.Settings{
		MaxRequests:  1,
		Interval:     cfg.Window,
		BucketPeriod: cfg.Window / 10,
		Timeout:      openTime,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			ended := c.TotalSuccesses + c.TotalFailures // Its Requests counts what is under way, too.
			return ended >= failureMin && float64(c.TotalFailures) >= failureRate*float64(ended) ||
				c.ConsecutiveFailures >= consecutive
		},
	}
	if cfg.Tuned {
		settings.IsExcluded = func(err error) bool { return errors.Is(err, context.Canceled) }
	}
	if cfg.Listener != nil {
		settings.OnStateChange = func(string, gobreaker.State, gobreaker.State) { cfg.Listener() }
	}
	return gobreaker.NewCircuitBreaker[struct{}](settings)
}

func gobreakerCircuit(cfg CircuitConfig, _ http.RoundTripper) Circuit {
	cb := Gobreaker(cfg)
	return Circuit{
		Run: func(ctx context.Context, fn func(context.Context) error) error {
			_, err := cb.Execute(func() (struct{}, error) { return struct{}{}, fn(ctx) })
			return err
		},
		State: func() string { return cb.State().String() },
	}
}

// FailsafeBreaker returns failsafe's with the common policy. Its rate cannot be
// combined with a number of failures in a row. Tuned, it counts these instead of
// the rate, 5xx as failures, and not what was canceled.
func FailsafeBreaker(cfg CircuitConfig) circuitbreaker.CircuitBreaker[*http.Response] {
	builder := circuitbreaker.NewBuilder[*http.Response]().
		WithSuccessThreshold(1).WithDelay(openTime).WithDelayFunc(failsafehttp.DelayFunc)
	if cfg.Tuned {
		builder = builder.WithFailureThreshold(consecutive).HandleIf(func(resp *http.Response, err error) bool {
			return err != nil && !errors.Is(err, context.Canceled) ||
				resp != nil && resp.StatusCode >= http.StatusInternalServerError
		})
	} else {
		builder = builder.WithFailureRateThreshold(failureRate, failureMin, cfg.Window)
	}
	if cfg.Listener != nil {
		builder = builder.OnStateChanged(func(circuitbreaker.StateChangedEvent) { cfg.Listener() })
	}
	return builder.Build()
}

func failsafeCircuit(cfg CircuitConfig, base http.RoundTripper) Circuit {
	cb := FailsafeBreaker(cfg)
	executor := failsafe.With(cb)
	return Circuit{
		Run: func(ctx context.Context, fn func(context.Context) error) error {
			return executor.WithContext(ctx).RunWithExecution(func(exec failsafe.Execution[*http.Response]) error {
				return fn(exec.Context())
			})
		},
		State:     func() string { return cb.State().String() },
		RoundTrip: failsafehttp.NewRoundTripper(base, cb).RoundTrip,
	}
}

// Resiliency returns go-resiliency's, which knows neither rate nor window: it
// opens at so many failures without a failure-free open time in between.
func Resiliency() *breaker.Breaker { return breaker.New(consecutive, 1, openTime) }

func resiliencyCircuit(CircuitConfig, http.RoundTripper) Circuit {
	cb := Resiliency()
	return Circuit{
		Run: func(ctx context.Context, fn func(context.Context) error) error {
			return cb.Run(func() error { return fn(ctx) })
		},
		State: func() string { return [...]string{"closed", "open", "half-open"}[cb.GetState()] },
	}
}

// Rubyist returns rubyist/circuitbreaker with the common policy. Its open time
// grows like ours but without jitter, as tables should be the same each time.
func Rubyist(cfg CircuitConfig) *circuit.Breaker {
	rate, row := circuit.RateTripFunc(failureRate, failureMin), circuit.ConsecutiveTripFunc(consecutive)
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.RandomizationFactor, wait.MaxElapsedTime = openTime, 0, 0
	wait.Reset()
	return circuit.NewBreakerWithOptions(&circuit.Options{
		BackOff:    wait,
		WindowTime: cfg.Window,
		ShouldTrip: func(cb *circuit.Breaker) bool { return rate(cb) || row(cb) },
	})
}

// Its HTTP client is put together by hand, because its constructor starts a
// goroutine that never ends.
func rubyistCircuit(cfg CircuitConfig, base http.RoundTripper) Circuit {
	cb := Rubyist(cfg)
	client := &circuit.HTTPClient{
		Client:        &http.Client{Transport: base},
		BreakerLookup: func(*circuit.HTTPClient, any) *circuit.Breaker { return cb },
	}
	return Circuit{
		Run: func(ctx context.Context, fn func(context.Context) error) error {
			return cb.CallContext(ctx, func() error { return fn(ctx) }, 0)
		},
		State: func() string {
			if cb.Tripped() {
				return "open"
			}
			return "closed"
		},
		RoundTrip: client.Do,
	}
}
