package backpressure_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/backpressure"
	"github.com/failsoft/failsoft/internal/rttest"
)

// The nests with the other policies are tested in internal/rttest.

// roomy is a Throttle to which nothing is a refusal.
func roomy() *backpressure.Throttle {
	return backpressure.MustNewThrottle(backpressure.ThrottleConfig{
		Judge: func(*http.Response, error) backpressure.Outcome { return backpressure.Success },
	})
}

func plenty() *backpressure.Rate {
	return backpressure.MustNewRate(backpressure.RateConfig{PerSecond: 1e6})
}

func limiter(cfg backpressure.Config) *backpressure.Limiter { return backpressure.MustNew(cfg) }

func TestContractOfTransport(t *testing.T) {
	clientSide := backpressure.Config{CPUThreshold: backpressure.Off, MinLimit: 200}
	named := clientSide
	named.ClassHeader = "Criticality"
	named.Class = func(*http.Request) backpressure.Class { return backpressure.Sheddable }
	for name, wrap := range map[string]func(http.RoundTripper) http.RoundTripper{
		"limiter":        func(next http.RoundTripper) http.RoundTripper { return limiter(clientSide).Transport(next) },
		"limiter, fixed": func(next http.RoundTripper) http.RoundTripper { return limiter(fixed(200)).Transport(next) },
		"limiter, class": func(next http.RoundTripper) http.RoundTripper { return limiter(named).Transport(next) },
		"throttle":       func(next http.RoundTripper) http.RoundTripper { return roomy().Transport(next) },
		"rate":           func(next http.RoundTripper) http.RoundTripper { return plenty().Transport(next) },
		"limiter over limiter": func(next http.RoundTripper) http.RoundTripper {
			return limiter(clientSide).Transport(limiter(fixed(200)).Transport(next))
		},
		"limiter over throttle over rate": func(next http.RoundTripper) http.RoundTripper {
			return limiter(clientSide).Transport(roomy().Transport(plenty().Transport(next)))
		},
		"rate over throttle over limiter": func(next http.RoundTripper) http.RoundTripper {
			return plenty().Transport(roomy().Transport(limiter(clientSide).Transport(next)))
		},
	} {
		t.Run(name, func(t *testing.T) { rttest.Client(t, wrap) })
	}
}

func TestContractOfRefusals(t *testing.T) {
	t.Run("limiter", func(t *testing.T) {
		rttest.Refusal(t, func(next http.RoundTripper) http.RoundTripper {
			l := limiter(backpressure.Config{
				Key: func(*http.Request) string { return "" }, Limit: backpressure.Fixed(1),
				MaxWait: backpressure.Off, CPUThreshold: backpressure.Off,
			})
			admitted(t, l, backpressure.Request{})
			return l.Transport(next)
		})
	})
	t.Run("limiter, processor", func(t *testing.T) {
		rttest.Refusal(t, func(next http.RoundTripper) http.RoundTripper {
			l := limiter(backpressure.Config{
				CPULoad: func() float64 { return 1e6 },
				Class:   func(*http.Request) backpressure.Class { return backpressure.Background },
			})
			heat(l)
			return l.Transport(next)
		})
	})
	t.Run("throttle", func(t *testing.T) {
		rttest.Refusal(t, func(next http.RoundTripper) http.RoundTripper {
			th := backpressure.MustNewThrottle(backpressure.ThrottleConfig{Key: func(*http.Request) string { return "" }})
			backpressure.Draw(th, 0) // one request in twenty would go through
			refuseAll(t, th, "", 10)
			return th.Transport(next)
		})
	})
	t.Run("rate", func(t *testing.T) {
		rttest.Refusal(t, func(next http.RoundTripper) http.RoundTripper {
			r := backpressure.MustNewRate(backpressure.RateConfig{
				Key: func(*http.Request) string { return "" }, PerSecond: 1, MaxWait: backpressure.Off,
			})
			_ = r.Allow(t.Context(), "")
			return r.Transport(next)
		})
	})
}

func TestContractOfHandler(t *testing.T) {
	dark := limiter(backpressure.Config{Limit: backpressure.Fixed(8), CPULoad: func() float64 { return 1.5 }})
	for name, wrap := range map[string]func(http.Handler) http.Handler{
		"limiter": func(next http.Handler) http.Handler {
			return limiter(backpressure.Config{CPUThreshold: backpressure.Off, MinLimit: 8, StartLimit: 8}).Handler(next)
		},
		"limiter, fixed":    func(next http.Handler) http.Handler { return limiter(fixed(8)).Handler(next) },
		"limiter, brownout": func(next http.Handler) http.Handler { return dim(t, dark).Handler(next) },
		"rate":              func(next http.Handler) http.Handler { return plenty().Handler(next) },
		"rate over limiter over limiter": func(next http.Handler) http.Handler {
			return plenty().Handler(limiter(fixed(8)).Handler(limiter(fixed(8)).Handler(next)))
		},
	} {
		t.Run(name, func(t *testing.T) { rttest.Server(t, wrap) })
	}
}

// refuseAll is what a server does that refuses n requests.
func refuseAll(t *testing.T, th *backpressure.Throttle, key string, n int) {
	t.Helper()
	for range n {
		if a, err := th.Allow(t.Context(), key, backpressure.Default); err == nil {
			a.Done(false, 0)
		}
	}
}

// dim brings a Limiter into full brownout, where it stays for the next second. It takes a
// second, but for one that is there.
func dim(t *testing.T, l *backpressure.Limiter) *backpressure.Limiter {
	t.Helper()
	require.Eventually(t, func() bool {
		admitted(t, l, backpressure.Request{}).Done(backpressure.Ignore)
		return l.Level() > 0.99
	}, 10*time.Second, time.Millisecond)
	return l
}
