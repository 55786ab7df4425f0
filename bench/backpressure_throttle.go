package bench

import (
	"context"
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivethrottler"
	"github.com/zeromicro/go-zero/core/breaker"

	"github.com/failsoft/failsoft/backpressure"
)

// Throttle is one way for a client to hold back what the server would refuse. New makes
// a new one: what it returns reports whether a request may go, and if so wants to know
// whether the server has accepted it, or after what time it may be asked again.
type Throttle struct {
	Name string
	New  func() func() (done func(accepted bool, retryAfter time.Duration), ok bool)
}

// Throttles returns ours, nobody, and the rivals at their defaults.
func Throttles() []Throttle {
	quiet()
	type done = func(bool, time.Duration)
	return []Throttle{
		{nameOurs, func() func() (done, bool) {
			t := backpressure.MustNewThrottle(backpressure.ThrottleConfig{})
			return func() (done, bool) {
				a, err := t.Allow(context.Background(), "", backpressure.Default)
				return a.Done, err == nil
			}
		}},
		{"no throttle", func() func() (done, bool) {
			return func() (done, bool) { return func(bool, time.Duration) {}, true }
		}},
		{"failsafe", func() func() (done, bool) {
			t := adaptivethrottler.NewWithDefaults[any]()
			return func() (done, bool) {
				return func(accepted bool, _ time.Duration) {
					if accepted {
						t.RecordSuccess()
					} else {
						t.RecordFailure()
					}
				}, t.TryAcquirePermit()
			}
		}},
		{"go-zero, its breaker", func() func() (done, bool) {
			b := breaker.NewBreaker()
			return func() (done, bool) {
				promise, err := b.Allow()
				return func(accepted bool, _ time.Duration) {
					if accepted {
						promise.Accept()
					} else {
						promise.Reject("refused")
					}
				}, err == nil
			}
		}},
	}
}
