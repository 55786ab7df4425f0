package budget

import "sync/atomic"

// unit is one extra attempt. Balances are integers in millionths, so that ten
// deposits of 0.1 make exactly one.
const unit = 1_000_000

// steps is the number of steps in a window.
const steps = 10

// window is the balance of one key: deposits less withdrawals, by the step of
// the window in which they were made. A step leaves as a whole, deposits and
// withdrawals alike, which makes the rule in the package doc exact for every
// run of ten steps.
//
// The rejected alternative is one balance that decays: a word less to store,
// but then what was spent is forgotten at the same rate as what was earned, and
// no bound can be stated.
//
// All methods take the number of the current step; none reads a clock. They are
// lock-free. A caller whose clock reading is older than the window by the time
// it gets here changes nothing.
type window struct {
	step             [steps]atomic.Uint64 // packed: which step, and its net units
	granted, refused atomic.Uint64
}

// A packed step holds its number in the high 24 bits and its net units in the
// low 40, so that one compare-and-swap changes both. Numbers wrap after 2^24
// steps (194 days at the default TTL); a key would have to stay unused for just
// that long, to the step, for an old step to be taken for a live one. Units
// saturate at 549,755 attempts per step.
const (
	unitBits = 40
	maxUnits = 1<<(unitBits-1) - 1
	stepMask = 1<<(64-unitBits) - 1
)

func pack(step, units int64) uint64 {
	units = max(min(units, maxUnits), -maxUnits)
	return uint64(step)<<unitBits | uint64(units)&(1<<unitBits-1) //nolint:gosec // two's complement on purpose
}

// unpack returns how many steps ago word was written, seen from now, and its
// units. The age is negative if word was written by somebody with a later clock
// reading, which is a matter of moments; anything else is old.
func unpack(word uint64, now int64) (age, units int64) {
	age = (now - int64(word>>unitBits)) & stepMask
	if age > stepMask-2*steps {
		age -= stepMask + 1
	}
	return age, int64(word<<(64-unitBits)) >> (64 - unitBits) //nolint:gosec // sign extension on purpose
}

// add puts units into the current step.
func (w *window) add(now, units int64) {
	cell := &w.step[now%steps]
	for {
		word := cell.Load()
		age, have := unpack(word, now)
		if age < 0 {
			return // this caller is a whole window late
		}
		if age > 0 {
			have = 0 // a step of an earlier window
		}
		if cell.CompareAndSwap(word, pack(now, have+units)) {
			return
		}
	}
}

// balance is what the live steps hold together.
func (w *window) balance(now int64) (units int64) {
	for i := range w.step {
		if age, have := unpack(w.step[i].Load(), now); age >= 0 && age < steps {
			units += have
		}
	}
	return units
}

// take withdraws one attempt if the balance and reserve cover it. Of callers
// that race for the last one, one gets it: each has read the current step
// before the others, and swaps it only if it is still the same. Two callers on
// the two sides of a step's end do not see each other, and may overdraw by one.
func (w *window) take(now, reserve int64) bool {
	cell := &w.step[now%steps]
	for {
		word := cell.Load()
		if w.balance(now)+reserve < unit {
			w.refused.Add(1)
			return false
		}
		age, have := unpack(word, now)
		if age < 0 {
			w.refused.Add(1)
			return false
		}
		if age > 0 {
			have = 0
		}
		if cell.CompareAndSwap(word, pack(now, have-unit)) {
			w.granted.Add(1)
			return true
		}
	}
}

// atRest reports whether the window is empty, as if new.
func (w *window) atRest(now int64) bool {
	for i := range w.step {
		if age, have := unpack(w.step[i].Load(), now); age < steps && have != 0 {
			return false
		}
	}
	return true
}
