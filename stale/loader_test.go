package stale_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale"
)

var errLoad = errors.New("the database is down")

// loaderBubble runs test in virtual time.
func loaderBubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

// source is what a Loader loads from: a number that grows with each load, as its
// present behavior has it.
type source struct {
	loads atomic.Int64

	mu   sync.Mutex
	does func(ctx context.Context, n int64) (int64, error)
}

func (s *source) load(ctx context.Context, _ string) (int64, error) {
	n := s.loads.Add(1)
	s.mu.Lock()
	does := s.does
	s.mu.Unlock()
	if does == nil {
		return n, nil
	}
	return does(ctx, n)
}

func (s *source) set(does func(ctx context.Context, n int64) (int64, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.does = does
}

func (s *source) fails(err error) {
	s.set(func(context.Context, int64) (int64, error) { return 0, err })
}

func (s *source) takes(d time.Duration) {
	s.set(func(ctx context.Context, n int64) (int64, error) { return n, nap(ctx, d) })
}

// nap waits unless ctx ends.
func nap(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type loaderConfig = stale.LoaderConfig[string, int64]

// loaderOf returns a Loader of a new source. Early refreshes are off where the test
// does not ask for them: they are by chance.
func loaderOf(t *testing.T, cfg loaderConfig) (*stale.Loader[string, int64], *source) {
	t.Helper()
	s := new(source)
	cfg.Load = s.load
	if cfg.EarlyRefresh == 0 {
		cfg.EarlyRefresh = stale.Off
	}
	l, err := stale.NewLoader(cfg)
	require.NoError(t, err)
	return l, s
}

// gets asserts what a Get returns, and how long it takes.
func gets(t *testing.T, l *stale.Loader[string, int64], want int64, in time.Duration) {
	t.Helper()
	begun := time.Now()
	got, err := l.Get(t.Context(), "k")
	require.NoError(t, err)
	assert.Equal(t, want, got)
	assert.Equal(t, in, time.Since(begun), "how long it took")
}

// getsError is gets for errors.
func getsError(t *testing.T, l *stale.Loader[string, int64], want error, in time.Duration) {
	t.Helper()
	begun := time.Now()
	got, err := l.Get(t.Context(), "k")
	require.ErrorIs(t, err, want)
	assert.Zero(t, got)
	assert.Equal(t, in, time.Since(begun), "how long it took")
}

// answer is what a Get returned.
type answer struct {
	value int64
	err   error
	panic any
	in    time.Duration
}

// getAll starts n Gets and returns what all of them returned, and panicked with.
func getAll(ctx context.Context, l *stale.Loader[string, int64], n int) []answer {
	answers := make([]answer, n)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			defer func() { answers[i].panic = recover() }()
			begun := time.Now()
			answers[i].value, answers[i].err = l.Get(ctx, "k")
			answers[i].in = time.Since(begun)
		})
	}
	all.Wait()
	return answers
}

func TestLoaderTTL(t *testing.T) {
	loaderBubble(t, "a value is fresh until the very end of its TTL", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{TTL: time.Second})
		gets(t, l, 1, 0)
		time.Sleep(time.Second - 1)
		gets(t, l, 1, 0)
		time.Sleep(time.Nanosecond)
		gets(t, l, 2, 0)
		assert.EqualValues(t, 2, s.loads.Load())
	})
	loaderBubble(t, "it counts from when the value is there", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{TTL: time.Second, StaleAfter: stale.Off})
		s.takes(3 * time.Second)
		gets(t, l, 1, 3*time.Second)
		time.Sleep(time.Second - 1)
		gets(t, l, 1, 0)
	})
	loaderBubble(t, "Off is never fresh, and good for failures", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{TTL: stale.Off})
		gets(t, l, 1, 0)
		gets(t, l, 2, 0)
		s.fails(errLoad)
		gets(t, l, 2, 0)
		assert.EqualValues(t, 3, s.loads.Load())
	})
	loaderBubble(t, "keys have values of their own", func(t *testing.T) {
		l := stale.MustNewLoader(stale.LoaderConfig[string, string]{
			Load: func(_ context.Context, key string) (string, error) { return "of " + key, nil },
		})
		for range 2 {
			for _, key := range []string{"", "a", "b"} {
				got, err := l.Get(t.Context(), key)
				require.NoError(t, err)
				assert.Equal(t, "of "+key, got)
			}
		}
		assert.EqualValues(t, 3, l.Snapshot().Loads)
	})
}

func TestPitfall13LoaderHerd(t *testing.T) {
	loaderBubble(t, "100 cold Gets are one load", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{})
		s.takes(time.Second)
		for _, a := range getAll(t.Context(), l, 100) {
			assert.Equal(t, answer{value: 1, in: time.Second}, a)
		}
		assert.EqualValues(t, 1, s.loads.Load())
	})
	loaderBubble(t, "who leaves does not cancel the load", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{})
		s.takes(time.Second)
		ctx, cancel := context.WithCancelCause(t.Context())
		errBye := errors.New("bye")
		time.AfterFunc(100*time.Millisecond, func() { cancel(errBye) })
		go getAll(t.Context(), l, 1) // a follower, most likely
		begun := time.Now()
		_, err := l.Get(ctx, "k")
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, errBye)
		assert.Equal(t, 100*time.Millisecond, time.Since(begun))
		gets(t, l, 1, 900*time.Millisecond)
		assert.EqualValues(t, 1, s.loads.Load())
	})
	loaderBubble(t, "each waits with a deadline of its own", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{})
		s.takes(time.Second)
		go getAll(t.Context(), l, 1)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err := l.Get(ctx, "k")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		gets(t, l, 1, 990*time.Millisecond)
	})
	loaderBubble(t, "a caller that has left already begins nothing", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{TTL: time.Second})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := l.Get(ctx, "k")
		require.ErrorIs(t, err, context.Canceled)
		synctest.Wait()
		assert.Zero(t, s.loads.Load())
		gets(t, l, 1, 0)
		got, err := l.Get(ctx, "k")
		require.NoError(t, err, "what is there is there")
		assert.EqualValues(t, 1, got)
	})
	loaderBubble(t, "when the leader fails one of the others tries once more", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{})
		s.set(func(ctx context.Context, n int64) (int64, error) {
			if err := nap(ctx, time.Second); err != nil || n == 1 {
				return 0, errLoad
			}
			return n, nil
		})
		failed := 0
		for _, a := range getAll(t.Context(), l, 100) {
			if a.err != nil {
				failed++
				assert.Equal(t, answer{err: errLoad, in: time.Second}, a)
				continue
			}
			assert.Equal(t, answer{value: 2, in: 2 * time.Second}, a)
		}
		assert.Equal(t, 1, failed, "only the leader gets its own error")
		assert.EqualValues(t, 2, s.loads.Load())
	})
	loaderBubble(t, "and what comes of that is for all", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{FailureTTL: stale.Off})
		s.set(func(ctx context.Context, n int64) (int64, error) {
			_ = nap(ctx, time.Second)
			return 0, fmt.Errorf("load %d: %w", n, errLoad)
		})
		firsts := 0
		for _, a := range getAll(t.Context(), l, 100) {
			require.ErrorIs(t, a.err, errLoad)
			if a.in == time.Second {
				firsts++
				continue
			}
			assert.Equal(t, 2*time.Second, a.in)
			assert.EqualError(t, a.err, "load 2: the database is down")
		}
		assert.Equal(t, 1, firsts)
		assert.EqualValues(t, 2, s.loads.Load())
	})
	loaderBubble(t, "once is once, however fast it comes to nothing", func(t *testing.T) {
		for _, err := range []error{errLoad, refusal{}} {
			l, s := loaderOf(t, loaderConfig{FailureTTL: stale.Off})
			s.set(func(ctx context.Context, n int64) (int64, error) {
				if n == 1 {
					_ = nap(ctx, time.Second)
				}
				return 0, err
			})
			for _, a := range getAll(t.Context(), l, 100) {
				require.ErrorIs(t, a.err, err)
			}
			assert.EqualValues(t, 2, s.loads.Load())
		}
	})
	loaderBubble(t, "when it fails and there is an old value that is for all", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{TTL: time.Second, StaleAfter: stale.Off})
		gets(t, l, 1, 0)
		time.Sleep(time.Minute)
		s.set(func(ctx context.Context, _ int64) (int64, error) {
			return 0, errors.Join(nap(ctx, time.Second), errLoad)
		})
		for _, a := range getAll(t.Context(), l, 100) {
			assert.Equal(t, answer{value: 1, in: time.Second}, a)
		}
		assert.EqualValues(t, 2, s.loads.Load())
	})
	loaderBubble(t, "the context has the values of the caller's, but not its end", func(t *testing.T) {
		type tag struct{}
		l, s := loaderOf(t, loaderConfig{LoadTimeout: time.Minute})
		s.set(func(ctx context.Context, n int64) (int64, error) {
			deadline, ok := ctx.Deadline()
			assert.True(t, ok)
			assert.Equal(t, time.Minute, time.Until(deadline))
			assert.Equal(t, "a trace", ctx.Value(tag{}))
			assert.False(t, stale.Background(ctx))
			return n, nil
		})
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), tag{}, "a trace"), time.Second)
		defer cancel()
		_, err := l.Get(ctx, "k")
		require.NoError(t, err)
	})
}

func TestLoaderStaleWhileRevalidate(t *testing.T) {
	loaderBubble(t, "100 old values are answered at once, with one refresh behind", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{TTL: time.Second, StaleWhileRevalidate: time.Minute})
		gets(t, l, 1, 0)
		time.Sleep(time.Second)
		s.takes(200 * time.Millisecond)
		for _, a := range getAll(t.Context(), l, 100) {
			assert.Equal(t, answer{value: 1}, a)
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		gets(t, l, 2, 0)
		assert.EqualValues(t, 2, s.loads.Load())
		assert.EqualValues(t, 100, l.Snapshot().Stale[stale.Revalidating.String()])
		assert.EqualValues(t, 1, l.Snapshot().Refreshes)
	})
	loaderBubble(t, "until the very end of the window", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{
			TTL: time.Second, StaleWhileRevalidate: time.Minute, StaleIfError: stale.Off,
		})
		gets(t, l, 1, 0)
		s.takes(time.Hour)
		time.Sleep(time.Second + time.Minute - 1)
		gets(t, l, 1, 0)
		synctest.Wait()
		l.PurgeAll(t.Context(), stale.Hard) // its refresh, too
		s.set(nil)
		gets(t, l, 3, 0)
		s.takes(time.Millisecond)
		time.Sleep(time.Second + time.Minute)
		gets(t, l, 4, time.Millisecond)
		require.NoError(t, l.Close(t.Context()))
	})
}

func TestPitfall14LoaderRefresh(t *testing.T) {
	old := func(t *testing.T, cfg loaderConfig) (*stale.Loader[string, int64], *source) {
		cfg.TTL, cfg.StaleWhileRevalidate = time.Second, 10*time.Hour
		l, s := loaderOf(t, cfg)
		gets(t, l, 1, 0)
		time.Sleep(time.Second)
		return l, s
	}
	loaderBubble(t, "it is marked and has a deadline of its own", func(t *testing.T) {
		type tag struct{}
		l, s := old(t, loaderConfig{LoadTimeout: time.Minute})
		s.set(func(ctx context.Context, n int64) (int64, error) {
			assert.True(t, stale.Background(ctx))
			assert.Equal(t, "a trace", ctx.Value(tag{}))
			return n, nap(ctx, 2*time.Second)
		})
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), tag{}, "a trace"))
		got, err := l.Get(ctx, "k")
		cancel()
		require.NoError(t, err)
		assert.EqualValues(t, 1, got)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		gets(t, l, 2, 0)
	})
	loaderBubble(t, "after a failure it waits, from when that was known, 1 s and up to 30 s", func(t *testing.T) {
		l, s := old(t, loaderConfig{})
		s.set(func(ctx context.Context, _ int64) (int64, error) {
			return 0, errors.Join(nap(ctx, 5*time.Second), errLoad)
		})
		for i, pause := range []int{1, 2, 4, 8, 16, 30, 30, 30} {
			gets(t, l, 1, 0)
			time.Sleep(5 * time.Second) // it fails
			synctest.Wait()
			time.Sleep(time.Duration(pause)*time.Second - 1)
			gets(t, l, 1, 0)
			assert.EqualValues(t, 2+i, s.loads.Load(), "in the pause")
			time.Sleep(time.Nanosecond)
		}
		s.set(nil)
		gets(t, l, 1, 0)
		synctest.Wait()
		gets(t, l, 10, 0)
		time.Sleep(time.Second)
		s.fails(errLoad)
		gets(t, l, 10, 0)
		synctest.Wait()
		time.Sleep(time.Second)
		gets(t, l, 10, 0)
		synctest.Wait()
		assert.EqualValues(t, 12, s.loads.Load(), "a success has ended the row")
	})
	loaderBubble(t, "a refusal makes a pause that does not grow", func(t *testing.T) {
		l, s := old(t, loaderConfig{})
		s.fails(refusal{})
		for i := range 5 {
			gets(t, l, 1, 0)
			synctest.Wait()
			assert.EqualValues(t, 2+i, s.loads.Load())
			time.Sleep(time.Second - 1)
			gets(t, l, 1, 0)
			synctest.Wait()
			assert.EqualValues(t, 2+i, s.loads.Load(), "in the pause")
			time.Sleep(time.Nanosecond)
		}
	})
	loaderBubble(t, "its panic is an event", func(t *testing.T) {
		var panicked []stale.Event
		l, s := old(t, loaderConfig{Observe: func(_ context.Context, e stale.Event) {
			if e.Kind == stale.Panicked {
				panicked = append(panicked, e)
			}
			panic("the observer's own")
		}})
		s.set(func(context.Context, int64) (int64, error) { panic("boom") })
		gets(t, l, 1, 0)
		synctest.Wait()
		require.Len(t, panicked, 1)
		assert.Equal(t, "k", panicked[0].Key)
		var crash *stale.PanicError
		require.ErrorAs(t, panicked[0].Err, &crash)
		assert.Equal(t, "boom", crash.Value)
		assert.Contains(t, string(crash.Stack), "TestPitfall14LoaderRefresh")
	})
	loaderBubble(t, "there are only so many at a time", func(t *testing.T) {
		var loads atomic.Int64
		l := stale.MustNewLoader(stale.LoaderConfig[int, int]{
			Load: func(ctx context.Context, key int) (int, error) {
				if !stale.Background(ctx) {
					return key, nil
				}
				loads.Add(1)
				return key, nap(ctx, time.Second)
			},
			TTL: time.Second, StaleWhileRevalidate: time.Minute, MaxRefreshes: 3,
		})
		get := func() {
			for key := range 10 {
				_, err := l.Get(t.Context(), key)
				require.NoError(t, err)
			}
			synctest.Wait()
		}
		get()
		time.Sleep(time.Second)
		get()
		get()
		assert.EqualValues(t, 3, loads.Load())
		assert.Equal(t, 3, l.Snapshot().InFlight)
		time.Sleep(time.Second)
		synctest.Wait()
		get()
		assert.EqualValues(t, 6, loads.Load())
		require.NoError(t, l.Close(t.Context()))
	})
}

// refusal is an error as our own policies have them.
type refusal struct{}

func (refusal) Error() string             { return "refused" }
func (refusal) Unsent() bool              { return true }
func (refusal) RetryAfter() time.Duration { return time.Second }

func TestLoaderStaleIfError(t *testing.T) {
	for name, fail := range map[string]func(context.Context, int64) (int64, error){
		"error":   func(context.Context, int64) (int64, error) { return 7, errLoad },
		"refusal": func(context.Context, int64) (int64, error) { return 0, refusal{} },
		"timeout": func(ctx context.Context, _ int64) (int64, error) { <-ctx.Done(); return 0, ctx.Err() },
	} {
		loaderBubble(t, name, func(t *testing.T) {
			l, s := loaderOf(t, loaderConfig{
				TTL: time.Second, StaleIfError: time.Minute, StaleAfter: stale.Off, LoadTimeout: 2 * time.Second,
			})
			gets(t, l, 1, 0)
			time.Sleep(time.Second)
			s.set(fail)
			begun := time.Now()
			got, err := l.Get(t.Context(), "k")
			require.NoError(t, err)
			assert.EqualValues(t, 1, got)
			time.Sleep(time.Until(begun.Add(time.Minute - 1)))
			s.set(func(context.Context, int64) (int64, error) { return 0, errLoad })
			gets(t, l, 1, 0)
			time.Sleep(time.Nanosecond)
			_, err = l.Get(t.Context(), "k")
			require.ErrorIs(t, err, errLoad, "the window is over")
		})
	}
	loaderBubble(t, "Off never does", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{TTL: time.Second, StaleIfError: stale.Off})
		gets(t, l, 1, 0)
		time.Sleep(time.Second)
		s.fails(errLoad)
		getsError(t, l, errLoad, 0)
	})
	loaderBubble(t, "the default is an hour", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{})
		gets(t, l, 1, 0)
		s.fails(errLoad)
		time.Sleep(time.Minute + time.Hour - 1)
		gets(t, l, 1, 0)
		time.Sleep(time.Nanosecond)
		getsError(t, l, errLoad, 0)
	})
	loaderBubble(t, "an outage costs a load per pause, not one per Get", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{TTL: time.Second})
		gets(t, l, 1, 0)
		time.Sleep(time.Second)
		s.fails(errLoad)
		for range 600 {
			gets(t, l, 1, 0)
			time.Sleep(100 * time.Millisecond)
		}
		assert.LessOrEqual(t, s.loads.Load(), int64(8), "at 0, 1, 3, 7, 15, 31 s")
		assert.GreaterOrEqual(t, s.loads.Load(), int64(6))
	})
}

func TestPitfall15LoaderSlow(t *testing.T) {
	cfg := loaderConfig{TTL: time.Second, StaleAfter: 200 * time.Millisecond}
	old := func(t *testing.T, cfg loaderConfig) (*stale.Loader[string, int64], *source) {
		l, s := loaderOf(t, cfg)
		gets(t, l, 1, 0)
		time.Sleep(time.Second)
		return l, s
	}
	loaderBubble(t, "after StaleAfter the old value answers, and the load goes on", func(t *testing.T) {
		l, s := old(t, cfg)
		s.takes(500 * time.Millisecond)
		gets(t, l, 1, 200*time.Millisecond)
		time.Sleep(100 * time.Millisecond)
		gets(t, l, 1, 0) // it is late already
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		gets(t, l, 2, 0)
		assert.EqualValues(t, 2, s.loads.Load())
		assert.EqualValues(t, 2, l.Snapshot().Stale[stale.Slow.String()])
	})
	loaderBubble(t, "who comes later waits for the rest", func(t *testing.T) {
		l, s := old(t, cfg)
		s.takes(500 * time.Millisecond)
		go getAll(t.Context(), l, 1)
		time.Sleep(150 * time.Millisecond)
		gets(t, l, 1, 50*time.Millisecond)
		time.Sleep(time.Second)
	})
	loaderBubble(t, "a load that is in time answers", func(t *testing.T) {
		l, s := old(t, cfg)
		s.takes(200*time.Millisecond - 1)
		gets(t, l, 2, 200*time.Millisecond-1)
	})
	loaderBubble(t, "a load that hangs costs StaleAfter once", func(t *testing.T) {
		l, s := old(t, cfg)
		s.set(func(ctx context.Context, _ int64) (int64, error) { <-ctx.Done(); return 0, ctx.Err() })
		gets(t, l, 1, 200*time.Millisecond)
		for range 100 {
			gets(t, l, 1, 0)
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		gets(t, l, 1, 200*time.Millisecond)
		require.NoError(t, l.Close(t.Context()))
	})
	loaderBubble(t, "without an old value there is nothing to do but wait", func(t *testing.T) {
		l, s := loaderOf(t, cfg)
		s.takes(5 * time.Second)
		gets(t, l, 1, 5*time.Second)
	})
	loaderBubble(t, "Off waits", func(t *testing.T) {
		l, s := old(t, loaderConfig{TTL: time.Second, StaleAfter: stale.Off})
		s.takes(5 * time.Second)
		gets(t, l, 2, 5*time.Second)
		assert.EqualValues(t, stale.Off, l.Snapshot().StaleAfter)
	})
	loaderBubble(t, "a value that was purged is for failures only", func(t *testing.T) {
		l, s := old(t, cfg)
		l.Purge(t.Context(), "k", stale.Soft)
		s.takes(5 * time.Second)
		gets(t, l, 2, 5*time.Second)
	})
	loaderBubble(t, "also when it was purged in the meantime", func(t *testing.T) {
		l, s := old(t, cfg)
		s.takes(5 * time.Second)
		time.AfterFunc(100*time.Millisecond, func() { l.Purge(t.Context(), "k", stale.Soft) })
		gets(t, l, 2, 5*time.Second)
	})
	loaderBubble(t, "it is learned from loads that succeed", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{TTL: time.Second})
		s.takes(120 * time.Millisecond)
		for range 500 {
			_, err := l.Get(t.Context(), "k")
			require.NoError(t, err)
			time.Sleep(time.Second)
		}
		learned := l.Snapshot().StaleAfter
		assert.InDelta(t, 120*time.Millisecond, learned, float64(20*time.Millisecond))
		s.takes(10 * time.Second)
		before := s.loads.Load()
		begun := time.Now()
		got, err := l.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, before, got)
		assert.InDelta(t, learned, time.Since(begun), float64(time.Millisecond))
		require.NoError(t, l.Close(t.Context()))
	})
}

func TestLoaderStaleIfSick(t *testing.T) {
	var sick atomic.Bool
	cfg := loaderConfig{
		TTL: time.Second, StaleIfError: time.Minute, StaleIfSick: time.Hour, StaleAfter: stale.Off,
		Healthy: func() bool { return !sick.Load() },
	}
	loaderBubble(t, "while Healthy says no an old value answers at once", func(t *testing.T) {
		defer sick.Store(false)
		l, s := loaderOf(t, cfg)
		gets(t, l, 1, 0)
		s.set(func(ctx context.Context, _ int64) (int64, error) {
			return 0, errors.Join(nap(ctx, time.Second), errLoad)
		})
		time.Sleep(time.Second + time.Hour - 1)
		_, ok := l.Peek("k")
		assert.False(t, ok)
		sick.Store(true)
		_, ok = l.Peek("k")
		assert.True(t, ok, "as Get could answer with it")
		gets(t, l, 1, 0)
		time.Sleep(time.Nanosecond)
		getsError(t, l, errLoad, 2*time.Second-1) // the refresh fails, and it tries itself
		sick.Store(false)
		assert.EqualValues(t, 1, l.Snapshot().Stale[stale.Sick.String()])
	})
	loaderBubble(t, "it is refreshed behind", func(t *testing.T) {
		defer sick.Store(false)
		l, _ := loaderOf(t, cfg)
		gets(t, l, 1, 0)
		time.Sleep(time.Second)
		sick.Store(true)
		gets(t, l, 1, 0)
		synctest.Wait()
		gets(t, l, 2, 0)
	})
	loaderBubble(t, "while it says yes the windows are the others", func(t *testing.T) {
		l, s := loaderOf(t, cfg)
		gets(t, l, 1, 0)
		s.fails(errLoad)
		time.Sleep(time.Second + time.Minute)
		getsError(t, l, errLoad, 0)
	})
	loaderBubble(t, "a Healthy that panics says nothing", func(t *testing.T) {
		cfg := cfg
		cfg.Healthy = func() bool { panic("at the wrong moment") }
		l, _ := loaderOf(t, cfg)
		gets(t, l, 1, 0)
		time.Sleep(time.Second)
		gets(t, l, 2, 0)
	})
}

func TestPitfall16LoaderErrors(t *testing.T) {
	loaderBubble(t, "20 errors in a row are two loads", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{})
		s.fails(errLoad)
		for i := range 20 {
			_, err := l.Get(t.Context(), "k")
			require.ErrorIs(t, err, errLoad)
			var remembered *stale.LoadError
			assert.Equal(t, i >= 2, errors.As(err, &remembered))
			if remembered != nil {
				assert.Equal(t, 2, remembered.Failures)
				assert.InDelta(t, 2*time.Second, remembered.RetryAfter(), float64(time.Second/2))
				assert.True(t, remembered.Unsent())
				assert.Contains(t, err.Error(), "stale: 2 loads in a row failed")
			}
		}
		assert.EqualValues(t, 2, s.loads.Load())
		assert.EqualValues(t, 18, l.Snapshot().Refused)
		assert.Equal(t, 1, l.Snapshot().Failing)
		require.ErrorIs(t, func() error { _, err := l.Get(t.Context(), "k"); return err }(), stale.ErrFailing)
		assert.EqualValues(t, 2, l.Snapshot().Failures)
	})
	loaderBubble(t, "for FailureTTL, plus or minus a quarter", func(t *testing.T) {
		seen := make(map[time.Duration]bool)
		for range 50 {
			l, s := loaderOf(t, loaderConfig{FailureTTL: 4 * time.Second})
			s.fails(errLoad)
			getsError(t, l, errLoad, 0)
			getsError(t, l, errLoad, 0)
			_, err := l.Get(t.Context(), "k")
			var remembered *stale.LoadError
			require.ErrorAs(t, err, &remembered)
			require.GreaterOrEqual(t, remembered.After, 3*time.Second)
			require.Less(t, remembered.After, 5*time.Second)
			seen[remembered.After] = true
			time.Sleep(remembered.After - 1)
			getsError(t, l, errLoad, 0)
			require.EqualValues(t, 2, s.loads.Load())
			time.Sleep(time.Nanosecond)
			s.set(nil)
			gets(t, l, 3, 0)
		}
		assert.Greater(t, len(seen), 40)
	})
	loaderBubble(t, "a success between them ends the row", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{TTL: stale.Off, StaleIfError: stale.Off})
		for range 10 {
			s.fails(errLoad)
			getsError(t, l, errLoad, 0)
			s.set(nil)
			_, err := l.Get(t.Context(), "k")
			require.NoError(t, err)
		}
		assert.EqualValues(t, 20, s.loads.Load())
		assert.Zero(t, l.Snapshot().Failing)
	})
	loaderBubble(t, "Off asks every time", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{FailureTTL: stale.Off})
		s.fails(errLoad)
		for range 20 {
			getsError(t, l, errLoad, 0)
		}
		assert.EqualValues(t, 20, s.loads.Load())
	})
	loaderBubble(t, "refusals are never remembered", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{})
		s.fails(fmt.Errorf("asking: %w", refusal{}))
		for range 20 {
			getsError(t, l, refusal{}, 0)
		}
		assert.EqualValues(t, 20, s.loads.Load())
		assert.Zero(t, l.Snapshot().Entries)
	})
	loaderBubble(t, "nor is what JudgeError takes for one", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{JudgeError: func(error) stale.LoadOutcome { return stale.LoadRefused }})
		s.fails(errLoad)
		for range 20 {
			getsError(t, l, errLoad, 0)
		}
		assert.EqualValues(t, 20, s.loads.Load())
	})
	loaderBubble(t, "a refusal of the leader is not for the others", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{})
		s.set(func(ctx context.Context, n int64) (int64, error) {
			if err := nap(ctx, time.Second); err != nil || n == 1 {
				return 0, refusal{}
			}
			return n, nil
		})
		refused := 0
		for _, a := range getAll(t.Context(), l, 10) {
			if a.err != nil {
				refused++
				continue
			}
			assert.EqualValues(t, 2, a.value)
		}
		assert.Equal(t, 1, refused)
	})
	loaderBubble(t, "JudgeError that says by rule, or nonsense, leaves it to the rules", func(t *testing.T) {
		for _, says := range []stale.LoadOutcome{stale.LoadByRule, 77} {
			l, s := loaderOf(t, loaderConfig{JudgeError: func(error) stale.LoadOutcome { return says }})
			s.fails(errLoad)
			for range 3 {
				getsError(t, l, errLoad, 0)
			}
			assert.EqualValues(t, 2, s.loads.Load())
		}
	})
}

func TestLoaderGone(t *testing.T) {
	errNone := errors.New("no such row")
	cfg := loaderConfig{TTL: time.Second, StaleAfter: stale.Off, JudgeError: func(err error) stale.LoadOutcome {
		if errors.Is(err, errNone) {
			return stale.LoadGone
		}
		return stale.LoadByRule
	}}
	loaderBubble(t, "what is gone does not live on as an old value", func(t *testing.T) {
		l, s := loaderOf(t, cfg)
		gets(t, l, 1, 0)
		time.Sleep(time.Second)
		s.set(func(ctx context.Context, _ int64) (int64, error) {
			return 0, errors.Join(nap(ctx, time.Second), errNone)
		})
		for _, a := range getAll(t.Context(), l, 10) {
			require.ErrorIs(t, a.err, errNone)
			assert.Equal(t, time.Second, a.in)
		}
		assert.EqualValues(t, 2, s.loads.Load(), "it is the answer for all who wait")
		s.fails(errLoad)
		getsError(t, l, errLoad, 0)
		_, ok := l.Peek("k")
		assert.False(t, ok)
	})
	loaderBubble(t, "it is no failure, and not remembered", func(t *testing.T) {
		l, s := loaderOf(t, cfg)
		s.fails(errNone)
		for range 10 {
			getsError(t, l, errNone, 0)
		}
		assert.EqualValues(t, 10, s.loads.Load())
		assert.Zero(t, l.Snapshot().Failures)
	})
}

func TestLoaderPanics(t *testing.T) {
	crash := func(ctx context.Context, _ int64) (int64, error) {
		_ = nap(ctx, time.Second)
		panic("boom")
	}
	loaderBubble(t, "the leader's goroutine gets it unchanged, others an error", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{})
		s.set(crash)
		panics := 0
		for _, a := range getAll(t.Context(), l, 10) {
			if a.panic != nil {
				panics++
				assert.Equal(t, "boom", a.panic)
				continue
			}
			var inside *stale.PanicError
			require.ErrorAs(t, a.err, &inside)
			assert.Equal(t, "boom", inside.Value)
		}
		assert.Equal(t, 2, panics, "who began, and who tried once more")
		assert.EqualValues(t, 2, s.loads.Load())
		assert.EqualValues(t, 2, l.Snapshot().Failures)
	})
	loaderBubble(t, "others get an old value", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{TTL: time.Second, StaleAfter: stale.Off})
		gets(t, l, 1, 0)
		time.Sleep(time.Second)
		s.set(crash)
		panics := 0
		for _, a := range getAll(t.Context(), l, 10) {
			if a.panic != nil {
				panics++
				continue
			}
			assert.Equal(t, answer{value: 1, in: time.Second}, a)
		}
		assert.Equal(t, 1, panics)
	})
	loaderBubble(t, "where the leader has left it is an event", func(t *testing.T) {
		var panicked atomic.Int64
		l, s := loaderOf(t, loaderConfig{Observe: func(_ context.Context, e stale.Event) {
			if e.Kind == stale.Panicked {
				panicked.Add(1)
			}
		}})
		s.set(crash)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := l.Get(ctx, "k")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(time.Second)
		synctest.Wait()
		assert.EqualValues(t, 1, panicked.Load())
	})
	loaderBubble(t, "where it surfaces it is none", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{Observe: func(_ context.Context, e stale.Event) {
			assert.NotEqual(t, stale.Panicked, e.Kind)
		}})
		s.set(crash)
		assert.PanicsWithValue(t, "boom", func() { _, _ = l.Get(t.Context(), "k") })
		synctest.Wait()
	})
	loaderBubble(t, "Goexit is a failure and hangs nobody", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{})
		s.set(func(ctx context.Context, _ int64) (int64, error) {
			_ = nap(ctx, time.Second)
			runtime.Goexit()
			return 0, nil
		})
		ended := make(chan error, 10)
		for range cap(ended) {
			go func() {
				err := errors.New("its goroutine ended")
				defer func() { ended <- err }()
				_, err = l.Get(t.Context(), "k")
			}()
		}
		exits := 0
		for range cap(ended) {
			err := <-ended
			var inside *stale.PanicError
			if !errors.As(err, &inside) {
				exits++
				continue
			}
			assert.Nil(t, inside.Value)
		}
		assert.Equal(t, 2, exits)
		assert.EqualValues(t, 2, s.loads.Load())
	})
	loaderBubble(t, "of Cost and Storable too", func(t *testing.T) {
		for _, cfg := range []loaderConfig{
			{Cost: func(string, int64) int64 { panic("boom") }},
			{Storable: func(int64) bool { panic("boom") }},
			{JudgeError: func(error) stale.LoadOutcome { panic("boom") }},
		} {
			l, s := loaderOf(t, cfg)
			if cfg.JudgeError != nil {
				s.fails(errLoad)
			}
			assert.PanicsWithValue(t, "boom", func() { _, _ = l.Get(t.Context(), "k") })
			assert.NotPanics(t, func() { l.Purge(t.Context(), "k", stale.Hard) }, "nothing is left locked")
			if cfg.JudgeError == nil {
				assert.PanicsWithValue(t, "boom", func() { l.Put(t.Context(), "k", 1) })
				assert.NotPanics(t, func() { l.Purge(t.Context(), "k", stale.Hard) }, "nothing is left locked")
			}
			require.NoError(t, l.Close(t.Context()))
		}
	})
}

func TestLoaderTimeout(t *testing.T) {
	loaderBubble(t, "a load that heeds it has its own say", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{LoadTimeout: time.Second})
		s.set(func(ctx context.Context, _ int64) (int64, error) {
			<-ctx.Done()
			_ = nap(t.Context(), 50*time.Millisecond)
			return 0, fmt.Errorf("%w: %w", errLoad, ctx.Err())
		})
		getsError(t, l, errLoad, 1050*time.Millisecond)
	})
	loaderBubble(t, "one that does not is given up, and not loaded beside", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{TTL: 10 * time.Second, LoadTimeout: time.Second, StaleAfter: stale.Off})
		s.set(func(context.Context, int64) (int64, error) { <-time.NewTimer(time.Minute).C; return 42, nil })
		getsError(t, l, context.DeadlineExceeded, 1100*time.Millisecond)
		for range 10 {
			getsError(t, l, context.DeadlineExceeded, 0)
		}
		assert.EqualValues(t, 1, s.loads.Load())
		time.Sleep(time.Minute)
		synctest.Wait()
		gets(t, l, 42, 0)
		time.Sleep(10 * time.Second)
		gets(t, l, 42, 1100*time.Millisecond) // the old value
		for range 10 {
			gets(t, l, 42, 0)
		}
		assert.EqualValues(t, 2, s.loads.Load())
		require.NoError(t, l.Close(t.Context()))
	})
	loaderBubble(t, "a panic after that is an event", func(t *testing.T) {
		panicked := 0
		l, s := loaderOf(t, loaderConfig{LoadTimeout: time.Second, Observe: func(_ context.Context, e stale.Event) {
			if e.Kind == stale.Panicked {
				panicked++
			}
		}})
		s.set(func(context.Context, int64) (int64, error) { <-time.NewTimer(time.Minute).C; panic("boom") })
		getsError(t, l, context.DeadlineExceeded, 1100*time.Millisecond)
		require.NoError(t, l.Close(t.Context()))
		synctest.Wait()
		assert.Equal(t, 1, panicked)
	})
	loaderBubble(t, "Off is none", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{LoadTimeout: stale.Off})
		s.takes(24 * time.Hour)
		gets(t, l, 1, 24*time.Hour)
	})
}

func TestLoaderDegraded(t *testing.T) {
	degrades := func(ctx context.Context, n int64) (int64, error) {
		_ = nap(ctx, time.Second)
		stale.MarkDegraded(ctx)
		return n, nil
	}
	loaderBubble(t, "it is not stored, and for all who wait", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{})
		s.set(degrades)
		for _, a := range getAll(t.Context(), l, 10) {
			assert.Equal(t, answer{value: 1, in: time.Second}, a)
		}
		s.set(nil)
		gets(t, l, 2, 0)
	})
	loaderBubble(t, "a good older value stays, and is what others get", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{TTL: time.Second, StaleAfter: stale.Off})
		gets(t, l, 1, 0)
		time.Sleep(time.Second)
		s.set(degrades)
		whole := 0
		for _, a := range getAll(t.Context(), l, 10) {
			require.NoError(t, a.err)
			if a.value == 1 {
				whole++
			}
		}
		assert.Equal(t, 9, whole)
		s.fails(errLoad)
		gets(t, l, 1, 0)
	})
	loaderBubble(t, "the mark reaches the answers of all who got it", func(t *testing.T) {
		inner, s := loaderOf(t, loaderConfig{})
		s.set(degrades)
		outer := stale.MustNewLoader(stale.LoaderConfig[int, int64]{
			Load: func(ctx context.Context, _ int) (int64, error) { return inner.Get(ctx, "k") },
		})
		var all sync.WaitGroup
		for key := range 5 {
			all.Go(func() { _, _ = outer.Get(t.Context(), key) })
		}
		all.Wait()
		for key := range 5 {
			_, ok := outer.Peek(key)
			assert.False(t, ok)
		}
		assert.EqualValues(t, 1, s.loads.Load())
	})
	loaderBubble(t, "a refresh that is degraded pauses the next", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{TTL: time.Second, StaleWhileRevalidate: time.Minute})
		gets(t, l, 1, 0)
		time.Sleep(time.Second)
		s.set(func(ctx context.Context, n int64) (int64, error) { stale.MarkDegraded(ctx); return n, nil })
		for range 100 {
			gets(t, l, 1, 0)
			synctest.Wait()
		}
		assert.EqualValues(t, 2, s.loads.Load())
	})
}

func TestPitfall24LoaderPurge(t *testing.T) {
	purges := map[string]func(*testing.T, *stale.Loader[string, int64]){
		"hard":     func(t *testing.T, l *stale.Loader[string, int64]) { l.Purge(t.Context(), "k", stale.Hard) },
		"soft":     func(t *testing.T, l *stale.Loader[string, int64]) { l.Purge(t.Context(), "k", stale.Soft) },
		"all":      func(t *testing.T, l *stale.Loader[string, int64]) { l.PurgeAll(t.Context(), stale.Hard) },
		"all soft": func(t *testing.T, l *stale.Loader[string, int64]) { l.PurgeAll(t.Context(), stale.Soft) },
	}
	for name, purge := range purges {
		soft := name == "soft" || name == "all soft"
		loaderBubble(t, name+": the next Get loads", func(t *testing.T) {
			l, _ := loaderOf(t, loaderConfig{StaleWhileRevalidate: time.Hour})
			gets(t, l, 1, 0)
			purge(t, l)
			gets(t, l, 2, 0)
		})
		loaderBubble(t, name+": the old value", func(t *testing.T) {
			l, s := loaderOf(t, loaderConfig{})
			gets(t, l, 1, 0)
			purge(t, l)
			s.fails(errLoad)
			if soft {
				time.Sleep(time.Hour - 1)
				gets(t, l, 1, 0)
				time.Sleep(time.Nanosecond)
			}
			getsError(t, l, errLoad, 0)
		})
		loaderBubble(t, name+": a load in flight cannot undo it", func(t *testing.T) {
			l, s := loaderOf(t, loaderConfig{})
			s.takes(2 * time.Second)
			time.AfterFunc(time.Second, func() { purge(t, l) })
			gets(t, l, 1, 2*time.Second) // it came before the purge
			_, ok := l.Peek("k")
			assert.False(t, ok)
			gets(t, l, 2, 2*time.Second)
		})
		loaderBubble(t, name+": who comes after it does not wait for what began before", func(t *testing.T) {
			l, s := loaderOf(t, loaderConfig{})
			s.takes(2 * time.Second)
			go getAll(t.Context(), l, 5)
			time.Sleep(time.Second)
			purge(t, l)
			gets(t, l, 2, 2*time.Second)
			gets(t, l, 2, 0)
			assert.EqualValues(t, 2, s.loads.Load())
		})
		loaderBubble(t, name+": a failure in flight says nothing of what comes after", func(t *testing.T) {
			l, s := loaderOf(t, loaderConfig{TTL: time.Second, StaleAfter: time.Millisecond})
			gets(t, l, 1, 0)
			time.Sleep(time.Second)
			s.set(func(ctx context.Context, _ int64) (int64, error) {
				return 0, errors.Join(nap(ctx, time.Second), errLoad)
			})
			gets(t, l, 1, time.Millisecond)
			purge(t, l)
			s.set(nil)
			gets(t, l, 3, 0)
			time.Sleep(time.Second - time.Millisecond - 1)
			synctest.Wait()
			gets(t, l, 3, 0)
			require.NoError(t, l.Close(t.Context()))
		})
		loaderBubble(t, name+": remembered errors go", func(t *testing.T) {
			l, s := loaderOf(t, loaderConfig{})
			s.fails(errLoad)
			for range 3 {
				getsError(t, l, errLoad, 0)
			}
			purge(t, l)
			s.set(nil)
			gets(t, l, 3, 0)
		})
	}
	loaderBubble(t, "all of many", func(t *testing.T) {
		for _, how := range []stale.Purge{stale.Soft, stale.Hard} {
			l, s := loaderOf(t, loaderConfig{})
			for i := range 5000 {
				l.Put(t.Context(), fmt.Sprint(i), 7)
			}
			l.PurgeAll(t.Context(), how)
			for i := range 5000 {
				_, err := l.Get(t.Context(), fmt.Sprint(i))
				require.NoError(t, err)
			}
			assert.EqualValues(t, 5000, s.loads.Load())
		}
	})
	loaderBubble(t, "a Put is not overwritten by a load in flight", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{})
		s.takes(2 * time.Second)
		go getAll(t.Context(), l, 5)
		time.Sleep(time.Second)
		l.Put(t.Context(), "k", 99)
		gets(t, l, 99, 0)
		time.Sleep(10 * time.Second)
		gets(t, l, 99, 0)
	})
}

func TestLoaderStorable(t *testing.T) {
	loaderBubble(t, "the others are for those who wait, and end what was kept", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{TTL: time.Second, Storable: func(n int64) bool { return n != 2 }})
		gets(t, l, 1, 0)
		time.Sleep(time.Second)
		s.takes(10 * time.Millisecond)
		for _, a := range getAll(t.Context(), l, 10) {
			assert.Equal(t, answer{value: 2, in: 10 * time.Millisecond}, a)
		}
		s.fails(errLoad)
		getsError(t, l, errLoad, 0)
		l.Put(t.Context(), "k", 2)
		_, ok := l.Peek("k")
		assert.False(t, ok)
	})
}

func TestLoaderPeek(t *testing.T) {
	loaderBubble(t, "shows what could answer, and loads nothing", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{TTL: time.Second, StaleIfError: time.Minute})
		_, ok := l.Peek("k")
		assert.False(t, ok)
		l.Put(t.Context(), "k", 7)
		time.Sleep(time.Minute + time.Second - 1)
		got, ok := l.Peek("k")
		assert.True(t, ok)
		assert.EqualValues(t, 7, got)
		time.Sleep(time.Nanosecond)
		_, ok = l.Peek("k")
		assert.False(t, ok)
		assert.Zero(t, s.loads.Load())
	})
}

func TestPitfall12LoaderIsBounded(t *testing.T) {
	loaderBubble(t, "by number", func(t *testing.T) {
		l, _ := loaderOf(t, loaderConfig{MaxCost: 100})
		for i := range 10_000 {
			l.Put(t.Context(), fmt.Sprint(i), 1)
		}
		assert.Equal(t, 100, l.Snapshot().Entries)
		assert.EqualValues(t, 100, l.Snapshot().Cost)
	})
	loaderBubble(t, "failures, too", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{MaxCost: 100})
		s.fails(errLoad)
		for i := range 50_000 {
			_, _ = l.Get(t.Context(), fmt.Sprint(i))
		}
		assert.Zero(t, l.Snapshot().Entries)
		assert.LessOrEqual(t, l.Snapshot().Failing, 10_000)
		assert.GreaterOrEqual(t, l.Snapshot().Failing, 5_000)
	})
	loaderBubble(t, "by cost", func(t *testing.T) {
		l, _ := loaderOf(t, loaderConfig{MaxCost: 1 << 20, Cost: func(_ string, n int64) int64 { return n }})
		for i := range 10_000 {
			l.Put(t.Context(), fmt.Sprint(i), 1+int64(i)%4096)
		}
		assert.LessOrEqual(t, l.Snapshot().Cost, int64(1<<20))
		assert.Greater(t, l.Snapshot().Cost, int64(1<<19))
	})
	loaderBubble(t, "absurd costs", func(t *testing.T) {
		l, _ := loaderOf(t, loaderConfig{MaxCost: math.MaxInt64, Cost: func(_ string, n int64) int64 { return n }})
		for _, cost := range []int64{math.MinInt64, -1, 0, 1, math.MaxUint32} {
			l.Put(t.Context(), "k", cost)
			got, ok := l.Peek("k")
			assert.True(t, ok)
			assert.Equal(t, cost, got)
		}
		for _, cost := range []int64{math.MaxUint32 + 1, math.MaxInt64} {
			l.Put(t.Context(), "k", cost)
			_, ok := l.Peek("k")
			assert.False(t, ok, "it cannot be kept, and what was there is not it")
		}
	})
	loaderBubble(t, "busy keys do not push out the memory of failures", func(t *testing.T) {
		var loads int
		l := stale.MustNewLoader(stale.LoaderConfig[int, int]{
			Load: func(_ context.Context, key int) (int, error) {
				if key < 0 {
					loads++
					return 0, errLoad
				}
				return key, nil
			},
			MaxCost: 100,
		})
		for i := range 10_000 {
			_, _ = l.Get(t.Context(), i%100)
		}
		for i := range 20 {
			_, err := l.Get(t.Context(), -1)
			require.ErrorIs(t, err, errLoad)
			_, _ = l.Get(t.Context(), i)
		}
		assert.Equal(t, 2, loads)
	})
}

func TestLoaderClose(t *testing.T) {
	loaderBubble(t, "waits for what is under way", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{})
		s.takes(time.Second)
		go getAll(t.Context(), l, 3)
		synctest.Wait()
		begun := time.Now()
		require.NoError(t, l.Close(t.Context()))
		assert.Equal(t, time.Second, time.Since(begun))
		require.NoError(t, l.Close(t.Context()), "twice")
		gets(t, l, 1, 0)
	})
	loaderBubble(t, "or cancels it", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{})
		s.takes(time.Hour)
		done := make(chan []answer, 1)
		go func() { done <- getAll(t.Context(), l, 1) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		err := l.Close(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Contains(t, err.Error(), "canceled 1 load")
		require.ErrorIs(t, (<-done)[0].err, context.Canceled)
		assert.Equal(t, time.Second, time.Since(begun))
		require.NoError(t, l.Close(t.Context()))
	})
	loaderBubble(t, "also what a purge has cut off", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{})
		s.takes(time.Second)
		go getAll(t.Context(), l, 1)
		synctest.Wait()
		l.PurgeAll(t.Context(), stale.Hard)
		begun := time.Now()
		require.NoError(t, l.Close(t.Context()))
		assert.Equal(t, time.Second, time.Since(begun))
	})
	loaderBubble(t, "then what is there answers, and nothing is loaded", func(t *testing.T) {
		l, s := loaderOf(t, loaderConfig{TTL: time.Second, StaleWhileRevalidate: time.Second})
		gets(t, l, 1, 0)
		require.NoError(t, l.Close(t.Context()))
		gets(t, l, 1, 0)
		time.Sleep(time.Second)
		gets(t, l, 1, 0)
		time.Sleep(time.Second)
		gets(t, l, 1, 0)
		time.Sleep(2 * time.Hour)
		getsError(t, l, stale.ErrLoaderClosed, 0)
		assert.EqualValues(t, 1, s.loads.Load())
	})
	loaderBubble(t, "a Loader that is dropped leaves nothing behind", func(t *testing.T) {
		l, _ := loaderOf(t, loaderConfig{MaxCost: 10})
		for i := range 1000 {
			_, _ = l.Get(t.Context(), fmt.Sprint(i))
		}
	})
}

func TestLoaderEarlyRefresh(t *testing.T) {
	// busy asks every 10 ms for a value that takes 200 ms and lasts 10 s, and returns
	// how many Gets had to wait, of 100 lives of the value.
	busy := func(t *testing.T, factor float64, every time.Duration) (waited int, loads int64) {
		l, s := loaderOf(t, loaderConfig{TTL: 10 * time.Second, EarlyRefresh: factor, StaleAfter: stale.Off})
		s.takes(200 * time.Millisecond)
		end := time.Now().Add(1000 * time.Second)
		for time.Now().Before(end) {
			begun := time.Now()
			_, err := l.Get(t.Context(), "k")
			require.NoError(t, err)
			if time.Since(begun) > 0 {
				waited++
			}
			time.Sleep(every)
		}
		require.NoError(t, l.Close(t.Context()))
		return waited, s.loads.Load()
	}
	loaderBubble(t, "hardly anybody waits for a busy key", func(t *testing.T) {
		waited, loads := busy(t, 1, 10*time.Millisecond)
		assert.LessOrEqual(t, waited, 20)
		assert.InDelta(t, 105, loads, 8)
	})
	loaderBubble(t, "Off all do", func(t *testing.T) {
		waited, loads := busy(t, stale.Off, 10*time.Millisecond)
		assert.EqualValues(t, loads, waited)
	})
	loaderBubble(t, "quiet keys are left alone", func(t *testing.T) {
		waited, loads := busy(t, 1, 500*time.Millisecond)
		assert.EqualValues(t, loads, waited)
	})
}

func TestLoaderConfigIsChecked(t *testing.T) {
	load := func(context.Context, string) (int64, error) { return 0, nil }
	for name, cfg := range map[string]loaderConfig{
		"Load":                 {},
		"MaxCost":              {Load: load, MaxCost: -1},
		"MaxRefreshes":         {Load: load, MaxRefreshes: -2},
		"TTL":                  {Load: load, TTL: -2},
		"StaleWhileRevalidate": {Load: load, StaleWhileRevalidate: math.MaxInt64},
		"StaleIfError":         {Load: load, StaleIfError: math.MinInt64},
		"StaleIfSick":          {Load: load, StaleIfSick: -time.Hour},
		"StaleAfter":           {Load: load, StaleAfter: -2},
		"FailureTTL":           {Load: load, FailureTTL: -2},
		"LoadTimeout":          {Load: load, LoadTimeout: -2},
		"EarlyRefresh":         {Load: load, EarlyRefresh: math.NaN()},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := stale.NewLoader(cfg)
			require.ErrorContains(t, err, "stale: LoaderConfig."+name+" is ")
			assert.Nil(t, l)
			assert.Panics(t, func() { stale.MustNewLoader(cfg) })
		})
	}
	t.Run("all at once", func(t *testing.T) {
		_, err := stale.NewLoader(loaderConfig{TTL: -2, MaxCost: -7})
		for _, field := range []string{"Load", "TTL", "MaxCost"} {
			require.ErrorContains(t, err, "LoaderConfig."+field+" is ")
		}
	})
	t.Run("everything off", func(t *testing.T) {
		l := stale.MustNewLoader(loaderConfig{
			Load: load, TTL: stale.Off, StaleWhileRevalidate: stale.Off, StaleIfError: stale.Off, StaleIfSick: stale.Off,
			StaleAfter: stale.Off, EarlyRefresh: stale.Off, FailureTTL: stale.Off, LoadTimeout: stale.Off,
		})
		_, err := l.Get(t.Context(), "k")
		require.NoError(t, err)
	})
	t.Run("the longest", func(t *testing.T) {
		const decade = 10 * 365 * 24 * time.Hour
		l := stale.MustNewLoader(loaderConfig{
			Load: load, TTL: decade, StaleWhileRevalidate: decade, StaleIfError: decade, StaleIfSick: decade,
			StaleAfter: decade, EarlyRefresh: 100, FailureTTL: decade, LoadTimeout: decade,
		})
		for range 3 {
			_, err := l.Get(t.Context(), "k")
			require.NoError(t, err)
		}
		assert.EqualValues(t, 1, l.Snapshot().Loads)
	})
}

func TestLoaderBadKeys(t *testing.T) {
	t.Run("a key that does not equal itself is loaded each time and leaves nothing", func(t *testing.T) {
		l := stale.MustNewLoader(stale.LoaderConfig[float64, int]{
			Load: func(context.Context, float64) (int, error) { return 1, nil },
		})
		for range 100 {
			got, err := l.Get(t.Context(), math.NaN())
			require.NoError(t, err)
			assert.Equal(t, 1, got)
		}
		l.Put(t.Context(), math.NaN(), 1)
		assert.Zero(t, l.Snapshot().Entries)
		assert.Zero(t, l.Snapshot().InFlight)
	})
	t.Run("a key that cannot be compared panics in its caller and locks nothing", func(t *testing.T) {
		l := stale.MustNewLoader(stale.LoaderConfig[any, int]{
			Load: func(context.Context, any) (int, error) { return 1, nil },
		})
		bad := []int{1}
		assert.Panics(t, func() { _, _ = l.Get(t.Context(), bad) })
		assert.Panics(t, func() { l.Put(t.Context(), bad, 1) })
		assert.Panics(t, func() { l.Purge(t.Context(), bad, stale.Soft) })
		got, err := l.Get(t.Context(), "good")
		require.NoError(t, err)
		assert.Equal(t, 1, got)
	})
}

func TestLoaderOutcomeNames(t *testing.T) {
	assert.Equal(t, "by rule failed refused gone unknown",
		fmt.Sprint(stale.LoadByRule, stale.LoadFailed, stale.LoadRefused, stale.LoadGone, stale.LoadOutcome(9)))
}

func TestLoaderHitDoesNotAllocate(t *testing.T) {
	l, _ := loaderOf(t, loaderConfig{EarlyRefresh: 1})
	ctx := t.Context()
	_, _ = l.Get(ctx, "k")
	assert.Zero(t, testing.AllocsPerRun(1000, func() { _, _ = l.Get(ctx, "k") }))
}
