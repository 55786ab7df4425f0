package hedge_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/failsoft/failsoft/budget"
	"github.com/failsoft/failsoft/hedge"
	"github.com/failsoft/failsoft/internal/rttest"
)

func rich() *budget.Budget {
	return budget.MustNew(budget.Config{Ratio: 1, Floor: 10_000})
}

func TestContract(t *testing.T) {
	for name, cfg := range map[string]hedge.Config{
		"default":        {},
		"fixed delay":    {Delay: 10 * time.Millisecond, Percent: 100},
		"three attempts": {Delay: 5 * time.Millisecond, Percent: 100, MaxAttempts: 3, AttemptHeader: true},
		"at once":        {Delay: hedge.AtOnce},
		"grace":          {Delay: 10 * time.Millisecond, Percent: 100, LoserGrace: 20 * time.Millisecond},
		"at once, grace": {Delay: hedge.AtOnce, LoserGrace: 20 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			facts := []rttest.Fact{rttest.Overlaps}
			if cfg.LoserGrace > 0 {
				facts = append(facts, rttest.Lingers)
			}
			if cfg.Delay == hedge.AtOnce {
				facts = append(facts, rttest.Multicasts)
			}
			rttest.Client(t, func(next http.RoundTripper) http.RoundTripper {
				cfg.Budget = rich()
				return hedge.MustNew(cfg).Transport(next)
			}, facts...)
		})
	}
}
