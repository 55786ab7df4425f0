package backpressure

import (
	"cmp"
	"math"
)

// adaptive finds how many calls at a time suit what they call, without being told.
//
// It compares the mean latency of a window of calls with that of an unhurried one,
// the baseline. Latency above the tolerance may mean that too many calls are let in,
// or that the calls have become slower for reasons of their own; the two look alike
// from here, and gradient algorithms, which take one for the other, let good traffic
// starve when a dependency slows down. So the limit is cut for the length of a window,
// and what that does to latency decides: if calls become faster, the cut stands; if
// two cuts in a row change nothing, the baseline was wrong and follows.
//
// Where there is no baseline, because the first calls came into an overload, or none
// that was seen unhurried for a minute, the limit is cut in the same way until that
// changes nothing: what calls take then is the baseline.
//
// It is pure: time comes as an argument, and who holds it holds a lock.
type adaptive struct {
	limit          float64
	floor, ceiling float64
	credulous      bool    // AIMD: slow calls are too many calls, no questions asked
	baseline       float64 // ns; 0 if it is not known
	hurried        int     // windows since the limit was last out of reach

	window window
	epoch  uint32 // of the window

	probing bool
	before  float64 // mean latency before the cut
	undo    float64 // limit before the cut
	votes   int     // cuts in a row that changed nothing
}

// window collects what a decision is made of: the calls that were let in since the
// one before. With others, a decision would be judged by calls that have not felt it,
// and taken a second and a third time before its effect is seen.
type window struct {
	begun     int64
	wanted    int // calls that wanted in
	saturated int // of those: when the limit was reached

	calls    int // that are back
	overload int // of those
	samples  int // of latency
	sum      float64
	squares  float64
}

const (
	tolerance = 2.0 // times the baseline
	cut       = 0.6
	// A cut that is to blame for the latency makes calls faster by as much as it
	// takes away; half of that, as a ratio, is enough to believe it.
	believed = 0.78

	windowTime  = int64(100e6) // ns
	windowCalls = 64
	// The mean of a window is to be known to a tenth (its standard error): the more
	// calls differ, the more of them it takes. Where they are few, this is given up.
	precision = 0.1
	mostCalls = 512
	slowTime  = int64(4e9)
	slowCalls = 10

	margin    = 0.8 // of the tolerance: at more, chance alone would call the next probe
	maxRebase = 1.5
	doubtful  = 512 // windows, a minute or more, for which a baseline is believed unseen
)

func newAdaptive(start, floor, ceiling int, now int64) adaptive {
	return adaptive{
		limit: float64(start), floor: float64(floor), ceiling: float64(ceiling),
		window: window{begun: now},
	}
}

// asked notes that a call wanted in, and whether the limit was reached by then.
func (a *adaptive) asked(saturated bool) {
	a.window.wanted++
	if saturated {
		a.window.saturated++
	}
}

// done takes a call that was admitted in an epoch, and returns why the limit has
// changed, if it has.
func (a *adaptive) done(epoch uint32, latency int64, o Outcome, now int64) Reason {
	if epoch != a.epoch || o == Ignore && !a.tells(latency) {
		return Unchanged
	}
	w := &a.window
	w.calls++
	if o == Overload {
		w.overload++
	}
	if o == Success || a.tells(latency) {
		w.samples++
		w.sum += float64(latency)
		w.squares += float64(latency) * float64(latency)
	}
	if !w.full(now) {
		return Unchanged
	}
	reason := a.decide()
	a.window = window{begun: now}
	a.epoch++
	return reason
}

// tells reports whether the latency of a call that failed means something. To have
// been quick does not, but to have been slow does: clients that leave before they are
// answered would hide the overload that drives them away.
func (a *adaptive) tells(latency int64) bool {
	if a.baseline == 0 {
		return latency > windowTime
	}
	return float64(latency) > tolerance*a.baseline
}

// full reports whether the window says enough to decide.
func (w *window) full(now int64) bool {
	age := now - w.begun
	if age < windowTime || w.calls < slowCalls || age < slowTime && w.calls < windowCalls {
		return false
	}
	mean, deviation := w.mean()
	if float64(age) < 2*mean {
		return false // only the quick ones are back
	}
	return deviation <= precision*mean || w.calls >= mostCalls || age >= slowTime
}

// mean returns the mean latency and its standard error.
func (w *window) mean() (mean, deviation float64) {
	if w.samples == 0 {
		return 0, 0
	}
	n := float64(w.samples)
	mean = w.sum / n
	return mean, math.Sqrt(max(w.squares/n-mean*mean, 0) / n)
}

// decide closes a window.
func (a *adaptive) decide() Reason {
	w := &a.window
	mean, deviation := w.mean()
	saturated := 8*w.saturated >= w.wanted
	if a.hurried++; !saturated {
		a.hurried = 0
	}
	switch {
	case saturated && 2*w.overload > w.calls:
		a.probing, a.votes = false, 0
		return a.set(a.limit*cut, Errors)
	case w.samples == 0:
		return Unchanged
	case a.probing:
		return a.judge(mean)
	case !saturated: // the limit is not what holds calls back
		a.votes = 0
		a.follow(mean, deviation)
		return Unchanged
	case a.slow(mean):
		return a.probe(mean)
	default:
		a.votes = 0
		a.follow(mean, deviation)
		return a.set(a.limit+math.Sqrt(a.limit), Grown)
	}
}

// slow reports whether there may be too many calls at a time.
func (a *adaptive) slow(mean float64) bool {
	if a.credulous {
		return a.baseline > 0 && mean > tolerance*a.baseline
	}
	return a.doubted() || mean > tolerance*a.baseline
}

// doubted reports whether the baseline has been believed for too long. What two
// unlucky votes have put too high would otherwise never come down in an overload that
// lasts.
func (a *adaptive) doubted() bool { return a.hurried > doubtful }

// follow moves the baseline down to what is faster for certain. It never moves up by
// itself: what creeps up while the limit is out of reach may be an overload that
// builds up, and a baseline that went with it would never show it.
func (a *adaptive) follow(mean, deviation float64) {
	if a.baseline == 0 {
		a.baseline = mean
	}
	a.baseline += 0.2 * min(mean+2*deviation-a.baseline, 0)
}

// probe cuts the limit to see whether that makes calls faster.
func (a *adaptive) probe(mean float64) Reason {
	if a.credulous {
		return a.set(a.limit*cut, Cut)
	}
	if a.limit*cut < a.floor { // so few calls are not in each other's way
		a.rebase(mean)
		return Unchanged
	}
	a.probing, a.before, a.undo = true, mean, a.limit
	return a.set(a.limit*cut, Probed)
}

// judge ends a probe.
func (a *adaptive) judge(mean float64) Reason {
	a.probing = false
	if mean < believed*a.before {
		a.votes = 0
		return a.confirm()
	}
	if a.votes++; a.votes < 2 {
		return a.set(a.undo, Undone)
	}
	a.votes = 0
	return a.set(a.undo*a.rebase(mean), Rebased)
}

// confirm lets a cut stand, and takes back what is too much of it: as latency goes
// with the number of calls, it is known how many of them the tolerance has room for.
func (a *adaptive) confirm() Reason {
	if a.baseline > 0 && !a.doubted() {
		a.set(max(a.undo*margin*tolerance*a.baseline/a.before, a.limit), Confirmed)
	}
	return Confirmed
}

// rebase believes that calls take longer now, a step at a time, and returns how many
// times longer: the same throughput takes as many times the places.
func (a *adaptive) rebase(mean float64) float64 {
	if a.baseline == 0 || a.doubted() {
		a.baseline = min(cmp.Or(a.baseline, mean), mean)
		a.hurried = 0
		return 1
	}
	was := a.baseline
	a.baseline = min(max(mean/(margin*tolerance), was), maxRebase*was)
	return a.baseline / was
}

// set changes the limit.
func (a *adaptive) set(limit float64, reason Reason) Reason {
	limit = min(max(limit, a.floor), a.ceiling)
	if limit == a.limit {
		return Unchanged
	}
	a.limit = limit
	return reason
}
