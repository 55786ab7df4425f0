package backpressure_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/backpressure"
)

// Whoever leaves gives its turn to who comes next, not only to who has not come yet.
func TestRateTurnsMoveUpWhenACallerLeaves(t *testing.T) {
	for _, leaver := range []int{0, 1, 2} {
		bubble(t, fmt.Sprintf("number %d of those who wait", leaver+1), func(t *testing.T) {
			r := rate(backpressure.RateConfig{PerSecond: 1, MaxWait: 10 * time.Second})
			require.NoError(t, r.Allow(t.Context(), "k"))
			start := time.Now()
			var all sync.WaitGroup
			waits := make([]time.Duration, 4)
			ctx, cancel := context.WithCancel(t.Context())
			for n := range waits {
				all.Go(func() {
					mine := t.Context()
					if n == leaver {
						mine = ctx
					}
					err := r.Wait(mine, "k")
					assert.Equal(t, n == leaver, err != nil, "%d: %v", n, err)
					waits[n] = time.Since(start)
				})
				synctest.Wait()
			}
			time.Sleep(100 * ms)
			cancel()
			all.Wait()
			turn := time.Second
			for n, waited := range waits {
				if n == leaver {
					assert.Equal(t, 100*ms, waited)
					continue
				}
				assert.Equal(t, turn, waited, "%d", n)
				turn += time.Second
			}
		})
	}
	bubble(t, "many of them", func(t *testing.T) {
		r := rate(backpressure.RateConfig{PerSecond: 100, Burst: 1, MaxWait: time.Minute})
		ctx, cancel := context.WithCancel(t.Context())
		require.NoError(t, r.Allow(t.Context(), "k"))
		for range 1000 {
			go func() { assert.ErrorIs(t, r.Wait(ctx, "k"), context.Canceled) }()
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		start := time.Now()
		require.NoError(t, r.Wait(t.Context(), "k"))
		assert.Equal(t, 10*ms, time.Since(start))
	})
}

// Who is refused takes nothing from who is not, and who has left takes nothing at all.
func TestRateRefusalsTakeNothing(t *testing.T) {
	bubble(t, "of callers that have left before", func(t *testing.T) {
		r := rate(backpressure.RateConfig{PerSecond: 1e-9, Burst: 1})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 10 {
			require.ErrorIs(t, r.Wait(ctx, "k"), context.Canceled)
			time.Sleep(ms)
		}
		require.NoError(t, r.Wait(t.Context(), "k"))
	})
	bubble(t, "of a deadline that is over when the turn comes", func(t *testing.T) {
		r := rate(backpressure.RateConfig{PerSecond: 1})
		require.NoError(t, r.Allow(t.Context(), "k"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_ = limited(t, r.Wait(ctx, "k"))
		assert.Zero(t, time.Since(start), "it was known that it would not be in time")
		require.NoError(t, r.Wait(t.Context(), "k"))
		assert.Equal(t, time.Second, time.Since(start))
	})
	t.Run("at the same time", func(t *testing.T) {
		r := rate(backpressure.RateConfig{PerSecond: 1000, Burst: 10, MaxWait: ms})
		var all sync.WaitGroup
		var mu sync.Mutex
		done := 0
		begun := time.Now()
		const some = 60 // in 300 ms, 300 are allowed: but a busy machine may come late for most of them
		goesOn := func() bool {
			mu.Lock()
			defer mu.Unlock()
			return time.Since(begun) < 300*ms || done <= some && time.Since(begun) < 30*time.Second
		}
		for range 8 {
			all.Go(func() {
				for goesOn() {
					if r.Wait(t.Context(), "k") == nil {
						mu.Lock()
						done++
						mu.Unlock()
					}
				}
			})
		}
		all.Wait()
		took := time.Since(begun).Seconds()
		assert.LessOrEqual(t, float64(done), 11+1000*took, "never more than the limit")
		assert.Greater(t, done, some, "and not nothing, however much is refused")
	})
}

// Time must not go back: calls that come late with an early time would get tokens twice.
func TestRateIsKeptByThoseWhoseStoreWasSlow(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		var asked atomic.Int64
		r := rate(backpressure.RateConfig{
			PerSecond: 100, Burst: 50, StoreTimeout: time.Second,
			Store: store(func(context.Context, string) (backpressure.RateState, error) {
				if asked.Add(1)%2 == 0 {
					time.Sleep(900 * ms)
				}
				return backpressure.RateState{}, errDown
			}),
		})
		var all sync.WaitGroup
		var mu sync.Mutex
		allowed := 0
		start := time.Now()
		for time.Since(start) < 10*time.Second {
			all.Go(func() {
				if r.Allow(t.Context(), "k") == nil {
					mu.Lock()
					allowed++
					mu.Unlock()
				}
			})
			time.Sleep(8 * ms)
		}
		all.Wait()
		assert.LessOrEqual(t, float64(allowed), 50+100*time.Since(start).Seconds())
	})
}

// A key whose server has said 429, and which is not used any more, gives way.
func TestRateForgetsHostsThatSaid429(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		r := rate(backpressure.RateConfig{PerSecond: 10, Burst: 1, MaxKeys: 2, MaxWait: backpressure.Off})
		rt := r.Transport(answers(429))
		for _, host := range []string{"a", "b"} {
			_, err := exchange(rt, get(t, "http://"+host))
			require.NoError(t, err)
		}
		time.Sleep(time.Hour)
		for n := range 10 {
			require.NoError(t, r.Allow(t.Context(), "new "+strconv.Itoa(n)), "a key of its own")
			time.Sleep(time.Second)
		}
		require.NoError(t, r.Allow(t.Context(), "x"))
		require.NoError(t, r.Allow(t.Context(), "y"))
		require.Error(t, r.Allow(t.Context(), "x"), "those in use do not")
		require.Error(t, r.Allow(t.Context(), "y"))
	})
}

func TestRateSlowsDownOncePerRound(t *testing.T) {
	// rounds sends n requests at once, all of which are answered with 429, and returns
	// how many of the next n that come evenly within a second would go.
	after := func(t *testing.T, cfg backpressure.RateConfig, n int) (went int) {
		t.Helper()
		r := rate(cfg)
		rt := r.Transport(roundTrip(func(req *http.Request) (*http.Response, error) {
			time.Sleep(50 * ms)
			return answers(429)(req)
		}))
		var all sync.WaitGroup
		for range n {
			all.Go(func() { _, _ = exchange(rt, get(t, "http://"+host)) })
		}
		all.Wait()
		for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(ms) {
			ctx, cancel := context.WithTimeout(t.Context(), 1)
			if r.Wait(ctx, host) == nil {
				went++
			}
			cancel()
		}
		return went
	}
	bubble(t, "and not once for each of those under way", func(t *testing.T) {
		assert.InDelta(t, 50, after(t, backpressure.RateConfig{PerSecond: 100, MaxWait: ms}, 100), 6)
	})
	bubble(t, "and at once, whatever the burst was", func(t *testing.T) {
		assert.InDelta(t, 50, after(t, backpressure.RateConfig{PerSecond: 100, Burst: 100_000, MaxWait: ms}, 1), 6)
	})
	bubble(t, "with a Store, too", func(t *testing.T) {
		var asked atomic.Int64
		went := after(t, backpressure.RateConfig{
			PerSecond: 200, Instances: 2, MaxWait: ms, Store: store(
				func(context.Context, string) (backpressure.RateState, error) {
					asked.Add(1)
					return backpressure.RateState{Allowed: true, Remaining: 100}, nil
				}),
		}, 100)
		assert.InDelta(t, 50, went, 6)
		assert.Equal(t, int64(100+went), asked.Load(), "what does not go is not counted")
	})
	bubble(t, "those who wait do not wait for longer than MaxWait", func(t *testing.T) {
		r := rate(backpressure.RateConfig{PerSecond: 10, Burst: 1, MaxWait: time.Second})
		rt := r.Transport(roundTrip(func(req *http.Request) (*http.Response, error) {
			time.Sleep(ms)
			return answers(429)(req)
		}))
		start, req := time.Now(), get(t, "http://"+host)
		for range 10 {
			go func() {
				if _, err := exchange(rt, req); err != nil {
					assert.ErrorIs(t, err, backpressure.ErrLimited)
				}
				assert.LessOrEqual(t, time.Since(start), 1002*ms)
			}()
		}
		time.Sleep(time.Minute)
	})
	bubble(t, "and comes back while one waits", func(t *testing.T) {
		r := rate(backpressure.RateConfig{PerSecond: 0.1, MaxWait: time.Hour})
		_, err := exchange(r.Transport(answers(429)), get(t, "http://"+host))
		require.NoError(t, err)
		start := time.Now()
		require.NoError(t, r.Wait(t.Context(), host))
		assert.InDelta(t, 11.25, time.Since(start).Seconds(), 0.3, "half of a token in 5 s, and the rest at full pace")
	})
}

func TestRateGuardsWhatItAsks(t *testing.T) {
	bubble(t, "a Key that panics", func(t *testing.T) {
		var events diary
		r := rate(backpressure.RateConfig{
			Key: func(*http.Request) string { panic("key") }, PerSecond: 1, MaxWait: backpressure.Off, Observe: events.observe,
		})
		require.NotPanics(t, func() {
			assert.Equal(t, 200, handle(r.Handler(ok), visitor(t, "/")).Code)
			assert.Equal(t, 429, handle(r.Handler(ok), visitor(t, "/")).Code, "the address counts")
			other := visitor(t, "/")
			other.RemoteAddr = "198.51.100.7:1"
			assert.Equal(t, 200, handle(r.Handler(ok), other).Code)
			rt := r.Transport(answers(200))
			_, err := exchange(rt, get(t, "http://"+host))
			require.NoError(t, err)
			_, err = exchange(rt, get(t, "http://"+host))
			assert.Equal(t, host, limited(t, err).Key, "the host counts")
			_, err = exchange(rt, get(t, "http://elsewhere"))
			require.NoError(t, err)
		})
		require.Len(t, events.of(backpressure.Panicked), 6)
		assert.ErrorContains(t, events.of(backpressure.Panicked)[0].Err, "key")
	})
}

func TestRateConfigsThatHeadersCannotTell(t *testing.T) {
	_, err := backpressure.NewRate(backpressure.RateConfig{PerSecond: 1, Burst: math.MaxInt})
	require.ErrorContains(t, err, "RateConfig.Burst")
	_, err = backpressure.NewRate(backpressure.RateConfig{PerSecond: 1, MaxKeys: math.MaxInt})
	require.ErrorContains(t, err, "RateConfig.MaxKeys")
	_, err = backpressure.NewThrottle(backpressure.ThrottleConfig{MaxKeys: math.MaxInt})
	require.ErrorContains(t, err, "ThrottleConfig.MaxKeys")
}

// fieldItem reads a list of one item that is a string with parameters that are
// integers, by the grammar of RFC 9651.
func fieldItem(t *testing.T, text string) (name string, params map[string]int64) {
	t.Helper()
	require.True(t, strings.HasPrefix(text, `"`), text)
	end := strings.IndexByte(text[1:], '"')
	require.GreaterOrEqual(t, end, 0, text)
	name, text = text[1:1+end], text[end+2:]
	for _, c := range []byte(name) {
		require.True(t, c >= 0x20 && c < 0x7f && c != '\\', "%q", name)
	}
	params = map[string]int64{}
	for text != "" {
		require.Equal(t, byte(';'), text[0], text)
		key, rest, ok := strings.Cut(text[1:], "=")
		require.True(t, ok, text)
		digits := 0
		for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
			digits++
		}
		require.True(t, digits >= 1 && digits <= 15, "an Integer has up to 15 digits: %q", rest)
		params[key], _ = strconv.ParseInt(rest[:digits], 10, 64)
		text = rest[digits:]
	}
	return name, params
}

func TestRequirement5FieldsAreThoseOfTheDraft(t *testing.T) {
	for _, cfg := range []backpressure.RateConfig{
		{PerSecond: 1},
		{PerSecond: 3, Burst: 100},
		{PerSecond: 100, Burst: 1},
		{PerSecond: 0.3, Burst: 7, Policy: " ~ "},
		{PerSecond: 1e9, Burst: 1 << 30},
		{PerSecond: 1e-300, Burst: 1 << 30},
		{PerSecond: 5e-324},
	} {
		bubble(t, fmt.Sprint(cfg.PerSecond, " ", cfg.Burst), func(t *testing.T) {
			cfg.Fields = true
			h := rate(cfg).Handler(ok)
			for range 10 {
				rec := handle(h, visitor(t, "/"))
				require.Len(t, rec.Header().Values("Ratelimit-Policy"), 1)
				require.Len(t, rec.Header().Values("Ratelimit"), 1)
				policy, is := fieldItem(t, rec.Header().Get("Ratelimit-Policy"))
				limit, now := fieldItem(t, rec.Header().Get("Ratelimit"))
				assert.Equal(t, policy, limit)
				assert.Positive(t, is["w"], "a window is not zero")
				assert.LessOrEqual(t, now["r"], is["q"])
				if perSecond := float64(is["q"]) / float64(is["w"]); cfg.PerSecond > 1e-6 {
					assert.LessOrEqual(t, perSecond, max(cfg.PerSecond, float64(cfg.Burst))+1e-9)
					assert.Greater(t, perSecond, cfg.PerSecond/2, "%v", is)
				}
				if after := rec.Header().Get("Retry-After"); after != "" {
					seconds, err := strconv.ParseInt(after, 10, 64)
					require.NoError(t, err)
					assert.GreaterOrEqual(t, seconds, now["t"], "not before the window ends")
					assert.Zero(t, now["r"])
				}
			}
		})
	}
	bubble(t, "of two limits, both", func(t *testing.T) {
		inner := rate(backpressure.RateConfig{PerSecond: 1, Fields: true, Policy: "user"})
		outer := rate(backpressure.RateConfig{PerSecond: 10, Fields: true, Policy: "address"})
		header := handle(outer.Handler(inner.Handler(ok)), visitor(t, "/")).Header()
		assert.Equal(t, []string{`"address";r=9`, `"user";r=0;t=1`}, header.Values("Ratelimit"))
		assert.Len(t, header.Values("Ratelimit-Policy"), 2)
	})
	bubble(t, "of a store that refuses, and says there is more", func(t *testing.T) {
		r := rate(backpressure.RateConfig{PerSecond: 10, Fields: true, Store: store(
			func(context.Context, string) (backpressure.RateState, error) {
				return backpressure.RateState{Remaining: math.MaxInt, After: 8 * time.Hour}, nil
			})})
		header := handle(r.Handler(ok), visitor(t, "/")).Header()
		assert.Equal(t, `"default";r=0;t=28800`, header.Get("Ratelimit"), "a quota of a day is no nonsense")
		assert.Equal(t, "28800", header.Get("Retry-After"))
	})
	bubble(t, "of a store that says anything", func(t *testing.T) {
		for _, state := range []backpressure.RateState{
			{Remaining: math.MaxInt, After: math.MaxInt64},
			{Remaining: math.MinInt, After: math.MinInt64},
			{Allowed: true, Remaining: math.MaxInt, After: math.MaxInt64},
			{Allowed: true, Remaining: -1, After: -1},
		} {
			r := rate(backpressure.RateConfig{PerSecond: 10, Fields: true, Store: store(
				func(context.Context, string) (backpressure.RateState, error) { return state, nil })})
			header := handle(r.Handler(ok), visitor(t, "/")).Header()
			_, params := fieldItem(t, header.Get("Ratelimit"))
			assert.LessOrEqual(t, params["r"], int64(math.MaxInt32))
		}
	})
}

func TestRateStoreOfACallerThatHasLeft(t *testing.T) {
	bubble(t, "is not asked for who waits", func(t *testing.T) {
		asked := 0
		r := rate(backpressure.RateConfig{PerSecond: 1, MaxWait: time.Hour, Store: store(
			func(context.Context, string) (backpressure.RateState, error) {
				asked++
				return backpressure.RateState{Allowed: true}, nil
			})})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, r.Wait(ctx, "k"), context.Canceled)
		assert.Zero(t, asked)
	})
	bubble(t, "holds nobody until its deadline in vain", func(t *testing.T) {
		r := rate(backpressure.RateConfig{PerSecond: 1, MaxWait: time.Hour, Store: store(
			func(context.Context, string) (backpressure.RateState, error) {
				return backpressure.RateState{After: time.Second}, nil
			})})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_ = limited(t, r.Wait(ctx, "k"))
		assert.Zero(t, time.Since(start))
	})
}

// FuzzRate compares a Rate with a model: tokens that come evenly and are taken in the
// order of asking. It counts in thousandths of a token.
func FuzzRate(f *testing.F) {
	f.Add([]byte{4, 3, 0, 1, 9, 0, 0, 0, 200, 1, 1, 0, 1})
	f.Add([]byte{250, 1, 1, 1, 1, 255, 0, 3, 3, 3, 128, 0, 0})
	f.Add([]byte{0, 0, 2, 2, 2, 6, 2, 14, 2, 250, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) < 2 || len(script) > 200 {
			t.Skip()
		}
		synctest.Test(t, func(t *testing.T) { compareRate(t, script) })
	})
}

func compareRate(t *testing.T, script []byte) {
	t.Helper()
	perSecond, burst := int64(script[0])+1, int64(script[1])%16+1
	r := rate(backpressure.RateConfig{PerSecond: float64(perSecond), Burst: int(burst), MaxWait: time.Second})
	// In units of which a token is a billion, and perSecond come each nanosecond.
	const token = int64(time.Second)
	left, last := burst*token, time.Now()
	var all sync.WaitGroup
	for _, op := range script[2:] {
		now := time.Now()
		left, last = min(left+int64(now.Sub(last))*perSecond, burst*token), now
		switch op % 4 {
		case 0:
			want := left >= token
			err := r.Allow(t.Context(), "k")
			if near := left - token; near > -2*perSecond && near < 0 {
				want = err == nil // a nanosecond is what it is rounded to
			}
			require.Equal(t, want, err == nil, "tokens left: %v", float64(left)/float64(token))
			if want {
				left -= token
			}
		case 1:
			wait := time.Duration(max(token-left, 0) / perSecond)
			if wait <= time.Second {
				left -= token
				all.Go(func() {
					assert.NoError(t, r.Wait(t.Context(), "k"))
					assert.InDelta(t, wait, time.Since(now), 50)
				})
			} else {
				_ = limited(t, r.Wait(t.Context(), "k"))
			}
			synctest.Wait()
		case 2: // who leaves changes nothing
			ctx, cancel := context.WithCancel(t.Context())
			if left < token {
				all.Go(func() { assert.Error(t, r.Wait(ctx, "k")) })
				synctest.Wait()
			}
			cancel()
			synctest.Wait()
		case 3:
			time.Sleep(time.Duration(op) * time.Duration(op) * 10 * time.Microsecond)
		}
	}
	all.Wait()
}
