package route

import (
	"math"
	"time"
)

// standing is what the Pool holds of a host, under its lock: what requests and checks
// have come to.
type standing struct {
	member

	onProbation bool
	isIll       bool
	until       int64 // when an ejection ends
	drained     int64 // until when no new work is wanted
	left        int64 // when it was ejected, or began to drain
	times       int   // ejections in a row
	last        time.Duration
	returned    int64
	hurried     bool // checks have brought its probation forward; once will do
	ejections   uint64
	why         string // of the last ejection
	checks      checks
}

// healthAt is how the host is at now.
func (s *standing) healthAt(now int64) health {
	switch {
	case now < s.drained:
		return draining
	case now < s.until:
		return ejected
	case s.isIll:
		return ill
	case s.onProbation:
		return probation
	default:
		return well
	}
}

// changes returns when time alone changes how the host is.
func (s *standing) changes(now int64) int64 {
	next := int64(math.MaxInt64)
	for _, at := range [...]int64{s.until, s.drained} {
		if at > now {
			next = min(next, at)
		}
	}
	return next
}

// leave begins what ends with a probation, at until. A request that has been looking for
// a host since before must not take the place of the one that finds out then.
func (s *standing) leave(now, until int64) {
	if !s.onProbation && time.Duration(now-s.returned) > max(10*s.last, time.Minute) {
		s.times = 0
	}
	s.onProbation, s.left = true, now
	s.trial.Store(until)
	s.checks.good = 0
}

// eject takes the host out for a time that doubles while it does not stay well for ten
// times as long in between.
func (s *standing) eject(now int64, why string, cfg *Config) time.Duration {
	s.leave(now, math.MaxInt64)
	d := cfg.EjectTime
	for range s.times {
		d = min(2*d, cfg.MaxEjectTime)
	}
	s.times++
	s.ejections++
	s.why = why
	s.last = jittered(d)
	s.until = now + int64(s.last)
	s.trial.Store(s.until)
	return s.last
}

// comeBack makes the host one of those that are well.
func (s *standing) comeBack(now int64) {
	s.onProbation, s.hurried, s.returned = false, false, now
	s.since.Store(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures.Store(0)
	s.good, s.wrong = 0, 0
}

// Why a host was ejected.
const (
	inARow    = "failures in a row"
	forLong   = "nothing but failures"
	behind    = "it fails more than the others"
	onceAgain = "it failed on probation"
)

// rateTime is over which success rates are taken, rateMin from how many requests on.
const (
	rateTime = float64(10 * time.Second)
	rateMin  = 20
)

// A host that fails gets a request now and then, because of its troubles, and would take
// a minute for its fifth failure: failingMin are enough if they span failingTime.
const (
	failingTime = int64(10 * time.Second)
	failingMin  = 3
)

// count counts what came of a request, and returns why the host might be ejected. It
// needs the lock.
func (h *host) count(o Outcome, now int64, cfg *Config) (why string) {
	if o != Success && o != Failure {
		return ""
	}
	h.fadeCounts(now)
	if o == Success {
		h.good++
		h.failures.Store(0)
		return ""
	}
	h.wrong++
	failures := h.failures.Add(1)
	if failures == 1 {
		h.failing = now
	}
	switch {
	case cfg.Consecutive != Off && failures >= int64(cfg.Consecutive):
		return inARow
	case cfg.Consecutive != Off && failures >= failingMin && now-h.failing >= failingTime:
		return forLong
	case cfg.SuccessMargin != Off && h.good+h.wrong >= rateMin && h.wrong > cfg.SuccessMargin*(h.good+h.wrong):
		return behind
	default:
		return ""
	}
}

func (h *host) fadeCounts(now int64) {
	since := float64(max(now-h.counted, 0))
	h.good, h.wrong = fade(h.good, since, rateTime), fade(h.wrong, since, rateTime)
	h.counted = now
}

// counts returns the good and the wrong requests of late.
func (h *host) counts(now int64) (good, wrong float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fadeCounts(now)
	return h.good, h.wrong
}

// isBehind reports whether a success rate is so much lower than that of the others
// that neither chance nor a cause that is common to all accounts for it.
func isBehind(good, wrong, goodOthers, wrongOthers, margin float64) bool {
	n, others := good+wrong, goodOthers+wrongOthers
	if n < rateMin || others < rateMin {
		return false
	}
	rate, rateOthers := good/n, goodOthers/others
	sigma := math.Sqrt(max(rateOthers*(1-rateOthers), 0.01) / n)
	return rateOthers-rate > max(margin, 3*sigma)
}
