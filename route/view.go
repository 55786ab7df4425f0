package route

import (
	"math"
	"math/rand/v2"
	"sort"

	"github.com/failsoft/failsoft/internal/attempt"
)

// view is the hosts as they are between two changes. It is never changed itself, so
// that picking takes no lock.
type view struct {
	members []*member
	roles   bool // there are primaries or replicas
	all     set
	writes  set // those that may be written to
	reads   set // those that are only read from, while there is one
	next    int64
}

// set is the hosts for one kind of request.
type set struct {
	all    []*member
	usable choice
	local  choice // of these, those in the own zone
	share  float64
	panics bool // so few were usable that all are
	none   bool // not one was
}

// choice is what is chosen from.
type choice struct {
	members []*member
	sums    []float64 // of the weights up to each; nil where all are the same
}

func newView(members []*member, next int64, cfg *Config) *view {
	v := &view{members: members, next: next}
	var writes, reads []*member
	for _, m := range members {
		v.roles = v.roles || m.role != Any
		if m.role != Replica {
			writes = append(writes, m)
		}
		if m.role != Primary {
			reads = append(reads, m)
		}
	}
	v.all = newSet(members, cfg)
	if v.roles {
		v.writes, v.reads = newSet(writes, cfg), newSet(reads, cfg)
	}
	return v
}

func newSet(all []*member, cfg *Config) set {
	s := set{all: all}
	var usable, staying []*member
	for _, m := range all {
		if m.health <= probation {
			usable = append(usable, m)
		}
		if m.health != draining {
			staying = append(staying, m)
		}
	}
	if len(staying) == 0 {
		staying = all // they want nothing, but there is nobody else
	}
	s.none = len(usable) == 0
	if cfg.PanicThreshold != Off && weigh(usable) < cfg.PanicThreshold*weigh(staying) || s.none {
		s.panics = len(staying) > len(usable)
		usable = staying
	}
	s.usable = newChoice(usable)
	if cfg.Zone != "" {
		s.zoned(usable, staying, cfg)
	}
	return s
}

// zoned finds the hosts in the own zone, and how much of the traffic is theirs: all of
// it while enough of them are usable, and less below that.
func (s *set) zoned(usable, staying []*member, cfg *Config) {
	local := inZone(usable, cfg.Zone)
	if len(local) == 0 || len(local) == len(usable) {
		return
	}
	s.local = newChoice(local)
	s.share = min(weigh(local)/weigh(inZone(staying, cfg.Zone))/cfg.ZoneThreshold, 1)
}

func inZone(members []*member, zone string) (in []*member) {
	for _, m := range members {
		if m.zone == zone {
			in = append(in, m)
		}
	}
	return in
}

func weigh(members []*member) (sum float64) {
	for _, m := range members {
		sum += m.weight
	}
	return sum
}

func newChoice(members []*member) choice {
	c := choice{members: members}
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

// pick returns the host for a request, or nil if there is none. suits says which hosts
// may serve it, where not all of the set may.
func (s *set) pick(tried *attempt.Hosts, suits func(*member) bool, now int64, cfg *Config) *member {
	from := &s.usable
	if len(s.local.members) > 0 && (s.share >= 1 || rand.Float64() < s.share) {
		from = &s.local
	}
	if tried == nil && suits == nil {
		return from.best(now, cfg)
	}
	for _, c := range [...]*choice{from, &s.usable} {
		if m := c.bestOf(func(m *member) bool {
			return tried.Rank(m.addr) < 0 && (suits == nil || suits(m))
		}, now, cfg); m != nil {
			return m
		}
	}
	return s.usable.longestAgo(tried, suits)
}

// pickSuitable is pick where a set may have none that suits, and none that is well:
// then it is nil, as there is another set.
func (s *set) pickSuitable(tried *attempt.Hosts, suits func(*member) bool, now int64, cfg *Config) *member {
	if s.none {
		return nil
	}
	return s.pick(tried, suits, now, cfg)
}

// best is the better of two that are drawn at random (Mitzenmacher, The Power of Two
// Choices in Randomized Load Balancing).
func (c *choice) best(now int64, cfg *Config) *member {
	switch len(c.members) {
	case 0:
		return nil
	case 1:
		c.members[0].take()
		return c.members[0]
	}
	first := c.draw()
	second := c.draw()
	for range 3 {
		if second != first {
			break
		}
		second = c.draw()
	}
	if second == first {
		second = (first + 1 + rand.IntN(len(c.members)-1)) % len(c.members)
	}
	a, b := c.members[first], c.members[second]
	if a.ahead(b, now, cfg) {
		a, b = b, a
	}
	if b.take() {
		return b
	}
	if a.take() {
		return a
	}
	return c.bestOf(func(m *member) bool { return m.health == well }, now, cfg)
}

// ahead reports whether b is to be asked before a. Who is on probation and has no
// request yet comes first: it would never be found out about else.
func (m *member) ahead(b *member, now int64, cfg *Config) bool {
	if m.isWaiting() != b.isWaiting() {
		return b.isWaiting()
	}
	return b.score(now, cfg) < m.score(now, cfg)
}

func (m *member) isWaiting() bool { return m.health == probation && !m.trial.Load() }

// take reports whether the host may have the request, which on probation one may at a
// time.
func (m *member) take() bool {
	return m.health != probation || m.trial.CompareAndSwap(false, true)
}

// draw returns a random place, in proportion to the weights.
func (c *choice) draw() int {
	if c.sums == nil {
		return rand.IntN(len(c.members))
	}
	at := rand.Float64() * c.sums[len(c.sums)-1]
	return min(sort.SearchFloat64s(c.sums, at), len(c.members)-1)
}

// bestOf is best among those that are allowed: of the first two from a random place on.
func (c *choice) bestOf(allowed func(*member) bool, now int64, cfg *Config) *member {
	n := len(c.members)
	if n == 0 {
		return nil
	}
	var best *member
	found := 0
	for i, start := 0, rand.IntN(n); i < n && found < 2; i++ {
		m := c.members[(start+i)%n]
		if !allowed(m) || m.health == probation && m.trial.Load() {
			continue
		}
		found++
		if best == nil || best.ahead(m, now, cfg) {
			best = m
		}
	}
	if best != nil && !best.take() { // somebody else was faster
		return c.only(func(m *member) bool { return m.health != probation && allowed(m) })
	}
	return best
}

func (c *choice) only(allowed func(*member) bool) *member {
	for _, m := range c.members {
		if allowed(m) {
			return m
		}
	}
	return nil
}

// longestAgo returns the host of which the last attempt is the longest ago.
func (c *choice) longestAgo(tried *attempt.Hosts, suits func(*member) bool) *member {
	var best *member
	least := math.MaxInt
	for _, m := range c.members {
		if rank := tried.Rank(m.addr); rank < least && (suits == nil || suits(m)) {
			best, least = m, rank
		}
	}
	if best != nil {
		best.take()
	}
	return best
}
