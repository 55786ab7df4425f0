package stale_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale"
	"github.com/failsoft/failsoft/stale/storetest"
)

func TestMemoryIsAStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) stale.Store { return stale.NewMemory(0) })
}

func TestSmallMemoryIsAStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) stale.Store { return stale.NewMemory(4 << 20) })
}

func TestMemoryOfNoSizeHasTheDefault(t *testing.T) {
	for _, size := range []int64{0, -1, math.MinInt64} {
		m := stale.NewMemory(size)
		for range 4 {
			memoryPut(t, m, "half of it", make([]byte, stale.DefaultMaxBytes/2))
		}
		_, bytes := m.Size()
		assert.InDelta(t, stale.DefaultMaxBytes/2, bytes, 1000)
	}
}

func TestAnEntryLargerThanTheMemoryIsNotStored(t *testing.T) {
	m := stale.NewMemory(99_300)
	memoryPut(t, m, "key", []byte("small"))
	memoryPut(t, m, "other", []byte("small"))
	memoryPut(t, m, "key", make([]byte, 200_000))
	assert.Nil(t, memoryGet(t, m, "key"), "what it was to replace is gone")
	assert.NotNil(t, memoryGet(t, m, "other"), "nothing had to go for it")
	memoryPut(t, m, "key", make([]byte, 97_000))
	assert.NotNil(t, memoryGet(t, m, "key"))
	assert.Nil(t, memoryGet(t, m, "other"))
}

// In a Memory that is full of what is in use, what has just been stored must be
// there all the same: a mark that is gone at once does not keep anybody away
// from the origin.
func TestWhatHasJustBeenStoredIsThere(t *testing.T) {
	const budget = 1 << 20
	for _, size := range []int{100, 4096, 64 << 10, 256 << 10, 900 << 10} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			m := stale.NewMemory(budget)
			for i := range 3 * budget / (size + 500) {
				memoryPut(t, m, strconv.Itoa(i), make([]byte, size))
				for j := max(0, i-20); j <= i; j++ {
					memoryGet(t, m, strconv.Itoa(j))
				}
			}
			for i := range 200 {
				key := "new" + strconv.Itoa(i)
				memoryPut(t, m, key, make([]byte, size))
				require.NotNil(t, memoryGet(t, m, key))
			}
		})
	}
}

func TestWhatIsInUseSurvivesACrowdOfOthers(t *testing.T) {
	m := stale.NewMemory(1 << 20)
	for range 2 {
		for i := range 50 {
			if key := "busy" + strconv.Itoa(i); memoryGet(t, m, key) == nil {
				memoryPut(t, m, key, make([]byte, 4096))
			}
		}
	}
	for i := range 20_000 {
		memoryPut(t, m, "once"+strconv.Itoa(i), make([]byte, 4096))
	}
	for i := range 50 {
		assert.NotNil(t, memoryGet(t, m, "busy"+strconv.Itoa(i)))
	}
}

func TestMemoryExpires(t *testing.T) {
	memoryBubble(t, "to the nanosecond", func(t *testing.T) {
		m := stale.NewMemory(0)
		e := &stale.Entry{Body: make([]byte, 1000), Expires: time.Now().Add(time.Minute)}
		require.NoError(t, m.Set(t.Context(), stale.Key{Primary: "key"}, e, 0))
		time.Sleep(time.Minute - 1)
		require.Same(t, e, memoryGet(t, m, "key"))
		time.Sleep(time.Nanosecond)
		require.Nil(t, memoryGet(t, m, "key"))
		entries, bytes := m.Size()
		assert.Zero(t, entries, "a Get that finds it expired removes it")
		assert.Zero(t, bytes)
	})
	memoryBubble(t, "never, as good as", func(t *testing.T) {
		m := stale.NewMemory(0)
		for _, expires := range []time.Time{time.Unix(1<<55, 0), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), time.Now().Add(math.MaxInt64)} {
			time.Sleep(time.Hour)
			require.NoError(t, m.Set(t.Context(), stale.Key{Primary: "key"}, &stale.Entry{Expires: expires}, 0))
			require.NotNil(t, memoryGet(t, m, "key"))
		}
		for _, expires := range []time.Time{{}, time.Unix(-1<<55, 0), time.Now()} {
			require.NoError(t, m.Set(t.Context(), stale.Key{Primary: "key"}, &stale.Entry{Expires: expires}, 0))
			require.Nil(t, memoryGet(t, m, "key"))
		}
	})
	memoryBubble(t, "a replacement has its own time", func(t *testing.T) {
		m := stale.NewMemory(0)
		for _, d := range []time.Duration{time.Minute, time.Hour, time.Second} {
			require.NoError(t, m.Set(t.Context(), stale.Key{Primary: "key"}, &stale.Entry{Expires: time.Now().Add(d)}, 0))
		}
		time.Sleep(time.Second)
		require.Nil(t, memoryGet(t, m, "key"))
	})
	memoryBubble(t, "softly purged, it keeps its time", func(t *testing.T) {
		m := stale.NewMemory(0)
		require.NoError(t, m.Set(t.Context(), stale.Key{Primary: "key"}, &stale.Entry{Expires: time.Now().Add(time.Minute)}, 0))
		require.NoError(t, m.Purge(t.Context(), "key", true))
		time.Sleep(time.Minute - 1)
		require.NotNil(t, memoryGet(t, m, "key"))
		time.Sleep(time.Nanosecond)
		require.Nil(t, memoryGet(t, m, "key"))
	})
}

func TestMemoryLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	m := stale.NewMemory(1 << 20)
	for i := range 1000 {
		memoryPut(t, m, strconv.Itoa(i), make([]byte, 10_000))
	}
	// Those of tests before this one may end meanwhile; and a finalizer of theirs, or a timer, may run.
	for begun := time.Now(); runtime.NumGoroutine() > before && time.Since(begun) < 10*time.Second; {
		<-time.After(time.Millisecond)
	}
	assert.LessOrEqual(t, runtime.NumGoroutine(), before)

	memoryBubble(t, "made outside and used inside", func(t *testing.T) {
		memoryPut(t, m, "key", []byte("x"))
		require.NotNil(t, memoryGet(t, m, "key"))
		synctest.Wait()
	})
	memoryBubble(t, "made inside", func(t *testing.T) {
		m := stale.NewMemory(1 << 20)
		for i := range 1000 {
			memoryPut(t, m, strconv.Itoa(i), make([]byte, 10_000))
		}
		require.NoError(t, m.PurgeAll(t.Context(), true))
	})
}

func TestMemoryGetDoesNotAllocate(t *testing.T) {
	m := stale.NewMemory(0)
	memoryPut(t, m, "key", []byte("x"))
	ctx, key, none := t.Context(), stale.Key{Primary: "key"}, stale.Key{Primary: "none", Variant: "v"}
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		_, _ = m.Get(ctx, key)
		_, _ = m.Get(ctx, none)
		_, _ = m.Epoch(ctx)
	}))
}

func TestMemoryReturnsTheErrorOfItsContext(t *testing.T) {
	m := stale.NewMemory(0)
	memoryPut(t, m, "key", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := m.Get(ctx, stale.Key{Primary: "key"})
	require.ErrorIs(t, err, context.Canceled)
	_, err = m.Epoch(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, m.Set(ctx, stale.Key{Primary: "other"}, memoryEntry(nil), 0), context.Canceled)
	require.ErrorIs(t, m.Purge(ctx, "key", false), context.Canceled)
	require.ErrorIs(t, m.PurgeTag(ctx, "tag", false), context.Canceled)
	require.ErrorIs(t, m.PurgeAll(ctx, false), context.Canceled)
	assert.NotNil(t, memoryGet(t, m, "key"))
	assert.Nil(t, memoryGet(t, m, "other"))
}

func TestMemoryOutlivesGarbage(t *testing.T) {
	m := stale.NewMemory(0)
	require.Panics(t, func() { _ = m.Set(t.Context(), stale.Key{Primary: "key"}, nil, 0) }, "there is no entry")
	memoryPut(t, m, "key", []byte("x"))
	require.NotNil(t, memoryGet(t, m, "key"), "no lock was left locked")
}

func TestAReplacementIsNeverMissed(t *testing.T) {
	m := stale.NewMemory(1 << 20)
	memoryPut(t, m, "key", make([]byte, 1000))
	var stop atomic.Bool
	var missed atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				if e, _ := m.Get(context.Background(), stale.Key{Primary: "key"}); e == nil {
					missed.Add(1)
				}
			}
		})
	}
	for i := range 20_000 {
		memoryPut(t, m, "key", make([]byte, i%5000))
		memoryPut(t, m, "other"+strconv.Itoa(i%4), make([]byte, 100))
	}
	stop.Store(true)
	wg.Wait()
	assert.Zero(t, missed.Load())
}

// FuzzMemory compares a Memory with a map: it may forget, but what it returns
// must be what was stored last, and not have been purged since.
func FuzzMemory(f *testing.F) {
	f.Add([]byte{0, 1, 2, 1, 3, 4, 0, 1, 9, 5, 1, 0, 0, 1, 1})
	f.Add([]byte{6, 0, 0, 0, 7, 3, 4, 0, 0, 0, 7, 9, 1, 7, 0, 5, 7, 0, 0, 7, 200})
	f.Add([]byte{0, 0, 250, 0, 1, 250, 0, 2, 250, 0, 3, 250, 1, 0, 0, 1, 1, 0, 0, 0, 255, 2, 0, 1, 3, 0, 1, 6, 1, 1})
	f.Fuzz(func(t *testing.T, program []byte) {
		const limit, longest = 20_000, 3000
		ctx := context.Background()
		m, md := stale.NewMemory(limit), &memoryModel{entries: map[stale.Key]modelEntry{}}
		far := time.Now().Add(time.Hour)
		var held []stale.Epoch
		for p := program[:min(len(program), longest)]; len(p) >= 3; p = p[3:] {
			op, a, b := p[0], p[1], p[2]
			key := stale.Key{Primary: strconv.Itoa(int(a % 8)), Variant: strings.Repeat("v", int(a/8%4))}
			tag := strconv.Itoa(int(b % 4))
			switch op % 8 {
			case 0, 1:
				now, _ := m.Epoch(ctx)
				e := &stale.Entry{Body: make([]byte, int(b)*100), Tags: []string{tag}, Expires: far}
				if b%16 == 15 {
					e.Mark = &stale.Mark{}
				}
				require.NoError(t, m.Set(ctx, key, e, now))
				md.entries[key] = modelEntry{stored: e}
			case 2:
				require.NoError(t, m.Purge(ctx, key.Primary, b%2 == 0))
				md.purge(m, b%2 == 0, func(k stale.Key, _ *stale.Entry) bool { return k.Primary == key.Primary })
			case 3:
				require.NoError(t, m.PurgeTag(ctx, tag, a%2 == 0))
				md.purge(m, a%2 == 0, func(_ stale.Key, e *stale.Entry) bool { return e.Tags[0] == tag })
			case 4:
				if a < 32 {
					require.NoError(t, m.PurgeAll(ctx, b%2 == 0))
					md.purge(m, b%2 == 0, func(stale.Key, *stale.Entry) bool { return true })
				}
			case 5: // A fetch that began some purges ago.
				if len(held) > 0 {
					md.late(t, m, key, tag, held[int(b)%len(held)], far)
				}
			case 6:
				now, _ := m.Epoch(ctx)
				held = append(held, now)
			case 7:
				md.check(t, m, key)
			}
			if entries, bytes := m.Size(); bytes > limit || entries > len(md.entries) {
				require.Failf(t, "too much", "%d entries of %d bytes", entries, bytes)
			}
		}
		for key := range md.entries {
			md.check(t, m, key)
		}
	})
}

type modelEntry struct {
	stored *stale.Entry // nil after a purge
	soft   bool
}

type memoryModel struct {
	entries map[stale.Key]modelEntry
	purges  []modelPurge
}

type modelPurge struct {
	epoch     stale.Epoch
	concerned func(stale.Key, *stale.Entry) bool
}

// purge follows one that the Memory has just done.
func (md *memoryModel) purge(m *stale.Memory, soft bool, concerned func(stale.Key, *stale.Entry) bool) {
	epoch, _ := m.Epoch(context.Background())
	md.purges = append(md.purges, modelPurge{epoch, concerned})
	for key, e := range md.entries {
		if e.stored == nil || !concerned(key, e.stored) {
			continue
		}
		e.soft = true
		if !soft || e.stored.Mark != nil {
			e.stored = nil
		}
		md.entries[key] = e
	}
}

// late stores what was fetched since at. It may be refused in doubt, but it must
// be refused if it was purged since, and must not be if nothing was.
func (md *memoryModel) late(t *testing.T, m *stale.Memory, key stale.Key, tag string, at stale.Epoch, far time.Time) {
	t.Helper()
	e := &stale.Entry{Body: make([]byte, 50), Tags: []string{tag}, Expires: far}
	since, concerned := false, false
	for _, p := range md.purges {
		since = since || p.epoch > at
		concerned = concerned || p.epoch > at && p.concerned(key, e)
	}
	err := m.Set(t.Context(), key, e, at)
	if err == nil {
		require.False(t, concerned, "it was purged on its way")
		md.entries[key] = modelEntry{stored: e}
		return
	}
	require.ErrorIs(t, err, stale.ErrPurged)
	require.True(t, since, "nothing was purged")
}

func (md *memoryModel) check(t *testing.T, m *stale.Memory, key stale.Key) {
	t.Helper()
	got, err := m.Get(t.Context(), key)
	require.NoError(t, err)
	want := md.entries[key]
	switch {
	case got == nil:
	case want.stored == nil:
		require.Fail(t, "it was purged, or never stored")
	case want.soft:
		require.True(t, got.Purged)
		require.Len(t, got.Body, len(want.stored.Body))
	default:
		require.Same(t, want.stored, got)
	}
}

// TestMemorySoak has everybody at everything at once, and looks at the bound.
func TestMemorySoak(t *testing.T) {
	const limit, goroutines, rounds = 2 << 20, 8, 4000
	m := stale.NewMemory(limit)
	var wg sync.WaitGroup
	var over atomic.Int64
	for g := range goroutines {
		wg.Go(func() {
			ctx, r := context.Background(), rand.New(rand.NewPCG(uint64(g), 1))
			for range rounds {
				key := stale.Key{Primary: strconv.Itoa(r.IntN(200)), Variant: strings.Repeat("v", r.IntN(3))}
				at, _ := m.Epoch(ctx)
				switch n := r.IntN(100); {
				case n < 60:
					if e, _ := m.Get(ctx, key); e != nil && e.Tags[0] != key.Primary {
						assert.Fail(t, "somebody else's entry")
					}
				case n < 95:
					e := memoryEntry(make([]byte, r.IntN(64<<10)), key.Primary)
					if err := m.Set(ctx, key, e, at); err != nil && !errors.Is(err, stale.ErrPurged) {
						assert.NoError(t, err)
					}
				case n < 97:
					assert.NoError(t, m.Purge(ctx, key.Primary, n%2 == 0))
				case n < 99:
					assert.NoError(t, m.PurgeTag(ctx, key.Primary, n%2 == 0))
				case r.IntN(20) == 0:
					assert.NoError(t, m.PurgeAll(ctx, r.IntN(2) == 0))
				}
				if _, bytes := m.Size(); bytes > limit {
					over.Add(1)
				}
			}
		})
	}
	wg.Wait()
	assert.Zero(t, over.Load())
}

func memoryEntry(body []byte, tags ...string) *stale.Entry {
	return &stale.Entry{Status: http.StatusOK, Body: body, Tags: tags, Expires: time.Now().Add(time.Hour)}
}

func memoryPut(t *testing.T, m *stale.Memory, primary string, body []byte) {
	t.Helper()
	require.NoError(t, m.Set(context.Background(), stale.Key{Primary: primary}, memoryEntry(body), math.MaxUint64))
}

func memoryGet(t *testing.T, m *stale.Memory, primary string) *stale.Entry {
	t.Helper()
	e, err := m.Get(context.Background(), stale.Key{Primary: primary})
	require.NoError(t, err)
	return e
}

func BenchmarkMemoryGet(b *testing.B) {
	m := stale.NewMemory(0)
	keys := make([]stale.Key, 1024)
	for i := range keys {
		keys[i].Primary = "https://example.com/some/path/" + strconv.Itoa(i)
		_ = m.Set(b.Context(), keys[i], memoryEntry(make([]byte, 100)), 0)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			_, _ = m.Get(context.Background(), keys[i%len(keys)])
		}
	})
}

func memoryBubble(t *testing.T, name string, run func(*testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, run) })
}
