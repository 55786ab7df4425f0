package breaker_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/failsoft/failsoft/breaker"
	"github.com/failsoft/failsoft/internal/rttest"
)

// The nest with retry is tested in internal/rttest.

// unmoved is a Config whose rules the contract's scripts do not meet.
func unmoved() breaker.Config {
	return breaker.Config{Rules: breaker.Rules{
		FailureRate: breaker.Off, OverloadRate: breaker.Off, Consecutive: breaker.Off, StalledAfter: breaker.Off,
	}}
}

func TestContractOfTransport(t *testing.T) {
	t.Run("alone", func(t *testing.T) {
		rttest.Client(t, func(next http.RoundTripper) http.RoundTripper {
			return breaker.MustNew(unmoved()).Transport(next)
		})
	})
	t.Run("in shadow mode", func(t *testing.T) {
		rttest.Client(t, func(next http.RoundTripper) http.RoundTripper {
			cfg := breaker.Config{Key: func(*http.Request) string { return "" }, Rules: breaker.Rules{SlowAfter: time.Second}}
			b := breaker.MustNew(cfg)
			if err := b.Set("", breaker.Override{Mode: breaker.Shadow}); err != nil {
				t.Fatal(err)
			}
			return b.Transport(next)
		})
	})
	t.Run("refusals", func(t *testing.T) {
		rttest.Refusal(t, func(next http.RoundTripper) http.RoundTripper {
			b := breaker.MustNew(breaker.Config{Key: func(*http.Request) string { return "" }})
			_ = b.Trip("")
			return b.Transport(next)
		})
	})
}

func TestContractOfHandler(t *testing.T) {
	rttest.Server(t, func(next http.Handler) http.Handler {
		return breaker.MustNew(unmoved()).Handler(next)
	})
}
