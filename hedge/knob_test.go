package hedge_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/budget"
	"github.com/failsoft/failsoft/hedge"
	"github.com/failsoft/failsoft/internal/attempt"
)

// slowly answers in 2 ms, but each call of so many in 100 ms.
func slowly(one int64) script {
	var calls atomic.Int64
	return func(req *http.Request) (*http.Response, error) {
		took := 2 * ms
		if calls.Add(1)%one == 0 {
			took = 100 * ms
		}
		return after(took, answers(200))(req)
	}
}

func TestOneKnobFindsTheDelay(t *testing.T) {
	bubble(t, "no hedges among the first twenty answers", func(t *testing.T) {
		h := hedge.MustNew(hedge.Config{Budget: rich()})
		b := newBase(after(time.Second, answers(200)), answers(200))
		rt := h.Transport(b)
		for n := range 20 {
			assert.Zero(t, shotOrNone(h).Delay, "call %d", n)
			assert.Equal(t, time.Second, call(t, rt, get(t)).took)
		}
		assert.Len(t, b.seen(), 20)
		assert.Equal(t, time.Second, shot(t, h).Delay.Round(ms), "the longest of the warm-up's answers")
	})
	bubble(t, "and from then on at the delay that is found", func(t *testing.T) {
		h := hedge.MustNew(hedge.Config{Budget: rich()})
		for range 20 {
			call(t, h.Transport(newBase(after(20*ms, answers(200)))), get(t))
		}
		d := shot(t, h).Delay
		b := newBase(hangs, answers(200))
		got := call(t, h.Transport(b), get(t))
		assert.Equal(t, reply{status: 200, took: d, from: 2}, got)
		assert.Equal(t, []time.Duration{0, d}, b.times())
		assert.Greater(t, shot(t, h).Delay, d, "an attempt that outlives the delay makes it longer")
		d = shot(t, h).Delay
		call(t, h.Transport(newBase(answers(200))), get(t))
		assert.Less(t, shot(t, h).Delay, d, "one that does not makes it shorter")
	})
	bubble(t, "a share of calls outlives it", func(t *testing.T) {
		h := hedge.MustNew(hedge.Config{Budget: rich()})
		slow := newBase(slowly(50), after(2*ms, answers(200))) // 2 % of calls are slow: less than 5 %
		rt := h.Transport(slow)
		for range 2000 {
			call(t, rt, get(t))
		}
		assert.Less(t, shot(t, h).Delay, 4*ms, "the bulk of the calls is below it, the tail is not")
		assert.LessOrEqual(t, shot(t, h).Sent, uint64(2000*0.05+30))
		assert.GreaterOrEqual(t, shot(t, h).Sent, uint64(30))
	})
	bubble(t, "per key", func(t *testing.T) {
		h := hedge.MustNew(hedge.Config{Key: func(req *http.Request) string { return req.URL.Path }})
		rt := h.Transport(newBase(func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/slow" {
				return after(time.Second, answers(200))(req)
			}
			return after(5*ms, answers(200))(req)
		}))
		for range 20 {
			for _, path := range []string{"/slow", "/fast"} {
				req := get(t)
				req.URL.Path = path
				call(t, rt, req)
			}
		}
		keys := h.Snapshot().Keys
		require.Len(t, keys, 2)
		assert.Equal(t, "/fast", keys[0].Key)
		assert.Equal(t, 5*ms, keys[0].Delay.Round(ms))
		assert.Equal(t, "/slow", keys[1].Key)
		assert.Equal(t, time.Second, keys[1].Delay.Round(ms))
	})
}

func shotOrNone(h *hedge.Hedger) (none hedge.KeySnapshot) {
	for _, key := range h.Snapshot().Keys {
		return key
	}
	return none
}

func TestOneKnobDelayStaysWithinItsBounds(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg  hedge.Config
		took time.Duration
		want time.Duration
	}{
		"floor of 1 ms":  {hedge.Config{}, 0, ms},
		"another floor":  {hedge.Config{MinDelay: 5 * ms}, ms, 5 * ms},
		"no ceiling":     {hedge.Config{}, time.Minute, time.Minute},
		"but of an hour": {hedge.Config{}, 2 * time.Hour, time.Hour},
		"ceiling":        {hedge.Config{MaxDelay: 50 * ms}, time.Second, 50 * ms},
	} {
		bubble(t, name, func(t *testing.T) {
			h := hedge.MustNew(tt.cfg)
			for range 20 {
				call(t, h.Transport(newBase(after(tt.took, answers(200)))), get(t))
			}
			assert.InEpsilon(t, float64(tt.want), float64(shot(t, h).Delay), 1e-4)
		})
	}
}

func TestOneKnobFixedDelayIsKept(t *testing.T) {
	bubble(t, "just before it", func(t *testing.T) {
		b := newBase(after(10*ms-1, answers(200)))
		h := hedge.MustNew(fixed(hedge.Config{}))
		assert.Equal(t, reply{status: 200, took: 10*ms - 1, from: 1}, call(t, h.Transport(b), get(t)))
		synctest.Wait()
		time.Sleep(time.Second)
		assert.Len(t, b.seen(), 1)
	})
	bubble(t, "at it", func(t *testing.T) {
		b := newBase(hangs, answers(200))
		h := hedge.MustNew(fixed(hedge.Config{}))
		assert.Equal(t, reply{status: 200, took: 10 * ms, from: 2}, call(t, h.Transport(b), get(t)))
		assert.Equal(t, []time.Duration{0, 10 * ms}, b.times())
		assert.Equal(t, 10*ms, shot(t, h).Delay)
	})
	bubble(t, "between further attempts too", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{MaxAttempts: 4}))
		for range 5 { // to save up for several at once
			call(t, h.Transport(newBase(answers(200))), get(t))
		}
		b := newBase(hangs, hangs, hangs, after(25*ms, answers(200)))
		assert.Equal(t, reply{status: 200, took: 55 * ms, from: 4}, call(t, h.Transport(b), get(t)))
		assert.Equal(t, []time.Duration{0, 10 * ms, 20 * ms, 30 * ms}, b.times(), "MaxAttempts is the most")
	})
	bubble(t, "of one call", func(t *testing.T) {
		b := newBase(hangs, answers(200))
		h := hedge.MustNew(fixed(hedge.Config{}))
		req := get(t)
		req = req.WithContext(hedge.With(req.Context(), hedge.Override{Delay: 3 * ms}))
		assert.Equal(t, 3*ms, call(t, h.Transport(b), req).took)
	})
	bubble(t, "of one call, with a value that no Config has", func(t *testing.T) {
		b := newBase(hangs, answers(200))
		h := hedge.MustNew(fixed(hedge.Config{}))
		req := get(t)
		req = req.WithContext(hedge.With(req.Context(), hedge.Override{Delay: -7, MaxAttempts: 99}))
		assert.Equal(t, 10*ms, call(t, h.Transport(b), req).took)
	})
}

func TestOneKnobAtOnceSendsAll(t *testing.T) {
	bubble(t, "at the same moment, and none is withdrawn", func(t *testing.T) {
		h := hedge.MustNew(hedge.Config{Delay: hedge.AtOnce, MaxAttempts: 3})
		b := newBase(after(30*ms, answers(200)), after(20*ms, answers(200)), after(25*ms, answers(200)))
		for range 50 {
			assert.Equal(t, reply{status: 200, took: 20 * ms, from: 2}, call(t, h.Transport(b), get(t)))
		}
		assert.Len(t, b.seen(), 150)
		assert.Equal(t, []time.Duration{0, 0, 0, 20 * ms, 20 * ms, 20 * ms}, b.times()[:6])
		assert.Equal(t, budget.Snapshot{}, h.Snapshot().Budget)
		assert.Zero(t, shot(t, h).Delay)
		assert.EqualValues(t, 100, shot(t, h).Sent)
	})
	bubble(t, "as far as there is a budget", func(t *testing.T) {
		var log diary
		h := hedge.MustNew(hedge.Config{
			Delay: hedge.AtOnce, MaxAttempts: 4, Observe: log.observe,
			Budget: budget.MustNew(budget.Config{Ratio: 1, Floor: budget.NoFloor}),
		})
		b := newBase(after(5*ms, answers(200)))
		call(t, h.Transport(b), get(t))
		assert.Len(t, b.seen(), 2, "one call pays for one more attempt")
		assert.Equal(t, []hedge.Reason{hedge.OutOfBudget}, log.reasons(), "told once, not for each that is missing")
	})
	bubble(t, "unless the server has asked for less", func(t *testing.T) {
		var log diary
		h := hedge.MustNew(hedge.Config{Delay: hedge.AtOnce, Observe: log.observe})
		b := newBase(answers(429, "Retry-After", "2"))
		call(t, h.Transport(b), get(t))
		synctest.Wait()
		time.Sleep(2*time.Second - 1)
		ok := newBase(after(ms, answers(200)))
		call(t, h.Transport(ok), get(t))
		assert.Contains(t, log.reasons(), hedge.Pushback)
		assert.Len(t, ok.seen(), 1)
		call(t, h.Transport(ok), get(t))
		assert.Len(t, ok.seen(), 3)
	})
	bubble(t, "of one call only", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{}))
		b := newBase(after(5*ms, answers(200)))
		req := get(t)
		req = req.WithContext(hedge.With(req.Context(), hedge.Override{Delay: hedge.AtOnce, MaxAttempts: 3}))
		call(t, h.Transport(b), req)
		assert.Equal(t, []time.Duration{0, 0, 0}, b.times())
	})
	bubble(t, "the first good one is the answer, though others fail", func(t *testing.T) {
		h := hedge.MustNew(hedge.Config{Delay: hedge.AtOnce, MaxAttempts: 3})
		b := newBase(fails(errBoom), answers(503), after(9*ms, answers(200)))
		assert.Equal(t, reply{status: 200, took: 9 * ms, from: 3}, call(t, h.Transport(b), get(t)))
		synctest.Wait()
		assert.Len(t, b.seen(), 3, "a failure starts no fourth")
	})
}

func TestLoadIsBoundedByPercent(t *testing.T) {
	const calls = 2000
	leave := func(t *testing.T, h *hedge.Hedger, b *base, wait time.Duration) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context()) // a deadline would tell the gate that the server is ill
		time.AfterFunc(wait, cancel)
		_, err := h.Transport(b).RoundTrip(get(t).WithContext(ctx))
		require.ErrorIs(t, err, context.Canceled)
	}
	for _, percent := range []float64{1, 5, 20} {
		bubble(t, fmt.Sprintf("%v %% of a fixed delay, server hangs", percent), func(t *testing.T) {
			var log diary
			h := hedge.MustNew(hedge.Config{Percent: percent, Delay: 10 * ms, Budget: rich(), Observe: log.observe})
			b := newBase(hangs)
			for range calls {
				leave(t, h, b, 20*ms)
			}
			assert.InDelta(t, percent/100*calls, float64(shot(t, h).Sent), 1)
			assert.Equal(t, calls-shot(t, h).Sent, shot(t, h).Refused[hedge.OverPercent])
			assert.Len(t, b.seen(), calls+int(shot(t, h).Sent))
		})
		bubble(t, fmt.Sprintf("%v %% of a found delay, server hangs", percent), func(t *testing.T) {
			h := hedge.MustNew(hedge.Config{Percent: percent, Budget: rich(), MaxDelay: 10 * ms})
			b := newBase(after(5*ms, answers(200)))
			for range 100 {
				call(t, h.Transport(b), get(t))
			}
			before := shot(t, h).Sent
			b = newBase(hangs)
			for range calls {
				leave(t, h, b, 20*ms)
			}
			sent := float64(shot(t, h).Sent - before)
			assert.LessOrEqual(t, sent, percent/100*calls+60)
			assert.GreaterOrEqual(t, sent, percent/100*calls-1)
		})
	}
	bubble(t, "at most 60 are saved up", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{Percent: 100}))
		for range 1000 {
			call(t, h.Transport(newBase(answers(200))), get(t))
		}
		b := newBase(after(10*time.Second, answers(200)))
		var all sync.WaitGroup
		req := get(t)
		req = req.WithContext(hedge.With(req.Context(), hedge.Override{MaxAttempts: 16}))
		for range 6 {
			all.Go(func() { call(t, h.Transport(b), req) })
		}
		all.Wait()
		assert.Len(t, b.seen(), 6+60, "of the six times 15 that could be")
	})
	bubble(t, "each key for itself", func(t *testing.T) {
		h := hedge.MustNew(hedge.Config{Percent: 50, Delay: 10 * ms, Budget: rich()})
		for _, host := range []string{"a.test", "a.test", "b.test", "b.test"} {
			req := get(t)
			req.URL.Host = host
			call(t, h.Transport(newBase(after(15*ms, answers(200)))), req)
		}
		for _, key := range h.Snapshot().Keys {
			assert.EqualValues(t, 1, key.Sent, key.Key)
			assert.EqualValues(t, 1, key.Refused[hedge.OverPercent], key.Key)
		}
	})
}

func TestLoadIsBoundedByBudget(t *testing.T) {
	poor := func() *budget.Budget { return budget.MustNew(budget.Config{Floor: budget.NoFloor}) }
	bubble(t, "slow attempts", func(t *testing.T) {
		var log diary
		h := hedge.MustNew(fixed(hedge.Config{Budget: poor(), Observe: log.observe}))
		b := newBase(after(15*ms, answers(200)))
		for range 10 {
			call(t, h.Transport(b), get(t))
		}
		assert.Len(t, b.seen(), 11, "ten calls pay for one more attempt")
		assert.Equal(t, slices.Repeat([]hedge.Reason{hedge.OutOfBudget}, 9), log.reasons())
		assert.EqualValues(t, 9, shot(t, h).Refused[hedge.OutOfBudget])
	})
	bubble(t, "what the budget refuses is not taken from the percentage", func(t *testing.T) {
		account := poor()
		h := hedge.MustNew(hedge.Config{Delay: 10 * ms, Percent: 10, Budget: account.SpendOnly()})
		for range 10 { // of which the last could be hedged
			call(t, h.Transport(newBase(after(15*ms, answers(200)))), get(t))
		}
		assert.EqualValues(t, 1, shot(t, h).Refused[hedge.OutOfBudget])
		for range 10 {
			account.Deposit(t.Context(), "shop.test")
		}
		call(t, h.Transport(newBase(after(15*ms, answers(200)))), get(t))
		assert.EqualValues(t, 1, shot(t, h).Sent)
	})
	bubble(t, "failed attempts", func(t *testing.T) {
		var log diary
		h := hedge.MustNew(hedge.Config{Budget: poor(), Observe: log.observe})
		assert.Equal(t, 502, call(t, h.Transport(newBase(answers(502), answers(200))), get(t)).status)
		assert.Equal(t, []hedge.Reason{hedge.OutOfBudget}, log.reasons())
		assert.Equal(t, hedge.Failure, log.events()[0].Trigger)
		for range 8 {
			call(t, h.Transport(newBase(answers(200))), get(t))
		}
		assert.Equal(t, 200, call(t, h.Transport(newBase(answers(502), answers(200))), get(t)).status, "the tenth call")
	})
	bubble(t, "shared with an outer policy that pays for the calls", func(t *testing.T) {
		account := poor()
		h := hedge.MustNew(fixed(hedge.Config{Budget: account.SpendOnly()}))
		b := newBase(after(15*ms, answers(200)))
		for range 20 {
			call(t, h.Transport(b), get(t))
		}
		assert.Len(t, b.seen(), 20, "the inner one deposits nothing")
		for range 10 {
			account.Deposit(t.Context(), "shop.test")
		}
		for range 3 {
			call(t, h.Transport(b), get(t))
		}
		assert.Len(t, b.seen(), 24)
		assert.EqualValues(t, 1, account.Snapshot().Keys[0].Granted)
		assert.Equal(t, account.Snapshot(), h.Snapshot().Budget)
	})
	bubble(t, "attempts of an outer policy are no demand", func(t *testing.T) {
		account := budget.MustNew(budget.Config{Ratio: 1, Floor: budget.NoFloor})
		h := hedge.MustNew(fixed(hedge.Config{Budget: account}))
		b := newBase(after(15*ms, answers(200)))
		req := get(t)
		call(t, h.Transport(b), req.WithContext(attempt.WithRetry(req.Context(), 2, nil)))
		assert.Len(t, b.seen(), 1)
		call(t, h.Transport(b), req.WithContext(attempt.WithRetry(req.Context(), 1, nil)))
		assert.Len(t, b.seen(), 3)
	})
	for percent, ratio := range map[float64]float64{1: 0.1, 5: 0.1, 20: 0.4, 100: 1} {
		bubble(t, fmt.Sprintf("the default at %v %% is a ratio of %v", percent, ratio), func(t *testing.T) {
			h := hedge.MustNew(hedge.Config{Percent: percent, Delay: 10 * ms})
			for range 100 {
				call(t, h.Transport(newBase(answers(200))), get(t))
			}
			assert.InDelta(t, max(100*ratio, 10), h.Snapshot().Budget.Keys[0].Balance, 0.01)
		})
	}
}

func TestLoadIsBoundedByGate(t *testing.T) {
	slow := []script{after(15*ms, answers(200)), after(15*ms, answers(200))}
	bubble(t, "while more than a fifth of the attempts fail", func(t *testing.T) {
		var log diary
		h := hedge.MustNew(fixed(hedge.Config{Observe: log.observe}))
		for range 7 {
			call(t, h.Transport(newBase(answers(500))), get(t))
		}
		b := newBase(slow...)
		call(t, h.Transport(b), get(t))
		assert.Len(t, b.seen(), 2, "a rate of 19.9 %")
		for range 2 {
			call(t, h.Transport(newBase(answers(500))), get(t))
		}
		assert.Greater(t, shot(t, h).ErrorRate, 0.2)
		b = newBase(slow...)
		call(t, h.Transport(b), get(t))
		assert.Len(t, b.seen(), 1)
		assert.Equal(t, []hedge.Reason{hedge.TooManyErrors}, log.reasons())
		for shot(t, h).ErrorRate > 0.2 {
			call(t, h.Transport(newBase(answers(200))), get(t))
		}
		b = newBase(slow...)
		call(t, h.Transport(b), get(t))
		assert.Len(t, b.seen(), 2, "when the errors have gone it goes on")
	})
	bubble(t, "nor are failures answered by further attempts then", func(t *testing.T) {
		var log diary
		h := hedge.MustNew(fixed(hedge.Config{Observe: log.observe}))
		for range 10 {
			call(t, h.Transport(newBase(answers(500))), get(t))
		}
		b := newBase(answers(502), answers(200))
		assert.Equal(t, 502, call(t, h.Transport(b), get(t)).status)
		assert.Len(t, b.seen(), 1)
		assert.Equal(t, []hedge.Reason{hedge.TooManyErrors}, log.reasons())
	})
	for name, tt := range map[string]struct {
		answer script
		wait   time.Duration
	}{
		"429":                               {answers(429), time.Second},
		"429 with a wait":                   {answers(429, "Retry-After", "3"), 3 * time.Second},
		"503 with a wait":                   {answers(503, "Retry-After", "3"), 3 * time.Second},
		"503 with a wait of an hour":        {answers(503, "Retry-After", "3600"), 30 * time.Second},
		"503 without":                       {answers(503), 0},
		"502 with a wait is none":           {answers(502, "Retry-After", "3"), 0},
		"refusal of a policy below is none": {fails(refusal{3 * time.Second}), 0},
	} {
		bubble(t, "pushback: "+name, func(t *testing.T) {
			var log diary
			h := hedge.MustNew(fixed(hedge.Config{Observe: log.observe}))
			_ = call(t, h.Transport(newBase(tt.answer)), get(t))
			begun := time.Now()
			sends := func() int {
				b := newBase(slow...)
				call(t, h.Transport(b), get(t))
				return len(b.seen())
			}
			if tt.wait > 0 {
				time.Sleep(tt.wait - 10*ms - 1)
				assert.Equal(t, 1, sends(), "a delay that ends just before the wait does")
				assert.Equal(t, hedge.Pushback, log.reasons()[len(log.reasons())-1])
				time.Sleep(time.Until(begun.Add(tt.wait - 10*ms)))
			}
			assert.Equal(t, 2, sends(), "a delay that ends with the wait")
		})
	}
	bubble(t, "when the last hundred hedges came to nothing", func(t *testing.T) {
		var log diary
		h := hedge.MustNew(fixed(hedge.Config{Observe: log.observe}))
		b := newBase(after(15*ms, answers(200)), hangs)
		for range 100 {
			call(t, h.Transport(b), get(t))
		}
		assert.EqualValues(t, 100, shot(t, h).Lost)
		for range 100 {
			call(t, h.Transport(b), get(t))
		}
		assert.EqualValues(t, 105, shot(t, h).Sent, "but for one in 20, to find out")
		assert.Equal(t, slices.Repeat([]hedge.Reason{hedge.NeverWins}, 95), log.reasons())
		wins := newBase(after(15*ms, answers(200)), answers(200))
		for shot(t, h).Won == 0 {
			call(t, h.Transport(wins), get(t))
		}
		sent := shot(t, h).Sent
		call(t, h.Transport(b), get(t))
		assert.Equal(t, sent+1, shot(t, h).Sent, "one that wins opens it again")
	})
	bubble(t, "but callers who leave say nothing of that", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{}))
		for range 150 {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(15*ms, cancel)
			_, err := h.Transport(newBase(hangs)).RoundTrip(get(t).WithContext(ctx))
			require.ErrorIs(t, err, context.Canceled)
		}
		synctest.Wait()
		assert.EqualValues(t, 150, shot(t, h).Sent)
		assert.EqualValues(t, 150, shot(t, h).Lost)
		assert.Empty(t, shot(t, h).Refused)
	})
}

func TestLoadIsBoundedByALimiterBelow(t *testing.T) {
	bubble(t, "which lets no hedge into its queue", func(t *testing.T) {
		var log diary
		h := hedge.MustNew(fixed(hedge.Config{Observe: log.observe, MaxAttempts: 3}))
		var numbers tally
		b := newBase(after(25*ms, answers(200)))
		limiter := roundTrip(func(req *http.Request) (*http.Response, error) {
			numbers.add(hedge.Attempt(req.Context()))
			if hedge.Attempt(req.Context()) > 1 {
				return nil, refusal{}
			}
			return b.RoundTrip(req)
		})
		got := call(t, h.Transport(limiter), get(t))
		assert.Equal(t, reply{status: 200, took: 25 * ms, from: 1}, got)
		assert.Equal(t, []int{1, 2}, numbers.all())
		assert.Zero(t, shot(t, h).ErrorRate, "a refusal says nothing of the server")
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
