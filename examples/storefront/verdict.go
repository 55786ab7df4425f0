package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/failsoft/failsoft/budget"
)

// row is a phase in the table: the two sides, and what the budget allows.
type row struct {
	phase           string
	naive, failsoft tally
	allowance       int  // attempts that failsoft may add to naive's
	stalls          bool // one of several replicas, which others can stand in for
}

// rows returns the table, without the phases that nobody has come in.
func (r *record) rows(s script) []row {
	var all []row
	for i, p := range s.phases {
		next := row{
			phase: p.name, naive: r.tally(naive, i, i+1), failsoft: r.tally(failsoft, i, i+1),
			allowance: allowance(s, i, r.visitors), stalls: p.stalls != "",
		}
		if next.naive.visitors > 0 && next.failsoft.visitors > 0 {
			all = append(all, next)
		}
	}
	return all
}

// allowance is the most attempts that failsoft's budget lets it add for the
// visitors of a phase, retries and hedges together.
//
// For each upstream by itself, a call pays for Ratio of an extra attempt, to be
// sent within one TTL of the budget. Beside that stands the floor: Floor attempts
// per second, of which one TTL's worth can be saved up. The attempts for a
// phase's visitors fall between its start and, for those who come last, its end
// plus a deadline. So they are paid for by the calls from one TTL before that
// span (and the step in which a TTL is counted) to its end, and by the floor of
// the same time. Each visitor makes one call to each upstream.
func allowance(s script, phase int, visitors []visitor) int {
	const step = budget.DefaultTTL / 10
	begin := time.Duration(phase) * s.length
	end := begin + s.length + deadline

	calls := 0 // to each upstream
	for _, v := range visitors {
		if v.at > begin-step-budget.DefaultTTL && v.at <= end {
			calls++
		}
	}
	floor := budget.DefaultFloor * (end - begin + budget.DefaultTTL).Seconds()
	return int(float64(len(upstreams())) * (ratio*float64(calls) + floor))
}

// errBehind is what the drill ends with if failsoft did not do its job.
var errBehind = errors.New("failsoft fell short")

// judge returns what is wrong with failsoft's side of the table, row by row.
func judge(rows []row) error {
	var wrong []error
	for _, r := range rows {
		if low, high := r.difference(z99); r.points() < -tolerance && high < 0 {
			wrong = append(wrong, fmt.Errorf(
				"%w in row %q: availability is %.2f points below naive's (99 %% interval: %.2f to %.2f)",
				errBehind, r.phase, -100*r.points(), -100*high, -100*low))
		}
		if extra := r.failsoft.attempts - r.naive.attempts; extra > r.allowance {
			wrong = append(wrong, fmt.Errorf(
				"%w in row %q: it added %d attempts to naive's %d, and its budget allows %d",
				errBehind, r.phase, extra, r.naive.attempts, r.allowance))
		}
		if f, n := r.failsoft.quantile(0.99), r.naive.quantile(0.99); r.stalls && f > n/sooner {
			wrong = append(wrong, fmt.Errorf(
				"%w in row %q: its p99 is %v, more than 1/%d of naive's %v",
				errBehind, r.phase, f, sooner, n))
		}
	}
	return errors.Join(wrong...)
}

// tolerance is the loss of availability that does not count, even if it is
// certain: half a point.
const tolerance = 0.005

// sooner is how many times less a visitor waits at p99, at least, where an
// upstream has a replica that works: a hedge goes there long before a timeout.
const sooner = 10

// overdue reports whether the machine was too busy to judge the times by: where a
// replica stalls, naive's visitors wait for its deadline, and for nothing else.
func overdue(rows []row) bool {
	return slices.ContainsFunc(rows, func(r row) bool {
		return r.stalls && r.naive.quantile(0.99) > deadline+tooLate/2
	})
}

// points is how far failsoft's availability is above naive's.
func (r row) points() float64 { return r.failsoft.availability() - r.naive.availability() }

// z99 is the quantile of the normal distribution that 99 % intervals take.
const z99 = 2.5758293035489

// difference returns the confidence interval of points: Newcombe's, from the
// Wilson intervals of the two shares ("Interval estimation for the difference
// between independent proportions", Statistics in Medicine 17, 1998, method 10).
// The textbook's normal interval has no width where both shares are 0 or 1,
// which is where ours mostly are. The two sides share their luck, so that the
// true interval is rather narrower.
func (r row) difference(z float64) (low, high float64) {
	f, n := r.failsoft, r.naive
	fLow, fHigh := f.wilson(z)
	nLow, nHigh := n.wilson(z)
	low = r.points() - math.Hypot(f.availability()-fLow, nHigh-n.availability())
	high = r.points() + math.Hypot(fHigh-f.availability(), n.availability()-nLow)
	return low, high
}

// wilson returns the confidence interval of the availability.
func (t tally) wilson(z float64) (low, high float64) {
	n, p := float64(t.visitors), t.availability()
	center := (p + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return max(center-half, 0), min(center+half, 1)
}
