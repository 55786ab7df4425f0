package healthcheck

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/internal/ordered"
)

// check is a Check and what is known of it.
type check struct {
	Check

	c    *Checker
	name string
	in   []*group

	// word is the status and when that ends to be known, for those who read
	// without a lock: see pack.
	word atomic.Int64

	mu       sync.Mutex
	machine  machine
	known    bool      // there was a result, and it says something
	result   Result    // the latest
	at       int64     // when it came
	wall     time.Time // likewise, to be shown
	reported bool      // it holds until there is another
	changed  int64     // when the status changed
	run      int       // the number of the latest probe
	running  bool
	told     bool // the probe that is running has come back, and its result is being taken
	stuck    bool
	begun    int64         // of the probe that is running
	over     chan struct{} // closed when it has told, or hangs
	next     int64         // when a probe on demand is due
	failing  int           // probes in a row that failed, for their backoff
	waited   bool          // a request has waited for the first result, and in vain
	feed     feed          // what traffic tells
	override held          // what a hand has set
	trial    atomic.Int64  // when the next request may find out, past Require
	events   ordered.Queue[Event]
}

func newCheck(c *Checker, name string, def Check) *check {
	return &check{
		Check: def, c: c, name: name, machine: machine{fall: def.Fall, rise: def.Rise},
	}
}

// A word holds a status in its lowest two bits, and above them until when it is
// known, in units of four nanoseconds.
func pack(s Status, until int64) int64 { return until&^3 | int64(s) }

func unpack(word int64) (s Status, until int64) { return Status(word & 3), word &^ 3 }

// status returns the status at now.
func (k *check) status(now int64) Status {
	s, until := unpack(k.word.Load())
	if now < until {
		return s
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.see(now)
}

// see works out the status at now, and notes it for readers without a lock. It
// needs the lock.
func (k *check) see(now int64) Status {
	k.age(now)
	s, until := k.machine.status, k.ends()
	if k.stuck {
		s = Fail // whatever others tell: it hangs
	}
	if k.override.holds(now) {
		s, until = k.override.Status, k.override.until
	}
	k.word.Store(pack(s, until))
	return s
}

// age forgets a result that is too old to say anything. The next one counts at
// once, like the first. It needs the lock.
func (k *check) age(now int64) {
	if now >= k.ends() {
		k.known, k.waited = false, false
		k.machine.set(Unknown)
		k.feed.clear()
	}
}

// ends returns when the status ends to be known: three periods and a timeout after
// the result. It needs the lock.
func (k *check) ends() int64 {
	if !k.known || k.stuck || k.reported {
		return math.MaxInt64
	}
	return k.at + int64(3*k.Period+k.Timeout)
}

// until returns when the status at now ends to be known.
func (k *check) until(now int64) int64 {
	k.status(now)
	_, until := unpack(k.word.Load())
	return until
}

// how is how a result counts.
type how uint8

const (
	inLine  how = iota // as one of several in a row
	atOnce             // by itself
	forGood            // likewise, and it does not age: there will be another when it changes
)

// take takes a result, by a probe or by others. The events that it makes are told
// by deliver.
func (k *check) take(res Result, now int64, counts how) {
	k.announce(1) // or who has seen the new status could find the group without it
	defer k.announce(-1)
	k.mu.Lock()
	before := k.see(now)
	_, lasted := unpack(k.word.Load())
	from := k.machine.status
	if changed := k.count(res.Status, counts); changed {
		k.changed = now
		k.put(Event{Kind: Changed, Check: k.name, From: from, Status: k.machine.status, Err: res.Err})
	}
	k.result, k.at, k.wall = res, now, time.Now()
	k.known, k.reported = true, counts == forGood
	after := k.see(now)
	_, lasts := unpack(k.word.Load())
	k.mu.Unlock()
	if before != after || lasts < lasted { // what was reported for good may age again
		k.tellGroups(now)
		return
	}
	for _, g := range k.in {
		g.touch()
	}
}

// announce tells the groups that they are about to be told something, or have been.
func (k *check) announce(n int32) {
	for _, g := range k.in {
		g.announced.Add(n)
	}
}

// tellGroups tells the groups that the status has changed.
func (k *check) tellGroups(now int64) {
	for _, g := range k.in {
		g.change(now)
	}
}

// count counts a status and reports whether that has changed the check's. It needs
// the lock.
func (k *check) count(found Status, counts how) bool {
	if counts == inLine {
		return k.machine.take(found)
	}
	return k.machine.force(found)
}

// put has an event told by deliver, if anybody wants to know.
func (k *check) put(e Event) {
	if k.c.cfg.Observe != nil {
		k.events.Put(e)
	}
}

// deliver tells what has happened to the check.
func (k *check) deliver() { k.events.Deliver(k.c.tell) }

// runningSince returns when the probe that is running was started.
func (k *check) runningSince() (since int64, running bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.begun, k.running
}

// news returns what is closed when the probe that is running has told, or nil if
// there is none to wait for, or somebody has waited in vain.
func (k *check) news() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.running || k.stuck || k.waited {
		return nil
	}
	return k.over
}

// tooSlow notes that a request has waited in vain for what the check finds.
func (k *check) tooSlow() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.waited = true
}

// wanted reports whether it is time for another probe on demand.
func (k *check) wanted(now int64) bool {
	if k.OnDemand == 0 {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.age(now)
	return !k.known || now >= k.next
}

// nextDemand returns when the next probe on demand is due.
func (k *check) nextDemand() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.running:
		return math.MaxInt64 // it will tell
	case !k.known:
		return 0
	default:
		return k.next
	}
}
