package healthcheck

import (
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/internal/ordered"
)

// full is the group of all checks, whose endpoint shows them.
const full = "full"

// group is the checks that are asked for together.
type group struct {
	c       *Checker
	name    string
	members []*check

	// word is the status and when it ends to be known, like a check's; code what
	// endpoints answer with.
	word atomic.Int64
	code atomic.Int32

	announced atomic.Int32 // members that have news: word may not hold them yet

	mu       sync.Mutex
	latched  bool // of Startup: it has come up
	override held
	watchers map[chan Status]struct{}
	timer    *time.Timer // tells watchers when the status ends to be known
	events   ordered.Queue[Event]

	views [viewKinds]view
}

func newGroup(c *Checker, name string) *group {
	g := &group{c: c, name: name, watchers: make(map[chan Status]struct{})}
	g.code.Store(http.StatusServiceUnavailable)
	return g
}

// join adds a check to the group.
func (g *group) join(k *check) {
	g.members = append(g.members, k)
	k.in = append(k.in, g)
}

// all returns the members. Before Start there are none to speak of: others may be
// joining.
func (g *group) all() []*check {
	if !g.c.started.Load() {
		return nil
	}
	return g.members
}

// weigh returns what a check's status means for a group: see the table in the
// package's documentation.
func weigh(group string, k *check, s Status) Status {
	switch {
	case k.Impact == Informational:
		return Pass
	case s == Unknown && (k.Probe == nil || group == Live):
		return Pass // nobody has called it yet; a process that nobody has asked yet is no dead one
	case s == Unknown && group == Startup:
		return Unknown // it has not come up, whatever its impact is later
	case k.Impact == Degrades && (s == Fail || s == Unknown):
		return Warn
	default:
		return s
	}
}

// current returns the group's status at now.
func (g *group) current(now int64) Status {
	s, until := unpack(g.word.Load())
	if now < until && g.announced.Load() == 0 {
		return s
	}
	return g.refresh(now)
}

// change notes that the status of a check has changed. It is worked out by who asks
// next, or now if somebody watches: a thousand checks that change at once cost a
// thousand notes, and not a million.
func (g *group) change(now int64) {
	if g.expire() {
		g.refresh(now)
	}
}

// expire makes the status unknown to readers, and reports whether somebody watches.
func (g *group) expire() (watched bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s, _ := unpack(g.word.Load())
	g.word.Store(pack(s, 0))
	for i := range g.views {
		g.views[i].due.Store(0)
	}
	return len(g.watchers) > 0
}

// refresh works the group's status out anew and tells watchers of a change.
func (g *group) refresh(now int64) Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.renewed(now)
}

// renewed is refresh for who has the lock.
func (g *group) renewed(now int64) Status {
	s, until := g.work(now)
	before, _ := unpack(g.word.Swap(pack(s, until)))
	g.code.Store(codeOf(s))
	for i := range g.views {
		g.views[i].due.Store(0)
	}
	if before != s {
		for watcher := range g.watchers {
			latest(watcher, s)
		}
	}
	if g.timer != nil {
		g.timer.Stop()
	}
	if len(g.watchers) > 0 && until < math.MaxInt64&^3 {
		g.timer = time.AfterFunc(time.Duration(until-now), func() { g.refresh(g.c.now()) })
	}
	return s
}

// work works out the status at now, and until when it is known. It needs the lock.
func (g *group) work(now int64) (s Status, until int64) {
	held := g.override.holds(now)
	switch {
	case g.drains() && g.c.draining.Load():
		return Fail, math.MaxInt64 // a hand that holds it up has not heard of that
	case held:
		return g.override.Status, g.override.until
	case !g.c.started.Load() && g.name != Live:
		return Unknown, math.MaxInt64
	}
	s, until = Pass, math.MaxInt64
	for _, k := range g.all() {
		s = worst(s, weigh(g.name, k, k.status(now)))
		until = min(until, k.until(now))
	}
	if g.name == Startup {
		g.latched = g.latched || s == Pass || s == Warn
		if g.latched {
			return Pass, math.MaxInt64
		}
	}
	return s, until
}

// drains reports whether the group fails while the service drains: not those that
// ask whether the process is alive, or has ever come up.
func (g *group) drains() bool { return g.name != Live && g.name != Startup && g.name != full }

// codeOf: what is not known to be well is not asked to serve.
func codeOf(s Status) int32 {
	if s == Pass || s == Warn {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}

// touch notes that there are new values to be shown, without haste.
func (g *group) touch() {
	g.views[viewDetails].touch()
	g.views[viewLines].touch()
}

// Watch returns a channel that holds the latest status of a group, beginning with
// the present one: a receiver that is slow misses what was in between. stop ends it;
// the channel is not closed.
func (c *Checker) Watch(name string) (statuses <-chan Status, stop func(), err error) {
	g, err := c.mounted(name)
	if err != nil {
		return nil, nil, err
	}
	ch := make(chan Status, 1)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.watchers[ch] = struct{}{}
	latest(ch, g.renewed(c.now()))
	return ch, func() { g.unwatch(ch) }, nil
}

func (g *group) unwatch(ch chan Status) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.watchers, ch)
	if len(g.watchers) == 0 && g.timer != nil {
		g.timer.Stop()
	}
}

// latest puts s into a channel of one, in the place of what is there. The sender
// is the only one, as the group's lock is held.
func latest(ch chan Status, s Status) {
	select {
	case <-ch:
	default:
	}
	ch <- s
}
