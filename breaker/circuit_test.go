package breaker_test

import (
	"context"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/breaker"
)

// fleet is many circuits in the same state: what is drawn by chance is judged
// by all of them.
type fleet struct {
	*breaker.Breaker

	keys []string
}

func newFleet(change func(*breaker.Rules)) fleet {
	f := fleet{Breaker: breaker.MustNew(breaker.Config{
		MaxOpenFraction: breaker.Off,
		Rules: only(func(r *breaker.Rules) {
			r.Probes = 1
			if change != nil {
				change(r)
			}
		}),
	})}
	for i := range 300 {
		f.keys = append(f.keys, "host-"+strconv.Itoa(i))
	}
	return f
}

func (f fleet) trip(t *testing.T) {
	t.Helper()
	for _, k := range f.keys {
		require.NoError(t, f.Trip(k))
	}
}

// probe ends one probe of each circuit.
func (f fleet) probe(t *testing.T, o breaker.Outcome) {
	t.Helper()
	time.Sleep(time.Minute) // more than any open time
	for _, k := range f.keys {
		call, err := f.Allow(t.Context(), k)
		require.NoError(t, err)
		call.DoneAs(o)
	}
}

// requireOpenTimes checks that open times are drawn evenly from 0 to bound. By
// chance one in 10^13 runs fails.
func (f fleet) requireOpenTimes(t *testing.T, bound time.Duration) {
	t.Helper()
	shortest, longest, sum := bound, time.Duration(0), time.Duration(0)
	for _, c := range f.Snapshot().Circuits {
		require.Equal(t, breaker.Open, c.State)
		require.Positive(t, c.RetryAfter)
		shortest, longest, sum = min(shortest, c.RetryAfter), max(longest, c.RetryAfter), sum+c.RetryAfter
	}
	require.LessOrEqual(t, longest, bound)
	require.Greater(t, longest, bound*9/10)
	require.Less(t, shortest, bound/10)
	require.InDelta(t, bound.Seconds()/2, sum.Seconds()/float64(len(f.keys)), bound.Seconds()/8)
}

func TestOpenTimeDoublesWithFullJitter(t *testing.T) {
	bubble(t, "up to its maximum", func(t *testing.T) {
		f := newFleet(nil)
		f.trip(t)
		for _, bound := range []int{1, 2, 4, 8, 16, 30, 30, 30} {
			f.requireOpenTimes(t, time.Duration(bound)*time.Second)
			f.probe(t, breaker.Failure)
		}
	})
	bubble(t, "and does not overflow", func(t *testing.T) {
		f := newFleet(func(r *breaker.Rules) { r.OpenTime, r.MaxOpenTime = time.Second, 40*time.Second })
		f.keys = f.keys[:1]
		f.trip(t)
		for range 200 {
			f.probe(t, breaker.Failure)
			require.LessOrEqual(t, f.Snapshot().Circuits[0].RetryAfter, 40*time.Second)
			require.Positive(t, f.Snapshot().Circuits[0].RetryAfter)
		}
	})
}

func TestOpenTimeShrinksWithHealthOnly(t *testing.T) {
	const heal = 10 * time.Minute
	for name, tt := range map[string]struct {
		closed time.Duration
		want   time.Duration
	}{
		"not at once":           {0, 8 * time.Second},
		"not before the time":   {heal - 1, 8 * time.Second},
		"by half after it":      {heal, 4 * time.Second},
		"by half again":         {2 * heal, 2 * time.Second},
		"to the first at last":  {3 * heal, time.Second},
		"and no further, never": {100 * heal, time.Second},
	} {
		bubble(t, name, func(t *testing.T) {
			f := newFleet(func(r *breaker.Rules) { r.HealAfter = heal })
			f.trip(t)
			f.probe(t, breaker.Failure)
			f.probe(t, breaker.Failure)
			f.probe(t, breaker.Success)
			time.Sleep(tt.closed)
			f.trip(t)
			f.requireOpenTimes(t, tt.want)
		})
	}
}

func TestHalfOpenVerdictByRatio(t *testing.T) {
	// Of five, three must be good.
	for results, want := range map[string]breaker.State{
		"":      breaker.HalfOpen,
		"gg":    breaker.HalfOpen,
		"bb":    breaker.HalfOpen,
		"ggbb":  breaker.HalfOpen,
		"iiiii": breaker.HalfOpen,
		"ggg":   breaker.Closed,
		"bgbgg": breaker.Closed,
		"bbb":   breaker.Open,
		"gbgbb": breaker.Open,
		"sss":   breaker.Open, // slow ones are not good
		"ooo":   breaker.Open, // nor is 429
	} {
		bubble(t, "of "+results, func(t *testing.T) {
			b := circuitOf(func(r *breaker.Rules) { r.Probes, r.ProbeRate = 5, 0.6 })
			halfOpen(t, b)
			for _, result := range results {
				allowed(t, b).DoneAs(map[rune]breaker.Outcome{
					'g': breaker.Success, 'b': breaker.Failure, 'i': breaker.Ignored,
					's': breaker.Slow, 'o': breaker.Overload,
				}[result])
			}
			assert.Equal(t, want, b.State(key))
		})
	}
	bubble(t, "of probes of which some hang", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.Probes, r.ProbeRate, r.ProbeTimeout = 5, 0.6, time.Second })
		halfOpen(t, b)
		for range 3 {
			allowed(t, b)
		}
		time.Sleep(time.Second)
		assert.Equal(t, breaker.Open, b.State(key))
		assert.Equal(t, breaker.CauseProbes, shot(t, b, key).Cause)
	})
}

// offer asks n times, ends at once what passes, and returns how many did.
func offer(t *testing.T, b *breaker.Breaker, n int, o breaker.Outcome) (passed int) {
	t.Helper()
	for range n {
		call, err := b.Allow(t.Context(), key)
		if err != nil {
			require.ErrorIs(t, err, breaker.ErrOpen)
			continue
		}
		passed++
		call.DoneAs(o)
	}
	return passed
}

func ramping(t *testing.T, change func(*breaker.Rules)) *breaker.Breaker {
	t.Helper()
	b := circuitOf(func(r *breaker.Rules) {
		r.Probes, r.Ramp = 1, 10*time.Second
		if change != nil {
			change(r)
		}
	})
	halfOpen(t, b)
	results(t, b, 1, breaker.Success)
	require.Equal(t, breaker.Ramping, b.State(key))
	return b
}

func TestHalfOpenIsFollowedByARamp(t *testing.T) {
	bubble(t, "from a tenth of the calls to all", func(t *testing.T) {
		b := ramping(t, nil)
		for _, want := range []float64{100, 190, 280, 370, 460, 550, 640, 730, 820, 910} {
			assert.InDelta(t, want, offer(t, b, 1000, breaker.Success), 1)
			time.Sleep(time.Second - 1)
			require.Equal(t, breaker.Ramping, b.State(key))
			time.Sleep(time.Nanosecond)
		}
		require.Equal(t, breaker.Closed, b.State(key), "after exactly its time")
		assert.Equal(t, 1000, offer(t, b, 1000, breaker.Success))
	})
	bubble(t, "off", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.Probes = 1 })
		halfOpen(t, b)
		results(t, b, 1, breaker.Success)
		assert.Equal(t, breaker.Closed, b.State(key))
	})
	for name, tt := range map[string]struct {
		change func(*breaker.Rules)
		result breaker.Outcome
		passed int
		cause  breaker.Cause
	}{
		"consecutive failures": {
			func(r *breaker.Rules) { r.Consecutive = 10 }, breaker.Failure, 3, breaker.CauseConsecutive,
		},
		"a failure rate": {
			func(r *breaker.Rules) { r.FailureRate = 0.5 }, breaker.Failure, 5, breaker.CauseFailureRate,
		},
		"overload": {
			func(r *breaker.Rules) { r.OverloadRate = 0.5 }, breaker.Overload, 5, breaker.CauseOverload,
		},
		"slow calls": {
			func(r *breaker.Rules) { r.SlowAfter = time.Second }, breaker.Slow, 5, breaker.CauseSlowRate,
		},
	} {
		bubble(t, "that falls back by "+name+", with a quarter of the minimum", func(t *testing.T) {
			b := ramping(t, tt.change)
			assert.Equal(t, tt.passed, offer(t, b, 1000, tt.result))
			got := shot(t, b, key)
			assert.Equal(t, breaker.Open, got.State)
			assert.Equal(t, tt.cause, got.Cause)
		})
	}
	bubble(t, "that falls back by stalled calls", func(t *testing.T) {
		b := ramping(t, func(r *breaker.Rules) { r.StalledAfter, r.StalledMin = 2*time.Second, 10 })
		for range 35 {
			_, _ = b.Allow(t.Context(), key)
		}
		require.Equal(t, 3, shot(t, b, key).InFlight)
		time.Sleep(2*time.Second - 1)
		require.Equal(t, breaker.Ramping, b.State(key))
		time.Sleep(time.Nanosecond)
		assert.Equal(t, breaker.Open, b.State(key))
	})
	bubble(t, "that is no health: the open time grows on", func(t *testing.T) {
		f := newFleet(func(r *breaker.Rules) { r.Ramp, r.HealAfter = time.Hour, time.Minute })
		f.trip(t)
		f.probe(t, breaker.Success)
		time.Sleep(time.Hour - 1)
		f.trip(t)
		f.requireOpenTimes(t, 2*time.Second)
	})
	bubble(t, "which begins with an empty window", func(t *testing.T) {
		b := ramping(t, func(r *breaker.Rules) { r.FailureRate = 0.5 })
		assert.Zero(t, shot(t, b, key).Window)
	})
}

// probed returns a half-open circuit with an active probe.
func probed(t *testing.T, change func(*breaker.Rules), probe func(context.Context, string) error) *breaker.Breaker {
	t.Helper()
	b := breaker.MustNew(breaker.Config{Probe: probe, Rules: only(func(r *breaker.Rules) {
		r.Probes, r.ProbeTimeout = 1, 5*time.Second
		if change != nil {
			change(r)
		}
	})})
	halfOpen(t, b)
	return b
}

func TestHalfOpenActiveProbe(t *testing.T) {
	bubble(t, "takes the place of callers' requests", func(t *testing.T) {
		var asked []string
		b := probed(t, func(r *breaker.Rules) { r.Probes, r.ProbeRate = 3, 1 }, func(_ context.Context, k string) error {
			asked = append(asked, k)
			return nil
		})
		synctest.Wait()
		require.Empty(t, asked, "nobody has called")
		for range 3 {
			require.Equal(t, breaker.HalfOpen, b.State(key))
			_ = refused(t, b)
			synctest.Wait()
		}
		assert.Equal(t, breaker.Closed, b.State(key))
		assert.Equal(t, []string{key, key, key}, asked)
		allowed(t, b).Done(nil)
	})
	bubble(t, "is made one at a time, by the first of many", func(t *testing.T) {
		var running, most, total atomic.Int64
		b := probed(t, nil, func(context.Context, string) error {
			total.Add(1)
			most.Store(max(most.Load(), running.Add(1)))
			time.Sleep(time.Second)
			running.Add(-1)
			return nil
		})
		for range 100 {
			go func() { _, _ = b.Allow(context.Background(), key) }()
		}
		synctest.Wait()
		assert.EqualValues(t, 100, shot(t, b, key).Counts.Rejected)
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, breaker.Closed, b.State(key))
		assert.EqualValues(t, 1, most.Load())
		assert.EqualValues(t, 1, total.Load())
	})
	for name, fails := range map[string]func() error{
		"that fails":              func() error { return errDown },
		"that panics":             func() error { panic("probe") },
		"that ends its goroutine": func() error { runtime.Goexit(); return nil },
	} {
		bubble(t, name+" opens again", func(t *testing.T) {
			well := false
			b := probed(t, nil, func(context.Context, string) error {
				if well {
					return nil
				}
				return fails()
			})
			_ = refused(t, b)
			synctest.Wait()
			require.Equal(t, breaker.Open, b.State(key))
			require.Equal(t, breaker.CauseProbes, shot(t, b, key).Cause)
			well = true
			sitOut(t, b)
			_ = refused(t, b)
			synctest.Wait()
			assert.Equal(t, breaker.Closed, b.State(key))
		})
	}
	bubble(t, "that hangs ends after ProbeTimeout", func(t *testing.T) {
		b := probed(t, nil, func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		})
		assert.Equal(t, 5*time.Second, refused(t, b).After)
		time.Sleep(5*time.Second - 1)
		require.Equal(t, breaker.HalfOpen, b.State(key))
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		assert.Equal(t, breaker.Open, b.State(key))
		assert.Zero(t, shot(t, b, key).InFlight)
	})
	// A Probe that heeds no context is given up, and another asked.
	bubble(t, "that is deaf cannot wedge the circuit", func(t *testing.T) {
		var calls atomic.Int64
		deaf := make(chan struct{})
		b := probed(t, nil, func(context.Context, string) error {
			if calls.Add(1) == 1 {
				<-deaf
			}
			return nil
		})
		for range 600 {
			_ = b.Run(t.Context(), key, func(context.Context) error { return nil })
			time.Sleep(100 * time.Millisecond)
		}
		assert.Equal(t, breaker.Closed, b.State(key), "the service has been well for a minute")
		close(deaf)
	})
}

func TestTripRulesCanBeSwappedLive(t *testing.T) {
	bubble(t, "without losing the window", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.FailureRate = 0.5 })
		results(t, b, 15, breaker.Failure)
		results(t, b, 3, breaker.Success)
		before := shot(t, b, key)
		require.NoError(t, b.Reconfigure(only(func(r *breaker.Rules) { r.FailureRate, r.FailureMin = 0.8, 19 })))
		require.Equal(t, before, shot(t, b, key))
		results(t, b, 1, breaker.Failure)
		assert.Equal(t, breaker.Open, b.State(key), "16 of 19 are over 80 %")
	})
	bubble(t, "and a rule that is met takes effect at the next failure", func(t *testing.T) {
		b := circuitOf(nil)
		results(t, b, 50, breaker.Failure)
		require.NoError(t, b.Reconfigure(only(func(r *breaker.Rules) { r.Consecutive = 20 })))
		require.Equal(t, breaker.Closed, b.State(key))
		results(t, b, 1, breaker.Failure)
		assert.Equal(t, breaker.Open, b.State(key))
	})
	bubble(t, "which ends a ramp that is switched off", func(t *testing.T) {
		b := ramping(t, nil)
		require.NoError(t, b.Reconfigure(only(nil)))
		assert.Equal(t, breaker.Closed, b.State(key))
	})
	bubble(t, "but not for rules that are wrong", func(t *testing.T) {
		b := circuitOf(func(r *breaker.Rules) { r.Consecutive = 2 })
		require.ErrorContains(t, b.Reconfigure(breaker.Rules{FailureRate: 2}), "Rules.FailureRate")
		results(t, b, 2, breaker.Failure)
		assert.Equal(t, breaker.Open, b.State(key), "by the rules from before")
	})
}
