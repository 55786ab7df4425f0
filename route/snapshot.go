package route

import (
	"math"
	"time"
)

// HostSnapshot is what is known of a host.
type HostSnapshot struct {
	Addr   string
	Zone   string
	Role   Role
	Weight float64
	Picks  uint64 // requests that were sent to it

	// Health is well, probation, ill, ejected or draining. Well says that it is none of
	// the others: one that fails is avoided for its score before it is ejected.
	Health string
	For    time.Duration // how much longer it is ejected, or drains

	Ejections uint64 // so far
	Why       string // it was ejected, the last time

	InFlight int64         // requests whose bodies have not been read to the end or closed
	Latency  time.Duration // to the headers: the peak, decaying; 0 is not known
	Troubles float64       // failures and 429s, decaying in 5 s, 20 at most
	Good     float64       // requests of the last ten seconds or so, decaying
	Wrong    float64       // the same, of failures
}

// Snapshot is what a Pool is doing. It is plain data.
type Snapshot struct {
	Hosts  []HostSnapshot
	Panics bool // too few hosts are usable: all are used
}

// Snapshot returns what there is to be known.
func (p *Pool) Snapshot() Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	var all Snapshot
	if v := p.view.Load(); v != nil {
		all.Panics = v.all.panics
	}
	for _, addr := range p.order {
		s := p.standings[addr]
		since := float64(now - s.heard.Load())
		good, wrong := s.counts(now)
		all.Hosts = append(all.Hosts, HostSnapshot{
			Addr: addr, Zone: s.zone, Role: s.role, Weight: s.weight,
			Health: s.healthAt(now).String(), For: max(time.Duration(max(s.until, s.drained)-now), 0),
			Picks: s.picks.Load(), InFlight: s.inFlight.Load(), Good: good, Wrong: wrong,
			Ejections: s.ejections, Why: s.why,
			Latency:  time.Duration(fade(math.Float64frombits(s.latency.Load()), since, float64(p.cfg.Decay))),
			Troubles: fade(math.Float64frombits(s.troubles.Load()), since, float64(troubleTime)),
		})
	}
	return all
}
