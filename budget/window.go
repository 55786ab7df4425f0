package budget

import "sync/atomic"

// unit is one extra attempt. Balances are integers in millionths, so that ten
// deposits of 0.1 make exactly one.
const unit = 1_000_000

// steps is the number of steps in a window.
const steps = 10

// window is the balance of one key: what requests have paid in during the
// window, less what was taken out of that, and beside it the floor.
//
// Withdrawals take the oldest deposits first. So all deposits ever made are
// thought of as one line: a withdrawal moves taken forward along it, time moves
// the line's live end, and the balance is what lies beyond both.
//
//	paid in: |··expired··|···taken···|·····balance·····|
//	         0                     taken              total
//
// The rejected alternative, to count deposits less withdrawals in each step, is
// simpler and wrong: what was withdrawn in a burst then weighs until the burst
// leaves the window, when all of it can be withdrawn at once again, so that an
// outage sees the retries of a whole window in one second out of ten.
//
// All methods take the time in nanoseconds; none reads a clock. They are
// lock-free. A caller whose reading is older than the window by the time it gets
// here changes nothing.
type window struct {
	step     [steps]atomic.Uint64 // packed: which step, and what was paid in during it
	archived atomic.Int64         // units of steps that were overwritten
	taken    atomic.Int64
	floor    atomic.Int64 // when the floor was last empty, see takeFloor
	claims   atomic.Int64

	granted, refused atomic.Uint64
}

// terms are what a window is told of its Config, and the same for all windows.
type terms struct {
	step    int64 // ns
	deposit int64 // units a request pays
	free    int64 // ns in which the floor grows by one attempt; 0 is no floor
}

func (t *terms) window() int64 { return t.step * steps }

// A packed step holds its number in the high 24 bits and its units in the low
// 40, so that one compare-and-swap changes both. Numbers wrap after 2^24 steps
// (194 days at the default TTL); a key would have to stay unused for just that
// long, to the step, for an old step to be taken for a live one. Units saturate
// at a million attempts per step.
const (
	unitBits = 40
	maxUnits = 1<<unitBits - 1
	stepMask = 1<<(64-unitBits) - 1
)

func pack(step, units int64) uint64 {
	return uint64(step)<<unitBits | uint64(min(units, maxUnits)) //nolint:gosec // neither is negative
}

// unpack returns how many steps ago word was written, seen from now, and its
// units. The age is negative if word was written by somebody with a later clock
// reading, which is a matter of moments; anything else is old.
func unpack(word uint64, now int64) (age, units int64) {
	age = (now - int64(word>>unitBits)) & stepMask
	if age > stepMask-2*steps {
		age -= stepMask + 1
	}
	return age, int64(word & maxUnits)
}

// number is that of the step at now. Numbers begin at one window, so that no
// step is taken for the zero word of a window never used.
func (t *terms) number(now int64) int64 { return now/t.step + steps }

// deposit pays in for one request.
func (w *window) deposit(now int64, t *terms) {
	number := t.number(now)
	cell := &w.step[number%steps]
	for {
		word := cell.Load()
		age, units := unpack(word, number)
		if age < 0 {
			return // this caller is a whole window late
		}
		if age == 0 {
			if cell.CompareAndSwap(word, pack(number, units+t.deposit)) {
				return
			}
		} else if cell.CompareAndSwap(word, pack(number, t.deposit)) {
			w.archived.Add(units)
			return
		}
	}
}

// line returns the ends of the line of deposits: where the live part begins,
// and the total. Archived is read first: a step that is overwritten meanwhile
// may then be missed for a moment, in which a withdrawal may be forgotten, one
// for each caller in flight. Counted twice, it would lock out what was paid in.
func (w *window) line(now int64, t *terms) (live, total int64) {
	total = w.archived.Load()
	number, fresh := t.number(now), int64(0)
	for i := range w.step {
		age, units := unpack(w.step[i].Load(), number)
		total += units
		if age < steps { // a later reading than ours is fresh, too
			fresh += units
		}
	}
	return total - fresh, total
}

// takeDeposit takes one attempt out of the deposits, if there is one.
func (w *window) takeDeposit(now int64, t *terms) bool {
	for {
		taken := w.taken.Load()
		live, total := w.line(now, t)
		next := max(taken, live) + unit
		if next > total {
			return false
		}
		if w.taken.CompareAndSwap(taken, next) {
			return true
		}
	}
}

// takeFloor takes one attempt out of the floor: a bucket that gains one every
// t.free nanoseconds, up to a window's worth. It is kept as the moment at which
// it was last empty (the virtual scheduling of GCRA, ITU-T I.371), so that one
// word holds it. With force it takes one even from an empty floor, which then
// owes it; more than one it does not owe, so that deposits spent in a burst do
// not take the floor away for long.
func (w *window) takeFloor(now int64, t *terms, force bool) bool {
	if t.free == 0 {
		return false
	}
	for {
		empty := w.floor.Load()
		next := max(empty, now-t.window()) + t.free
		if next > now {
			if !force {
				return false
			}
			next = max(empty, min(next, now+t.free))
		}
		if w.floor.CompareAndSwap(empty, next) {
			return true
		}
	}
}

// take withdraws one attempt. Whoever pays, the floor is used up by it: the
// floor is what a key has at least, not what it has on top.
func (w *window) take(now int64, t *terms) bool {
	switch {
	case w.takeDeposit(now, t):
		w.takeFloor(now, t, true)
	case w.takeFloor(now, t, false):
	default:
		w.refused.Add(1)
		return false
	}
	w.granted.Add(1)
	return true
}

// balance is what could be withdrawn at now, in units.
func (w *window) balance(now int64, t *terms) int64 {
	live, total := w.line(now, t)
	deposits := max(total-max(w.taken.Load(), live), 0)
	if t.free == 0 {
		return deposits
	}
	grown := max(min(now-w.floor.Load(), t.window()), 0)
	return max(deposits, grown/t.free*unit)
}

// claim reserves a place for a withdrawal to come, if there is more than what
// earlier claims will want.
func (w *window) claim(now int64, t *terms) bool {
	for {
		claims := w.claims.Load()
		if w.balance(now, t) < (claims+1)*unit {
			w.refused.Add(1)
			return false
		}
		if w.claims.CompareAndSwap(claims, claims+1) {
			return true
		}
	}
}

// atRest reports whether the window is as good as new.
func (w *window) atRest(now int64, t *terms) bool {
	live, total := w.line(now, t)
	return live == total && w.claims.Load() == 0 && (t.free == 0 || now-w.floor.Load() >= t.window())
}
