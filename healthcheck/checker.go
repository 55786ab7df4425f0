package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Checker knows how a service is, without asking on every request. Make one with
// [New], add checks, mount endpoints, start it. All methods are safe for concurrent
// use.
//
// In a testing/synctest bubble a Checker works in virtual time if it was made
// there.
type Checker struct {
	cfg   Config
	start time.Time // of the monotonic clock that everything is measured by

	ctx    context.Context // of the probes
	cancel context.CancelFunc

	mu       sync.Mutex // of what follows; nothing is added to it after started
	started  atomic.Bool
	closed   bool
	checks   []*check
	byName   map[string]*check
	groups   map[string]*group
	required []string // names that routes depend on

	schedule schedule
	probes   sync.WaitGroup
	draining atomic.Bool
	drained  chan struct{} // closed when draining
	stopping chan struct{} // closed when the server is shut down
	shutdown atomic.Bool
}

// New returns a Checker without checks.
func New(cfg Config) (*Checker, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	c := &Checker{
		cfg: cfg, start: time.Now(), drained: make(chan struct{}), stopping: make(chan struct{}),
		byName: make(map[string]*check), groups: make(map[string]*group),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.schedule.wake = make(chan struct{}, 1)
	for _, name := range []string{Live, Ready, Startup, full} {
		c.groups[name] = newGroup(c, name)
	}
	return c, nil
}

// MustNew is New for package variables and examples: it panics where New returns
// an error.
func MustNew(cfg Config) *Checker {
	c, err := New(cfg)
	if err != nil {
		panic(err)
	}
	return c
}

// Add adds a check, before Start. Its name is for URLs, files and people: printable
// ASCII without quotes, slashes and the like, with one colon at most
// ("component:measurement"), unique, at most 100 bytes.
func (c *Checker) Add(name string, def Check) error {
	err := def.complete()
	if !plainName(name) {
		err = errors.Join(fmt.Errorf("%q is no name for a check", name), err)
	}
	if err != nil {
		return fmt.Errorf("healthcheck: check %q: %w", name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return ErrClosed
	case c.started.Load():
		return ErrStarted
	case c.byName[name] != nil:
		return fmt.Errorf("healthcheck: there is a check %q already", name)
	case c.groups[name] != nil || slices.Contains(def.Groups, name):
		return fmt.Errorf("healthcheck: %q is a group, and can be no check", name)
	}
	for _, in := range def.Groups {
		if c.byName[in] != nil {
			return fmt.Errorf("healthcheck: check %q: %q is a check, and can be no group", name, in)
		}
	}
	k := newCheck(c, name, def)
	c.checks = append(c.checks, k)
	c.byName[name] = k
	for _, in := range def.Groups {
		c.group(in).join(k)
	}
	c.groups[full].join(k)
	return nil
}

// MustAdd is Add for programs that cannot go on: it panics where Add returns an
// error.
func (c *Checker) MustAdd(name string, def Check) {
	if err := c.Add(name, def); err != nil {
		panic(err) //nolint:forbidigo // as MustNew
	}
}

// group returns the group of a name, which it makes if there is none.
func (c *Checker) group(name string) *group {
	g := c.groups[name]
	if g == nil {
		g = newGroup(c, name)
		c.groups[name] = g
	}
	return g
}

// Start begins to probe: every check at once, and then each by its period. It
// returns an error if it was called before, an endpoint is mounted of a group that no
// check is in, or a route requires a check that there is not.
func (c *Checker) Start() error {
	if err := c.begin(); err != nil {
		return err
	}
	for _, k := range c.checks {
		if k.Probe != nil && k.OnDemand == 0 {
			c.launch(k)
		}
	}
	for _, g := range c.groups {
		g.refresh(c.now())
	}
	return nil
}

func (c *Checker) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return ErrClosed
	case c.started.Load():
		return ErrStarted
	}
	if err := c.missing(); err != nil {
		return err
	}
	c.started.Store(true)
	c.probes.Go(c.runSchedule)
	return nil
}

// missing returns what endpoints and routes are about and there is not.
func (c *Checker) missing() error {
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(c.groups)) {
		if len(c.groups[name].members) == 0 && !slices.Contains([]string{Live, Ready, Startup, full}, name) {
			wrong = append(wrong, fmt.Errorf("healthcheck: there is no check in group %q", name))
		}
	}
	for _, name := range c.required {
		if c.byName[name] == nil {
			wrong = append(wrong, fmt.Errorf("healthcheck: a route requires %q, and there is no such check", name))
		}
	}
	return errors.Join(wrong...)
}

// Close ends all probing and waits for the probes that are running, as long as ctx
// lives: then it names those that hang. It must not be called by an observer, which it
// would wait for.
func (c *Checker) Close(ctx context.Context) error {
	if err := c.close(); err != nil {
		return err
	}
	c.cancel()
	over := make(chan struct{})
	go func() {
		c.probes.Wait()
		close(over)
	}()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
	}
	if hang := c.running(); hang != nil {
		return errors.Join(ctx.Err(), hang)
	}
	grace := time.NewTimer(100 * time.Millisecond) // for who gave no time, and probes that need none
	defer grace.Stop()
	select {
	case <-over:
		return nil
	case <-grace.C:
		return ctx.Err() // an observer blocks
	}
}

func (c *Checker) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return ErrClosed
	case !c.started.Load():
		c.closed = c.shutdown.Load() // a service that ends does not start any more
		return ErrNotStarted
	}
	c.closed = true
	return nil
}

// running returns a StuckError for each probe that is running.
func (c *Checker) running() error {
	var hang []error
	for _, k := range c.checks {
		if since, running := k.runningSince(); running {
			hang = append(hang, &StuckError{Check: k.name, For: time.Duration(c.now() - since)})
		}
	}
	return errors.Join(hang...)
}

// now is the monotonic time since the Checker was made.
func (c *Checker) now() int64 { return int64(time.Since(c.start)) }

// Status returns how a check or a group is, as fast as that can be asked: it takes
// no lock unless a result has become too old since somebody last asked. A name that
// is neither is Unknown.
func (c *Checker) Status(name string) Status {
	if !c.started.Load() {
		return Unknown // and what is added may still change
	}
	if k := c.byName[name]; k != nil {
		return k.status(c.now())
	}
	if g := c.groups[name]; g != nil {
		return g.current(c.now())
	}
	return Unknown
}
