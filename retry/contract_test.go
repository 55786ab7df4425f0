package retry_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/failsoft/failsoft/internal/rttest"
	"github.com/failsoft/failsoft/retry"
)

func TestContract(t *testing.T) {
	// Some clauses have servers that take their time. They are about everything
	// but TryTimeout, which has tests of its own.
	const long = 24 * time.Hour
	for name, cfg := range map[string]retry.Config{
		"default":     {TryTimeout: long},
		"immediately": {TryTimeout: long, BaseDelay: retry.Immediately},
		"no timeout":  {TryTimeout: retry.NoTimeout},
		"all options": {
			TryTimeout: long, AttemptHeader: true, BodyIdleTimeout: long, Jitter: retry.DecorrelatedJitter,
		},
	} {
		t.Run(name, func(t *testing.T) {
			rttest.Client(t, func(next http.RoundTripper) http.RoundTripper {
				cfg.Budget = rich()
				return retry.MustNew(cfg).Transport(next)
			})
		})
	}
	t.Run("nested", func(t *testing.T) {
		rttest.Client(t, func(next http.RoundTripper) http.RoundTripper {
			cfg := retry.Config{TryTimeout: long, MaxAttempts: 2, Budget: rich()}
			return retry.MustNew(cfg).Transport(retry.MustNew(cfg).Transport(next))
		})
	})
}
