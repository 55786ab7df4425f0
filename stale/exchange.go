package stale

import (
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"github.com/failsoft/failsoft/internal/rt"
	"github.com/failsoft/failsoft/stale/internal/policy"
)

// reply is how a request is answered: by an entry, from a flight, by an error of
// ours, or by its door alone, with the Cache at most reading along.
type reply struct {
	entry   *Entry
	derived *derived
	verdict policy.Verdict
	reason  Reason // why an entry that is not fresh may answer; Fresh if it is

	came   int     // the status of what an entry answers instead of
	flight *flight // landed, private or failed
	read   *reader // of a flight that landed
	leads  bool

	err    error // of ours
	inline bool
	fwd    string // why the request was forwarded, in the words of RFC 9211
}

// exchange answers a request that has a resource.
func (x *call) exchange() reply {
	r := x.decide()
	if errors.Is(r.err, ErrFailing) {
		x.c.counts.refused.Add(1)
	}
	return r
}

func (x *call) decide() reply {
	const patience = 4 // flights that turn out to be for others
	for range patience {
		now := time.Now()
		x.landings, x.looksAgain = x.c.landings.Load(), false
		x.look(now)
		if r, ok := x.fromStored(now); ok {
			return r
		}
		if r, ok := x.fromMark(now); ok {
			return r
		}
		fl, leads := x.c.join(x, x.flightName(), false)
		if x.looksAgain {
			continue
		}
		if fl == nil {
			break // the Cache is closed
		}
		if r, ok := x.await(fl, leads); ok {
			return r
		}
	}
	return x.inline()
}

// fromStored answers with what is stored, if that may be done without asking the
// origin.
func (x *call) fromStored(now time.Time) (reply, bool) {
	switch {
	case x.stored == nil && x.asks.OnlyIfCached:
		return reply{err: errNotCached, fwd: x.fwd()}, true
	case x.stored == nil && (x.personal() || x.ranged):
		return x.inline(), true // there is nothing to be shared
	case x.stored == nil:
		return reply{}, false
	case x.verdict.Use == policy.Fresh:
		hits := x.derived.hits.Add(1)
		if x.early(hits) {
			x.c.refresh(x)
		}
		return x.hit(x.stored, Fresh), true
	case x.verdict.Use == policy.WhileRevalidate:
		x.c.refresh(x)
		return x.hit(x.stored, Revalidating), true
	case x.withinSickness(now) && !x.c.healthy(x.req.Context()):
		x.c.refresh(x)
		return x.hit(x.stored, Sick), true
	case x.asks.OnlyIfCached:
		return reply{err: errNotCached, fwd: x.fwd()}, true
	default:
		return reply{}, false
	}
}

// early reports whether a busy entry is to be refreshed while it is fresh (XFetch):
// the sooner, the closer its end and the longer it takes to make, and by chance, so
// that of many who ask one does.
func (x *call) early(hits int64) bool {
	const busy = 10 // hits, below which nobody may come again
	factor, took := x.c.cfg.EarlyRefresh, x.stored.Took
	if factor == Off || hits < busy || took <= 0 || float64(x.verdict.TTL) > 20*factor*float64(took) {
		return false
	}
	chance := -math.Log(1 - rand.Float64())
	return float64(took)*factor*chance >= float64(x.verdict.TTL)
}

// withinSickness reports whether what is stored may answer at once while the
// origin is not well.
func (x *call) withinSickness(now time.Time) bool {
	window := x.c.cfg.StaleIfSick
	if x.c.cfg.Healthy == nil || window == Off || x.stored.Purged {
		return false
	}
	terms := x.derived.terms
	if terms.ExplicitOnly { // it has named its windows, and means these
		window = terms.StaleIfError
	}
	terms.StaleWhileRevalidate = max(terms.StaleWhileRevalidate, window)
	use := terms.Judge(x.asks, x.c.defaults, x.stored.Received, now).Use
	return use == policy.Fresh || use == policy.WhileRevalidate
}

// fromMark answers by what is remembered of requests that came to nothing.
func (x *call) fromMark(now time.Time) (reply, bool) {
	x.mark = nil
	if e := x.c.store.get(x.req.Context(), markOf(x.key)); e != nil {
		x.mark = e.Mark
	}
	m := x.mark
	switch {
	case m == nil:
		return reply{}, false
	case m.Failures > 0 && x.onError() && m.within(m.pause(), now):
		return x.hit(x.stored, Failing), true
	case m.Failures > 1 && !x.onError() && m.within(min(m.Wait, 2*x.c.cfg.FailureTTL), now):
		return x.refuse(m, now), true
	case now.Before(m.PassUntil) && x.stored == nil:
		return x.inline(), true
	case now.Before(m.PassUntil):
		x.solo = true
	}
	return reply{}, false
}

// await waits for the headers of a flight, or for as long as an old answer is worse
// than waiting, or until the client leaves. It reports false if the flight turns
// out to have nothing for this request.
func (x *call) await(fl *flight, leads bool) (reply, bool) {
	late, stop := x.late(fl)
	defer stop()
	fl.joined(leads)
	defer fl.parted(leads)
	caller := rt.CallerOf(x.req)
	early := fl.early
	if !leads || x.inform == nil {
		early = nil
	}
	aborted := fl.ctx.Done()
	if leads && !x.onError() {
		aborted = nil // what it leads is all there is for it
	}
	for {
		select {
		case i := <-early:
			x.inform(i)
			continue
		case <-fl.headed:
			for len(early) > 0 { // they came before
				x.inform(<-early)
			}
			return x.arrived(fl, leads)
		case <-aborted:
			return x.aborted(fl, leads)
		case <-late:
			if fl.known() { // both at once
				return x.arrived(fl, leads)
			}
			if leads {
				fl.dismiss()
			}
			return x.hit(x.stored, Slow), true
		case <-caller.Ctx.Done():
		case <-caller.Cancel:
		}
		if leads {
			fl.dismiss()
		}
		return reply{err: caller.Ended(time.Now()), fwd: x.fwd()}, true
	}
}

// late returns what tells that the origin is slow, which is never if nothing else
// may answer. It is counted from when the flight began: who comes to one that is
// late already does not wait.
func (x *call) late(fl *flight) (<-chan time.Time, func() bool) {
	after := x.c.latency.staleAfter(x.host())
	if !x.onError() || x.stored.Purged || after == Off {
		return nil, func() bool { return false }
	}
	timer := time.NewTimer(after - time.Since(fl.begun))
	return timer.C, timer.Stop
}

// hit answers with an entry.
func (x *call) hit(e *Entry, reason Reason) reply {
	d := x.derived
	verdict := x.verdict
	if e != x.stored {
		d = e.derive(&x.role.rules)
		verdict = d.terms.Judge(policy.ReadRequest(nil), x.c.defaults, e.Received, time.Now())
	}
	return reply{entry: e, derived: d, verdict: verdict, reason: reason}
}

// inline leaves the request to its door.
func (x *call) inline() reply { return reply{inline: true, fwd: x.fwd()} }

// fwd says, in the words of RFC 9211, why a request is forwarded.
func (x *call) fwd() string {
	switch {
	case x.why != "":
		return x.why
	case x.stored != nil && x.asks.NoCache:
		return "request"
	case x.stored != nil:
		return "stale"
	case len(x.vary) > 0:
		return "vary-miss"
	default:
		return "uri-miss"
	}
}
