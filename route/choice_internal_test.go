package route

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/attempt"
)

// members are hosts of these weights, all of the same latency.
func members(weights ...float64) (all []*member) {
	mean := 0.0
	for _, w := range weights {
		mean += w / float64(len(weights))
	}
	for i, w := range weights {
		m := hostWith(10*time.Millisecond, 0, 0)
		m.addr, m.weight, m.part = fmt.Sprint(i), w, w/mean
		all = append(all, m)
	}
	return all
}

func TestRequirement3TwoThatAreDistinct(t *testing.T) {
	for _, weights := range [][]float64{{1, 1}, {1, 1, 1}, {1, 1000}, {1, 1, 1000}, {1, 2, 3, 4, 5}} {
		c := newChoice(members(weights...), false)
		first, sum := make(map[*member]float64), 0.0
		for _, w := range weights {
			sum += w
		}
		const draws = 20_000
		for range draws {
			a, b := c.pair()
			require.NotSame(t, a, b)
			first[a] += 1.0 / draws
		}
		for i, m := range c.members {
			assert.InDelta(t, weights[i]/sum, first[m], 0.02)
		}
	}
}

// Of two the better one, so that the worst of all gets nothing.
func TestRequirement3TheBetterOfTwo(t *testing.T) {
	cfg := defaults(t)
	c := newChoice(members(1, 1, 1, 1), false)
	for i, m := range c.members {
		m.latency.Store(math.Float64bits(float64(i+1) * 1e6))
	}
	got := make(map[string]float64)
	for range 20_000 {
		got[c.best(nil, 0, cfg).addr] += 1.0 / 20_000
	}
	// The best of a pair of four: 3/6, 2/6, 1/6, none.
	for addr, want := range map[string]float64{"0": 3. / 6, "1": 2. / 6, "2": 1. / 6, "3": 0} {
		assert.InDelta(t, want, got[addr], 0.02, addr)
	}
	c.members[0].inFlight.Store(3)
	c.members[1].troubles.Store(math.Float64bits(1))
	clear(got)
	for range 20_000 {
		got[c.best(nil, 0, cfg).addr] += 1.0 / 20_000
	}
	// 1 ms × 4, 2 ms × 5, 3 ms, 4 ms: of the first and the last it is the drawn one.
	assert.InDelta(t, 3./6, got["2"], 0.02)
	assert.Zero(t, got["1"])
}

// Where some are not allowed, the rest have the same chances.
func TestRequirement6TheRestHaveTheSameChances(t *testing.T) {
	cfg := defaults(t)
	s := &set{usable: newChoice(members(1, 1, 1, 1, 1), false)}
	tried := new(attempt.Hosts)
	tried.Add("2")
	tried.Add("0")
	got := make(map[string]float64)
	for range 20_000 {
		got[s.pick(tried, nil, 0, cfg).addr] += 1.0 / 20_000
	}
	assert.Len(t, got, 3)
	for addr, share := range got {
		assert.InDelta(t, 1./3, share, 0.02, addr)
	}
	for _, addr := range []string{"1", "3", "4"} {
		tried.Add(addr)
	}
	assert.Equal(t, "2", s.pick(tried, nil, 0, cfg).addr)
}

// Many look at the same host on probation at once, and one gets it.
func TestRequirement4OneOfManyFindsOut(t *testing.T) {
	cfg := defaults(t)
	for range 200 {
		c := newChoice(members(1, 1, 1), false)
		c.members[0].health = probation
		var all sync.WaitGroup
		turns := make(chan *member, 64)
		for range 8 {
			all.Go(func() {
				for range 8 {
					m := c.best(nil, 1, cfg)
					if m == nil {
						t.Error("nobody is left")
					} else if m.turn != 0 {
						turns <- m
					}
				}
			})
		}
		all.Wait()
		assert.LessOrEqual(t, len(turns), 1)
		if len(turns) == 1 {
			m := <-turns
			assert.False(t, m.isFree(1, false))
			m.endTurn()
			assert.True(t, m.isFree(1, false))
		}
	}
}

func TestRequirement4ProbationWhereNobodyElseIs(t *testing.T) {
	cfg := defaults(t)
	all := members(1, 1, 1, 1)
	for _, m := range all {
		m.health = probation
	}
	s := newSet(all, cfg)
	for range 100 {
		require.NotNil(t, s.pick(nil, nil, 1, cfg))
		require.NotNil(t, s.pick(new(attempt.Hosts), nil, 1, cfg))
	}
	assert.False(t, s.none)
	all[0].health, all[1].health = well, ejected
	s = newSet(all, cfg) // one of four is well, two are on probation
	assert.True(t, s.usable.free, "one could not carry it alone")
	assert.False(t, s.panics, "but it need not be those that are ejected")
	all[2].health = ejected
	assert.False(t, newSet(all, cfg).panics)
	all[3].health = ejected
	assert.True(t, newSet(all, cfg).panics)
}
