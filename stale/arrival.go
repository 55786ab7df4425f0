package stale

import (
	"context"
	"time"

	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/internal/outcome"
	"github.com/failsoft/failsoft/stale/internal/policy"
)

// arrived answers from a flight whose headers are there.
func (x *call) arrived(fl *flight, leads bool) (reply, bool) {
	res := &fl.res
	switch {
	case leads && res.crash != nil:
		return x.lead(fl), true
	case res.fate == failed && res.kind != outcome.Throttled && x.onError():
		return x.staleFor(res), true
	case leads && res.fate != renewed:
		return x.lead(fl), true
	case res.fate == renewed:
		return x.renewed(res, leads)
	case res.fate == private && x.stored != nil:
		x.solo = true // what is stored may be needed yet
		return reply{}, false
	case res.fate == private:
		return x.inline(), true
	case res.fate == failed:
		return x.bereft(res)
	default:
		return x.follow(fl)
	}
}

// aborted answers in place of a flight that has been canceled, and has not noticed:
// to wait until it does may take for ever.
func (x *call) aborted(fl *flight, leads bool) (reply, bool) {
	if fl.known() { // it has ended, and well
		return x.arrived(fl, leads)
	}
	if leads {
		fl.dismiss()
	}
	res := landing{fate: failed, kind: outcome.OfError(fl.ctx, context.Cause(fl.ctx)), at: time.Now()}
	if !x.onError() {
		return x.bereft(&res)
	}
	return x.staleFor(&res), true
}

// lead hands the flight to who leads it.
func (x *call) lead(fl *flight) reply {
	return reply{flight: fl, read: fl.res.read, leads: true, fwd: x.fwd()}
}

// renewed answers with the entry that a 304 has made fresh.
func (x *call) renewed(res *landing, leads bool) (reply, bool) {
	if !leads && !x.sharesRenewed(res.entry) {
		x.solo = x.elected
		x.elected = true
		return reply{}, false
	}
	r := x.hit(res.entry, Fresh)
	r.fwd, r.leads, r.reason = "stale", leads, Renewed
	return r, true
}

// sharesRenewed reports whether the entry that another's request has renewed may
// answer this one: the 304 may say that it is no longer for everybody.
func (x *call) sharesRenewed(e *Entry) bool {
	terms := &e.derive(&x.role.rules).terms
	return x.stored != nil && e.Asked == x.asked(terms.Vary) && terms.Reason == policy.None && x.suits(terms)
}

// follow reads along with a flight that another leads, if its answer is for this
// request, too.
func (x *call) follow(fl *flight) (reply, bool) {
	res := &fl.res
	mine := res.asked == x.asked(res.terms.Vary)
	if mine && (res.terms.NoCache || res.terms.Lifetime <= res.terms.Age) {
		x.solo = true // each has to ask for itself
		return reply{}, false
	}
	if !mine || !x.suits(&res.terms) {
		x.vary = res.terms.Vary
		return reply{}, false
	}
	read := res.fill.follow()
	if read == nil {
		x.solo = true
		return reply{}, false
	}
	return reply{flight: fl, read: read, fwd: x.fwd()}, true
}

// bereft is what remains for who waited for a flight of another's that failed: one
// of them tries once more, and what befalls that one befalls all. What says nothing
// of the next request (refusals) is shared by nobody.
func (x *call) bereft(res *landing) (reply, bool) {
	refused := res.kind == outcome.Refused || res.kind == outcome.Throttled || res.kind == outcome.Canceled
	switch {
	case !x.elected && !attempt.Background(x.req.Context()):
		x.elected = true
		return reply{}, false
	case refused:
		return x.inline(), true
	default:
		return x.refuse(&Mark{Failed: res.at, Wait: x.c.failureWait()}, time.Now()), true
	}
}

// refuse answers what is known to fail.
func (x *call) refuse(m *Mark, now time.Time) reply {
	return reply{err: &FailingError{Failures: m.Failures, After: max(m.Failed.Add(m.Wait).Sub(now), 0)}, fwd: x.fwd()}
}

// staleFor answers with what is stored because a flight has failed.
func (x *call) staleFor(res *landing) reply {
	r := x.hit(x.stored, reasonOf(res))
	r.fwd, r.came = "stale", res.status
	return r
}
