package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/budget"
)

func rowOf(phase string, visitors, naiveServed, failsoftServed int) row {
	return row{
		phase: phase,
		pair: pair{
			naive:    tally{visitors: visitors, served: naiveServed, attempts: 4 * visitors},
			failsoft: tally{visitors: visitors, served: failsoftServed, attempts: 4 * visitors},
		},
		allowance: 100,
	}
}

func TestVerdictOnAvailability(t *testing.T) {
	for name, c := range map[string]struct {
		visitors, naive, failsoft int
		behind                    bool
	}{
		"better":                          {visitors: 250, naive: 170, failsoft: 250},
		"equal":                           {visitors: 250, naive: 250, failsoft: 250},
		"both dark":                       {visitors: 250},
		"worse by chance":                 {visitors: 250, naive: 250, failsoft: 246},
		"worse for certain":               {visitors: 250, naive: 250, failsoft: 240, behind: true},
		"certain, but less than half a %": {visitors: 1e6, naive: 1e6, failsoft: 995_100},
		"certain, and just more than it":  {visitors: 1e6, naive: 1e6, failsoft: 994_900, behind: true},
	} {
		t.Run(name, func(t *testing.T) {
			pages := rowOf("errors", c.visitors, c.naive, c.failsoft)
			old := rowOf("errors", 250, 250, 250) // all pages answered, as they are old
			old.calls = pages.pair
			for what, r := range map[string]row{`"errors": availability is `: pages, `"errors": the availability of its calls is `: old} {
				err := judge([]row{rowOf("calm", 10, 10, 10), r})
				if !c.behind {
					assert.NoError(t, err)
					continue
				}
				require.ErrorIs(t, err, errBehind)
				assert.ErrorContains(t, err, what)
				assert.NotContains(t, err.Error(), "calm")
			}
			old.dawn = true
			assert.NoError(t, judge([]row{old}), "a breaker takes a moment to see that upstreams are back")
		})
	}
}

func TestVerdictOnLoad(t *testing.T) {
	slow := rowOf("slow everywhere", 250, 250, 250)
	slow.failsoft.attempts, slow.failsoft.extra = 600, slow.allowance
	require.NoError(t, judge([]row{slow}))

	slow.failsoft.extra++
	err := judge([]row{slow, rowOf("recovery", 250, 250, 200)})
	require.ErrorIs(t, err, errBehind, "though a cache makes it less than naive's in all")
	require.ErrorContains(t, err,
		`row "slow everywhere": of its 600 attempts 101 were not the first of a call, and its budget allows 100`)
	assert.ErrorContains(t, err, `row "recovery": availability is 20.00 points below`, "all rows are named")
}

func TestVerdictOnTheBlackout(t *testing.T) {
	dark := rowOf("blackout", 200, 0, 198)
	dark.dark = true
	require.NoError(t, judge([]row{dark}))

	dark.failsoft.served--
	err := judge([]row{rowOf("calm", 200, 200, 200), dark})
	require.ErrorIs(t, err, errBehind, "far better than naive, and not what was promised")
	require.ErrorContains(t, err, `row "blackout": it answered 98.50 % of its visitors, and has old pages for 99 % at least`)
	assert.NotContains(t, err.Error(), "calm")

	dark.dark = false
	assert.NoError(t, judge([]row{dark}), "elsewhere it is no matter")
}

func TestVerdictOnTheStall(t *testing.T) {
	const second = time.Second
	for name, c := range map[string]struct {
		stalls          bool
		failsoft, naive time.Duration
		behind          bool
	}{
		"a tenth":                   {stalls: true, failsoft: second / 10, naive: second},
		"just more":                 {stalls: true, failsoft: second/10 + 1, naive: second, behind: true},
		"no better than naive":      {stalls: true, failsoft: second, naive: second, behind: true},
		"elsewhere it is no matter": {failsoft: second, naive: second},
	} {
		t.Run(name, func(t *testing.T) {
			r := rowOf("one replica stalls", 200, 134, 200)
			r.stalls = c.stalls
			for i := range 200 {
				slow := i >= 197 // of whom two are beyond p99
				r.naive.took = append(r.naive.took, map[bool]time.Duration{true: c.naive}[slow])
				r.failsoft.took = append(r.failsoft.took, map[bool]time.Duration{true: c.failsoft}[slow])
			}
			old := r // pages in time, as they are old
			old.calls.naive.took, old.calls.failsoft.took = r.naive.took, r.failsoft.took
			old.naive.took, old.failsoft.took = nil, nil
			for what, r := range map[string]row{"its p99 is ": r, "the p99 of its calls is ": old} {
				err := judge([]row{rowOf("calm", 200, 200, 200), r})
				if !c.behind {
					assert.NoError(t, err)
					continue
				}
				require.ErrorIs(t, err, errBehind)
				assert.ErrorContains(t, err, `row "one replica stalls": `+what+c.failsoft.String())
				assert.NotContains(t, err.Error(), "calm")
			}
		})
	}
}

func TestLateTimeoutsAreTheMachines(t *testing.T) {
	late := tally{took: []time.Duration{deadline + 50*time.Millisecond}}
	r := row{stalls: true, pair: pair{naive: late}}
	assert.False(t, overdue([]row{r}))
	r.naive.took[0]++
	assert.True(t, overdue([]row{{}, r}))
	r.stalls = false
	assert.False(t, overdue([]row{r}), "elsewhere it may be the upstreams")
}

func TestRowsKnowWhatTheirPhaseIsJudgedBy(t *testing.T) {
	s := newScript(shortest(), 1)
	visitors := newVisitors(s, 1)
	r := newRecord(s, visitors)
	for i := range visitors {
		r.answered(naive, i, true, 0)
		r.answered(failsoft, i, true, 0)
	}
	var stalls, dark, dawn []string
	for _, row := range r.rows(s) {
		if row.stalls {
			stalls = append(stalls, row.phase)
		}
		if row.dark {
			dark = append(dark, row.phase)
		}
		if row.dawn {
			dawn = append(dawn, row.phase)
		}
	}
	assert.Equal(t, []string{"one replica stalls"}, stalls)
	assert.Equal(t, []string{"blackout"}, dark)
	assert.Equal(t, []string{"recovery"}, dawn)
}

// TestDifference compares with the table of Newcombe's article, at 95 %.
func TestDifference(t *testing.T) {
	for _, c := range []struct {
		served1, of1, served2, of2 int
		low, high                  float64
	}{
		{56, 70, 48, 80, 0.0524, 0.3339},
		{9, 10, 3, 10, 0.1705, 0.8090},
		{6, 7, 2, 7, 0.0582, 0.8062},
		{5, 56, 0, 29, -0.0381, 0.1926},
		{0, 10, 0, 20, -0.1611, 0.2775},
		{0, 10, 0, 10, -0.2775, 0.2775},
		{10, 10, 0, 20, 0.6791, 1},
		{10, 10, 0, 10, 0.6075, 1},
	} {
		r := pair{
			failsoft: tally{visitors: c.of1, served: c.served1},
			naive:    tally{visitors: c.of2, served: c.served2},
		}
		low, high := r.difference(1.959964)
		assert.InDelta(t, c.low, low, 5e-5, "%+v", c)
		assert.InDelta(t, c.high, high, 5e-5, "%+v", c)
	}
}

// spend retries twice per call and asks a real budget each time, or none, from
// the beginning of a phase on, and returns how often it was let for the visitors
// of that phase. Before, the budget is left to fill.
func spend(phase int, visitors []visitor, retries *budget.Budget) int {
	start, spent := time.Now(), 0
	for _, v := range visitors {
		if v.phase > phase {
			break
		}
		time.Sleep(time.Until(start.Add(v.at)))
		for _, u := range upstreams() {
			if retries != nil {
				retries.Deposit(context.Background(), u.name)
			}
			for try := 0; v.phase == phase && try < 2; try++ {
				if retries == nil || retries.Withdraw(u.name) {
					spent++
				}
			}
		}
	}
	return spent
}

func TestAllowanceIsWhatABudgetCanGive(t *testing.T) {
	for _, total := range []time.Duration{shortest(), 20 * time.Second, time.Minute, 5 * time.Minute} {
		s := newScript(total, 1)
		visitors := newVisitors(s, max(minVisitors, int(perSecond*s.length.Seconds())))
		var calls []call
		for _, v := range visitors {
			for range upstreams() {
				calls = append(calls, call{at: v.at})
			}
		}
		for phase := range s.phases {
			allowed := allowance(s, phase, calls)
			t.Run(total.String()+" "+s.phases[phase].name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					spent := spend(phase, visitors, budget.MustNew(budget.Config{Ratio: ratio}))
					assert.LessOrEqual(t, spent, allowed, "a budget is never found guilty")
					assert.Greater(t, spent, allowed/3, "and could not overspend much without being found")
				})
				synctest.Test(t, func(t *testing.T) {
					assert.Greater(t, spend(phase, visitors, nil), allowed, "no budget is found out")
				})
			})
		}
	}
}

func TestQuantileIsATimeThatSomebodyWaited(t *testing.T) {
	var hundred tally
	for i := range 100 {
		hundred.took = append(hundred.took, time.Duration(i+1))
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.01: 1, 0.5: 50, 0.505: 51, 0.99: 99, 0.999: 100, 1: 100} {
		assert.Equal(t, want, hundred.quantile(q), "q = %v", q)
	}
	assert.Zero(t, tally{}.quantile(0.5))
}
