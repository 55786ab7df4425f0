package keyed_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

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
	assert.Equal(t, []string{"b", "c"}, keysOf(m), "both were in use until the same moment")
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

func TestAnEarlierTimeDoesNotAgeACell(t *testing.T) {
	t.Parallel()
	var h host
	m := h.newMap(2)
	m.Get("a", 1)
	m.Get("b", 2)
	m.Get("a", 4)
	m.Get("a", 0)
	m.Get("c", 5)
	assert.Equal(t, []string{"a", "c"}, keysOf(m))
}

// The clock of a goroutine that was held up between reading it and calling Get
// is late: other cells were used after its time.
func TestALateClock(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		run  func(m *keyed.Map[state])
		want []string
	}{
		"evicts a cell at rest that was made later": {
			run: func(m *keyed.Map[state]) {
				m.Get("a", 5*pause).busy = true
				m.Get("b", 5*pause)
				m.Get("late", 0)
			},
			want: []string{"a", "late"},
		},
		"evicts a cell at rest that was used later": {
			run: func(m *keyed.Map[state]) {
				m.Get("a", 0).busy = true
				m.Get("b", 0)
				m.Get("b", 5*pause)
				m.Get("late", 1)
			},
			want: []string{"a", "late"},
		},
		"evicts a cell at rest that once refused and was used since": {
			run: func(m *keyed.Map[state]) {
				a := m.Get("a", 0)
				a.busy = true
				m.Get("b", 1)
				m.Get("c", 2)
				a.busy = false
				m.Get("c", 5*pause)
				m.Get("a", 10*pause)
				m.Get("d", 10*pause)
				m.Get("late", 9*pause)
			},
			want: []string{"d", "late"},
		},
		"evicts no busy cell": {
			run: func(m *keyed.Map[state]) {
				m.Get("a", 0).busy = true
				m.Get("b", 0).busy = true
				m.Get("b", 5*pause)
				m.Get("late", 1)
			},
			want: []string{"a", "b"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var h host
			m := h.newMap(2)
			test.run(m)
			assert.Equal(t, test.want, keysOf(m))
		})
	}
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

func TestAFloodOverBusyCellsAsksEachOncePerPause(t *testing.T) {
	t.Parallel()
	const keys = 100_000
	for bound, hold := range map[int]int64{512: pause, 4096: 4096 * int64(time.Microsecond)} {
		t.Run(fmt.Sprintf("max=%d", bound), func(t *testing.T) {
			t.Parallel()
			var h host
			m := h.newMap(bound)
			for _, key := range hosts(bound) {
				m.Get(key, 0).busy = true
			}
			for i := range int64(keys) {
				m.Get(strconv.FormatInt(i, 10), i*3*hold/keys)
			}
			assert.Len(t, h.asked, 3*bound, "three pauses long")
			_, served := m.Overflow()
			assert.EqualValues(t, keys, served)
		})
	}
}
