package stale

import (
	"math"
	"time"
)

// The constants of what a Loader decides.
const (
	leastPause = time.Second // between loads of a key that fails, while an old value answers
	mostPause  = 30 * time.Second

	// A load is remembered from the second failure in a row on: the first may be
	// chance, and the next caller finds out.
	failuresToRemember = 2

	// Early refreshes are for keys that are asked for at least so often while a load
	// would last ten times over. For the others hardly anybody would have to wait.
	busyHits   = 10
	busyWindow = 10 // times as long as a load, and the factor
)

// loadRules is the part of a LoaderConfig that decisions go by.
type loadRules struct {
	ttl, revalidate, onError, ifSick, failureTTL time.Duration
	early                                        float64 // 0 is off
}

// loadTerms is what is known of a key at one moment, but for its value. All times
// are on the Loader's own clock, which began with it.
type loadTerms struct {
	has      bool          // there is a value
	purged   bool          // softly: the value is for when loads fail, and for nothing else
	stored   time.Duration // when the value came
	took     time.Duration // to load it
	early    time.Duration // from when early refreshes may be due; not after fresh
	fresh    time.Duration // until when it is
	failures int           // since then, in a row
	pause    time.Duration // until when it answers without another load
	err      error         // of the latest failure, if it is remembered
	errUntil time.Duration // until when that answers, where no value may
}

// loadMove is how a Get goes on.
type loadMove uint8

const (
	moveHit    loadMove = iota // the value answers: it is fresh
	moveOld                    // the value answers, though it is not: see the reason
	moveLoad                   // load, or wait for the load that is under way
	moveRefuse                 // the remembered error answers
)

// loadPlan is a decision.
type loadPlan struct {
	move    loadMove
	refresh bool   // and have the key refreshed behind the answer
	reason  Reason // of moveOld
}

// decide says how a Get goes on that finds t, after hits others since t.early. The
// random number, in [0,1), is for early refreshes.
func (r *loadRules) decide(t *loadTerms, hits int32, now time.Duration, sick bool, random float64) loadPlan {
	switch {
	case t.has && now < t.fresh:
		return loadPlan{refresh: r.dueEarly(t, hits, now, random)}
	case r.within(t, now, r.revalidate) && !t.purged:
		return loadPlan{move: moveOld, refresh: now >= t.pause, reason: Revalidating}
	case sick && r.within(t, now, r.ifSick) && !t.purged:
		// It is refreshed all the same: what is said to be sick may be well for this key,
		// and who judges by the calls alone would never learn that it is well again.
		return loadPlan{move: moveOld, refresh: now >= t.pause, reason: Sick}
	case now < t.pause && r.fallback(t, now):
		return loadPlan{move: moveOld, reason: Failing}
	case now < t.errUntil && !r.fallback(t, now):
		return loadPlan{move: moveRefuse}
	default:
		return loadPlan{move: moveLoad}
	}
}

// within reports whether there is a value that is past its time by less than window.
func (r *loadRules) within(t *loadTerms, now, window time.Duration) bool {
	return t.has && now < t.fresh+max(window, 0)
}

// fallback reports whether the value may answer where a load has failed.
func (r *loadRules) fallback(t *loadTerms, now time.Duration) bool {
	return r.within(t, now, r.onError)
}

// usable reports whether there is a value that may still answer some day, be it
// that all goes wrong.
func (r *loadRules) usable(t *loadTerms, now time.Duration) bool {
	return r.within(t, now, max(r.revalidate, r.onError, r.ifSick))
}

// dueEarly reports whether a value that is fresh is to be refreshed already. It is
// XFetch (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede
// Prevention, VLDB 2015): each Get throws dice, so that the more there are, the
// earlier one of them refreshes.
func (r *loadRules) dueEarly(t *loadTerms, hits int32, now time.Duration, random float64) bool {
	if r.early == 0 || now < t.early || now < t.pause || hits < busyHits {
		return false
	}
	gap := float64(t.took) * r.early * math.Log(1-random) // not of 0
	return float64(now)-gap >= float64(t.fresh)
}

// afterValue is what is known when a load that took so long has brought a value.
func (r *loadRules) afterValue(took, now time.Duration) loadTerms {
	took = max(took, 0)
	t := loadTerms{has: true, stored: now, took: took, fresh: now + max(r.ttl, 0)}
	t.early = t.fresh
	if window := float64(took) * r.early * busyWindow; window > 0 {
		t.early -= time.Duration(min(window, float64(r.ttl)/2))
	}
	return t
}

// afterFailure is what is known when a load has failed. An error that is not to be
// remembered makes nothing but a pause. Random is in [0,1).
func (r *loadRules) afterFailure(t loadTerms, err error, remember bool, now time.Duration, random float64) loadTerms {
	if !remember {
		t.pause = max(t.pause, now+leastPause)
		return t
	}
	t.failures = min(t.failures+1, 1000)
	t.pause = now + min(leastPause<<min(t.failures-1, 10), mostPause)
	if t.failures >= failuresToRemember && r.failureTTL > 0 { // else it would be kept for nobody
		t.err = err
		t.errUntil = now + time.Duration(float64(r.failureTTL)*(0.75+random/2))
	}
	return t
}

// afterSoftPurge is what is known after a purge that keeps the value for when loads
// fail. What was remembered of failures is as old as the value.
func (t loadTerms) afterSoftPurge(now time.Duration) loadTerms {
	return loadTerms{
		has: t.has, purged: true, stored: t.stored, took: t.took,
		early: min(t.early, now), fresh: min(t.fresh, now),
	}
}

// withoutValue is what remains to be known when the value is of no use any more.
func (t loadTerms) withoutValue() loadTerms {
	return loadTerms{failures: t.failures, err: t.err, errUntil: t.errUntil}
}
