package budget

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// model is the window as one would first think of it: every deposit on its own,
// with the step it was made in.
type model struct {
	terms
	deposits []modelDeposit // the oldest first
	floor    int64          // in thousandths of a millionth, so that it stays exact
	at       int64
}

type modelDeposit struct{ step, units int64 }

func (m *model) pass(now int64) {
	if m.free != 0 {
		m.floor = min(m.floor+(now-m.at), m.window())
	}
	m.at = now
	for len(m.deposits) > 0 && m.number(now)-m.deposits[0].step >= steps {
		m.deposits = m.deposits[1:]
	}
}

func (m *model) saved() (units int64) {
	for _, d := range m.deposits {
		units += d.units
	}
	return units
}

func (m *model) take() bool {
	paid := m.saved() >= unit
	if !paid && (m.free == 0 || m.floor < m.free) {
		return false
	}
	m.floor = max(m.floor-m.free, min(m.floor, -m.free)) // it owes one at most
	for rest := int64(unit); paid && rest > 0; {
		part := min(rest, m.deposits[0].units)
		rest -= part
		if m.deposits[0].units -= part; m.deposits[0].units == 0 {
			m.deposits = m.deposits[1:]
		}
	}
	return true
}

func (m *model) balance() int64 {
	if m.free == 0 {
		return m.saved()
	}
	return max(m.saved(), max(m.floor, 0)/m.free*unit)
}

func FuzzWindowAgainstModel(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 9, 1, 0, 1}, int64(100_000), int64(0))
	f.Add([]byte{1, 1, 1, 200, 1, 1, 1}, int64(unit), int64(150))
	f.Add([]byte{0, 0, 0, 0, 255, 0, 0, 1, 1, 1, 255, 0, 1, 1}, int64(700_000), int64(1000))
	f.Fuzz(func(t *testing.T, script []byte, deposit, free int64) {
		if deposit < 0 || deposit > unit || free < 0 || free > 1000 {
			t.Skip()
		}
		// With some 10^5 deposits the model is slow, with as many leaps in time step numbers wrap.
		script = script[:min(len(script), 2000)]
		told := terms{step: 100, deposit: deposit, free: free}
		var w window
		w.floor.Store(-told.window())
		m := model{terms: told, floor: told.window()}
		now := int64(0)
		for _, op := range script {
			switch op {
			case 0:
				w.deposit(now, &told)
				m.deposits = append(m.deposits, modelDeposit{m.number(now), deposit})
			case 1:
				require.Equal(t, m.take(), w.take(now, &told))
			default: // time passes, sometimes by more than a window
				now += int64(op) * int64(op) / 8
				m.pass(now)
			}
			require.Equal(t, m.balance(), w.balance(now, &told))
		}
	})
}

func TestPackKeepsStepAndUnits(t *testing.T) {
	for _, step := range []int64{0, 1, 9, 1<<24 - 1} {
		for _, units := range []int64{0, 1, unit, maxUnits} {
			age, got := unpack(pack(step, units), step)
			assert.Zero(t, age)
			assert.Equal(t, units, got)
		}
	}
	_, units := unpack(pack(7, maxUnits+1), 7)
	assert.EqualValues(t, maxUnits, units, "saturates")
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
	told := terms{step: 100, deposit: unit}
	w.deposit(1000, &told) // somebody is a window further on, in the same cell
	w.deposit(0, &told)
	assert.EqualValues(t, unit, w.balance(1000, &told))
}
