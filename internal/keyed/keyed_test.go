package keyed_test

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/keyed"
)

// pause is how long a refusal holds in a Map of up to a thousand cells.
const pause = int64(time.Millisecond)

// state is a cell that a test can keep busy.
type state struct {
	key  string
	busy bool
}

// host makes maps of states and records what they are asked.
type host struct {
	made  []string
	asked []string
}

func (h *host) newMap(bound int) *keyed.Map[state] {
	return keyed.New(keyed.Config[state]{
		Max: bound,
		New: func(key string) *state {
			h.made = append(h.made, key)
			return &state{key: key}
		},
		Retire: func(s *state, _ int64) bool {
			h.asked = append(h.asked, s.key)
			return !s.busy
		},
	})
}

func keysOf(m *keyed.Map[state]) []string {
	var keys []string
	for key := range m.All() {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func TestGetReturnsOneCellPerKey(t *testing.T) {
	t.Parallel()
	var h host
	m := h.newMap(3)

	a, empty := m.Get("a", 1), m.Get("", 2)
	assert.NotSame(t, a, empty)
	assert.Same(t, a, m.Get("a", 3))
	assert.Same(t, empty, m.Get("", 4))
	assert.Equal(t, []string{"a", ""}, h.made)
	assert.Equal(t, 2, m.Len())
}

func TestTheLeastRecentlyUsedCellGoes(t *testing.T) {
	t.Parallel()
	var h host
	m := h.newMap(3)
	m.Get("a", 1)
	m.Get("b", 2)
	m.Get("c", 3)
	m.Get("a", 4)

	m.Get("d", 5)
	assert.Equal(t, []string{"a", "c", "d"}, keysOf(m))
	m.Get("e", 6)
	assert.Equal(t, []string{"a", "d", "e"}, keysOf(m))
	assert.Equal(t, []string{"b", "c"}, h.asked, "only those that go are asked")
}

func TestEqualTimesGoByInsertion(t *testing.T) {
	t.Parallel()
	var h host
	m := h.newMap(3)
	for _, key := range []string{"c", "a", "b", "a", "c", "d", "e"} {
		m.Get(key, 7)
	}
	assert.Equal(t, []string{"b", "d", "e"}, keysOf(m))
}

func TestLookupNeitherInsertsNorCountsAsUse(t *testing.T) {
	t.Parallel()
	var h host
	m := h.newMap(2)
	a := m.Get("a", 1)
	m.Get("b", 2)

	got, ok := m.Lookup("a")
	assert.True(t, ok)
	assert.Same(t, a, got)
	got, ok = m.Lookup("c")
	assert.False(t, ok)
	assert.Nil(t, got)

	m.Get("c", 3)
	_, ok = m.Lookup("a")
	assert.False(t, ok)
}

func TestABusyCellStays(t *testing.T) {
	t.Parallel()
	var h host
	m := h.newMap(2)
	a := m.Get("a", 1)
	a.busy = true
	for i := range int64(100) {
		m.Get(strconv.FormatInt(i, 10), 2+i)
	}
	assert.Same(t, a, m.Get("a", 200))
	assert.Equal(t, []string{"99", "a"}, keysOf(m))
	_, served := m.Overflow()
	assert.Zero(t, served)
}

func TestNewKeysShareTheOverflowCellWhileAllAreBusy(t *testing.T) {
	t.Parallel()
	var h host
	m := h.newMap(2)
	a, b := m.Get("a", 1), m.Get("b", 2)
	a.busy, b.busy = true, true
	shared, served := m.Overflow()
	assert.Nil(t, shared)
	assert.Zero(t, served)

	c := m.Get("c", 10)
	assert.Same(t, c, m.Get("d", 10+pause-1))
	shared, served = m.Overflow()
	assert.Same(t, c, shared)
	assert.EqualValues(t, 2, served)
	assert.Equal(t, keyed.OverflowKey, c.key)
	assert.Equal(t, []string{"a", "b"}, h.asked, "nobody is asked twice within the pause")
	assert.Equal(t, []string{"a", "b"}, keysOf(m))
	assert.NotSame(t, c, m.Get("a", 10+pause-1))

	a.busy, b.busy = false, false
	assert.Same(t, c, m.Get("c", 10+pause-1))
	assert.NotSame(t, c, m.Get("c", 10+pause), "the pause is over")
	assert.Equal(t, []string{"a", "c"}, keysOf(m), "b was used less recently than a")
}

func TestACallersKeyCanReadLikeTheOverflowKey(t *testing.T) {
	t.Parallel()
	var h host
	m := h.newMap(1)
	own := m.Get(keyed.OverflowKey, 1)
	own.busy = true
	assert.NotSame(t, own, m.Get("b", 2))
	assert.Same(t, own, m.Get(keyed.OverflowKey, 3))
}

func TestALateClockNeitherHangsNorEvictsBusyCells(t *testing.T) {
	t.Parallel()
	var h host
	m := h.newMap(3)
	for i, key := range []string{"a", "b", "c", "a", "b", "c"} {
		m.Get(key, 1000+int64(i)).busy = true
	}
	overflow := m.Get("d", 0)
	assert.Equal(t, keyed.OverflowKey, overflow.key)

	b, _ := m.Lookup("b")
	b.busy = false
	m.Get("d", 1000+2*pause)
	assert.Equal(t, []string{"a", "c", "d"}, keysOf(m))
}

func TestBoundBelowOneCountsAsOne(t *testing.T) {
	t.Parallel()
	var h host
	m := h.newMap(0)
	m.Get("a", 1)
	m.Get("b", 2)
	assert.Equal(t, []string{"b"}, keysOf(m))
}

func TestAllCanBeLeftEarlyAndCanCallTheMap(t *testing.T) {
	t.Parallel()
	var h host
	m := h.newMap(3)
	m.Get("a", 1)
	m.Get("b", 2)
	rounds := 0
	for range m.All() {
		m.Get("c", 3)
		rounds++
		break
	}
	assert.Equal(t, 1, rounds)
	assert.Equal(t, 3, m.Len())
}

func TestGetAllocatesNothingForKeysWithACell(t *testing.T) {
	var h host
	m := h.newMap(64)
	keys := hosts(64)
	for _, key := range keys {
		m.Get(key, 1).busy = true
	}
	now := int64(1)
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		now++
		m.Get(keys[now%64], now)
	}))
	m.Get("another", now)
	assert.Zero(t, testing.AllocsPerRun(1000, func() { m.Get("another", now) }), "overflow")
}

func TestACellDoesNotKeepTheCallersBytes(t *testing.T) {
	const cells, header = 256, 64 << 10
	m := keyed.New(keyed.Config[int]{Max: cells, New: newInt, Retire: atRest})
	before := heapInUse()
	for i := range cells {
		text := fmt.Sprintf("%08d", i) + strings.Repeat("x", header)
		m.Get(text[:8], int64(i))
	}
	assert.Less(t, heapInUse()-before, int64(cells*header/8))
	runtime.KeepAlive(m)
}

func TestAMillionKeysStayWithinTheBound(t *testing.T) {
	const keys, bytesPerCell = 1_000_000, 512
	for _, bound := range []int{1 << 10, 1 << 17} {
		t.Run(fmt.Sprintf("max=%d", bound), func(t *testing.T) {
			m := keyed.New(keyed.Config[int]{Max: bound, New: newInt, Retire: atRest})
			before, start := heapInUse(), time.Now()
			for i := range int64(keys) {
				m.Get(strconv.FormatInt(i, 10), i)
			}
			elapsed := time.Since(start)
			used := heapInUse() - before
			t.Logf("%v, %d ns per key, %d bytes per cell", elapsed, elapsed.Nanoseconds()/keys, used/int64(bound))
			require.Equal(t, bound, m.Len())
			assert.Less(t, used, int64(bound*bytesPerCell))
			// A scan of all cells per key would take minutes at the higher bound.
			assert.Less(t, elapsed, 30*time.Second)
		})
	}
}

func TestAFloodOverBusyCellsAsksEachOncePerPause(t *testing.T) {
	t.Parallel()
	const bound, keys = 512, 100_000
	var h host
	m := h.newMap(bound)
	for _, key := range hosts(bound) {
		m.Get(key, 0).busy = true
	}
	for i := range int64(keys) {
		m.Get(strconv.FormatInt(i, 10), i*3*pause/keys)
	}
	assert.Len(t, h.asked, 3*bound, "three pauses long")
	_, served := m.Overflow()
	assert.EqualValues(t, keys, served)
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
