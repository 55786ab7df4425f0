package main

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/failsoft/failsoft/budget"
)

// pair is the two sides.
type pair struct{ naive, failsoft tally }

// row is a phase in the table: its visitors, and what the budget allows.
type row struct {
	pair

	phase     string
	calls     pair // to upstreams, in the time of the phase
	allowance int  // attempts that failsoft may make beside the first of each call
	stalls    bool // one of several replicas, which others can stand in for
	dark      bool // nobody answers
	dawn      bool // nobody did before it
}

// rows returns the table, without the phases that nobody has come in.
func (r *record) rows(s script) []row {
	var all []row
	calls := r.calls(failsoft, 0, math.MaxInt64)
	for i, p := range s.phases {
		next := row{
			phase:     p.name,
			pair:      pair{naive: r.tally(naive, i, i+1), failsoft: r.tally(failsoft, i, i+1)},
			allowance: allowance(s, i, calls),
			stalls:    p.stalls != "", dark: p.silent, dawn: i > 0 && s.phases[i-1].silent,
		}
		begin, end := s.span(i)
		next.calls = pair{
			naive:    tallyCalls(r.calls(naive, begin, end)),
			failsoft: tallyCalls(r.calls(failsoft, begin, end)),
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
// sent within one TTL of the budget; what the cache answers by itself is no call.
// Beside that stands the floor: Floor attempts per second, of which one TTL's worth
// can be saved up. The attempts for a phase's visitors fall between its start and,
// for those who come last, its end plus two deadlines: a visitor who has waited for
// another's call in vain may have one made then. So they are paid for by the calls
// from one TTL before that span (and the step in which a TTL is counted) to its
// end, and by the floor of the same time.
func allowance(s script, phase int, calls []call) int {
	const step = budget.DefaultTTL / 10
	begin, end := s.span(phase)
	end += 2 * deadline

	paying := 0 // to all upstreams
	for _, c := range calls {
		if c.at > begin-step-budget.DefaultTTL && c.at <= end {
			paying++
		}
	}
	floor := budget.DefaultFloor * (end - begin + budget.DefaultTTL).Seconds()
	return int(ratio*float64(paying) + float64(len(upstreams()))*floor)
}

// errBehind is what the drill ends with if failsoft did not do its job.
var errBehind = errors.New("failsoft fell short")

// judge returns what is wrong with failsoft's side of the table, row by row. Calls
// are judged like pages: those alone could be answered, and in time, as they are old.
func judge(rows []row) error {
	var wrong []error
	for _, r := range rows {
		wrong = append(wrong, r.judgeAvailability("availability", r.pair))
		// A breaker notices a little later than others that the upstreams are back:
		// in between, pages are what counts.
		if !r.dawn {
			wrong = append(wrong, r.judgeAvailability("the availability of its calls", r.calls))
		}
		if r.dark && r.failsoft.availability() < kept {
			wrong = append(wrong, fmt.Errorf(
				"%w in row %q: it answered %.2f %% of its visitors, and has old pages for %.0f %% at least",
				errBehind, r.phase, 100*r.failsoft.availability(), 100*kept))
		}
		if r.failsoft.extra > r.allowance {
			wrong = append(wrong, fmt.Errorf(
				"%w in row %q: of its %d attempts %d were not the first of a call, and its budget allows %d",
				errBehind, r.phase, r.failsoft.attempts, r.failsoft.extra, r.allowance))
		}
		if r.stalls {
			wrong = append(wrong, r.judgeStall("its p99", r.pair), r.judgeStall("the p99 of its calls", r.calls))
		}
	}
	return errors.Join(wrong...)
}

// judgeAvailability returns what is wrong with the share that failsoft answers.
func (r row) judgeAvailability(what string, p pair) error {
	low, high := p.difference(z99)
	if p.points() < -tolerance && high < 0 {
		return fmt.Errorf("%w in row %q: %s is %.2f points below naive's (99 %% interval: %.2f to %.2f)",
			errBehind, r.phase, what, -100*p.points(), -100*high, -100*low)
	}
	return nil
}

// judgeStall returns what is wrong with how long failsoft takes where naive waits
// for its deadline.
func (r row) judgeStall(what string, p pair) error {
	if f, n := p.failsoft.quantile(0.99), p.naive.quantile(0.99); f > n/sooner {
		return fmt.Errorf("%w in row %q: %s is %v, more than 1/%d of naive's %v",
			errBehind, r.phase, what, f, sooner, n)
	}
	return nil
}

// tolerance is the loss of availability that does not count, even if it is
// certain: half a point.
const tolerance = 0.005

// kept is the least share of visitors who get a page, old or not, when nobody
// answers.
const kept = 0.99

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
func (p pair) points() float64 { return p.failsoft.availability() - p.naive.availability() }

// z99 is the quantile of the normal distribution that 99 % intervals take.
const z99 = 2.5758293035489

// difference returns the confidence interval of points: Newcombe's, from the
// Wilson intervals of the two shares ("Interval estimation for the difference
// between independent proportions", Statistics in Medicine 17, 1998, method 10).
// The textbook's normal interval has no width where both shares are 0 or 1,
// which is where ours mostly are. The two sides share their luck, so that the
// true interval is rather narrower.
func (p pair) difference(z float64) (low, high float64) {
	f, n := p.failsoft, p.naive
	fLow, fHigh := f.wilson(z)
	nLow, nHigh := n.wilson(z)
	low = p.points() - math.Hypot(f.availability()-fLow, nHigh-n.availability())
	high = p.points() + math.Hypot(fHigh-f.availability(), n.availability()-nLow)
	return low, high
}

// wilson returns the confidence interval of the availability.
func (t tally) wilson(z float64) (low, high float64) {
	n, p := float64(t.visitors), t.availability()
	center := (p + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return max(center-half, 0), min(center+half, 1)
}
