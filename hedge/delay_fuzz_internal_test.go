package hedge

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// piece is a time in which the answers of a service come from one distribution.
type piece struct{ shape, scale, slow byte }

// draw returns a time to answer in milliseconds.
func (p piece) draw(random *rand.Rand, share float64) float64 {
	scale := 0.1 * math.Exp2(float64(p.scale%16))
	switch p.shape % 7 {
	case 0: // all alike
		return scale
	case 1:
		return scale * random.ExpFloat64()
	case 2:
		return scale * (1 + random.Float64())
	case 3: // a tail so long that it has no mean
		return scale * math.Pow(1-random.Float64(), -1.1)
	case 4: // most calls hang
		if random.Float64() < 0.9 {
			return math.Inf(1)
		}
		return scale
	case 5: // two humps, and the gap between them about where the delay is looked for
		if random.Float64() < share*(0.5+float64(p.slow)/200) {
			scale *= 2 + float64(p.slow%64)
		}
		return scale * math.Exp(0.1*random.NormFloat64())
	default:
		return scale * math.Exp(float64(p.slow%8)/5*random.NormFloat64())
	}
}

// stretch is what became of the calls at the end of a piece.
type stretch struct {
	times, levels     []float64 // of calls that had a delay
	outlived          int
	low, top          float64 // of the levels
	shortest, longest time.Duration
}

func newStretch() *stretch {
	return &stretch{low: math.Inf(1), top: math.Inf(-1), shortest: math.MaxInt64}
}

// call makes one, and tells the tracker of it.
func (s *stretch) call(track *tracker, to *target, ms float64) {
	a := track.aim(to)
	if a.delay == 0 {
		track.learn(time.Duration(min(ms, 1e12)*float64(time.Millisecond)), to)
		return
	}
	outlived := ms*float64(time.Millisecond) > float64(a.delay)
	track.observe(outlived, a.level, to)
	s.times = append(s.times, ms)
	s.levels = append(s.levels, a.level)
	s.low, s.top = min(s.low, a.level), max(s.top, a.level)
	s.shortest, s.longest = min(s.shortest, a.delay), max(s.longest, a.delay)
	if outlived {
		s.outlived++
	}
}

// quantile returns the exact level that so many outlive as have these odds, times
// the odds of the share. The times must be sorted.
func (s *stretch) quantile(to *target, times float64) float64 {
	odds := to.share / (1 - to.share) * times
	at := int(float64(len(s.times)) / (1 + odds))
	return to.clamp(math.Log(s.times[min(at, len(s.times)-1)]))
}

// requireWithin allows for the rounding of a level to 24 bits, and of a delay to
// nanoseconds.
func requireWithin(t *testing.T, s *stretch, least, most time.Duration) {
	t.Helper()
	const rounding = 1e-6
	require.False(t, math.IsNaN(s.low) || math.IsNaN(s.top))
	require.GreaterOrEqual(t, float64(s.shortest), float64(least)*(1-rounding)-1)
	require.LessOrEqual(t, float64(s.longest), float64(most)*(1+rounding)+1)
}

// The tracker against exact quantiles, of services that change without notice.
// 200 hedges' worth of calls are enough to settle, after which for 400 more:
//
//   - the level stays between the exact quantiles of four times and of a quarter
//     the share (as odds), give or take a factor of e, but for a twentieth of the
//     calls at either end: rare runs that chance does make take it beyond. At 50 %
//     that is one stretch in 10 000, for a hundredth of its calls, and a fuzzer
//     meets it. None was beyond a factor of e^2;
//   - the hedges are the share of the calls, but for range/gain of them. That is
//     arithmetic: each hedge raises the level by gain and each call lowers it by
//     gain × share, so that gain × (hedges − share × calls) is how far the level
//     has come in the end, which is within its range. Only long runs, whose steps
//     are larger, are not covered: they are what the factor of e is for.
//
// Where the floor or the ceiling keeps the delay from its place, there may be
// fewer hedges, or more.
func FuzzTracker(f *testing.F) {
	f.Add(uint64(1), uint16(500), byte(1), []byte("\x06\x08\x04\x06\x0a\x04\x06\x08\x04")) // slower by four, and back
	f.Add(uint64(2), uint16(500), byte(1), []byte("\x06\x07\x02\x04\x07\x00\x06\x07\x02")) // a stall
	f.Add(uint64(3), uint16(500), byte(0), []byte("\x05\x07\x64\x05\x07\x6e\x05\x07\x5a")) // a gap at, above and below
	f.Add(uint64(4), uint16(100), byte(1), []byte("\x03\x04\x00\x00\x0c\x00"))
	f.Add(uint64(5), uint16(2000), byte(2), []byte("\x01\x08\x00\x02\x00\x00\x01\x0f\x00")) // below the floor, above the ceiling
	f.Add(uint64(6), uint16(5000), byte(0), []byte("\x06\x00\x07\x00\x0f\x00\x01\x00\x00"))
	for _, chance := range []struct { // runs of outcomes take the level beyond its place, below and above
		seed       uint64
		hundredths uint16
		bound      byte
		script     string
	}{
		{12893692123707252753, 4798, 0, "\x02\x0c\x79\x03\x00\x2f\x02\x09\x34\x06\x04\x8f"},
		{3336800399435994428, 2449, 0, "\x06\x0e\x07"},
		{8227035361976840287, 3472, 1, "\x06\x0c\x05\x01\x0e\x35"},
	} {
		f.Add(chance.seed, chance.hundredths, chance.bound, []byte(chance.script))
	}
	bounds := [][2]time.Duration{
		{time.Microsecond, longest},
		{DefaultMinDelay, longest},
		{5 * time.Millisecond, 200 * time.Millisecond},
	}
	f.Fuzz(func(t *testing.T, seed uint64, hundredths uint16, bound byte, script []byte) {
		const settles, stays = 200, 400 // hedges
		within := bounds[int(bound)%len(bounds)]
		to := newTarget(1+float64(hundredths%4901)/100, within[0], within[1])
		random := rand.New(rand.NewPCG(seed, 0))
		track := new(tracker)
		for n := 0; n < 4 && len(script) >= 3; n++ {
			now := piece{script[0], script[1], script[2]}
			script = script[3:]
			moving, settled := newStretch(), newStretch()
			for range int(settles / to.share) {
				moving.call(track, &to, now.draw(random, to.share))
			}
			for range int(stays / to.share) {
				settled.call(track, &to, now.draw(random, to.share))
			}
			requireWithin(t, moving, within[0], within[1])
			requireWithin(t, settled, within[0], within[1])
			requireSettled(t, settled, &to, now)
		}
	})
}

func requireSettled(t *testing.T, s *stretch, to *target, p piece) {
	t.Helper()
	const slack, beyond = 1, 4
	slices.Sort(s.times)
	slices.Sort(s.levels)
	low, top := s.quantile(to, 4), s.quantile(to, 1.0/4)
	rare := len(s.levels) / 20
	require.GreaterOrEqual(t, s.levels[rare], low-slack, "%v at %v", p, to.share)
	require.LessOrEqual(t, s.levels[len(s.levels)-1-rare], top+slack, "%v at %v", p, to.share)
	require.GreaterOrEqual(t, s.low, low-beyond, "%v at %v", p, to.share)
	require.LessOrEqual(t, s.top, top+beyond, "%v at %v", p, to.share)

	due, mayDiffer := to.share*float64(len(s.times)), (top-low+slack)/gain
	if top < to.most {
		require.LessOrEqual(t, float64(s.outlived), due+mayDiffer, "%v at %v", p, to.share)
	}
	if low > to.least {
		require.GreaterOrEqual(t, float64(s.outlived), due-mayDiffer, "%v at %v", p, to.share)
	}
}
