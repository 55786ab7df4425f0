package hedge

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

func targetOf(percent float64) *target {
	to := newTarget(percent, DefaultMinDelay, longest)
	return &to
}

// warm returns a tracker that has just come out of its warm-up with this delay.
func warm(to *target, delay time.Duration) *tracker {
	track := new(tracker)
	for range to.warmup {
		track.learn(delay, to)
	}
	return track
}

// requireDelay allows for the rounding of a level to 24 bits.
func requireDelay(t *testing.T, want, got time.Duration) {
	t.Helper()
	require.InEpsilon(t, float64(want), float64(got), 1e-5, "%v instead of %v", got, want)
}

func TestNoDelayInTheWarmUp(t *testing.T) {
	for percent, answers := range map[float64]int{0.01: 100, 0.5: 100, 1: 100, 3: 34, 5: 20, 10: 10, 20: 10, 50: 10, 100: 10} {
		to, track := targetOf(percent), new(tracker)
		for n := range answers {
			require.Zero(t, track.aim(to), "%g %%, after %d answers", percent, n)
			track.learn(20*ms, to)
		}
		requireDelay(t, 20*ms, track.aim(to).delay)
	}
}

func TestFirstDelayIsTheLongestOfTheWarmUp(t *testing.T) {
	to := targetOf(5)
	for at := range int(to.warmup) {
		track := new(tracker)
		for n := range int(to.warmup) {
			if n == at {
				track.learn(300*ms, to)
			} else {
				track.learn(time.Duration(1+n)*ms, to)
			}
		}
		requireDelay(t, 300*ms, track.aim(to).delay)
	}
}

func TestFirstDelayIsWithinBounds(t *testing.T) {
	to := newTarget(5, 10*ms, time.Second)
	for took, want := range map[time.Duration]time.Duration{
		-ms: 10 * ms, 0: 10 * ms, 1: 10 * ms, 9 * ms: 10 * ms, 11 * ms: 11 * ms,
		999 * ms: 999 * ms, 1001 * ms: time.Second, math.MaxInt64: time.Second,
	} {
		requireDelay(t, want, warm(&to, took).aim(&to).delay)
	}
}

func TestFirstDelayOfAnswersThatComeTogether(t *testing.T) {
	to, track := targetOf(1), new(tracker)
	track.learn(ms, to)
	var all sync.WaitGroup
	for worker := 1; worker <= 9; worker++ {
		all.Go(func() {
			for n := 1; n <= 11; n++ {
				track.learn(time.Duration(worker*100+n)*ms, to)
			}
		})
	}
	all.Wait()
	requireDelay(t, 911*ms, track.aim(to).delay)
}

// The tracker is at rest where the share of attempts outlives the delay. See
// FuzzTracker for how far off it may be: here for 2000 hedges, within 4 %.
func TestRestsAtTheQuantile(t *testing.T) {
	// The quantile functions of distributions in milliseconds, by who outlives.
	distributions := map[string]func(share float64) float64{
		"lognormal":   func(p float64) float64 { return 20 * math.Exp(0.8*math.Sqrt2*math.Erfinv(1-2*p)) },
		"exponential": func(p float64) float64 { return 200 * -math.Log(p) },
		"uniform":     func(p float64) float64 { return 40 + 40*(1-p) },
		"pareto":      func(p float64) float64 { return 10 * math.Pow(p, -0.7) },
	}
	for name, quantile := range distributions {
		for _, percent := range []float64{1, 5, 20, 50} {
			t.Run(fmt.Sprintf("%s, %g %%", name, percent), func(t *testing.T) {
				random := rand.New(rand.NewPCG(1, 2))
				to := targetOf(percent)
				track := warm(to, 2*time.Second)
				outlived, calls, levels := 0, 0, 0.0
				for n := range int(2300 / to.share) {
					a := track.aim(to)
					slow := quantile(1-random.Float64()) > float64(a.delay)/float64(ms)
					track.observe(slow, a.level, to)
					if n < int(300/to.share) {
						continue
					}
					calls++
					levels += a.level
					if slow {
						outlived++
					}
				}
				assert.InEpsilon(t, to.share, float64(outlived)/float64(calls), 0.04)
				assert.InDelta(t, math.Log(quantile(to.share)), levels/float64(calls), 0.05)
			})
		}
	}
}

func TestStaysBetweenFloorAndCeiling(t *testing.T) {
	for percent, calls := range map[float64]int{0.01: 150_000, 1: 3_000, 5: 1_000, 50: 1_000, 99: 3_000, 100: 1_000} {
		to := newTarget(percent, 7*ms, 3*time.Second)
		for outlived, want := range map[bool]time.Duration{true: 3 * time.Second, false: 7 * ms} {
			if percent == 100 && outlived {
				continue // it is content with that
			}
			track := warm(&to, 100*ms)
			for range calls {
				track.observe(outlived, track.aim(&to).level, &to)
			}
			at := track.aim(&to)
			requireDelay(t, want, at.delay)
			if percent == 100 {
				continue
			}
			track.observe(!outlived, at.level, &to)
			if outlived {
				assert.Less(t, track.aim(&to).level, at.level, "it can leave the ceiling")
			} else {
				assert.Greater(t, track.aim(&to).level, at.level, "it can leave the floor")
			}
		}
	}
}

// All were measured against the delay of the moment in which the server slowed
// down, or became fast again: that is all that they say.
func TestAttemptsOfOneLevelMoveItByTwoAtMost(t *testing.T) {
	for _, percent := range []float64{1, 5, 20, 50, 99} {
		to := targetOf(percent)
		for outlived, want := range map[bool]time.Duration{true: 200 * ms, false: 50 * ms} {
			track := warm(to, 100*ms)
			from := track.aim(to).level
			for range 3_000 {
				track.observe(outlived, from, to)
			}
			requireDelay(t, want, track.aim(to).delay)
		}
	}
}

func TestNewsOfAnOldLevelDoesNotUndoWhatIsKnownSince(t *testing.T) {
	to := targetOf(5)
	old, now := levelOf(10*ms), levelOf(100*ms)
	after := trackerState{level: float32(now)}.next(true, old, to)
	assert.InDelta(t, now, after.level, 1e-6, "more than twice is known already")
	after = trackerState{level: float32(now)}.next(false, levelOf(time.Second), to)
	assert.InDelta(t, now, after.level, 1e-6, "and so is less than half")
	after = trackerState{level: float32(now)}.next(false, old, to)
	assert.Less(t, float64(after.level), now, "who was faster than 10 ms is faster than 100")
	after = trackerState{level: float32(now)}.next(true, levelOf(time.Second), to)
	assert.Greater(t, float64(after.level), now, "who was slower than a second is slower than 100 ms")
}

// steps returns how far each of n outcomes of one kind moves the level, in ordinary
// steps. Bounds and leaps are out of the way.
func steps(to *target, outlived bool, n int) []float64 {
	to.least, to.most = -100, 100
	ordinary := gain * (1 - to.share)
	if !outlived {
		ordinary = -gain * to.share
	}
	var s trackerState
	var moved []float64
	for range n {
		before := float64(s.level)
		s = s.next(outlived, before, to)
		moved = append(moved, (float64(s.level)-before)/ordinary)
	}
	return moved
}

func TestRunsThatAreRareAccelerate(t *testing.T) {
	slow := steps(targetOf(5), true, 6)
	assert.InDeltaSlice(t, []float64{1, 1, 1, 2, 4, 8}, slow, 1e-3)

	fast := steps(targetOf(5), false, 170)
	assert.InDelta(t, 1, fast[121], 1e-2, "122 in a row are not rare")
	assert.InDelta(t, 2, fast[122], 1e-2)
	assert.InDelta(t, 2, fast[142], 1e-2, "122/6 + 1 steps of the same length")
	assert.InDelta(t, 4, fast[143], 1e-2)
	assert.InDelta(t, 4, fast[163], 1e-2)
	assert.InDelta(t, 8, fast[164], 1e-2)
}

func TestARunEndsWithTheFirstOutcomeOfTheOtherKind(t *testing.T) {
	to := targetOf(5)
	s := trackerState{level: 5}
	for range 10 {
		s = s.next(true, float64(s.level), to)
	}
	s = s.next(false, float64(s.level), to)
	assert.EqualValues(t, -1, s.run)
	before := float64(s.level)
	s = s.next(true, before, to)
	assert.EqualValues(t, 1, s.run)
	assert.InDelta(t, gain*(1-to.share), float64(s.level)-before, 1e-5)
}

// What chance makes does not accelerate: where each share is just what it should
// be, in any regular order, the level ends where it began.
func TestOrdinaryRunsDoNotAccelerate(t *testing.T) {
	for percent, every := range map[float64]int{1: 100, 5: 20, 20: 5, 50: 2} {
		for together := 1; together <= 2; together++ {
			to := targetOf(percent)
			s := trackerState{level: 5}
			for n := range 100 * every * together {
				s = s.next(n%(every*together) < together, float64(s.level), to)
			}
			assert.InDelta(t, 5, s.level, 1e-2, "%g %%, %d in a row", percent, together)
		}
	}
}

func TestFollowsAServiceThatChanges(t *testing.T) {
	to := targetOf(5)
	random := rand.New(rand.NewPCG(3, 4))
	track := warm(to, 50*ms)
	calls := func(n int, median float64) (outlived int) {
		for range n {
			a := track.aim(to)
			slow := median*math.Exp(0.5*random.NormFloat64()) > float64(a.delay)/float64(ms)
			track.observe(slow, a.level, to)
			if slow {
				outlived++
			}
		}
		return outlived
	}
	calls(5_000, 20)
	assert.Less(t, calls(1_000, 80), 100, "four times slower: 50 are due")
	assert.Less(t, calls(1_000, 20_000), 120, "a thousand times slower: 50 are due")
	calls(1_000, 20)
	assert.InDelta(t, 50, calls(1_000, 20), 15, "1000 calls after the end of the stall it is as before")
}

func TestTrackerStaysSaneWhateverHappens(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for _, percent := range []float64{leastPercent, 0.5, 50, 99.99, 100} {
		to := targetOf(percent)
		for _, slow := range []float64{0, 0.001, 0.5, 0.999, 1} {
			s := trackerState{level: float32(to.most)}
			for range 10_000 {
				from := to.least + (to.most-to.least)*random.Float64()
				s = s.next(random.Float64() < slow, from, to)
				within := s.level >= float32(to.least) && s.level <= float32(to.most) // not so for NaN
				if !within || s.run == 0 || s != stateOf(s.word()) {
					t.Fatalf("%+v at %g %%", s, percent)
				}
			}
		}
		for outlived, run := range map[bool]int32{true: math.MaxInt32 - 1, false: -math.MaxInt32} {
			s := trackerState{level: 5, run: run}.next(outlived, 5, to)
			assert.Equal(t, run, s.run, "the length of a run does not overflow")
		}
	}
}

// No outcome may be lost: 8000 fast ones make the same state in any order.
func TestObserversSideBySideLoseNothing(t *testing.T) {
	to := targetOf(1)
	alone, together := warm(to, 50*time.Second), warm(to, 50*time.Second)
	from := -10.0 // so that no leap ends the descent
	for range 8 * 1000 {
		alone.observe(false, from, to)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				together.observe(false, from, to)
			}
		})
	}
	all.Wait()
	assert.Equal(t, stateOf(alone.state.Load()), stateOf(together.state.Load()))
	assert.EqualValues(t, -8000, stateOf(together.state.Load()).run)
}

func TestObserversSideBySideSeeADelayWithinBounds(t *testing.T) {
	to := newTarget(5, 10*ms, time.Second)
	track := new(tracker)
	var all sync.WaitGroup
	for worker := range uint64(8) {
		all.Go(func() {
			random := rand.New(rand.NewPCG(7, worker))
			for range 5000 {
				a := track.aim(&to)
				if a.delay == 0 {
					track.learn(time.Duration(random.Int64N(int64(2*time.Second))), &to)
					continue
				}
				if a.delay < 10*ms-ms/100 || a.delay > time.Second+ms {
					t.Errorf("delay of %v", a.delay)
					return
				}
				track.observe(random.ExpFloat64() > float64(a.delay)/float64(50*ms), a.level, &to)
			}
		})
	}
	all.Wait()
	assert.InDelta(t, 150, track.aim(&to).delay.Milliseconds(), 100, "3 times the mean of 50 ms")
}

func TestRareRun(t *testing.T) {
	for _, c := range []struct {
		chance, odds float64
		want         int32
	}{
		{rareSlow, 0.01, 2},
		{rareSlow, 0.05, 3},
		{rareSlow, 0.2, 6},
		{rareSlow, 0.5, 13},
		{rareSlow, 1, math.MaxInt32},
		{rareFast, 0.99, 619},
		{rareFast, 0.95, 122},
		{rareFast, 0.8, 28},
		{rareFast, 0.5, 9},
		{rareFast, 0, 1},
		{rareFast, -1e-17, 1},
		{rareFast, 1 + 1e-15, math.MaxInt32},
	} {
		assert.Equal(t, c.want, rareRun(c.chance, c.odds), "%g of %g", c.chance, c.odds)
	}
	for _, odds := range []float64{1e-4, 0.003, 0.1, 0.7, 0.9999} {
		run := float64(rareRun(rareSlow, odds))
		assert.LessOrEqual(t, math.Pow(odds, run), rareSlow, "%g", odds)
		assert.Greater(t, math.Pow(odds, run-1), rareSlow, "%g", odds)
	}
}

func TestDoublings(t *testing.T) {
	for _, c := range []struct {
		run, rare, every int32
		want             float64
	}{
		{0, 3, 1, 1},
		{3, 3, 1, 1},
		{4, 3, 1, 2},
		{5, 3, 1, 4},
		{122, 122, 21, 1},
		{123, 122, 21, 2},
		{143, 122, 21, 2},
		{144, 122, 21, 4},
		{22, 3, 1, 1 << 19},
		{23, 3, 1, 1 << 20},
		{24, 3, 1, 1 << 20},
		{math.MaxInt32, 1, 1, 1 << 20},
		{math.MaxInt32, math.MaxInt32, 1, 1},
	} {
		assert.InDelta(t, c.want, doublings(c.run, c.rare, c.every), 0, "%+v", c)
	}
}

func TestAllowanceIsTheShareExactly(t *testing.T) {
	for _, percent := range []float64{0.01, 0.3, 1, 5, 7, 12.5, 20, 33.3, 50, 99.99, 100} {
		const calls = 100_000
		share := targetOf(percent).share
		var a allowance
		taken := 0
		for n := 1; n <= calls; n++ {
			a.add(share)
			if a.take() {
				taken++
			}
			if float64(taken) > share*float64(n)+1e-6 {
				t.Fatalf("%d of %d at %g %%", taken, n, percent)
			}
		}
		assert.InDelta(t, share*calls, taken, 1.2, "%g %%", percent)
	}
}

func TestAllowanceSavesSixty(t *testing.T) {
	takes := func(a *allowance) (n int) {
		for a.take() {
			n++
		}
		return n
	}
	var a allowance
	assert.Zero(t, takes(&a), "a new key has none")
	for range 10_000 {
		a.add(0.05)
	}
	assert.Equal(t, 60, takes(&a))
	for range 19 {
		a.add(0.05)
	}
	assert.Zero(t, takes(&a))
	a.add(0.05)
	assert.Equal(t, 1, takes(&a))
	a.giveBack()
	assert.Equal(t, 1, takes(&a), "one that was not sent")
}

func TestAllowanceIsNeverOverdrawn(t *testing.T) {
	const workers, calls = 8, 5000
	var a allowance
	var taken atomic.Int64
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			for range calls {
				a.add(0.001)
				if !a.take() {
					continue
				}
				if worker%2 == 0 {
					a.giveBack()
				} else {
					taken.Add(1)
				}
			}
		})
	}
	all.Wait()
	left := a.left.Load()
	assert.GreaterOrEqual(t, left, int64(0))
	assert.LessOrEqual(t, taken.Load(), int64(workers*calls/1000))
	assert.EqualValues(t, workers*calls*wholeHedge/1000, taken.Load()*wholeHedge+left, "nothing is lost, nothing made")
}
