package backpressure_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/backpressure"
	"github.com/failsoft/failsoft/internal/attempt"
)

// tally counts what becomes of the calls of each tenant.
type tally struct {
	mu              sync.Mutex
	offered, served map[string]int
}

func newTally() *tally { return &tally{offered: map[string]int{}, served: map[string]int{}} }

func (y *tally) count(of map[string]int, r backpressure.Request) {
	y.mu.Lock()
	defer y.mu.Unlock()
	of[r.Tenant]++
}

// call makes a call of 10 ms that is let in or not.
func (y *tally) call(ctx context.Context, l *backpressure.Limiter, r backpressure.Request) {
	y.count(y.offered, r)
	p, err := l.Acquire(ctx, r)
	if err != nil {
		return
	}
	y.count(y.served, r)
	time.Sleep(10 * ms)
	p.Done(backpressure.Success)
}

// offer makes calls at a rate, for a while, whether or not those before have ended.
func (y *tally) offer(
	ctx context.Context, all *sync.WaitGroup, l *backpressure.Limiter, r backpressure.Request, every, while time.Duration,
) {
	all.Go(func() {
		for end := time.Now().Add(while); time.Now().Before(end); time.Sleep(every) {
			all.Go(func() { y.call(ctx, l, r) })
		}
	})
}

// part is how much of what a tenant has asked for it got.
func (y *tally) part(tenant string) float64 {
	return float64(y.served[tenant]) / float64(y.offered[tenant])
}

func TestRequirement1NoisyTenantLeavesTheQuietOnesTheirShare(t *testing.T) {
	for _, newest := range []bool{false, true} {
		for name, limit := range map[string]backpressure.Limit{"fixed": backpressure.Fixed(10), "adaptive": backpressure.Adaptive()} {
			bubble(t, name+", newest first: "+strconv.FormatBool(newest), func(t *testing.T) {
				cfg := backpressure.Config{
					Limit: limit, CPUThreshold: backpressure.Off, NewestFirst: newest, MaxWait: 20 * ms,
				}
				if limit == backpressure.Adaptive() {
					cfg.StartLimit, cfg.MaxLimit = 10, 12
				}
				l, y := backpressure.MustNew(cfg), newTally()
				var all sync.WaitGroup
				y.offer(t.Context(), &all, l, backpressure.Request{Tenant: "noisy"}, 250*time.Microsecond, 20*time.Second)
				quiet := []string{"a", "b", "c", "d", "e"} // at a hundredth of that each, in a limit of 1000/s
				for n, tenant := range quiet {
					time.Sleep(time.Duration(n) * ms)
					y.offer(t.Context(), &all, l, backpressure.Request{Tenant: tenant}, 25*ms, 20*time.Second)
				}
				all.Wait()
				for _, tenant := range quiet {
					assert.GreaterOrEqual(t, y.part(tenant), 0.95, "%s: %d of %d", tenant, y.served[tenant], y.offered[tenant])
				}
				assert.Greater(t, y.served["noisy"], 14_000, "which gets what is left, of 16,000")
				atRest(t, l)
			})
		}
	}
}

func TestRequirement1BusyTenantsAreServedAlike(t *testing.T) {
	for _, rates := range [][2]time.Duration{
		{900 * time.Microsecond, 900 * time.Microsecond},
		{900 * time.Microsecond, 300 * time.Microsecond},
		{900 * time.Microsecond, 50 * time.Microsecond},
	} {
		bubble(t, rates[1].String(), func(t *testing.T) {
			l, y := backpressure.MustNew(fixed(10)), newTally()
			var all sync.WaitGroup
			for n, every := range rates {
				y.offer(t.Context(), &all, l, backpressure.Request{Tenant: strconv.Itoa(n)}, every, 5*time.Second)
			}
			all.Wait()
			assert.InDelta(t, y.served["0"], y.served["1"], 50, "of about 2500 each")
			assert.Greater(t, y.served["0"], 2300)
		})
	}
}

// To have no tenant is no way past those who have one: neither by the limit, of which
// most tenants have no part in the last places, nor in the queue.
func TestRequirement1CallsWithoutATenantDoNotBeatTenants(t *testing.T) {
	t.Run("in the limit", func(t *testing.T) {
		l := backpressure.MustNew(impatient(100))
		admitted(t, l, backpressure.Request{Tenant: "somebody"}).Done(backpressure.Ignore)
		for l.Snapshot().Keys[0].InFlight < 95 {
			if _, err := l.TryAcquire(t.Context(), backpressure.Request{}); err != nil {
				continue // the next one is lucky
			}
		}
		in := map[bool]int{}
		for n := range 4000 {
			r := backpressure.Request{}
			if n%2 == 0 {
				r.Tenant = strconv.Itoa(n)
			}
			if p, err := l.TryAcquire(t.Context(), r); err == nil {
				in[r.Tenant == ""]++
				p.Done(backpressure.Ignore)
			}
		}
		assert.InDelta(t, 1000, in[false], 120)
		assert.InDelta(t, 1000, in[true], 120)
	})
	t.Run("where there are no tenants", func(t *testing.T) {
		l := backpressure.MustNew(impatient(100))
		for range 100 {
			admitted(t, l, backpressure.Request{})
		}
	})
	bubble(t, "in the queue", func(t *testing.T) {
		l, y := backpressure.MustNew(fixed(10)), newTally()
		var all sync.WaitGroup
		y.offer(t.Context(), &all, l, backpressure.Request{}, 250*time.Microsecond, 10*time.Second)
		y.offer(t.Context(), &all, l, backpressure.Request{Tenant: "quiet"}, 5*ms, 10*time.Second)
		all.Wait()
		assert.GreaterOrEqual(t, y.part("quiet"), 0.95)
	})
}

// busyUsers keep a queue of the default class that never ends.
func busyUsers(ctx context.Context, all *sync.WaitGroup, l *backpressure.Limiter, n int) {
	for range n {
		all.Go(func() {
			for ctx.Err() == nil {
				if p, err := l.Acquire(ctx, backpressure.Request{}); err == nil {
					time.Sleep(10 * ms)
					p.Done(backpressure.Success)
				} else {
					time.Sleep(ms)
				}
			}
		})
	}
}

func TestRequirement1BackgroundIsNotStarvedByAQueueOfOthers(t *testing.T) {
	const minute = time.Minute
	for name, ask := range map[string]func(*backpressure.Limiter, context.Context, backpressure.Request) (backpressure.Permit, error){
		"who asks again and again": (*backpressure.Limiter).Acquire,
		"a consumer":               (*backpressure.Limiter).Await,
	} {
		bubble(t, name, func(t *testing.T) {
			l := backpressure.MustNew(fixed(10))
			ctx, cancel := context.WithTimeout(t.Context(), minute)
			defer cancel()
			var all sync.WaitGroup
			busyUsers(ctx, &all, l, 40)
			done := 0
			all.Go(func() {
				for time.Sleep(100 * ms); ctx.Err() == nil; time.Sleep(10 * ms) {
					p, err := ask(l, ctx, backpressure.Request{Class: backpressure.Background})
					if err == nil {
						done++
						time.Sleep(10 * ms)
						p.Done(backpressure.Success)
					}
				}
			})
			all.Wait()
			assert.InDelta(t, 58, done, 3, "one a second")
			counts := shot(t, l, "").Counts
			assert.Greater(t, counts.Admitted[backpressure.Default], uint64(55_000))
		})
	}
}

// Batches and advertisements are there to be refused. That they are tells nothing of
// what users wait for.
func TestRequirement3RefusalsOfTheLeastImportantLeaveTheLevelAlone(t *testing.T) {
	for class, moves := range map[backpressure.Class]bool{
		backpressure.Background: false, backpressure.Sheddable: false,
		backpressure.Default: true, backpressure.Critical: true,
	} {
		bubble(t, class.String(), func(t *testing.T) {
			places := 9
			if moves {
				places = 10
			}
			l, _ := full(t, impatient(10), places)
			for range 90 { // for less than a second, after which a Background call gets the place
				time.Sleep(10 * ms)
				_, err := l.TryAcquire(t.Context(), backpressure.Request{Class: class})
				require.ErrorIs(t, err, backpressure.ErrLimited)
			}
			assert.Equal(t, moves, l.Level() > 0)
		})
	}
}

func TestRequirement3LevelOfALimiterThatNobodyAsksFalls(t *testing.T) {
	bubble(t, "in virtual time", func(t *testing.T) {
		l, permits := full(t, impatient(1), 1)
		for range 20 {
			time.Sleep(100 * ms)
			_ = refused(t, l, backpressure.Request{})
		}
		require.InDelta(t, 1, l.Level(), 1e-9)
		time.Sleep(3500 * ms)
		assert.InDelta(t, 0.5, l.Level(), 1e-9)
		assert.InDelta(t, 0.5, l.Snapshot().Level, 1e-9)
		time.Sleep(time.Hour)
		assert.Zero(t, l.Level())
		_ = refused(t, l, backpressure.Request{})
		assert.InDelta(t, 0.1, l.Level(), 1e-9, "what was an hour ago does not count")
		permits[0].Done(backpressure.Ignore)
	})
}

func TestRequirement6AwaitIsDemotedOnce(t *testing.T) {
	bubble(t, "however often it comes to a gate that is shut", func(t *testing.T) {
		begun := time.Now()
		l := backpressure.MustNew(backpressure.Config{DemoteRetries: true, CPULoad: func() float64 {
			if time.Since(begun) < time.Second {
				return 100
			}
			return 0
		}})
		heat(l)
		before := shot(t, l, "").Counts.Admitted[backpressure.Default]
		ctx := attempt.WithRetry(t.Context(), 2, nil)
		p, err := l.Await(ctx, backpressure.Request{Class: backpressure.Critical})
		require.NoError(t, err)
		p.Done(backpressure.Success)
		assert.Equal(t, before+1, shot(t, l, "").Counts.Admitted[backpressure.Default])
	})
}

func TestRequirement7LimitsThatKeysShareHaveOneName(t *testing.T) {
	bubble(t, "in virtual time", func(t *testing.T) {
		var events diary
		cfg := fixed(1)
		cfg.MaxKeys, cfg.Observe = 1, events.observe
		l := backpressure.MustNew(cfg)
		admitted(t, l, backpressure.Request{Key: "a"})
		admitted(t, l, backpressure.Request{Key: "b"})
		_, err := l.TryAcquire(t.Context(), backpressure.Request{Key: "b"})
		assert.Equal(t, "b", limited(t, err).Key, "the error names what was asked for")
		late := refused(t, l, backpressure.Request{Key: "c"})
		assert.Equal(t, backpressure.WaitedTooLong, late.Refusal)
		assert.Equal(t, "c", late.Key, "also after a wait")
		const shared = "(overflow)"
		assert.Equal(t, 1, shot(t, l, shared).InFlight)
		refusals := events.of(backpressure.Refused)
		require.Len(t, refusals, 2)
		for _, e := range refusals {
			assert.Equal(t, shared, e.Key, "an event names the limit, as the Snapshot does: there are so many, and no more")
		}
	})
}

func TestRequirement6FreeGoesByWhoAsks(t *testing.T) {
	of := func(c backpressure.Class) backpressure.Request { return backpressure.Request{Class: c} }
	// counted is how many are let in, which is what Free has promised.
	counted := func(l *backpressure.Limiter, r backpressure.Request) (n int) {
		for {
			if _, err := l.TryAcquire(context.Background(), r); err != nil {
				return n
			}
			n++
		}
	}
	for class, places := range map[backpressure.Class]int{
		backpressure.Critical: 25, backpressure.Default: 25, backpressure.Sheddable: 23, backpressure.Background: 20,
	} {
		l := backpressure.MustNew(impatient(25))
		assert.Equal(t, places, l.Free(of(class)), "%v", class)
		admitted(t, l, of(class))
		assert.Equal(t, places-1, l.Free(of(class)), "%v", class)
		assert.Equal(t, places-1, counted(l, of(class)), "%v", class)
		assert.Zero(t, l.Free(of(class)), "%v", class)
	}
	t.Run("found limit", func(t *testing.T) {
		l := backpressure.MustNew(backpressure.Config{CPUThreshold: backpressure.Off, StartLimit: 20, MaxWait: backpressure.Off})
		assert.Equal(t, 22, l.Free(of(backpressure.Critical)))
		assert.Equal(t, 22, counted(l, of(backpressure.Critical)))
	})
	t.Run("tenants", func(t *testing.T) {
		for n := range 50 {
			l := backpressure.MustNew(impatient(100))
			r := backpressure.Request{Tenant: strconv.Itoa(n)}
			free := l.Free(r)
			assert.Equal(t, free, counted(l, r))
			assert.GreaterOrEqual(t, free, 90)
		}
		l := backpressure.MustNew(impatient(100))
		admitted(t, l, backpressure.Request{Tenant: "somebody"}).Done(backpressure.Ignore)
		free := l.Free(backpressure.Request{})
		assert.Equal(t, 91, free, "what is certain")
		assert.GreaterOrEqual(t, counted(l, backpressure.Request{}), free)
	})
	t.Run("streams", func(t *testing.T) {
		cfg := impatient(1)
		cfg.MaxStreams = 3
		l := backpressure.MustNew(cfg)
		admitted(t, l, backpressure.Request{Stream: true})
		assert.Equal(t, 2, l.Free(backpressure.Request{Stream: true}))
		cfg.MaxStreams = backpressure.Off
		assert.Greater(t, backpressure.MustNew(cfg).Free(backpressure.Request{Stream: true}), 1_000_000)
	})
	bubble(t, "less those who wait ahead", func(t *testing.T) {
		l, permits := full(t, fixed(10), 10)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _, _ = l.Await(ctx, of(backpressure.Background)) })
		time.Sleep(ms)
		permits[0].Done(backpressure.Ignore)
		assert.Equal(t, 1, l.Free(of(backpressure.Default)), "who waits matters less")
		assert.Zero(t, l.Free(of(backpressure.Background)))
		time.Sleep(time.Second)
		assert.Zero(t, l.Free(of(backpressure.Background)), "the one a second is for who waits")
		cancel()
		all.Wait()
		assert.Equal(t, 1, l.Free(of(backpressure.Background)), "one a second")
	})
}

// A handler may wait for the body of the request and for the client to take the answer
// at the same time.
func TestPitfallTheSameWaitExcusedTwice(t *testing.T) {
	bubble(t, "in virtual time", func(t *testing.T) {
		l := backpressure.MustNew(impatient(1))
		req := visitor(t, "/")
		req.Body = io.NopCloser(lateBody{10 * time.Second})
		l.Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			var both sync.WaitGroup
			both.Go(func() { _, _ = io.ReadAll(req.Body) })
			_, _ = w.Write(make([]byte, 4096))
			both.Wait()
		})).ServeHTTP(slowWriter{httptest.NewRecorder(), 10 * time.Second}, req)
		assert.GreaterOrEqual(t, shot(t, l, "").Latency, time.Duration(0))
		atRest(t, l)
	})
}

// lateBody is one that ends after a while.
type lateBody struct{ after time.Duration }

func (b lateBody) Read([]byte) (int, error) {
	time.Sleep(b.after)
	return 0, io.EOF
}
