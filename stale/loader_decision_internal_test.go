package stale

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLoadDecision is the table of the rules, for a value that is fresh until 10 s.
func TestLoadDecision(t *testing.T) {
	const s = time.Second
	rules := loadRules{ttl: 10 * s, revalidate: 5 * s, onError: 20 * s, ifSick: 60 * s, failureTTL: 2 * s, early: 1}
	value := loadTerms{has: true, early: 10 * s, fresh: 10 * s}
	with := func(change func(*loadTerms)) loadTerms { v := value; change(&v); return v }
	purged := with(func(v *loadTerms) { v.purged, v.fresh, v.early = true, 4*s, 4*s })
	failing := with(func(v *loadTerms) { v.failures, v.pause, v.errUntil, v.err = 3, 80*s, 80*s, errClosed })

	for _, c := range []struct {
		name  string
		terms loadTerms
		now   time.Duration
		sick  bool
		want  loadPlan
	}{
		{"nothing", loadTerms{}, 0, false, loadPlan{move: moveLoad}},
		{"nothing, sick", loadTerms{}, 0, true, loadPlan{move: moveLoad}},
		{"fresh", value, 10*s - 1, false, loadPlan{move: moveHit}},
		{"fresh, sick", value, 10*s - 1, true, loadPlan{move: moveHit}},
		{"fresh, failing", failing, 10*s - 1, false, loadPlan{move: moveHit}},
		{"revalidate", value, 10 * s, false, loadPlan{moveOld, true, Revalidating}},
		{"revalidate, last", value, 15*s - 1, false, loadPlan{moveOld, true, Revalidating}},
		{"revalidate, failing", failing, 10 * s, false, loadPlan{moveOld, false, Revalidating}},
		{"error window", value, 15 * s, false, loadPlan{move: moveLoad}},
		{"error window, failing", failing, 15 * s, false, loadPlan{moveOld, false, Failing}},
		{"error window, last, failing", failing, 30*s - 1, false, loadPlan{moveOld, false, Failing}},
		{"error window over, failing", failing, 30 * s, false, loadPlan{move: moveRefuse}},
		{"error window over, not failing any more", failing, 80 * s, false, loadPlan{move: moveLoad}},
		{"error window over", value, 30 * s, false, loadPlan{move: moveLoad}},
		{"sick", value, 15 * s, true, loadPlan{moveOld, true, Sick}},
		{"sick, last", value, 70*s - 1, true, loadPlan{moveOld, true, Sick}},
		{"sick, failing", failing, 69 * s, true, loadPlan{moveOld, false, Sick}},
		{"sick, over", value, 70 * s, true, loadPlan{move: moveLoad}},
		{"purged", purged, 5 * s, false, loadPlan{move: moveLoad}},
		{"purged, sick", purged, 5 * s, true, loadPlan{move: moveLoad}},
		{"mark", loadTerms{failures: 2, errUntil: s, pause: s, err: errClosed}, s - 1, false, loadPlan{move: moveRefuse}},
		{"mark, over", loadTerms{failures: 2, errUntil: s, pause: s, err: errClosed}, s, false, loadPlan{move: moveLoad}},
		{"first failure", loadTerms{failures: 1, pause: s, err: errClosed}, 0, false, loadPlan{move: moveLoad}},
	} {
		assert.Equal(t, c.want, rules.decide(&c.terms, 1000, c.now, c.sick, 0.999), c.name)
	}
}

// TestLoadDecisionOff has each window off by itself, and all of them.
func TestLoadDecisionOff(t *testing.T) {
	off := loadRules{ttl: Off, revalidate: Off, onError: Off, ifSick: Off, failureTTL: Off}
	terms := off.afterValue(time.Second, time.Minute)
	for _, sick := range []bool{true, false} {
		assert.Equal(t, loadPlan{move: moveLoad}, off.decide(&terms, 1000, time.Minute, sick, 0.5))
	}
	terms = off.afterFailure(terms, errClosed, true, time.Minute, 0.5)
	terms = off.afterFailure(terms, errClosed, true, time.Minute, 0.5)
	assert.Equal(t, loadPlan{move: moveLoad}, off.decide(&terms, 1000, time.Minute, true, 0.5))
	assert.NoError(t, terms.err)
	assert.False(t, off.usable(&terms, time.Minute))
}

func TestLoadPauseDoublesToHalfAMinute(t *testing.T) {
	rules := loadRules{ttl: time.Second, failureTTL: 4 * time.Second}
	terms := loadTerms{has: true}
	for i, want := range []int{1, 2, 4, 8, 16, 30, 30, 30} {
		terms = rules.afterFailure(terms, errClosed, true, time.Hour, 0)
		assert.Equal(t, time.Hour+time.Duration(want)*time.Second, terms.pause)
		if i == 0 {
			assert.Zero(t, terms.errUntil, "the first may be chance")
			assert.NoError(t, terms.err, "an error that answers nobody takes no room")
		} else {
			require.ErrorIs(t, terms.err, errClosed)
			assert.Equal(t, time.Hour+3*time.Second, terms.errUntil)
		}
	}
	for range 10_000 {
		terms = rules.afterFailure(terms, errClosed, true, time.Hour, math.Nextafter(1, 0))
	}
	assert.Equal(t, time.Hour+30*time.Second, terms.pause)
	assert.InDelta(t, time.Hour+5*time.Second, terms.errUntil, float64(time.Microsecond))
	assert.Equal(t, terms, rules.afterFailure(terms, nil, false, time.Hour, 0), "a refusal shortens nothing")
	refused := rules.afterFailure(terms, nil, false, 2*time.Hour, 0)
	assert.Equal(t, terms.failures, refused.failures)
	assert.Equal(t, 2*time.Hour+time.Second, refused.pause)
}

// TestLoadEarlyIsXFetch compares the share of Gets that refresh with the formula, and
// looks at what must never do.
func TestLoadEarlyIsXFetch(t *testing.T) {
	rules := loadRules{ttl: time.Minute, early: 1}
	terms := rules.afterValue(time.Second, 0)
	assert.Equal(t, 50*time.Second, terms.early, "ten times the load before the end")
	share := func(left time.Duration, hits int32) float64 {
		due := 0
		for range 20_000 {
			if rules.decide(&terms, hits, time.Minute-left, false, rand.Float64()).refresh {
				due++
			}
		}
		return float64(due) / 20_000
	}
	for _, left := range []time.Duration{1, time.Second / 2, time.Second, 3 * time.Second} {
		assert.InDelta(t, math.Exp(-left.Seconds()), share(left, busyHits), 0.02, left)
	}
	assert.Zero(t, share(time.Second, busyHits-1), "a quiet key")
	assert.Zero(t, share(10*time.Second+1, 1000), "before the window")
	terms.pause = time.Hour
	assert.Zero(t, share(1, 1000), "after a failure")

	long := rules.afterValue(time.Hour, 0)
	assert.Equal(t, 30*time.Second, long.early, "not before half of the TTL")
	rules.early = 0
	assert.Equal(t, time.Minute, rules.afterValue(time.Second, 0).early, "off")
}

// TestRecentKeepsTheLatest compares recent with what it must and must not keep.
func TestRecentKeepsTheLatest(t *testing.T) {
	r := recent[int, int]{most: 100}
	last := make(map[int]int) // key to when it was put
	for i := range 2_000 {
		key := rand.IntN(300)
		if rand.IntN(10) == 0 {
			r.remove(key)
			delete(last, key)
			assert.Zero(t, r.get(key))
			continue
		}
		r.put(key, i+1)
		last[key] = i + 1
		assert.LessOrEqual(t, r.len(), min(100, len(last)))
		for key, at := range last {
			got := r.get(key)
			assert.Contains(t, []int{0, at}, got, "never an old one")
			if at > i+1-50 {
				assert.Equal(t, at, got, "the latest 50 are there")
			}
		}
		if t.Failed() {
			return
		}
	}
	r.clear()
	assert.Zero(t, r.len())
}
