package budget

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// model is the window as one would first think of it: everything that was ever
// added, with the step it was added in.
type model struct {
	entries []entry
	reserve int64
}

type entry struct{ step, units int64 }

func (m *model) balance(now int64) (units int64) {
	for _, e := range m.entries {
		if now-e.step < steps {
			units += e.units
		}
	}
	return units
}

func (m *model) add(now, units int64) { m.entries = append(m.entries, entry{now, units}) }

func (m *model) take(now int64) bool {
	if m.balance(now)+m.reserve < unit {
		return false
	}
	m.add(now, -unit)
	return true
}

func FuzzWindowAgainstModel(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 9, 1, 0, 1}, int64(100_000), int64(0))
	f.Add([]byte{1, 1, 1, 200, 1, 1, 1}, int64(unit), int64(2*unit))
	f.Fuzz(func(t *testing.T, script []byte, deposit, reserve int64) {
		if deposit < 0 || deposit > unit || reserve < 0 || reserve > 1000*unit {
			t.Skip()
		}
		var w window
		m := model{reserve: reserve}
		now := int64(steps)
		for _, op := range script {
			switch op {
			case 0:
				w.add(now, deposit)
				m.add(now, deposit)
			case 1:
				require.Equal(t, m.take(now), w.take(now, reserve))
			default: // time passes, sometimes by more than a window
				now += int64(op) / 8
			}
			require.Equal(t, m.balance(now), w.balance(now))
			require.Equal(t, m.restingAt(now), w.atRest(now))
		}
	})
}

// restingAt looks at each live step: a deposit and a withdrawal of different
// steps cancel out now, but not for ever.
func (m *model) restingAt(now int64) bool {
	net := map[int64]int64{}
	for _, e := range m.entries {
		if now-e.step < steps {
			net[e.step] += e.units
		}
	}
	for _, units := range net {
		if units != 0 {
			return false
		}
	}
	return true
}

func TestPackKeepsStepAndUnits(t *testing.T) {
	for _, step := range []int64{0, 1, 9, 1<<24 - 1} {
		for _, units := range []int64{0, 1, -1, unit, -unit, maxUnits, -maxUnits} {
			age, got := unpack(pack(step, units), step)
			assert.Zero(t, age)
			assert.Equal(t, units, got)
		}
	}
}

func TestUnitsSaturate(t *testing.T) {
	_, units := unpack(pack(7, math.MaxInt64), 7)
	assert.EqualValues(t, maxUnits, units)
	_, units = unpack(pack(7, math.MinInt64), 7)
	assert.EqualValues(t, -maxUnits, units)
}

func TestAgeOfAStep(t *testing.T) {
	tests := map[string]struct{ written, now, want int64 }{
		"this step":                    {100, 100, 0},
		"a window ago":                 {100, 110, 10},
		"written by a later reading":   {100, 99, -1},
		"across the wrap of 24 bits":   {1<<24 - 1, 1<<24 + 2, 3},
		"half a lifetime ago, not new": {100, 100 + 1<<23 + 1, 1<<23 + 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			age, _ := unpack(pack(tt.written, 1), tt.now)
			assert.Equal(t, tt.want, age)
		})
	}
}

func TestLateCallerChangesNothing(t *testing.T) {
	var w window
	w.add(steps+steps, unit) // somebody is a window further on, in the same cell
	w.add(steps, unit)
	assert.EqualValues(t, unit, w.balance(2*steps))
	assert.False(t, w.take(steps, 0))
}
