package route

import (
	"math"
	"math/rand/v2"
	"sort"
	"time"

	"github.com/failsoft/failsoft/internal/attempt"
)

// choice is what is chosen from.
type choice struct {
	members []*member
	sums    []float64 // of the weights up to each; nil where all are the same
	free    bool      // hosts on probation get as many requests as others
}

func newChoice(members []*member, free bool) choice {
	c := choice{members: members, free: free}
	equal := true
	for _, m := range members {
		equal = equal && m.weight == members[0].weight
	}
	if equal {
		return c
	}
	sum := 0.0
	for _, m := range members {
		sum += m.weight
		c.sums = append(c.sums, sum)
	}
	return c
}

// best is the better of two that are drawn at random (Mitzenmacher, The Power of Two
// Choices in Randomized Load Balancing), or nil. allowed is nil where all are.
func (c *choice) best(allowed func(*member) bool, now int64, cfg *Config) *member {
	switch len(c.members) {
	case 0:
		return nil
	case 1:
		return c.scan(allowed, now, cfg)
	}
	first, second := c.pair()
	if allowed != nil && (!allowed(first) || !allowed(second)) {
		return c.scan(allowed, now, cfg)
	}
	if m := c.better(first, second, now, cfg); m != nil {
		return m
	}
	return c.scan(allowed, now, cfg)
}

// pair draws two that are not the same.
func (c *choice) pair() (first, second *member) {
	n := len(c.members)
	if c.sums == nil {
		i, j := rand.IntN(n), rand.IntN(n-1)
		if j >= i {
			j++
		}
		return c.members[i], c.members[j]
	}
	i, j := c.draw(), c.draw()
	for range 3 {
		if j != i {
			break
		}
		j = c.draw()
	}
	if j == i { // it outweighs all others
		j = (i + 1 + rand.IntN(n-1)) % n
	}
	return c.members[i], c.members[j]
}

// draw returns a random place, in proportion to the weights.
func (c *choice) draw() int {
	at := rand.Float64() * c.sums[len(c.sums)-1]
	return min(sort.SearchFloat64s(c.sums, at), len(c.members)-1)
}

// better returns the one of two that gets the request, or nil if neither may. Who is on
// probation and has no request yet comes first: it would never be found out about else.
// Where weights differ, the first of the two has been drawn by them, and the second has
// to be twice as good: one host that is a little faster would get everything else, and
// the weights would say nothing.
func (c *choice) better(first, second *member, now int64, cfg *Config) *member {
	a, b := first, second
	if c.isSecondBetter(first, second, now, cfg) {
		a, b = b, a
	}
	if m := a.take(now, c.free); m != nil {
		return m
	}
	return b.take(now, c.free)
}

func (c *choice) isSecondBetter(first, second *member, now int64, cfg *Config) bool {
	margin := 1.0
	if c.sums != nil {
		margin = 2
	}
	switch waits := second.isWaiting(now); {
	case waits != first.isWaiting(now):
		return waits
	case first.isForgotten(now, cfg):
		return false
	case c.sums == nil && second.isForgotten(now, cfg): // else it is to be drawn by its weight
		return true
	default:
		return margin*second.score(now, false, cfg) < first.score(now, true, cfg)
	}
}

// scan looks at all for two that are allowed, at random, and returns the better one. It
// is for when two that were drawn would not do.
func (c *choice) scan(allowed func(*member) bool, now int64, cfg *Config) *member {
	var first, second *member
	soonest, next := math.Inf(1), math.Inf(1)
	for _, m := range c.members {
		if allowed != nil && !allowed(m) || !m.isFree(now, c.free) {
			continue
		}
		// The shortest of several waits is each one's in proportion to its rate.
		switch wait := rand.ExpFloat64() / m.weight; {
		case wait < soonest:
			first, second, soonest, next = m, first, wait, soonest
		case wait < next:
			second, next = m, wait
		}
	}
	if second != nil {
		if m := c.better(first, second, now, cfg); m != nil {
			return m
		}
	} else if first != nil {
		if m := first.take(now, c.free); m != nil {
			return m
		}
	}
	for _, m := range c.members { // others were faster with those on probation
		if m.health != probation && (allowed == nil || allowed(m)) {
			return m
		}
	}
	return nil
}

// longestAgo returns the host of which the last attempt is the longest ago. Only where
// nobody else is left, that is one on probation that has a request.
func (c *choice) longestAgo(tried *attempt.Hosts, suits func(*member) bool, now int64) *member {
	var best *member
	least, occupied := math.MaxInt, true
	for _, m := range c.members {
		if suits != nil && !suits(m) {
			continue
		}
		rank, busy := tried.Rank(m.addr), !m.isFree(now, c.free)
		if best == nil || occupied && !busy || occupied == busy && rank < least {
			best, least, occupied = m, rank, busy
		}
	}
	if best == nil {
		return nil
	}
	return best.take(now, true)
}

// trialTime is after how long another request may find out about a host on probation:
// the one that is out may never end.
const trialTime = int64(5 * time.Second)

// isWaiting reports whether a host on probation has no request that finds out.
func (m *member) isWaiting(now int64) bool { return m.health == probation && now >= m.trial.Load() }

// isForgotten reports whether a host that is well has said nothing for so long that what
// is known of it is not to keep it from being asked; it is so for one request. After a
// peak of latency the score alone would do so for a minute, where there is little to
// do. Who hangs is asked the more seldom, the more of its requests do.
func (m *member) isForgotten(now int64, cfg *Config) bool {
	if m.health != well || now-m.heard.Load() < int64(cfg.Decay) {
		return false
	}
	until := m.trial.Load()
	return now >= until && m.trial.CompareAndSwap(until, now+int64(cfg.Decay)*(m.inFlight.Load()+1))
}

// isFree reports whether the host may have another request.
func (m *member) isFree(now int64, free bool) bool {
	return free || m.health != probation || m.isWaiting(now)
}

// take returns the host as the request has it, or nil if it may not: on probation one at
// a time may, but where that would leave nobody.
func (m *member) take(now int64, free bool) *member {
	if m.health != probation {
		return m
	}
	if until := m.trial.Load(); now >= until && m.trial.CompareAndSwap(until, now+trialTime) {
		own := *m
		own.turn = now + trialTime
		return &own
	}
	if free {
		return m
	}
	return nil
}

// endTurn lets another request find out, unless the host is away by now.
func (m *member) endTurn() {
	if m.turn != 0 {
		m.trial.CompareAndSwap(m.turn, 0)
	}
}
