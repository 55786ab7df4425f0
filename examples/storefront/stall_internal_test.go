package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stalled returns a record of attempts, calls and answers in and around a stall from
// 10 s to 20 s, of which what is after 11 s counts as settled.
func stalled() (script, *record) {
	s := newScript(60*time.Second, 1)
	visitors := []visitor{
		{at: 10500 * ms, phase: 1},
		{at: 12 * time.Second, phase: 1},
		{at: 19 * time.Second, phase: 1},
		{at: 20 * time.Second, phase: 2},
	}
	r := newRecord(s, visitors)
	for number, v := range visitors {
		for replica := range 3 {
			r.attempted(naive, number, 1, arrival{at: v.at, upstream: "catalogue", replica: replica})
			r.attempted(naive, number, 1, arrival{at: v.at, upstream: "prices", replica: replica})
		}
		for range 10 {
			r.attempted(failsoft, number, 1, arrival{at: v.at, upstream: "catalogue", replica: 1})
		}
		r.called(failsoft, call{upstream: "catalogue", at: v.at, took: time.Duration(number+1) * ms})
		r.called(failsoft, call{upstream: "prices", at: v.at, took: time.Hour})
		r.called(naive, call{upstream: "catalogue", at: v.at, took: time.Second})
		r.answered(failsoft, number, true, soon)
		r.answered(naive, number, number == 1, soon)
	}
	r.attempted(failsoft, 1, 1, arrival{at: 12 * time.Second, upstream: "catalogue", replica: stalledReplica})
	return s, r
}

func TestStallIsLookedAtAfterASecond(t *testing.T) {
	s, r := stalled()
	got := r.stall(s)
	assert.Equal(t, stall{
		phase: "one replica stalls", upstream: "catalogue",
		naive:    reach{slowest: time.Second, attempts: 6, lost: 2, visitors: 2, inTime: 1},
		failsoft: reach{slowest: 3 * ms, attempts: 21, lost: 1, visitors: 2, inTime: 2},
	}, got)
	require.NoError(t, got.judge())
	assert.Equal(t, `while a replica stalls      slowest call after 1s: calls to it   pages in 100 ms
                   naive         1000 ms         33.3 %                  50.00 %
                   failsoft         3 ms          4.8 % ≤ 10 %          100.00 %

`, got.String())
}

func TestNoStallIsNoTable(t *testing.T) {
	s, r := recorded(1)
	assert.Empty(t, r.stall(s).String(), "it did not come to that")
	s.phases = s.phases[2:]
	assert.Equal(t, stall{}, r.stall(s), "it would not have come to that")
}

func TestVerdictOnTheReplicaThatStalls(t *testing.T) {
	for name, c := range map[string]struct {
		change func(naive, failsoft *reach)
		wrong  string
	}{
		"as it is to be":           {change: func(*reach, *reach) {}},
		"as much as it may":        {change: func(_, f *reach) { f.lost = 10 }},
		"one more":                 {change: func(_, f *reach) { f.lost = 11 }, wrong: "after a second, 11 of its 100 attempts at the catalogue"},
		"in turn, as naive":        {change: func(_, f *reach) { f.lost = 33 }, wrong: "still went to the replica that stalls"},
		"nobody has asked":         {change: func(_, f *reach) { f.attempts, f.lost = 0, 0 }, wrong: "0 of its 0 attempts"},
		"as slow as it may be":     {change: func(_, f *reach) { f.slowest = tryTimeout - 1 }},
		"a try has timed out":      {change: func(_, f *reach) { f.slowest = tryTimeout }, wrong: "a call to the catalogue took 400ms"},
		"hardly a stall":           {change: func(n, _ *reach) { n.lost = 75 }},
		"no stall":                 {change: func(n, _ *reach) { n.lost = 74 }, wrong: "for want of a stall: only 74 of naive's 300"},
		"naive has not asked":      {change: func(n, _ *reach) { n.attempts, n.lost = 0, 0 }, wrong: "for want of a stall"},
		"pages that are just soon": {change: func(_, f *reach) { f.inTime = 190 }},
		"pages that are late":      {change: func(_, f *reach) { f.inTime = 189 }, wrong: "189 of its 200 visitors had their page in 100ms"},
		"just better than naive":   {change: func(n, f *reach) { n.inTime, f.inTime = 178, 198 }},
		"no better than naive":     {change: func(n, f *reach) { n.inTime, f.inTime = 180, 199 }, wrong: "and 180 of naive's 200"},
		"nobody has come":          {change: func(_, f *reach) { f.visitors, f.inTime = 0, 0 }, wrong: "0 of its 0 visitors"},
	} {
		t.Run(name, func(t *testing.T) {
			s := stall{
				phase: "one replica stalls", upstream: "catalogue",
				naive:    reach{slowest: time.Second, attempts: 300, lost: 100, visitors: 200, inTime: 130},
				failsoft: reach{slowest: 90 * ms, attempts: 100, lost: 2, visitors: 200, inTime: 200},
			}
			c.change(&s.naive, &s.failsoft)
			err := s.judge()
			if c.wrong == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, errBehind)
			require.ErrorContains(t, err, `row "one replica stalls"`)
			assert.ErrorContains(t, err, c.wrong)
		})
	}
}
