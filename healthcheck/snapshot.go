package healthcheck

import (
	"cmp"
	"slices"
	"time"
)

// CheckSnapshot is the state of a check at one moment, as plain data.
type CheckSnapshot struct {
	Name     string
	Status   Status
	Impact   Impact
	Groups   []string
	Result   Result        // the latest
	Age      time.Duration // of the result; 0 if there was none yet
	Streak   int           // results in a row that speak against Status
	Running  bool
	Stuck    bool // the probe that is running has not come back in time
	Override Override
}

// Snapshot is the state of a Checker at one moment, as plain data.
type Snapshot struct {
	Groups   map[string]Status
	Checks   []CheckSnapshot // by name
	Draining bool
}

// Snapshot returns the state of all groups and checks. Before Start it is empty.
func (c *Checker) Snapshot() Snapshot {
	s := Snapshot{Groups: make(map[string]Status), Draining: c.draining.Load()}
	if !c.started.Load() {
		return s
	}
	for _, k := range c.checks {
		s.Checks = append(s.Checks, k.snapshot(c.now()))
	}
	slices.SortFunc(s.Checks, func(a, b CheckSnapshot) int { return cmp.Compare(a.Name, b.Name) })
	for name, g := range c.groups {
		if name != full {
			s.Groups[name] = g.current(c.now())
		}
	}
	return s
}

func (k *check) snapshot(now int64) CheckSnapshot {
	k.mu.Lock()
	defer k.mu.Unlock()
	shot := CheckSnapshot{
		Name: k.name, Status: k.see(now), Impact: k.Impact, Groups: slices.Clone(k.Groups),
		Result: k.result, Streak: k.machine.streak, Running: k.running, Stuck: k.stuck,
	}
	if !k.wall.IsZero() {
		shot.Age = time.Duration(now - k.at)
	}
	if k.override.holds(now) {
		shot.Override = k.override.left(now)
	}
	return shot
}
