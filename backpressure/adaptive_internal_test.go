package backpressure

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const ms = int64(time.Millisecond)

// plant is what an adaptive limit is tried on: calls come one after the other, each
// of them takes what latency says of the limit, and all of it ends at once.
type plant struct {
	a       adaptive
	now     int64
	latency func(limit float64) int64 // ms
	idle    bool                      // nobody waits for a place
	outcome Outcome
}

func newPlant(limit int, latency func(limit float64) int64) *plant {
	return &plant{a: newAdaptive(limit, 2, 1000, 0), latency: latency, outcome: Success}
}

// pooled is a service of so many servers, at 10 ms a call, all of whose callers wait.
func pooled(servers float64) func(float64) int64 {
	return func(limit float64) int64 { return int64(max(limit/servers, 1) * 10) }
}

func always(latency int64) func(float64) int64 { return func(float64) int64 { return latency } }

// window lets as many calls through as it takes for one decision.
func (p *plant) window(t *testing.T) Reason {
	t.Helper()
	epoch := p.a.epoch
	for range 10_000 {
		p.now += 2 * ms
		p.a.asked(!p.idle)
		reason := p.a.done(p.a.epoch, p.latency(p.a.limit)*ms, p.outcome, p.now)
		if p.a.epoch != epoch {
			return reason
		}
	}
	require.Fail(t, "no decision")
	return Unchanged
}

func (p *plant) windows(t *testing.T, n int) (reasons []Reason) {
	t.Helper()
	for range n {
		reasons = append(reasons, p.window(t))
	}
	return reasons
}

// learned is a plant whose baseline is known from when it was not hurried.
func learned(t *testing.T, limit int, latency func(float64) int64) *plant {
	t.Helper()
	p := newPlant(limit, always(10))
	p.idle = true
	p.window(t)
	require.InDelta(t, 10*ms, p.a.baseline, 1)
	p.idle, p.latency = false, latency
	return p
}

func TestAdaptiveCutsAnOverload(t *testing.T) {
	for _, servers := range []float64{1, 4, 8, 50} {
		p := learned(t, 300, pooled(servers))
		p.windows(t, 40)
		for range 200 { // and does not wander off again
			p.window(t)
			assert.LessOrEqual(t, p.a.limit, 2.7*servers+2, "%v servers", servers)
			assert.GreaterOrEqual(t, p.a.limit, max(0.9*servers, 2), "%v servers", servers)
		}
	}
}

func TestPitfallDriftIsNotOverload(t *testing.T) {
	p := learned(t, 30, always(30))
	require.Equal(t, []Reason{Probed, Undone, Probed, Rebased}, p.windows(t, 4))
	assert.Greater(t, p.a.limit, 30.0, "the same throughput takes more places")
	p.windows(t, 20)
	assert.Greater(t, p.a.limit, 100.0)
	assert.GreaterOrEqual(t, 2*p.a.baseline, float64(30*ms), "the baseline has followed")
}

func TestAdaptiveTwoVotesHaveToAgree(t *testing.T) {
	p := learned(t, 30, always(30))
	require.Equal(t, []Reason{Probed, Undone, Probed}, p.windows(t, 3))
	p.latency = always(18) // the second cut does help
	assert.Equal(t, Confirmed, p.window(t))
	assert.InDelta(t, 10*ms, p.a.baseline, 1, "one vote is none")
	assert.Zero(t, p.a.votes)
}

func TestAdaptiveConfirmedCutIsNoDeeperThanNeeded(t *testing.T) {
	p := learned(t, 20, pooled(8)) // 25 ms, where 20 ms are tolerated
	require.Equal(t, []Reason{Probed, Confirmed}, p.windows(t, 2))
	assert.InDelta(t, 20*16.0/25, p.a.limit, 1e-9, "what makes 16 ms of 25")
}

func TestAdaptiveRebasesByAStepAtMost(t *testing.T) {
	p := learned(t, 30, always(1000))
	p.windows(t, 4)
	assert.InDelta(t, 15*ms, p.a.baseline, 1)
	assert.InDelta(t, 45, p.a.limit, 1e-9)
}

func TestAdaptiveNeverChangesWhileUnsaturated(t *testing.T) {
	for _, outcome := range []Outcome{Success, Overload} {
		p := learned(t, 30, always(500))
		p.idle, p.outcome = true, outcome
		for range 50 {
			assert.Equal(t, Unchanged, p.window(t))
		}
		assert.InDelta(t, 30, p.a.limit, 0)
		assert.InDelta(t, 10*ms, p.a.baseline, 1, "it may be an overload that builds up")
	}
}

func TestPitfallLimitCollapseEndsAtTheFloor(t *testing.T) {
	p := learned(t, 30, always(10))
	p.outcome = Overload
	require.Equal(t, Errors, p.window(t))
	p.windows(t, 20)
	assert.InDelta(t, 2, p.a.limit, 0, "floor")

	p = learned(t, 900, always(10))
	require.Equal(t, Grown, p.window(t))
	p.windows(t, 10)
	assert.InDelta(t, 1000, p.a.limit, 0, "ceiling")
	assert.Equal(t, Unchanged, p.window(t), "no event without a change")
}

func TestAdaptiveAtTheFloorBelieves(t *testing.T) {
	p := learned(t, 2, always(100))
	assert.Equal(t, Unchanged, p.window(t), "two calls are not in each other's way")
	assert.InDelta(t, 15*ms, p.a.baseline, 1)
}

func TestAdaptiveCountsOnlyItsEpoch(t *testing.T) {
	p := learned(t, 30, always(10))
	old := p.a.epoch
	p.window(t)
	for range 1000 {
		p.now += ms
		require.Equal(t, Unchanged, p.a.done(old, 1000*ms, Success, p.now))
	}
	assert.Zero(t, p.a.window.calls)
}

func TestAdaptiveWithoutABaselineFindsOne(t *testing.T) {
	p := newPlant(32, pooled(8)) // born into an overload: 40 ms is all that it knows
	p.windows(t, 12)
	assert.LessOrEqual(t, p.a.baseline, float64(13*ms))
	p.windows(t, 50)
	assert.LessOrEqual(t, p.a.limit, 23.0)
}

func TestAdaptiveDoubtsWhatItHasNotSeenForLong(t *testing.T) {
	p := learned(t, 30, pooled(8))
	p.a.baseline = float64(100 * ms) // two unlucky votes, and again
	p.windows(t, doubtful-10)
	require.Greater(t, p.a.limit, 60.0)
	p.windows(t, 40)
	assert.LessOrEqual(t, p.a.limit, 25.0)
	assert.LessOrEqual(t, p.a.baseline, float64(13*ms))
}

func TestAdaptiveClientsThatLeave(t *testing.T) {
	p := learned(t, 32, pooled(1)) // 320 ms, which nobody waits for
	p.outcome = Ignore
	p.windows(t, 8)
	assert.Less(t, p.a.limit, 5.0)

	p = learned(t, 32, always(15))
	p.outcome = Ignore // quick failures say nothing
	for range 1000 {
		p.now += 2 * ms
		p.a.asked(true)
		p.a.done(p.a.epoch, ms, Ignore, p.now)
	}
	assert.Zero(t, p.a.window.calls)
}

func TestPitfallFastFailuresDoNotFlatter(t *testing.T) {
	p := learned(t, 30, always(10))
	for range 30 {
		p.a.asked(true)
		p.a.done(p.a.epoch, 0, Overload, p.now)
	}
	p.window(t)
	assert.InDelta(t, 10*ms, p.a.baseline, 1)
}

func TestAIMDAsksNoQuestions(t *testing.T) {
	p := learned(t, 30, always(30))
	p.a.credulous = true
	for range 3 {
		assert.Equal(t, Cut, p.window(t))
	}
	assert.InDelta(t, 30*cut*cut*cut, p.a.limit, 1e-9)
}

func TestPitfallWindowTooShort(t *testing.T) {
	w := window{calls: windowCalls, samples: windowCalls}
	for i := range windowCalls {
		latency := float64(ms)
		if i == 0 {
			latency *= 200
		}
		w.sum += latency
		w.squares += latency * latency
	}
	assert.False(t, w.full(slowTime-1), "the mean is known to half of it")
	assert.True(t, w.full(slowTime), "but not for ever")
	assert.False(t, (&window{calls: slowCalls - 1}).full(1000*slowTime))
}
