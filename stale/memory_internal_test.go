package stale

import (
	"context"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// audit counts what can be had from the tables and what is in the queues, each
// by itself: what the Memory says of its size proves nothing about either.
func audit(t *testing.T, m *Memory) {
	t.Helper()

	tabled := map[*item]bool{}
	for i := range m.shards {
		for primary, f := range m.shards[i].families {
			require.True(t, f.sole != nil || len(f.variants) > 0, "an empty family")
			if f.sole != nil {
				require.Equal(t, Key{Primary: primary}, f.sole.key)
				tabled[f.sole] = true
			}
			for variant, it := range f.variants {
				require.Equal(t, Key{Primary: primary, Variant: variant}, it.key)
				tabled[it] = true
			}
		}
	}
	var queued int
	var bytes int64
	for _, q := range []*queue{&m.small, &m.main} {
		var sum int64
		for it := range q.items.All() {
			require.True(t, tabled[it], "queued, and not in the table")
			require.Equal(t, q == &m.main, it.main, "in the queue that it says")
			require.Equal(t, it.entry.Size()+int64(len(it.key.Primary)+len(it.key.Variant)), it.weight)
			sum += it.weight
			queued++
		}
		require.Equal(t, sum, q.bytes)
		bytes += sum
	}
	require.Len(t, tabled, queued, "in the table, and in no queue: nothing would ever evict it")
	entries, size := m.Size()
	require.Equal(t, queued, entries)
	require.Equal(t, bytes, size)
	require.LessOrEqual(t, size, m.limit)
}

func TestTablesAndQueuesHoldTheSame(t *testing.T) {
	ctx := context.Background()
	r := rand.New(rand.NewPCG(1, 2))
	popular := rand.NewZipf(r, 1.1, 8, 3000)
	m := NewMemory(1 << 20)
	var returned int
	for i := range 30_000 {
		id := int(popular.Uint64())
		key := Key{Primary: strconv.Itoa(id / 3)}
		if id%3 > 0 {
			key.Variant = strconv.Itoa(id % 3)
		}
		switch r.IntN(2000) {
		case 0:
			require.NoError(t, m.PurgeAll(ctx, r.IntN(2) == 0))
		case 1, 2:
			require.NoError(t, m.PurgeTag(ctx, strconv.Itoa(r.IntN(5)), r.IntN(2) == 0))
		case 3, 4, 5, 6:
			require.NoError(t, m.Purge(ctx, key.Primary, r.IntN(2) == 0))
		}
		e, err := m.Get(ctx, key)
		require.NoError(t, err)
		if e == nil || r.IntN(20) == 0 {
			at, _ := m.Epoch(ctx)
			known := m.shard(m.hash(key.Primary)).find(key) != nil
			e = &Entry{Body: make([]byte, r.IntN(20_000)), Tags: []string{strconv.Itoa(id % 5)}, Expires: time.Now().Add(time.Hour)}
			require.NoError(t, m.Set(ctx, key, e, at))
			if it := m.shard(m.hash(key.Primary)).find(key); !known && it.main {
				returned++
			}
		}
		if i%500 == 0 {
			audit(t, m)
		}
	}
	audit(t, m)
	require.Greater(t, returned, 100, "ghosts must have come back, or the way past the small queue is untested")
}

func TestSoftPurgeKeepsEveryFieldAndNothingDerived(t *testing.T) {
	e := &Entry{}
	v := reflect.ValueOf(e).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).IsExported() {
			setNonZero(t, v.Field(i))
		}
	}
	e.Purged = false
	c := softened(e)
	require.True(t, c.Purged)
	require.False(t, e.Purged, "it is shared")
	got := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		switch field := v.Type().Field(i); {
		case !field.IsExported():
			require.True(t, got.Field(i).IsZero(), "%s may tell that it was not purged", field.Name)
		case field.Name != "Purged":
			require.False(t, got.Field(i).IsZero(), field.Name)
			require.Equal(t, v.Field(i).Interface(), got.Field(i).Interface(), field.Name)
		}
	}
}

// setNonZero makes v anything but zero.
func setNonZero(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.String:
		v.SetString("x")
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Struct:
		require.Equal(t, reflect.TypeFor[time.Time](), v.Type())
		v.Set(reflect.ValueOf(time.Unix(1, 2)))
	default:
		t.Fatalf("a field of a kind that this test does not know: %v", v.Kind())
	}
}

func TestManySmallEntriesGiveTheirTablesBack(t *testing.T) {
	ctx := context.Background()
	m := NewMemory(16 << 20)
	far := time.Now().Add(time.Hour)
	for i := range 30_000 {
		require.NoError(t, m.Set(ctx, Key{Primary: strconv.Itoa(i)}, &Entry{Expires: far}, 0))
	}
	full := 0
	for i := range m.shards {
		full += m.shards[i].most
	}
	require.Greater(t, full, 20_000)
	for i := range 100 {
		require.NoError(t, m.Set(ctx, Key{Primary: "large" + strconv.Itoa(i)}, &Entry{Body: make([]byte, 1<<20), Expires: far}, 0))
	}
	left := 0
	for i := range m.shards {
		left += m.shards[i].most
	}
	require.Less(t, left, full/3)
	audit(t, m)
}

func TestAWalkAlongBusyEntriesEnds(t *testing.T) {
	ctx := context.Background()
	m := NewMemory(8 << 20)
	far := time.Now().Add(time.Hour)
	var n int
	for ; ; n++ {
		require.NoError(t, m.Set(ctx, Key{Primary: strconv.Itoa(n)}, &Entry{Expires: far}, 0))
		if entries, _ := m.Size(); entries <= n {
			break
		}
	}
	require.Greater(t, n, 10*maxSpared)
	for _, q := range []*queue{&m.small, &m.main} {
		for it := range q.items.All() {
			it.asked.Store(maxAsked)
		}
	}
	require.NoError(t, m.Set(ctx, Key{Primary: "one more"}, &Entry{Expires: far}, 0))
	require.LessOrEqual(t, m.main.items.Len(), maxSpared)
	audit(t, m)
}

func TestPurgesThatShareAPlaceRefuseTooMuchAndNeverTooLittle(t *testing.T) {
	ctx := context.Background()
	m := NewMemory(1) // with the smallest table of purges
	began, _ := m.Epoch(ctx)
	for i := range 1000 {
		require.NoError(t, m.Purge(ctx, strconv.Itoa(i), true))
	}
	for i := range 1000 {
		require.ErrorIs(t, m.Set(ctx, Key{Primary: strconv.Itoa(i)}, &Entry{}, began), ErrPurged)
	}
	now, _ := m.Epoch(ctx)
	for i := range 1000 {
		require.NoError(t, m.Set(ctx, Key{Primary: strconv.Itoa(i)}, &Entry{}, now))
	}
}

func TestAPurgeRefusesNoneThatSharesItsPlaceAlone(t *testing.T) {
	p := purges{places: make([]place, 4)}
	const one, other, third = 1 << 20, 2 << 20, 3 << 20 // all in the first place
	p.note(one, 5)
	require.True(t, p.since(4, one))
	require.False(t, p.since(4, other), "one foreign purge")
	p.note(one, 6)
	require.False(t, p.since(4, other), "of the same twice")
	p.note(third, 7)
	require.True(t, p.since(4, one), "its own, though another was purged since")
	require.False(t, p.since(6, one))
	require.True(t, p.since(4, other), "two foreign ones: it may be either's")
}

func TestGhostsAreForgotten(t *testing.T) {
	g := ghosts{places: make([]ghost, 1<<10)}
	hash := func(i uint64) uint64 { return i * 0x9e3779b97f4a7c15 }
	require.False(t, g.take(hash(1), 100), "there are none yet")
	g.leave(hash(1))
	require.True(t, g.take(hash(1), 100))
	require.False(t, g.take(hash(1), 100), "it is used up")
	g.leave(hash(1))
	for i := range uint64(100) {
		g.leave(hash(1000 + i))
	}
	require.False(t, g.take(hash(1), 50), "it has left long ago")
	require.True(t, g.take(hash(1099), 50))
}

// settled returns a Memory of which n entries have moved to the main queue.
func settled(t *testing.T, n int) *Memory {
	t.Helper()
	ctx, far := context.Background(), time.Now().Add(time.Hour)
	m := NewMemory(1 << 20)
	for i := range n {
		key := Key{Primary: "busy" + strconv.Itoa(i)}
		require.NoError(t, m.Set(ctx, key, &Entry{Body: make([]byte, 4096), Tags: []string{"tag"}, Expires: far}, 0))
		_, _ = m.Get(ctx, key)
	}
	for i := range 1000 {
		require.NoError(t, m.Set(ctx, Key{Primary: strconv.Itoa(i)}, &Entry{Body: make([]byte, 4096), Expires: far}, 0))
	}
	for i := range n {
		require.True(t, inMain(m, i), "entry %d", i)
	}
	return m
}

func inMain(m *Memory, i int) bool {
	key := Key{Primary: "busy" + strconv.Itoa(i)}
	it := m.shard(m.hash(key.Primary)).find(key)
	return it != nil && it.main
}

func TestPurgesReachBothQueues(t *testing.T) {
	ctx := context.Background()
	for name, purge := range map[string]func(*Memory, bool) error{
		"all": func(m *Memory, soft bool) error { return m.PurgeAll(ctx, soft) },
		"tag": func(m *Memory, soft bool) error { return m.PurgeTag(ctx, "tag", soft) },
	} {
		t.Run(name, func(t *testing.T) {
			m := settled(t, 20)
			require.NoError(t, purge(m, true))
			for i := range 20 {
				e, _ := m.Get(ctx, Key{Primary: "busy" + strconv.Itoa(i)})
				require.True(t, e.Purged)
			}
			require.NoError(t, purge(m, false))
			for i := range 20 {
				e, _ := m.Get(ctx, Key{Primary: "busy" + strconv.Itoa(i)})
				require.Nil(t, e)
			}
			audit(t, m)
		})
	}
}

func TestWhatWasAskedForInTheMainQueueIsSpared(t *testing.T) {
	ctx, far := context.Background(), time.Now().Add(time.Hour)
	m := settled(t, 180)
	for i := range 10 { // the oldest ones
		_, _ = m.Get(ctx, Key{Primary: "busy" + strconv.Itoa(i)})
	}
	for i := range 100 { // more that prove themselves, and so push into the main queue
		key := Key{Primary: "next" + strconv.Itoa(i)}
		require.NoError(t, m.Set(ctx, key, &Entry{Body: make([]byte, 4096), Expires: far}, 0))
		_, _ = m.Get(ctx, key)
	}
	gone := 0
	for i := range 180 {
		if !inMain(m, i) {
			gone++
			require.GreaterOrEqual(t, i, 10, "it was asked for")
		}
	}
	require.Positive(t, gone)
}

func TestWhatHasExpiredIsNotSpared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, m := t.Context(), NewMemory(1<<20)
		for i := range 20 {
			key := Key{Primary: "old" + strconv.Itoa(i)}
			e := &Entry{Body: make([]byte, 4096), Expires: time.Now().Add(time.Minute)}
			require.NoError(t, m.Set(ctx, key, e, 0))
			_, _ = m.Get(ctx, key)
		}
		time.Sleep(time.Minute)
		for i := range 400 {
			e := &Entry{Body: make([]byte, 4096), Expires: time.Now().Add(time.Hour)}
			require.NoError(t, m.Set(ctx, Key{Primary: strconv.Itoa(i)}, e, 0))
		}
		for i := range 20 {
			key := Key{Primary: "old" + strconv.Itoa(i)}
			require.Nil(t, m.shard(m.hash(key.Primary)).find(key), "asked for, but expired")
		}
	})
}

func TestMemoryDoesNotKeepTheCallersBytes(t *testing.T) {
	ctx, m := context.Background(), NewMemory(0)
	long := strings.Repeat("x", 1000)
	key := Key{Primary: long[:10], Variant: long[:20]}
	require.NoError(t, m.Set(ctx, key, &Entry{Expires: time.Now().Add(time.Hour)}, 0))
	kept := m.shard(m.hash(key.Primary)).find(key).key
	require.Equal(t, key, kept)
	require.NotSame(t, unsafe.StringData(key.Primary), unsafe.StringData(kept.Primary))
	require.NotSame(t, unsafe.StringData(key.Variant), unsafe.StringData(kept.Variant))
}
