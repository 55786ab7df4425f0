package backpressure_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/backpressure"
)

func rate(cfg backpressure.RateConfig) *backpressure.Rate { return backpressure.MustNewRate(cfg) }

func TestRequirement5RateHandler(t *testing.T) {
	from := func(t *testing.T, addr string) *http.Request {
		t.Helper()
		req := visitor(t, "/")
		req.RemoteAddr = addr
		return req
	}
	bubble(t, "answers 429 beyond the limit", func(t *testing.T) {
		h := rate(backpressure.RateConfig{PerSecond: 2, Burst: 4}).Handler(ok)
		for range 4 {
			assert.Equal(t, 200, handle(h, from(t, "192.0.2.1:1")).Code)
		}
		rec := handle(h, from(t, "192.0.2.1:2"))
		assert.Equal(t, 429, rec.Code)
		assert.Equal(t, "1", rec.Header().Get("Retry-After"))
		assert.Equal(t, "no-store", rec.Header().Get("Cache-Control"))
		assert.Empty(t, rec.Header().Values("Ratelimit"), "not without being told to")
		assert.Equal(t, 200, handle(h, from(t, "192.0.2.2:1")).Code, "another client")
		time.Sleep(500*ms - 1)
		assert.Equal(t, 429, handle(h, from(t, "192.0.2.1:2")).Code)
		time.Sleep(time.Nanosecond)
		assert.Equal(t, 200, handle(h, from(t, "192.0.2.1:2")).Code)
	})
	bubble(t, "takes a network of IPv6 for one client", func(t *testing.T) {
		h := rate(backpressure.RateConfig{PerSecond: 1}).Handler(ok)
		assert.Equal(t, 200, handle(h, from(t, "[2001:db8::1]:1")).Code)
		assert.Equal(t, 429, handle(h, from(t, "[2001:db8::ffff]:1")).Code)
		assert.Equal(t, 200, handle(h, from(t, "[2001:db8:0:1::1]:1")).Code)
		assert.Equal(t, 200, handle(h, from(t, "[::ffff:192.0.2.1]:1")).Code)
		assert.Equal(t, 200, handle(h, from(t, "[::ffff:192.0.2.2]:1")).Code)
		assert.Equal(t, 200, handle(h, from(t, "@")).Code, "a socket without an address")
		assert.Equal(t, 429, handle(h, from(t, "@")).Code)
	})
	bubble(t, "says how it stands, in the fields of the draft", func(t *testing.T) {
		h := rate(backpressure.RateConfig{PerSecond: 2, Burst: 4, Fields: true, Policy: "per client"}).Handler(ok)
		fields := func() [3]string {
			header := handle(h, from(t, "192.0.2.1:1")).Header()
			return [3]string{header.Get("Ratelimit-Policy"), header.Get("Ratelimit"), header.Get("Retry-After")}
		}
		assert.Equal(t, [3]string{`"per client";q=4;w=2`, `"per client";r=3`}, fields())
		assert.Equal(t, [3]string{`"per client";q=4;w=2`, `"per client";r=2`}, fields())
		assert.Equal(t, [3]string{`"per client";q=4;w=2`, `"per client";r=1`}, fields())
		assert.Equal(t, [3]string{`"per client";q=4;w=2`, `"per client";r=0;t=1`}, fields())
		assert.Equal(t, [3]string{`"per client";q=4;w=2`, `"per client";r=0;t=1`, "1"}, fields())
		time.Sleep(time.Hour)
		assert.Equal(t, [3]string{`"per client";q=4;w=2`, `"per client";r=3`}, fields())
	})
	bubble(t, "counts in ages", func(t *testing.T) {
		h := rate(backpressure.RateConfig{PerSecond: 1e-300, Burst: 1 << 30, Fields: true}).Handler(ok)
		header := handle(h, from(t, "192.0.2.1:1")).Header()
		assert.Equal(t, `"default";q=1073741824;w=1000000000`, header.Get("Ratelimit-Policy"))
		h = rate(backpressure.RateConfig{PerSecond: 1e-300, Fields: true}).Handler(ok)
		assert.Equal(t, `"default";r=0;t=1000000000`, handle(h, from(t, "192.0.2.1:1")).Header().Get("Ratelimit"))
		assert.Equal(t, "1000000000", handle(h, from(t, "192.0.2.1:1")).Header().Get("Retry-After"))
	})
	bubble(t, "refuses in the user's words", func(t *testing.T) {
		h := rate(backpressure.RateConfig{PerSecond: 1, Refused: func(w http.ResponseWriter, _ *http.Request, err error) {
			assert.Equal(t, backpressure.OverRate, limited(t, err).Refusal)
			w.WriteHeader(402)
		}}).Handler(ok)
		handle(h, from(t, "192.0.2.1:1"))
		rec := handle(h, from(t, "192.0.2.1:1"))
		assert.Equal(t, 402, rec.Code)
		assert.Equal(t, "1", rec.Header().Get("Retry-After"))
	})
}

func TestRequirement5RateTransport(t *testing.T) {
	bubble(t, "waits for its turn", func(t *testing.T) {
		rt := rate(backpressure.RateConfig{PerSecond: 10, Burst: 1}).Transport(answers(200))
		start := time.Now()
		for n := range 5 {
			_, err := exchange(rt, get(t, "http://"+host))
			require.NoError(t, err)
			assert.Equal(t, time.Duration(n)*100*ms, time.Since(start))
		}
	})
	bubble(t, "refuses at once what would come after the deadline, and takes no turn", func(t *testing.T) {
		rt := rate(backpressure.RateConfig{PerSecond: 10, Burst: 1}).Transport(answers(200))
		_, err := exchange(rt, get(t, "http://"+host))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 99*ms)
		defer cancel()
		start := time.Now()
		for range 10 {
			_, err = exchange(rt, get(t, "http://"+host).WithContext(ctx))
			assert.Equal(t, backpressure.OverRate, limited(t, err).Refusal)
			assert.Equal(t, 100*ms, limited(t, err).After)
		}
		assert.Zero(t, time.Since(start))
		_, err = exchange(rt, get(t, "http://"+host))
		require.NoError(t, err)
		assert.Equal(t, 100*ms, time.Since(start))
	})
	bubble(t, "waits for MaxWait at most", func(t *testing.T) {
		r := rate(backpressure.RateConfig{PerSecond: 1, MaxWait: 1500 * ms})
		require.NoError(t, r.Wait(t.Context(), "k"))
		require.NoError(t, r.Wait(t.Context(), "k"))
		go func() { _ = r.Wait(t.Context(), "k") }()
		synctest.Wait()
		start := time.Now()
		assert.Equal(t, 2*time.Second, limited(t, r.Wait(t.Context(), "k")).After)
		assert.Zero(t, time.Since(start))
	})
	bubble(t, "gives its turn to others when the caller leaves", func(t *testing.T) {
		r := rate(backpressure.RateConfig{PerSecond: 1, MaxWait: 10 * time.Second})
		require.NoError(t, r.Allow(t.Context(), "k"))
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(100*ms, func() { cancel(errDown) })
		start := time.Now()
		require.ErrorIs(t, r.Wait(ctx, "k"), errDown)
		assert.Equal(t, 100*ms, time.Since(start))
		require.NoError(t, r.Run(t.Context(), "k", func(context.Context) error { return nil }))
		assert.Equal(t, time.Second, time.Since(start), "as if nobody had been there before")
	})
	bubble(t, "refuses where it must not wait", func(t *testing.T) {
		r := rate(backpressure.RateConfig{PerSecond: 1, MaxWait: backpressure.Off})
		require.NoError(t, r.Wait(t.Context(), "k"))
		_ = limited(t, r.Wait(t.Context(), "k"))
	})
	bubble(t, "slows down on 429, and comes back", func(t *testing.T) {
		r := rate(backpressure.RateConfig{PerSecond: 100, Burst: 1, MaxWait: time.Minute})
		status := 429
		rt := r.Transport(roundTrip(func(req *http.Request) (*http.Response, error) { return answers(status)(req) }))
		pace := func(d time.Duration) (n float64) {
			for end := time.Now().Add(d); time.Now().Before(end); n++ {
				_, err := exchange(rt, get(t, "http://"+host))
				require.NoError(t, err)
			}
			return n / d.Seconds()
		}
		assert.Less(t, pace(10*time.Second), 12.0)
		status = 200
		time.Sleep(10 * time.Second)
		assert.InDelta(t, 100, pace(time.Second), 2)
	})
}

// store is a Store that follows a script.
type store func(ctx context.Context, key string) (backpressure.RateState, error)

func (s store) Take(ctx context.Context, key string, _ float64, _ int) (backpressure.RateState, error) {
	return s(ctx, key)
}

func TestBadInputRateStore(t *testing.T) {
	broken := map[string]store{
		"errors": func(context.Context, string) (backpressure.RateState, error) {
			return backpressure.RateState{}, errDown
		},
		"panics":             func(context.Context, string) (backpressure.RateState, error) { panic("boom") },
		"ends its goroutine": func(context.Context, string) (backpressure.RateState, error) { runtime.Goexit(); panic("") },
		"hangs": func(ctx context.Context, _ string) (backpressure.RateState, error) {
			<-ctx.Done()
			return backpressure.RateState{}, ctx.Err()
		},
		"hangs and does not listen": func(context.Context, string) (backpressure.RateState, error) {
			time.Sleep(time.Minute)
			return backpressure.RateState{Allowed: true}, nil
		},
	}
	for name, s := range broken {
		for how, want := range map[backpressure.StoreFailure]int{
			backpressure.FailLocal: 5, backpressure.FailOpen: 20, backpressure.FailClosed: 0,
		} {
			bubble(t, name+", "+how.String(), func(t *testing.T) {
				var events diary
				r := rate(backpressure.RateConfig{
					PerSecond: 0.001, Burst: 20, Store: s, OnFailure: how, Instances: 4, Observe: events.observe, Fields: true,
				})
				allowed := 0
				for range 20 {
					start := time.Now()
					if r.Allow(t.Context(), "k") == nil {
						allowed++
					}
					assert.LessOrEqual(t, time.Since(start), backpressure.DefaultRateStoreTimeout)
				}
				assert.Equal(t, want, allowed)
				assert.Len(t, events.of(backpressure.StoreFailed), 20)
				header := handle(r.Handler(ok), visitor(t, "/")).Header()
				assert.NotEmpty(t, header.Get("Ratelimit-Policy"))
				assert.Equal(t, how == backpressure.FailLocal, header.Get("Ratelimit") != "", "nobody knows what is left: %v", header)
				time.Sleep(2 * time.Minute)
			})
		}
	}
	bubble(t, "that is stuck holds a thousand goroutines at most", func(t *testing.T) {
		var calls atomic.Int64
		free := make(chan struct{})
		r := rate(backpressure.RateConfig{PerSecond: 1, OnFailure: backpressure.FailOpen, Store: store(
			func(context.Context, string) (backpressure.RateState, error) {
				calls.Add(1)
				<-free
				return backpressure.RateState{}, nil
			})})
		var all sync.WaitGroup
		for range 5000 {
			all.Go(func() { assert.NoError(t, r.Allow(t.Context(), "k")) })
		}
		all.Wait()
		assert.Equal(t, int64(1000), calls.Load())
		close(free)
		synctest.Wait()
		require.Error(t, r.Allow(t.Context(), "k"), "and is asked again when it is back")
	})
	bubble(t, "decides", func(t *testing.T) {
		count := map[string]int{}
		r := rate(backpressure.RateConfig{PerSecond: 3, MaxWait: time.Second, Store: store(
			func(_ context.Context, key string) (backpressure.RateState, error) {
				count[key]++
				return backpressure.RateState{Allowed: count[key]%3 == 0, Remaining: 7, After: 100 * ms}, nil
			})})
		require.Error(t, r.Allow(t.Context(), "a"))
		start := time.Now()
		require.NoError(t, r.Wait(t.Context(), "a"))
		assert.Equal(t, 100*ms, time.Since(start), "it was asked again when it said so")
	})
	bubble(t, "that answers nonsense", func(t *testing.T) {
		asked := 0
		r := rate(backpressure.RateConfig{PerSecond: 10, Fields: true, Store: store(
			func(context.Context, string) (backpressure.RateState, error) {
				asked++
				return backpressure.RateState{Remaining: -5, After: -time.Hour}, nil
			})})
		rec := handle(r.Handler(ok), visitor(t, "/"))
		assert.Equal(t, `"default";r=0;t=1`, rec.Header().Get("Ratelimit"))
		assert.Equal(t, "1", rec.Header().Get("Retry-After"))
		_ = limited(t, r.Wait(t.Context(), "k"))
		assert.Less(t, asked, 20, "it is not asked all the time")
	})
	bubble(t, "is asked though the caller has left, as its call is counted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := rate(backpressure.RateConfig{PerSecond: 3, Store: store(func(ctx context.Context, _ string) (backpressure.RateState, error) {
			return backpressure.RateState{Allowed: true}, ctx.Err()
		})})
		assert.NoError(t, r.Allow(ctx, "a"))
	})
}

func TestRateOfAMillionKeys(t *testing.T) {
	if testing.Short() {
		t.Skip("a million calls")
	}
	r := rate(backpressure.RateConfig{PerSecond: 1e-6, Burst: 2, MaxKeys: 100})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	refusals := 0
	for n := range manyKeys {
		if err := r.Allow(t.Context(), strconv.Itoa(n)); errors.Is(err, backpressure.ErrLimited) {
			refusals++
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	assert.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(4<<20))
	assert.Greater(t, refusals, manyKeys-200, "past MaxKeys, keys share one limit: no key is free of any")
	runtime.KeepAlive(r)
}
