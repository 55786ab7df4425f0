package route

import (
	"math/rand/v2"
	"slices"

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
	away   []*member // on probation, and not in local: few requests come that way
	panics bool      // so few were usable that all are
	none   bool      // not one was
}

func newView(members []*member, next int64, cfg *Config) *view {
	v := &view{members: members, next: next}
	mean := weigh(members) / float64(max(len(members), 1))
	var writes, reads []*member
	for _, m := range members {
		m.part = m.weight / mean
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

// newSet finds out who can be used. Where those that are well are too few, hosts on
// probation get more than one request at a time: there is nobody else for them.
func newSet(all []*member, cfg *Config) set {
	s := set{all: all}
	usable := only(all, func(m *member) bool { return m.health <= probation })
	staying := only(all, func(m *member) bool { return m.health != draining })
	if !slices.ContainsFunc(staying, func(m *member) bool { return m.health < ejected }) {
		staying = all // who drains wants nothing, but answers; where requests fail, nobody does
	}
	enough := func(members []*member) bool {
		return len(members) > 0 &&
			(cfg.PanicThreshold == Off || weigh(members) >= cfg.PanicThreshold*weigh(staying))
	}
	s.none = len(usable) == 0
	if !enough(usable) {
		s.panics = len(staying) > len(usable)
		usable = staying
	}
	healthy := only(usable, func(m *member) bool { return m.health == well })
	s.usable = newChoice(usable, s.panics || !enough(healthy))
	if cfg.Zone != "" {
		s.zoned(usable, healthy, staying, cfg)
	}
	return s
}

// zoned finds the hosts in the own zone, and how much of the traffic is theirs: all of
// it while enough of them are well, and less below that. In a panic all count.
func (s *set) zoned(usable, healthy, staying []*member, cfg *Config) {
	if s.usable.free {
		healthy = usable
	}
	local := inZone(healthy, cfg.Zone)
	if len(local) == 0 || len(local) == len(usable) {
		return
	}
	s.local = newChoice(local, s.usable.free)
	s.away = only(usable, func(m *member) bool {
		return m.health == probation && (!s.usable.free || m.zone != cfg.Zone)
	})
	s.share = min(weigh(local)/weigh(inZone(staying, cfg.Zone))/cfg.ZoneThreshold, 1)
}

func inZone(members []*member, zone string) []*member {
	return only(members, func(m *member) bool { return m.zone == zone })
}

func only(members []*member, wanted func(*member) bool) (some []*member) {
	for _, m := range members {
		if wanted(m) {
			some = append(some, m)
		}
	}
	return some
}

func weigh(members []*member) (sum float64) {
	for _, m := range members {
		sum += m.weight
	}
	return sum
}

// pick returns the host for a request, or nil if there is none. suits says which hosts
// may serve it, where not all of the set may.
func (s *set) pick(tried *attempt.Hosts, suits func(*member) bool, now int64, cfg *Config) *member {
	from := &s.usable
	if len(s.local.members) > 0 && (s.share >= 1 || rand.Float64() < s.share) {
		if m := s.trial(tried, suits, now); m != nil {
			return m
		}
		from = &s.local
	}
	if tried == nil && suits == nil {
		return from.best(nil, now, cfg)
	}
	for _, c := range [...]*choice{from, &s.usable} {
		if m := c.best(func(m *member) bool {
			return tried.Rank(m.addr) < 0 && (suits == nil || suits(m))
		}, now, cfg); m != nil {
			return m
		}
	}
	return s.usable.longestAgo(tried, suits, now)
}

// trial returns a host that waits to be found out about where requests that stay in the
// zone do not come, or nil. It would be on probation for ever, and count as ejected.
func (s *set) trial(tried *attempt.Hosts, suits func(*member) bool, now int64) *member {
	if len(s.away) == 0 {
		return nil
	}
	m := s.away[rand.IntN(len(s.away))]
	if !m.isWaiting(now) || tried.Rank(m.addr) >= 0 || suits != nil && !suits(m) {
		return nil
	}
	return m.take(now, false)
}

// pickSuitable is pick where a set may have none that suits, and none that is well:
// then it is nil, as there is another set.
func (s *set) pickSuitable(tried *attempt.Hosts, suits func(*member) bool, now int64, cfg *Config) *member {
	if s.none {
		return nil
	}
	return s.pick(tried, suits, now, cfg)
}
