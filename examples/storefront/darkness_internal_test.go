package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// nightfall returns a record of calls in and around the second half of a
// blackout from 40 s to 50 s.
func nightfall() (script, *record) {
	s := newScript(60*time.Second, 1)
	r := newRecord(s, newVisitors(s, 2))
	for _, second := range []int{44, 45, 47, 49, 50} { // only those in the middle are meant
		at := time.Duration(second) * time.Second
		r.attempted(naive, 0, 1, arrival{at: at})
		r.called(naive, call{at: at, took: time.Second})
		r.called(failsoft, call{at: at, took: time.Duration(second) * time.Microsecond})
		r.called(failsoft, call{at: at, took: time.Hour, answered: true})
	}
	r.attempted(failsoft, 0, 1, arrival{at: 46 * time.Second})
	r.attempted(failsoft, 0, 1, arrival{at: 39 * time.Second})
	return s, r
}

func TestDarknessIsTheSecondHalfOfTheBlackout(t *testing.T) {
	s, r := nightfall()
	d := r.darkness(s)
	assert.Equal(t, misses{calls: 3, median: time.Second, attempts: 3}, d.naive)
	assert.Equal(t, misses{calls: 3, median: 47 * time.Microsecond, attempts: 1}, d.failsoft)
	assert.Equal(t, 5*time.Second, d.length)
	require.NoError(t, d.judge())
	assert.Regexp(t, `^second half of the blackout +a failed call takes +upstreams get
 +naive +1000\.00 ms +1 per s
 +failsoft +0\.05 ms +0 ≤ \d+ probes per s\n\n$`, d.String())
}

func TestVerdictOnDarkness(t *testing.T) {
	good := darkness{failsoft: misses{calls: 100, median: prompt - 1, attempts: 30}, probes: 30}
	require.NoError(t, good.judge())

	slow := good
	slow.failsoft.median = prompt
	err := slow.judge()
	require.ErrorIs(t, err, errBehind)
	require.ErrorContains(t, err, `row "blackout": its 100 failed calls of the second half took 1ms (median)`)

	untold := good
	untold.failsoft.calls, untold.failsoft.median = 0, 0
	require.ErrorIs(t, untold.judge(), errBehind, "refusals that were not seen prove nothing")

	loud := good
	loud.failsoft.attempts++
	err = loud.judge()
	require.ErrorIs(t, err, errBehind)
	require.ErrorContains(t, err, `row "blackout": it sent 31 attempts in the second half`)

	loud.failsoft.median = time.Second
	assert.ErrorContains(t, loud.judge(), "took 1s (median)", "both are named")
	assert.ErrorContains(t, loud.judge(), "it sent 31 attempts", "both are named")
}
