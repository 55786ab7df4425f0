package backpressure_test

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/backpressure"
	"github.com/failsoft/failsoft/internal/outcome"
)

// What the package has been asked for, point by point, where no other test says it.

func TestRequirement1GatesInOrder(t *testing.T) {
	overloaded := func() backpressure.Config {
		return backpressure.Config{CPULoad: func() float64 { return 100 }, MaxWait: backpressure.Off}
	}
	bubble(t, "the processor refuses though there are places", func(t *testing.T) {
		l := backpressure.MustNew(overloaded())
		heat(l)
		refusal := refused(t, l, backpressure.Request{Class: backpressure.Sheddable})
		assert.Equal(t, backpressure.CPU, refusal.Refusal)
		assert.Positive(t, refusal.RetryAfter())
		assert.Equal(t, 503, handle(l.Handler(ok), visitor(t, "/")).Code)
		assert.Equal(t, 200, handle(l.Handler(ok), visitor(t, "/healthz")).Code, "health goes by all gates")
		s := l.Snapshot()
		assert.InDelta(t, 100, s.CPULoad, 1)
		assert.Positive(t, s.Keys[0].Counts.Shed)
	})
	bubble(t, "the limit works without the processor's gate", func(t *testing.T) {
		cfg := overloaded()
		cfg.CPUThreshold, cfg.Limit = backpressure.Off, backpressure.Fixed(1)
		l := backpressure.MustNew(cfg)
		heat(l)
		admitted(t, l, backpressure.Request{})
		assert.Equal(t, backpressure.AtLimit, refused(t, l, backpressure.Request{}).Refusal)
		assert.Zero(t, l.Snapshot().CPULoad)
	})
	bubble(t, "the processor's gate works with a limit that nobody meets", func(t *testing.T) {
		cfg := overloaded()
		cfg.Limit = backpressure.Fixed(1_000_000)
		l := backpressure.MustNew(cfg)
		heat(l)
		assert.Equal(t, backpressure.CPU, refused(t, l, backpressure.Request{Class: backpressure.Background}).Refusal)
	})
	bubble(t, "a load that is no number does no harm", func(t *testing.T) {
		for _, load := range []float64{nan(), inf(), -1, -inf()} {
			cfg := overloaded()
			cfg.CPULoad = func() float64 { return load }
			l := backpressure.MustNew(cfg)
			heat(l)
			admitted(t, l, backpressure.Request{Class: backpressure.Background})
		}
	})
	bubble(t, "the least important go first", func(t *testing.T) {
		cfg := overloaded()
		cfg.CPULoad = func() float64 { return 2.2 }
		cfg.Limit = backpressure.Fixed(1_000_000)
		l := backpressure.MustNew(cfg)
		var gone [4]time.Duration // when the first of a class was refused
		start := time.Now()
		for range 2000 {
			time.Sleep(ms)
			for class := range backpressure.Class(4) {
				p, err := l.TryAcquire(t.Context(), backpressure.Request{Class: class})
				if err != nil && gone[class] == 0 {
					gone[class] = time.Since(start)
				}
				p.Done(backpressure.Ignore)
			}
		}
		assert.Less(t, gone[backpressure.Background], gone[backpressure.Sheddable])
		assert.Less(t, gone[backpressure.Sheddable], gone[backpressure.Default])
		assert.Less(t, gone[backpressure.Default], gone[backpressure.Critical])
		assert.Positive(t, gone[backpressure.Background])
	})
	bubble(t, "tenants go one by one, and the same ones in all processes", func(t *testing.T) {
		cfg := overloaded()
		load := 0.0
		cfg.CPULoad, cfg.Limit = func() float64 { return load }, backpressure.Fixed(1_000_000)
		processes := []*backpressure.Limiter{backpressure.MustNew(cfg)}
		time.Sleep(10 * time.Minute)
		processes = append(processes, backpressure.MustNew(cfg))
		// press lets a part of the requests be shed, the same in all processes.
		press := func() {
			for n := range 600 {
				load = 2.2 * float64(n/300)
				time.Sleep(ms)
				for _, l := range processes {
					p, _ := l.TryAcquire(t.Context(), backpressure.Request{})
					p.Done(backpressure.Ignore)
				}
			}
		}
		press()
		fates := func() (out map[int]bool) {
			out = make(map[int]bool)
			for n := range 400 {
				var passed []bool
				for range 3 {
					for _, l := range processes {
						_, err := l.TryAcquire(t.Context(), backpressure.Request{Tenant: strconv.Itoa(n)})
						passed = append(passed, err == nil)
					}
				}
				for _, fate := range passed {
					require.Equal(t, passed[0], fate, "tenant %d", n)
				}
				out[n] = passed[0]
			}
			return out
		}
		first, out := fates(), 0
		for _, passed := range first {
			if !passed {
				out++
			}
		}
		assert.Greater(t, out, 20)
		assert.Less(t, out, 380)
		time.Sleep(time.Hour)
		press()
		assert.NotEqual(t, first, fates(), "each has its turn")
	})
}

func nan() float64 { return inf() - inf() }

func inf() float64 {
	big := 1e308
	return big * 10
}

func TestRequirement1StartsAtTheProcessorsThereAre(t *testing.T) {
	was := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(was)
	l := backpressure.MustNew(backpressure.Config{CPUThreshold: backpressure.Off})
	for procs, want := range map[int]int{1: 4, 2: 8, 4: 16, 8: 32, 16: 32} {
		runtime.GOMAXPROCS(procs)
		assert.Equal(t, want, l.Free(backpressure.Request{Key: strconv.Itoa(procs)}), "GOMAXPROCS %d", procs)
	}
	low := backpressure.MustNew(backpressure.Config{CPUThreshold: backpressure.Off, MaxLimit: 3})
	assert.Equal(t, 3, low.Free(backpressure.Request{Key: "x"}))
	high := backpressure.MustNew(backpressure.Config{CPUThreshold: backpressure.Off, MinLimit: 5000})
	assert.Equal(t, 5000, high.Free(backpressure.Request{Key: "x"}))
}

func TestRequirement1LimitStaysWhileNobodyMeetsIt(t *testing.T) {
	bubble(t, "in virtual time", func(t *testing.T) {
		l := backpressure.MustNew(backpressure.Config{CPUThreshold: backpressure.Off, StartLimit: 20})
		for n := range 5000 {
			p := admitted(t, l, backpressure.Request{})
			time.Sleep(time.Duration(1+n/500) * ms) // ever slower
			p.Done(backpressure.Success)
		}
		assert.Equal(t, 20, shot(t, l, "").Limit)
	})
}

func TestRequirement1QueueIsBoundedByTime(t *testing.T) {
	bubble(t, "in virtual time", func(t *testing.T) {
		cfg := fixed(10) // 10 places of 10 ms: one each millisecond
		cfg.MaxWait = 20 * ms
		l := backpressure.MustNew(cfg)
		var mu sync.Mutex
		var longest time.Duration
		served, atOnce, late := 0, 0, 0
		var all sync.WaitGroup
		for n := range 8000 { // four times as many as there is room for
			all.Go(func() {
				time.Sleep(time.Duration(n) * ms / 4)
				start := time.Now()
				p, err := l.Acquire(t.Context(), backpressure.Request{})
				waited := time.Since(start)
				mu.Lock()
				longest = max(longest, waited)
				switch {
				case err == nil:
					served++
				case waited == 0:
					atOnce++
				default:
					late++
				}
				mu.Unlock()
				time.Sleep(10 * ms)
				p.Done(backpressure.Success)
			})
		}
		all.Wait()
		assert.LessOrEqual(t, longest, 20*ms)
		assert.InDelta(t, 2000, served, 100, "all that there is room for")
		assert.Greater(t, atOnce, 5*late, "who is refused hears so at once")
		t.Logf("%d served, %d refused at once, %d late", served, atOnce, late)
		atRest(t, l)
	})
}

// Doors other than these are in handler_test.go and transport_test.go.
func TestRequirement2RefusalsAreTypedAndClosed(t *testing.T) {
	l, _ := full(t, impatient(1), 1)
	err := l.Run(t.Context(), "", func(context.Context) error { return nil })
	refusal := limited(t, err)
	assert.True(t, refusal.Unsent())
	assert.True(t, refusal.Refused())
	assert.Equal(t, outcome.Refused, outcome.OfError(t.Context(), err))
	assert.EqualError(t, &backpressure.LimitedError{Key: "k", Refusal: backpressure.AtLimit, After: 1500 * time.Microsecond},
		`backpressure: "k": at limit, try again in 2ms`)
	assert.EqualError(t, &backpressure.LimitedError{Refusal: backpressure.Memory}, "backpressure: memory")
}

func TestRequirement3LevelRisesBeforeAnybodyIsRefused(t *testing.T) {
	bubble(t, "by the wait", func(t *testing.T) {
		var events diary
		cfg := fixed(10)
		cfg.MaxWait, cfg.Observe = 40*ms, events.observe
		l := backpressure.MustNew(cfg)
		var all sync.WaitGroup
		for n := range 1530 { // for one second and a half, two more in a hundred than there is room for
			all.Go(func() {
				time.Sleep(time.Duration(n) * 980 * time.Microsecond)
				p, _ := l.Acquire(t.Context(), backpressure.Request{})
				time.Sleep(10 * ms)
				p.Done(backpressure.Success)
			})
		}
		all.Wait()
		assert.NotEmpty(t, events.of(backpressure.LevelChanged))
		assert.Len(t, events.of(backpressure.Refused), 0) //nolint:testifylint // Empty would print all of them
		highest := 0.0
		for _, e := range events.of(backpressure.LevelChanged) {
			highest = max(highest, e.Level)
		}
		assert.Greater(t, highest, 0.2)
		was := l.Level()
		for range 100 {
			time.Sleep(100 * ms)
			admitted(t, l, backpressure.Request{}).Done(backpressure.Ignore)
		}
		assert.Less(t, l.Level(), was)
		assert.Zero(t, l.Level(), "and falls when it is over")
	})
	bubble(t, "by the processor", func(t *testing.T) {
		l := backpressure.MustNew(backpressure.Config{CPULoad: func() float64 { return 1.1 }})
		for range 50 {
			time.Sleep(20 * ms)
			admitted(t, l, backpressure.Request{Class: backpressure.Background}).Done(backpressure.Ignore)
		}
		assert.Positive(t, l.Level())
	})
	bubble(t, "as fast as is said", func(t *testing.T) {
		load := 1.1
		l := backpressure.MustNew(backpressure.Config{CPULoad: func() float64 { return load }})
		reaches := func(level float64) time.Duration {
			start := time.Now()
			for l.Level() != level {
				time.Sleep(10 * ms)
				admitted(t, l, backpressure.Request{}).Done(backpressure.Ignore)
			}
			return time.Since(start)
		}
		assert.InDelta(t, 1, reaches(1).Seconds(), 0.15)
		load = 0.9
		assert.InDelta(t, 5.5, reaches(0).Seconds(), 0.5)
	})
}

func TestRequirement7EveryChangeOfALimitHasAReason(t *testing.T) {
	bubble(t, "in virtual time", func(t *testing.T) {
		var events diary
		l := backpressure.MustNew(backpressure.Config{
			CPUThreshold: backpressure.Off, StartLimit: 10, Observe: events.observe, MaxWait: backpressure.Off,
		})
		work := func(each time.Duration) {
			var all sync.WaitGroup
			for range 60 {
				all.Go(func() {
					for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(ms) {
						if p, err := l.Acquire(t.Context(), backpressure.Request{}); err == nil {
							time.Sleep(each)
							p.Done(backpressure.Success)
						}
					}
				})
			}
			all.Wait()
		}
		work(10 * ms)
		work(40 * ms)
		changes := events.of(backpressure.LimitChanged)
		require.NotEmpty(t, changes)
		for _, e := range changes {
			assert.NotEqual(t, backpressure.Unchanged, e.Reason)
			assert.Positive(t, e.Limit)
			assert.NotContains(t, e.Reason.String(), "unknown")
			assert.Contains(t, e.LogValue().String(), e.Reason.String())
		}
		assert.Equal(t, shot(t, l, "").Limit, changes[len(changes)-1].Limit)
	})
	bubble(t, "an observer may call back in, and panic", func(t *testing.T) {
		var l *backpressure.Limiter
		cfg := impatient(1)
		cfg.Observe = func(context.Context, backpressure.Event) {
			_ = l.Snapshot()
			_, _ = l.TryAcquire(context.Background(), backpressure.Request{Class: backpressure.Class(9)})
			panic("boom")
		}
		cfg.Observe = once(cfg.Observe)
		l = backpressure.MustNew(cfg)
		admitted(t, l, backpressure.Request{})
		_ = refused(t, l, backpressure.Request{})
	})
}

// once keeps an observer from answering to itself.
func once(f func(context.Context, backpressure.Event)) func(context.Context, backpressure.Event) {
	var busy bool
	return func(ctx context.Context, e backpressure.Event) {
		if !busy {
			busy = true
			f(ctx, e)
		}
	}
}

func TestRequirement7SnapshotOfAll(t *testing.T) {
	cfg := impatient(2)
	cfg.HeapThreshold = 0.9
	l := backpressure.MustNew(cfg)
	admitted(t, l, backpressure.Request{Key: "a"})
	admitted(t, l, backpressure.Request{Key: "a", Stream: true})
	admitted(t, l, backpressure.Request{Key: "b", Class: backpressure.Critical})
	handle(l.Handler(ok), visitor(t, "/livez"))
	s := l.Snapshot()
	assert.Len(t, s.Keys, 2, "nobody has used the limit of no key")
	assert.Equal(t, uint64(1), s.Bypassed)
	a := shot(t, l, "a")
	assert.Equal(t, 2, a.Limit)
	assert.Equal(t, 1, a.InFlight)
	assert.Equal(t, 1, a.Streams)
	assert.Equal(t, uint64(1), shot(t, l, "b").Counts.Admitted[backpressure.Critical])
	assert.NotEqual(t, backpressure.GateOff, s.HeapGate)
	admitted(t, l, backpressure.Request{}).Done(backpressure.Ignore)
	assert.Equal(t, uint64(1), shot(t, l, "").Counts.Admitted[backpressure.Default])
	assert.Len(t, l.Snapshot().Keys, 3)
}

func TestRequirement6ConsumersPullWhatThereArePlacesFor(t *testing.T) {
	bubble(t, "slower instead of shedding", func(t *testing.T) {
		l := backpressure.MustNew(fixed(4))
		const messages = 100
		queue := make(chan int, messages)
		for n := range messages {
			queue <- n
		}
		close(queue)
		var workers sync.WaitGroup
		most, taken := 0, 0
		start := time.Now()
		for n := range queue {
			p, err := l.Await(t.Context(), backpressure.Request{Class: backpressure.Background})
			require.NoError(t, err)
			taken++
			most = max(most, 4-l.Free(backpressure.Request{}))
			took := 10 * ms
			if n >= messages/2 {
				took = 100 * ms // what they call has become slower
			}
			workers.Go(func() {
				time.Sleep(took)
				p.Done(backpressure.Success)
			})
		}
		workers.Wait()
		assert.Equal(t, messages, taken)
		assert.LessOrEqual(t, most, 4)
		assert.InDelta(t, 1.4, time.Since(start).Seconds(), 0.2, "(50 × 10 ms + 50 × 100 ms) / 4")
		assert.Zero(t, shot(t, l, "").Counts.Refused)
	})
	bubble(t, "a gate that is shut is waited for", func(t *testing.T) {
		begun := time.Now()
		l := backpressure.MustNew(backpressure.Config{CPULoad: func() float64 {
			if time.Since(begun) < time.Second {
				return 100
			}
			return 0
		}})
		heat(l)
		before := shot(t, l, "").Counts.Refused
		start := time.Now()
		p, err := l.Await(t.Context(), backpressure.Request{Class: backpressure.Background})
		require.NoError(t, err)
		assert.Greater(t, time.Since(start), 400*ms, "but for a trial, who matters least waits for the end")
		assert.Less(t, time.Since(start), 2*time.Second)
		assert.Equal(t, before, shot(t, l, "").Counts.Refused, "nobody was refused")
		p.Done(backpressure.Success)
	})
	bubble(t, "until it is called off", func(t *testing.T) {
		l, _ := full(t, fixed(1), 1)
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Hour, errDown)
		defer cancel()
		start := time.Now()
		_, err := l.Await(ctx, backpressure.Request{})
		require.ErrorIs(t, err, errDown)
		assert.Equal(t, time.Hour, time.Since(start))
		assert.Zero(t, shot(t, l, "").Queued)
	})
}
