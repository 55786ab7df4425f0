package stale

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/failsoft/failsoft/internal/outcome"
	"github.com/failsoft/failsoft/stale/internal/policy"
)

// markOf is where what is remembered of a resource without a response is kept:
// beside the responses, which it must not displace.
func markOf(primary string) Key { return Key{Primary: primary, Variant: "!"} }

// pause is how long a stale response answers at once after failures: a second,
// twice as long after each further one, at most half a minute.
func (m *Mark) pause() time.Duration {
	return time.Second << min(max(m.Failures-1, 0), 5) * 15 / 16
}

// within reports whether the latest failure is no longer ago than d, nor in a
// future that only a Store with another clock, or none, could know of.
func (m *Mark) within(d time.Duration, now time.Time) bool {
	since := now.Sub(m.Failed)
	return -d <= since && since < d
}

// failureWait is how long the origin is left alone for the sake of requests that
// have nothing else. It differs from time to time, so that what failed together does
// not come back together.
func (c *Cache) failureWait() time.Duration {
	if c.cfg.FailureTTL == Off {
		return 0
	}
	spread := 0.75 + rand.Float64()/2
	return time.Duration(spread * float64(c.cfg.FailureTTL))
}

// failed remembers a failure of the origin. What a caller's end, a refusal or a
// limit says of it holds for one request only, and so does what befalls a user who
// makes a request of their own: others are not to be refused for it.
func (c *Cache) failed(fl *flight, kind outcome.Kind, status int, err error) {
	c.tell(fl.ctx, Event{Kind: FetchFailed, Key: fl.x.key, Status: status, Err: err})
	c.counts.failures.Add(1)
	switch {
	case kind == outcome.Canceled, kind == outcome.Refused, kind == outcome.Throttled, fl.inline && fl.x.personal():
		return
	}
	next := Mark{Failures: 1, Failed: time.Now(), Wait: c.failureWait()}
	if m := fl.x.mark; m != nil {
		next.Failures, next.PassUntil = m.Failures+1, m.PassUntil
	}
	c.mark(fl, &next)
}

// forgive forgets failures.
func (c *Cache) forgive(fl *flight) {
	if m := fl.x.mark; m != nil && m.Failures > 0 {
		c.mark(fl, &Mark{PassUntil: m.PassUntil})
	}
}

// Why a response is not stored that could be.
const (
	tooLarge = "too-large"
	noRoom   = "no-room" // for what is being fetched, at the moment
)

// notKept is notStored for a response of which the header has decided it.
func (c *Cache) notKept(fl *flight, res *landing) {
	switch reason := res.terms.Reason; {
	case reason != policy.None:
		c.notStored(fl, reason.String(), reason != policy.Method)
	case isLive(res.header):
		c.notStored(fl, "live", true)
	case lengthOf(res.header) > c.cfg.MaxObject:
		c.notStored(fl, tooLarge, true)
	default:
		c.notStored(fl, noRoom, false)
	}
}

// notStored tells that a resource's answer was not stored and, where that will not
// be different next time, remembers it, so that the next requests do not wait for
// one another in vain. What came back to a user says nothing of what others get.
func (c *Cache) notStored(fl *flight, why string, lasting bool) {
	c.tell(fl.ctx, Event{Kind: NotStored, Key: fl.x.key, Detail: why})
	if !lasting || c.cfg.HitForMiss == Off || fl.inline || fl.x.personal() || !fl.held {
		return
	}
	c.mark(fl, &Mark{PassUntil: time.Now().Add(c.cfg.HitForMiss)})
}

// unmark forgets everything, as there is a response now.
func (c *Cache) unmark(fl *flight) {
	if fl.x.mark != nil {
		c.mark(fl, &Mark{})
	}
}

func (c *Cache) mark(fl *flight, m *Mark) {
	fl.x.mark = m
	until := m.PassUntil
	if m.Failures > 0 {
		until = later(until, m.Failed.Add(max(time.Minute, 2*m.Wait))) // for as long, failures are in a row
	}
	c.store.set(context.WithoutCancel(fl.ctx), markOf(fl.x.key), &Entry{Mark: m, Expires: until}, fl.epoch)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
