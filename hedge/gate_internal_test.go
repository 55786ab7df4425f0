package hedge

import (
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/outcome"
)

func tell(g *gate, attempts int, f facts) {
	for range attempts {
		g.learn(&f, 0)
	}
}

func good() facts  { return facts{kind: outcome.OK, status: http.StatusOK} }
func wrong() facts { return facts{kind: outcome.Broken} }

func TestGateClosesAboveTwentyPercentOfErrors(t *testing.T) {
	var g gate
	assert.Equal(t, allowed, g.closed(0))
	tell(&g, 1000, good())
	for range 7 {
		tell(&g, 1, wrong())
		require.Equal(t, allowed, g.closed(0), "%g", g.errorRate())
	}
	tell(&g, 1, wrong())
	assert.Equal(t, TooManyErrors, g.closed(0))
	assert.Greater(t, g.errorRate(), 0.2)

	tell(&g, 1, good())
	assert.LessOrEqual(t, g.errorRate(), 0.25)
	tell(&g, 3, good())
	assert.Equal(t, allowed, g.closed(0), "it opens as soon as the rate is below, and stays open")
	tell(&g, 100, good())
	assert.Equal(t, allowed, g.closed(0))
}

func TestGateHeedsABlipByNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	var g gate
	for range 100 {
		for range 300 {
			f := good()
			if random.Float64() < 0.01 {
				f = wrong()
			}
			tell(&g, 1, f)
		}
		tell(&g, 64, good()) // so that chance has no part in what follows
		tell(&g, 5, wrong())
		require.Equal(t, allowed, g.closed(0), "%g", g.errorRate())
	}
}

func TestGateOpensAfterAnOutage(t *testing.T) {
	var g gate
	tell(&g, 10_000, wrong())
	assert.InDelta(t, 1, g.errorRate(), 1e-9)
	needed := 0
	for ; g.closed(0) == TooManyErrors; needed++ {
		tell(&g, 1, good())
	}
	assert.Equal(t, 51, needed, "good attempts in a row: 32 × ln 5")
}

func TestErrorRateIsTheShareOfLate(t *testing.T) {
	for _, rate := range []float64{0.02, 0.1, 0.5} {
		random := rand.New(rand.NewPCG(2, 2))
		var g gate
		sum := 0.0
		for range 50_000 {
			g.attempted(random.Float64() < rate)
			sum += g.errorRate()
		}
		assert.InEpsilon(t, rate, sum/50_000, 0.05)
	}
}

// Calls that are answered in time must not all write to one cache line.
func TestErrorRateComesToRest(t *testing.T) {
	var g gate
	tell(&g, 100, wrong())
	tell(&g, 500, good())
	assert.Zero(t, g.errors.Load())
	assert.False(t, math.Signbit(g.errorRate()))
}

func TestWhatCountsAsAnError(t *testing.T) {
	for name, c := range map[string]struct {
		facts  facts
		counts bool
	}{
		"200":                     {good(), false},
		"404":                     {facts{kind: outcome.ClientError, status: 404}, false},
		"501":                     {facts{kind: outcome.ServerError, status: 501}, false},
		"429":                     {facts{kind: outcome.Throttled, status: 429}, true},
		"500":                     {facts{kind: outcome.ServerError, status: 500}, true},
		"503":                     {facts{kind: outcome.ServerError, status: 503}, true},
		"timeout":                 {facts{kind: outcome.Timeout}, true},
		"broken":                  {wrong(), true},
		"unsent":                  {facts{kind: outcome.Unsent}, false},
		"refused":                 {facts{kind: outcome.Refused}, false},
		"refused, with a hint":    {facts{kind: outcome.Refused, hint: time.Second, hinted: true}, false},
		"canceled":                {facts{kind: outcome.Canceled}, false},
		"canceled, judged a fail": {facts{kind: outcome.Canceled, judged: Fail}, false},
		"200, judged a fail":      {facts{kind: outcome.OK, status: 200, judged: Fail}, true},
		"503, judged good":        {facts{kind: outcome.ServerError, status: 503, judged: Accept}, false},
		"broken, judged good":     {facts{kind: outcome.Broken, judged: Accept}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var g gate
			tell(&g, 100, c.facts)
			if !c.counts {
				assert.Zero(t, g.errorRate())
			} else {
				assert.Greater(t, g.errorRate(), 0.9)
			}
			assert.Equal(t, c.facts.pushesBack(), g.until.Load() > 0)
		})
	}
}

// What says nothing does not speak for the server either.
func TestAttemptsThatDidNotReachTheServerDoNotReopenTheGate(t *testing.T) {
	for _, kind := range []outcome.Kind{outcome.Unsent, outcome.Refused, outcome.Canceled} {
		var g gate
		tell(&g, 100, wrong())
		before := g.errorRate()
		tell(&g, 1000, facts{kind: kind})
		assert.InDelta(t, before, g.errorRate(), 0, kind)
		assert.Equal(t, TooManyErrors, g.closed(0), kind)
	}
}

func TestPushbackLastsAsLongAsTheServerAsks(t *testing.T) {
	busy := facts{kind: outcome.Throttled, status: 429}
	later := func(f facts, wait time.Duration) facts {
		f.hint, f.hinted = wait, true
		return f
	}
	unavailable := facts{kind: outcome.ServerError, status: 503}
	for name, c := range map[string]struct {
		facts facts
		lasts time.Duration
	}{
		"429":                              {busy, time.Second},
		"429, Retry-After: 7":              {later(busy, 7*time.Second), 7 * time.Second},
		"429, Retry-After: 0.1":            {later(busy, 100*ms), 100 * ms},
		"429, Retry-After: 30":             {later(busy, 30*time.Second), 30 * time.Second},
		"429, Retry-After: 31":             {later(busy, 31*time.Second), 30 * time.Second},
		"503, Retry-After: 3":              {later(unavailable, 3*time.Second), 3 * time.Second},
		"503, Retry-After: year 10000":     {later(unavailable, math.MaxInt64), 30 * time.Second},
		"an error that asks for 2 seconds": {later(wrong(), 2*time.Second), 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			const now = int64(time.Hour)
			var g gate
			g.learn(&c.facts, now)
			assert.Equal(t, Pushback, g.closed(now))
			assert.Equal(t, Pushback, g.closed(now+int64(c.lasts)-1))
			assert.Equal(t, allowed, g.closed(now+int64(c.lasts)))
		})
	}
}

func TestTheLongestPushbackCounts(t *testing.T) {
	var g gate
	g.push(0, 10*time.Second)
	g.push(int64(time.Second), 0)
	assert.Equal(t, Pushback, g.closed(int64(10*time.Second)-1), "a second 429 without a wait does not shorten it")
	assert.Equal(t, allowed, g.closed(int64(10*time.Second)))
	g.push(int64(5*time.Second), 10*time.Second)
	assert.Equal(t, Pushback, g.closed(int64(15*time.Second)-1), "one that lasts longer does lengthen it")
}

func TestPushbackIsTheReasonThatIsGiven(t *testing.T) {
	var g gate
	tell(&g, 100, facts{kind: outcome.Throttled, status: 429})
	assert.Equal(t, Pushback, g.closed(int64(time.Second)-1))
	assert.Equal(t, TooManyErrors, g.closed(int64(time.Second)))
}

func TestHedgesThatNeverWinAreUseless(t *testing.T) {
	var g gate
	for range mostLosses {
		require.Equal(t, allowed, g.useless())
		g.hedged(false)
	}
	asked := func(times int) (sent int) {
		for range times {
			if g.useless() == allowed {
				sent++
				g.hedged(false)
			}
		}
		return sent
	}
	assert.Equal(t, 0, asked(19))
	assert.Equal(t, 1, asked(1), "one of 20 finds out")
	assert.Equal(t, 50, asked(50*20))

	g.hedged(true)
	assert.Equal(t, 99, asked(99), "a win reopens")
	g.hedged(true)
	assert.Equal(t, 100, asked(100))
	assert.Equal(t, NeverWins, g.useless())
}

func TestUselessnessDoesNotCloseTheGateForFailures(t *testing.T) {
	var g gate
	for range 2 * mostLosses {
		g.hedged(false)
	}
	assert.Equal(t, allowed, g.closed(0))
	assert.Equal(t, NeverWins, g.useless())
}

func TestGateIsToldByManyAtOnce(t *testing.T) {
	var g gate
	var all sync.WaitGroup
	for worker := range int64(8) {
		all.Go(func() {
			for n := range int64(1000) {
				g.attempted(true)
				g.push(n, time.Duration(1+worker))
				g.hedged(false)
			}
		})
	}
	all.Wait()
	assert.InDelta(t, 1, g.errorRate(), 1e-9)
	assert.EqualValues(t, 999+8, g.until.Load())
	assert.EqualValues(t, 8000, g.losses.Load())

	var one, together gate // each of 8 × 4 errors has its weight
	for range 32 {
		one.attempted(true)
	}
	for range 8 {
		all.Go(func() {
			for range 4 {
				together.attempted(true)
			}
		})
	}
	all.Wait()
	assert.InDelta(t, one.errorRate(), together.errorRate(), 0)
}
