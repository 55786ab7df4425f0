package stale_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale"
)

// TestLoaderSoak has many goroutines read and purge a few keys whose loads succeed,
// fail, panic and refuse. A Get that begins after a hard purge has returned must not
// see what was there before it.
func TestLoaderSoak(t *testing.T) {
	const keys, goroutines, rounds = 5, 16, 600
	type row struct {
		version, floor atomic.Int64 // what is there, and what the latest purge allows
		loading        atomic.Int64
	}
	var table [keys]row
	errDown := errors.New("down")

	l := stale.MustNewLoader(stale.LoaderConfig[int, int64]{
		Load: func(ctx context.Context, key int) (int64, error) {
			r := &table[key]
			r.loading.Add(1)
			defer r.loading.Add(-1)
			version := r.version.Load()
			switch rand.IntN(10) {
			case 0:
				return 0, errDown
			case 1:
				return 0, refusal{}
			case 2:
				panic("boom")
			case 3:
				_ = nap(ctx, time.Millisecond)
			case 4:
				stale.MarkDegraded(ctx)
			}
			return version, nil
		},
		TTL: 100 * time.Microsecond, StaleWhileRevalidate: 200 * time.Microsecond, StaleAfter: 300 * time.Microsecond,
		FailureTTL: time.Millisecond, MaxCost: keys, MaxRefreshes: 3,
		Observe: func(context.Context, stale.Event) {},
	})
	get := func(ctx context.Context, key int) (err error) {
		defer func() {
			if value := recover(); value != nil {
				assert.Equal(t, "boom", value)
			}
		}()
		floor := table[key].floor.Load()
		got, err := l.Get(ctx, key)
		if err == nil {
			assert.GreaterOrEqual(t, got, floor, "older than the latest purge")
		}
		return err
	}
	var writing [keys]sync.Mutex
	purge := func(ctx context.Context, key int) {
		r := &table[key]
		writing[key].Lock()
		defer writing[key].Unlock()
		now := r.version.Add(1)
		if rand.IntN(10) == 0 {
			l.PurgeAll(ctx, stale.Hard)
		} else {
			l.Purge(ctx, key, stale.Hard)
		}
		r.floor.Store(now)
	}

	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for range rounds {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(3_000_000)))
				switch key := rand.IntN(keys); rand.IntN(20) {
				case 0:
					purge(ctx, key)
				case 1:
					l.Purge(ctx, key, stale.Soft)
					l.Snapshot()
				default:
					_ = get(ctx, key)
				}
				cancel()
			}
		})
	}
	all.Wait()
	require.NoError(t, l.Close(t.Context()))
	assert.Zero(t, l.Snapshot().InFlight)
	for i := range table {
		assert.Zero(t, table[i].loading.Load())
	}
}

// TestLoaderHerdsForReal has a herd at each of many keys, on all cores.
func TestLoaderHerdsForReal(t *testing.T) {
	var loads atomic.Int64
	l := stale.MustNewLoader(stale.LoaderConfig[int, int]{
		Load: func(_ context.Context, key int) (int, error) {
			loads.Add(1)
			return key, nil
		},
	})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for key := range 200 {
				got, err := l.Get(t.Context(), key)
				assert.NoError(t, err)
				assert.Equal(t, key, got)
			}
		})
	}
	all.Wait()
	assert.EqualValues(t, 200, loads.Load())
	s := l.Snapshot()
	assert.EqualValues(t, 10_000, s.Hits+s.Misses+s.Collapsed)
}

func BenchmarkLoaderHit(b *testing.B) {
	l := stale.MustNewLoader(stale.LoaderConfig[string, int]{
		Load: func(context.Context, string) (int, error) { return 1, nil },
	})
	keys := [4]string{"product:1", "product:2", "product:3", "product:4"}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_, _ = l.Get(b.Context(), keys[i%len(keys)])
	}
}
