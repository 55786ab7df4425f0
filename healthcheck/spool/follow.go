package spool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/failsoft/failsoft/healthcheck"
)

const (
	// DefaultPeriod is how often Follow looks.
	DefaultPeriod = time.Second

	// untilStart is how often it tries while the Checker is not started: a service
	// that was taken down is not to be well for a period after it has come up.
	untilStart = 10 * time.Millisecond

	// clockStep is how far the end of an override may be off what the file says
	// before the wall clock counts as set.
	clockStep = time.Second
)

// Following says what is to follow what.
type Following struct {
	// Service and Port are whose files count, as for Dir.Status.
	Service string
	Port    int

	// Scope is the check or the group that fails while the service is down. Zero
	// means healthcheck.Ready.
	Scope string

	// Period is how often to look. Zero means 1 s; from 10 ms to a minute.
	Period time.Duration

	// Observe is told what the directory says, and what is wrong with it, when either
	// changes. Nil means nobody is. Its panics are contained.
	Observe func(ctx context.Context, s Status, err error) `json:"-"`

	_ struct{}
}

func (cfg *Following) complete() error {
	if cfg.Scope == "" {
		cfg.Scope = healthcheck.Ready
	}
	if cfg.Period == 0 {
		cfg.Period = DefaultPeriod
	}
	var wrong []error
	if _, err := Name(cfg.Service, cfg.Port); err != nil {
		wrong = append(wrong, err)
	}
	if cfg.Period < untilStart || cfg.Period > time.Minute {
		wrong = append(wrong, fmt.Errorf("spool: Following.Period is %v, not from %v to 1m", cfg.Period, untilStart))
	}
	return errors.Join(wrong...)
}

// Follow keeps an override of a Checker in step with the directory: the scope fails
// while the service is down. It looks before it returns, and then every period, until
// ctx ends or stop is called, which waits for a look that is under way.
//
// The Checker may be started later. If it was started before, the override is in
// place when Follow returns: start it, follow, and listen then.
//
// What is set by the Checker's own methods later than the file stays until the file
// changes, and is not lifted when it goes. When following ends the override stays as
// it is: the end of a process brings no service back.
func (d *Dir) Follow(ctx context.Context, c *healthcheck.Checker, cfg Following) (stop func(), err error) {
	if c == nil {
		return nil, errors.New("spool: there is no Checker to follow with")
	}
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	f := &follower{dir: d, c: c, Following: cfg}
	if !f.knows() {
		return nil, fmt.Errorf("spool: Following.Scope: %w: %q", healthcheck.ErrUnknownName, cfg.Scope)
	}
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	next := f.look(ctx)
	go func() {
		defer close(over)
		defer cancel()
		f.run(ctx, next)
	}()
	return func() {
		cancel()
		<-over
	}, nil
}

// follower is a Follow under way.
type follower struct {
	Following

	dir *Dir
	c   *healthcheck.Checker

	seen    Status    // what the directory has said last
	set     Status    // what the override says, if it is down
	reason  string    // of the override, to know it again
	end     time.Time // of the override, by the monotonic clock
	told    bool
	toldOf  Status
	toldErr string
}

// knows reports whether the scope can exist: what a Checker has is known when it is
// started.
func (f *follower) knows() bool {
	snap := f.c.Snapshot()
	if len(snap.Groups) == 0 {
		return true
	}
	if _, ok := snap.Groups[f.Scope]; ok {
		return true
	}
	for i := range snap.Checks {
		if snap.Checks[i].Name == f.Scope {
			return true
		}
	}
	return false
}

func (f *follower) run(ctx context.Context, next time.Duration) {
	timer := time.NewTimer(next)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			timer.Reset(f.look(ctx))
		}
	}
}

// look brings the override up to date, and returns when to look again.
func (f *follower) look(ctx context.Context) (next time.Duration) {
	next = f.Period
	s, known, err := f.dir.status(f.Service, f.Port)
	if known {
		f.seen = s
		switch failed := f.apply(s); {
		case errors.Is(failed, healthcheck.ErrNotStarted):
			next = untilStart
		case failed != nil:
			err = errors.Join(err, fmt.Errorf("spool: %w", failed))
		}
	}
	f.tell(ctx, err)
	return next
}

// apply does what a new status asks for.
func (f *follower) apply(s Status) error {
	now := time.Now()
	switch {
	case s.Down && !f.agrees(s, now):
		return f.override(s, now)
	case !s.Down && f.set.Down:
		f.set = Status{}
		if f.c.Overrides()[f.Scope].Reason == f.reason { // or it is somebody else's by now
			return f.c.Lift(f.Scope)
		}
	}
	return nil
}

// agrees reports whether the override is what s asks for.
func (f *follower) agrees(s Status, now time.Time) bool {
	if !equal(f.set, s) {
		return false
	}
	if s.Until.IsZero() {
		return true
	}
	off := s.Until.Sub(now) - f.end.Sub(now) // of a wall clock that may have been set, and of one that has not
	return off.Abs() < clockStep
}

func (f *follower) override(s Status, now time.Time) error {
	name, err := Name(s.Service, s.Port)
	if err != nil {
		return err
	}
	o := healthcheck.Override{Status: healthcheck.Fail, Reason: "spool file " + name}
	if s.Reason != "" {
		o.Reason += ": " + s.Reason
	}
	if !s.Until.IsZero() {
		o.TTL = max(s.Until.Sub(now), 1) // zero would be for ever
	}
	if err := f.c.Override(f.Scope, o); err != nil {
		return err
	}
	f.set, f.reason, f.end = s, o.Reason, now.Add(o.TTL)
	return nil
}

// tell tells Observe what is new.
func (f *follower) tell(ctx context.Context, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if f.told && equal(f.toldOf, f.seen) && f.toldErr == text {
		return
	}
	f.told, f.toldOf, f.toldErr = true, f.seen, text
	if f.Observe == nil {
		return
	}
	defer func() { _ = recover() }() // what a hook does is not to end this
	f.Observe(ctx, f.seen, err)
}

func equal(a, b Status) bool {
	return a.Service == b.Service && a.Port == b.Port && a.Down == b.Down && a.Reason == b.Reason &&
		a.Since.Equal(b.Since) && a.Until.Equal(b.Until)
}
