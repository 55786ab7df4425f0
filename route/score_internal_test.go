package route

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func defaults(tb testing.TB) *Config {
	tb.Helper()
	cfg := &Config{Names: []string{"shop"}, Hosts: []Host{{Addr: "a"}}}
	require.NoError(tb, cfg.complete())
	return cfg
}

// hostWith is a member as it is after it has been told of latency and troubles.
func hostWith(latency time.Duration, troubles float64, at int64) *member {
	h := &host{addr: "a"}
	h.latency.Store(math.Float64bits(float64(latency)))
	h.usual, h.answered = float64(latency), at
	h.troubles.Store(math.Float64bits(troubles))
	h.heard.Store(at)
	h.since.Store(-int64(time.Hour))
	return &member{host: h, weight: 1, part: 1}
}

func TestFadeIsAnExponential(t *testing.T) {
	const constant = float64(10 * time.Second)
	last := 1.0
	for since := 0.0; since < 100*constant; since += constant / 97 {
		left := fade(1, since, constant)
		assert.InEpsilon(t, math.Exp(-since/constant), left, 0.005)
		assert.LessOrEqual(t, left, last)
		last = left
		rest := rand.Float64() * since
		assert.InEpsilon(t, left, fade(fade(1, rest, constant), since-rest, constant), 0.01, "in two steps as in one")
	}
	assert.Zero(t, fade(1, math.MaxFloat64, constant))
	assert.InDelta(t, 5, fade(5, -1, constant), 0)
	assert.InDelta(t, 5, fade(5, 0, constant), 0)
}

// FuzzLearn holds learn to what a Pool lives by: whatever is known of a host, neither a
// failure nor what the caller gave up makes its score better, at once or ever after.
func FuzzLearn(f *testing.F) {
	f.Add(int64(10e6), 0.0, int64(1e9), int64(2e5), int64(1e9), uint8(2))
	f.Add(int64(0), 0.0, int64(1e9), int64(2e5), int64(60e9), uint8(2))
	f.Add(int64(100e6), 3.0, int64(100e9), int64(0), int64(1), uint8(3))
	f.Add(int64(100e6), 20.0, int64(5e9), int64(1e12), int64(5e9), uint8(4))
	f.Fuzz(func(t *testing.T, latency int64, troubles float64, since, took, later int64, outcome uint8) {
		const longest = int64(24 * time.Hour)
		if latency < 0 || latency > longest || since < 0 || since > longest || took < 0 || took > longest ||
			later < 0 || later > longest || !(troubles >= 0 && troubles <= maxTroubles) {
			return
		}
		o := Outcome(outcome) % (Ignore + 1)
		cfg := defaults(t)
		without, with := hostWith(time.Duration(latency), troubles, 0), hostWith(time.Duration(latency), troubles, 0)
		with.learn(took, since, o, cfg)
		score := with.score(since+later, true, cfg)
		assert.False(t, math.IsNaN(score) || math.IsInf(score, 0) || score < 0, "%v", score)
		if o != Success {
			assert.GreaterOrEqual(t, score*1.01, without.score(since+later, true, cfg)) // fade's error
		}
		if o == Ignore {
			a, b := math.Float64frombits(with.troubles.Load()), math.Float64frombits(without.troubles.Load())
			assert.LessOrEqual(t, a, b, "it is neutral")
			assert.Equal(t, without.patience(since, 1, cfg), with.patience(since, 1, cfg))
		}
		if o != Success && took > latency && latency > 0 {
			assert.InEpsilon(t, float64(took), math.Float64frombits(with.latency.Load()), 1e-9, "it took at least that long")
		}
	})
}

// A host that fails at once, from the first request on, is never as good as one that
// answers, however slow that is within reason.
func TestPitfall17BlackHoleByScore(t *testing.T) {
	cfg := defaults(t)
	black, fine := hostWith(0, 0, 0), hostWith(0, 0, 0)
	now := int64(0)
	fine.learn(int64(80*time.Millisecond), now, Success, cfg)
	for range 100 {
		black.learn(int64(100*time.Microsecond), now, Failure, cfg)
		assert.Greater(t, black.score(now, true, cfg), fine.score(now, true, cfg))
		now += int64(10 * time.Millisecond)
		fine.learn(int64(80*time.Millisecond), now, Success, cfg)
	}
	black.learn(int64(80*time.Millisecond), now, Success, cfg)
	assert.InEpsilon(t, 80e6, math.Float64frombits(black.latency.Load()), 1e-9, "its first success tells how quick it is")
}

func TestPeakIsFollowedAtOnceAndLeftSlowly(t *testing.T) {
	cfg := defaults(t)
	m := hostWith(10*time.Millisecond, 0, 0)
	m.learn(int64(100*time.Millisecond), 1, Success, cfg)
	assert.InEpsilon(t, 100e6, math.Float64frombits(m.latency.Load()), 1e-9)
	now := int64(1)
	for range 1000 {
		now += int64(10 * time.Millisecond)
		m.learn(int64(10*time.Millisecond), now, Success, cfg)
	}
	assert.InEpsilon(t, 10e6+90e6/math.E, math.Float64frombits(m.latency.Load()), 0.05, "after Decay")
}

func TestIsBehindNeedsMoreThanChance(t *testing.T) {
	for _, c := range []struct {
		good, wrong, goodOthers, wrongOthers float64
		want                                 bool
	}{
		{0, 20, 80, 0, true},
		{0, 19, 80, 0, false},   // too few
		{0, 20, 19, 0, false},   // nobody to compare with
		{0, 100, 0, 400, false}, // all fail alike
		{50, 50, 400, 0, true},  // half
		{85, 15, 400, 0, false}, // less than the margin
		{10, 10, 60, 40, false}, // chance
		{100, 100, 600, 400, false},
		{100, 300, 600, 400, true},
		{400, 0, 0, 400, false},
	} {
		assert.Equal(t, c.want, isBehind(c.good, c.wrong, c.goodOthers, c.wrongOthers, 0.2), c)
	}
}
