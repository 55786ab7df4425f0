package main

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// recorded returns a record of a drill in which naive's second visitor of each
// of the first phases failed.
func recorded(phases int) (script, *record) {
	s := newScript(60*time.Second, 1)
	visitors := newVisitors(s, 2)
	r := newRecord(s, visitors)
	for number, v := range visitors {
		if v.phase >= phases {
			break
		}
		for range 4 {
			r.attempted(naive, number, 1, arrival{at: v.at})
			r.attempted(failsoft, number, 1, arrival{at: v.at})
		}
		r.attempted(failsoft, number, 2, arrival{at: v.at})
		if number%2 == 0 {
			r.staled(failsoft, number)
		}
		r.called(naive, call{at: v.at, took: time.Second, answered: number%2 == 0})
		r.called(failsoft, call{at: v.at, took: 20 * time.Millisecond, answered: true})
		r.answered(naive, number, number%2 == 0, time.Second)
		r.answered(failsoft, number, true, 20*time.Millisecond)
	}
	return s, r
}

func TestReport(t *testing.T) {
	s, r := recorded(2)
	var out strings.Builder
	require.NoError(t, report(&out, s, r, rush{}))
	lines := strings.Split(out.String(), "\n")
	require.Greater(t, len(lines), 7)
	assert.Regexp(t, `^phase +front +answered +stale +p50 +p99 +p99.9 +attempts$`, lines[1])
	assert.Regexp(t, `^calm +naive +50\.00 % +0 % +1000 ms +1000 ms +1000 ms +4\.00$`, lines[2])
	assert.Regexp(t, `^ +failsoft +100\.00 % +50 % +20 ms +20 ms +20 ms +5\.00 ≤ \d+\.\d\d$`, lines[3])
	assert.Regexp(t, `^one replica stalls +naive `, lines[4])
	assert.Regexp(t, `^all +naive +50\.00 % `, lines[6], "phases without visitors have no row")
	assert.Regexp(t, `^calls to upstreams +naive answered +p99 +failsoft answered +p99$`, lines[9])
	assert.Regexp(t, `^calm +50\.00 % +1000 ms +100\.00 % +20 ms$`, lines[10])
	assert.Regexp(t, `^one replica stalls +50\.00 % `, lines[11])
	assert.NotContains(t, out.String(), "busy")
	assert.NotContains(t, out.String(), "second half", "it did not come to a blackout")
	for _, line := range lines {
		assert.LessOrEqual(t, utf8.RuneCountInString(line), 80, "it fits a terminal")
	}
}

func TestReportOfNothing(t *testing.T) {
	s, r := recorded(0)
	var out strings.Builder
	require.NoError(t, report(&out, s, r, rush{}))
	assert.Equal(t, "\nNobody has been served yet.\n", out.String())
}

func TestReportTellsOfABusyMachine(t *testing.T) {
	s, r := recorded(2)
	r.left(0, tooLate)
	r.left(1, tooLate+time.Millisecond)
	r.left(2, time.Millisecond)
	var out strings.Builder
	require.NoError(t, report(&out, s, r, rush{}))
	assert.Contains(t, out.String(), `up to 101 ms late (in "calm")`)
}

func TestRecordIgnoresStrangers(t *testing.T) {
	s, r := recorded(1)
	r.attempted("somebody", 0, 1, arrival{at: 0})
	r.attempted(naive, 1000, 1, arrival{at: 0})
	r.staled(naive, 1000)
	assert.Zero(t, r.tally(naive, 0, len(s.phases)).stale)
	assert.Equal(t, 8, r.tally(naive, 0, len(s.phases)).attempts)
}

func TestHistory(t *testing.T) {
	s, r := recorded(2)
	history := r.history(naive, s.total(), len(s.phases))
	assert.Equal(t, []float64{0.5, 0.5}, history[:2])
	for _, share := range history[2:] {
		assert.True(t, math.IsNaN(share), "nobody was answered there")
	}
}

func TestBars(t *testing.T) {
	assert.Equal(t,
		dim+"·"+red+"▁"+red+"▄"+yellow+"▇"+green+"█"+normal,
		bars([]float64{math.NaN(), 0, 0.5, 0.95, 1}))
}

func TestPictureIsDrawnOverItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no time passes until it is drawn
		var out strings.Builder
		s, r := recorded(2)
		v := view{out: &out, script: s, record: r, start: time.Now().Add(-15 * time.Second), health: newHealth(failsoft)}
		v.draw()
		first := out.String()
		v.draw()
		second := strings.TrimPrefix(out.String(), first)
		assert.Equal(t, 6, strings.Count(first, "\n"))
		assert.True(t, strings.HasPrefix(second, "\x1b[6A\r"), "%q", second)
		assert.Equal(t, 6, strings.Count(second, erase+"\n"), "no rest of the picture before stays")
		for _, want := range []string{"15.0s of 1m0s", "one replica stalls", "50.0 %", "100.0 %", "health    catalogue unknown, prices"} {
			assert.Contains(t, first, want)
		}
	})
}

func TestPlainHasNoEscapes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // likewise
		var out strings.Builder
		s, r := recorded(2)
		v := view{out: &out, plain: true, script: s, record: r, start: time.Now().Add(-25 * time.Second), health: newHealth(failsoft)}
		v.draw()
		assert.Regexp(t,
			`^  25\.0s  errors +\d+ visitors/s   naive +–, p99 +–   failsoft +–, p99 +–   health: catalogue unknown, .*\n$`,
			out.String())
	})
}

func TestRateIsThatOfTheLastSecond(t *testing.T) {
	s, r := recorded(1) // 4 answers
	start := time.Now()
	v := view{script: s, record: r, start: start}
	assert.InDelta(t, 8, v.rate(start.Add(time.Second/2)), 1e-9)
	assert.InDelta(t, 4, v.rate(start.Add(time.Second)), 1e-9)
	r.answered(naive, 2, true, 0)
	r.answered(naive, 3, true, 0)
	assert.InDelta(t, 2, v.rate(start.Add(3*time.Second/2)), 1e-9)
	assert.InDelta(t, 2, v.rate(start.Add(2*time.Second)), 1e-9)
	assert.InDelta(t, 0, v.rate(start.Add(3*time.Second)), 1e-9)
}
