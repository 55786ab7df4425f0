package keyed_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/keyed"
)

// model is the Map as one would write it without any thought of speed. Its
// cells are in the order of insertion.
type model struct {
	bound  int
	cells  []*modelCell
	served uint64
	asked  []string
}

type modelCell struct {
	key       string
	used      int64
	busyUntil int64 // After a refusal.
	twin      *state
}

func (c *modelCell) inUseUntil() int64 { return max(c.used, c.busyUntil) }

func (md *model) find(key string) *modelCell {
	for _, c := range md.cells {
		if c.key == key {
			return c
		}
	}
	return nil
}

// get returns the cell of key, or nil where the overflow cell must serve.
func (md *model) get(key string, now int64) *modelCell {
	c := md.find(key)
	if c == nil {
		if len(md.cells) == md.bound && !md.evict(now) {
			md.served++
			return nil
		}
		c = &modelCell{key: key}
		md.cells = append(md.cells, c)
	}
	c.used = now
	return c
}

func (md *model) evict(now int64) bool {
	for {
		oldest := 0
		for i, c := range md.cells {
			if c.inUseUntil() < md.cells[oldest].inUseUntil() {
				oldest = i
			}
		}
		c := md.cells[oldest]
		if c.busyUntil > now {
			return false
		}
		md.asked = append(md.asked, c.key)
		if !c.twin.busy {
			md.cells = append(md.cells[:oldest], md.cells[oldest+1:]...)
			return true
		}
		c.busyUntil = now + pause
	}
}

// maxProgram is the length after which a program finds nothing new.
const maxProgram = 600

// FuzzMap compares the Map with the model after every step: which cells there
// are, which one a key gets, and who was asked to retire in which order.
func FuzzMap(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0, 2, 1, 1, 0, 3, 2, 40, 0, 4})
	f.Add([]byte{1, 0, 1, 0, 2, 1, 1, 1, 2, 0, 3, 2, 250, 0, 3, 1, 1, 2, 255, 0, 4, 0, 1})
	grows := []byte{39}
	for i := range byte(120) {
		grows = append(grows, 0, i, 0, i/2, i%3, i/3)
	}
	f.Add(grows)
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) == 0 {
			return
		}
		bound := 1 + int(program[0]%40)
		var h host
		m, md := h.newMap(bound), &model{bound: bound}
		now := int64(0)
		for step := program[1:min(len(program), maxProgram)]; len(step) >= 2; step = step[2:] {
			key := strconv.Itoa(int(step[1]))
			switch step[0] % 3 {
			case 0:
				compareGet(t, m, md, key, now)
			case 1:
				if c := md.find(key); c != nil {
					c.twin.busy = !c.twin.busy
				}
			case 2:
				now += int64(step[1]) * pause / 200
			}
			compareAll(t, m, md)
		}
		require.Equal(t, md.asked, h.asked)
	})
}

func compareGet(t *testing.T, m *keyed.Map[state], md *model, key string, now int64) {
	t.Helper()
	known := md.find(key) != nil
	got, want := m.Get(key, now), md.get(key, now)
	overflow, _ := m.Overflow()
	switch {
	case want == nil:
		require.Same(t, overflow, got)
	case known:
		require.Same(t, want.twin, got)
	default:
		require.Equal(t, key, got.key)
		require.False(t, got.busy, "a new key gets a new cell")
		want.twin = got
	}
}

func compareAll(t *testing.T, m *keyed.Map[state], md *model) {
	t.Helper()
	count := 0
	for key, got := range m.All() {
		count++
		want := md.find(key)
		found, ok := m.Lookup(key)
		// Plain, because a thousand of these are one run.
		if want == nil || want.twin != got || !ok || found != got {
			require.Failf(t, "wrong cell", "key %s: want %v, in the range %v, found %v", key, want, got, found)
		}
	}
	require.Equal(t, len(md.cells), m.Len())
	require.Equal(t, len(md.cells), count)
	_, served := m.Overflow()
	require.Equal(t, md.served, served)
}
