package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPhasesShareTheTimeEvenly(t *testing.T) {
	for _, total := range []time.Duration{6 * time.Second, 20 * time.Second, time.Hour} {
		s := newScript(total, 1)
		assert.InDelta(t, total, s.total(), float64(len(s.phases)), "all but the remainder of a division")
		for i := range s.phases {
			begin := time.Duration(i) * s.length
			assert.Equal(t, i, s.at(begin), "at the beginning")
			assert.Equal(t, i, s.at(begin+s.length-1), "just before the end")
		}
		assert.Equal(t, 0, s.at(-time.Second), "before the start")
		assert.Equal(t, len(s.phases)-1, s.at(2*total), "after the end")
	}
}

func TestPhasesAreThePromisedOnes(t *testing.T) {
	var names []string
	for _, p := range phases() {
		names = append(names, p.name)
		assert.Less(t, len(p.short), barPerPhase, "labels do not touch")
	}
	assert.Equal(t, []string{
		"calm", "one replica stalls", "errors", "slow everywhere", "blackout", "recovery",
	}, names)
}

// during returns the effects on a thousand visitors' attempts in a phase.
func during(s script, phase string, u upstream, replica int) []effect {
	var effects []effect
	for i, p := range s.phases {
		for visitor := 0; p.name == phase && visitor < 1000; visitor++ {
			effects = append(effects, s.effect(time.Duration(i)*s.length, u, replica, visitor, 1))
		}
	}
	return effects
}

func failing(effects []effect) int {
	n := 0
	for _, e := range effects {
		if e.status != http.StatusOK {
			n++
		}
	}
	return n
}

func TestFaultsAreThoseOfTheirPhase(t *testing.T) {
	s := newScript(20*time.Second, 1)
	for _, u := range upstreams() {
		for replica := range u.replicas {
			assert.Zero(t, failing(during(s, "calm", u, replica)))
			assert.Zero(t, failing(during(s, "slow everywhere", u, replica)))
			assert.InDelta(t, 100, failing(during(s, "errors", u, replica)), 40, "of 1000: 4 standard deviations")
			assert.InDelta(t, 100, failing(during(s, "recovery", u, replica)), 40, "and here")
			for _, e := range during(s, "blackout", u, replica) {
				require.Equal(t, forever, e.delay)
			}

			stalls := u.name == "catalogue" && replica == 0
			for _, e := range during(s, "one replica stalls", u, replica) {
				require.Equal(t, stalls, e.delay == forever)
			}
		}
	}
}

func TestSlowIsSlowerForTheSameLuck(t *testing.T) {
	s := newScript(20*time.Second, 1)
	u := upstreams()[1]
	calm, slow := during(s, "calm", u, 0), during(s, "slow everywhere", u, 0)
	below := 0
	for i := range calm {
		require.InEpsilon(t, 8*calm[i].delay, slow[i].delay, 1e-6)
		if calm[i].delay < u.median {
			below++
		}
	}
	assert.InDelta(t, 500, below, 65, "the median, within 4 standard deviations")
}

func TestLuckBelongsToTheAttempt(t *testing.T) {
	s := newScript(20*time.Second, 1)
	u := upstreams()[0]
	first := s.effect(0, u, 1, 17, 1)
	assert.Equal(t, first, s.effect(0, u, 1, 17, 1), "whenever it is asked for")
	assert.NotEqual(t, first, s.effect(0, u, 1, 17, 2), "another attempt")
	assert.NotEqual(t, first, s.effect(0, u, 1, 18, 1), "another visitor")
	assert.NotEqual(t, first, newScript(20*time.Second, 2).effect(0, u, 1, 17, 1), "another seed")
}

func TestEachProductIsSeenBeforeTheBlackout(t *testing.T) {
	for seed := range uint64(20) {
		s := newScript(shortest(), seed)
		seen := make(map[int]bool)
		for _, v := range newVisitors(s, minVisitors) {
			if s.phases[v.phase].silent {
				break
			}
			seen[v.product] = true
		}
		assert.Len(t, seen, products)
	}
}

func TestVisitorsComeInEqualNumbersToEachPhase(t *testing.T) {
	s := newScript(20*time.Second, 1)
	visitors := newVisitors(s, 200)
	perPhase := make([]int, len(s.phases))
	for i, v := range visitors {
		perPhase[v.phase]++
		require.Equal(t, v.phase, s.at(v.at))
		require.True(t, i == 0 || visitors[i-1].at <= v.at, "in order of their arrival")
	}
	assert.Equal(t, []int{200, 200, 200, 200, 200, 200}, perPhase)
	for i := range s.phases {
		begin, end := s.span(i)
		for _, v := range visitors {
			require.Equal(t, v.phase == i, begin <= v.at && v.at < end)
		}
	}
	assert.Equal(t, visitors, newVisitors(s, 200), "the same seed, the same visitors")
	assert.NotEqual(t, visitors, newVisitors(newScript(20*time.Second, 2), 200))
}
