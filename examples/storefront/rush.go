package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// rush is what became of the flash crowd, phase by phase.
type rush []wave

// wave is what became of the visitors of one phase.
type wave struct {
	phase      string
	overload   bool    // more come than can be served
	peak       bool    // as many as will
	worth      float64 // the visitors that a front has the capacity for, with everything
	pages, ads split
}

// split is the two sides of one thing that visitors ask for.
type split struct{ naive, failsoft turnout }

// turnout is what became of those who asked one front for one thing.
type turnout struct {
	tally

	simpler []time.Duration // when those came whose pages were to do without some part
	refused []time.Duration // when those came who were told to come later
}

// share is how large a part of the visitors some of them are.
func (t turnout) share(some []time.Duration) float64 { return float64(len(some)) / float64(t.visitors) }

// rush returns what has become of the crowd so far: nothing if nobody has come yet.
func (f *flash) rush() rush {
	var all rush
	for i, p := range f.script.phases {
		w := wave{phase: p.name, overload: p.load > 1, worth: capacity(f.script.length)}
		w.peak = w.overload && p.load == p.from
		w.pages = split{naive: f.pages.turnout(naive, i), failsoft: f.pages.turnout(failsoft, i)}
		w.ads = split{naive: f.ads.turnout(naive, i), failsoft: f.ads.turnout(failsoft, i)}
		if w.complete() {
			all = append(all, w)
		}
	}
	return all
}

// complete reports whether there is a share of everything.
func (w wave) complete() bool {
	return min(w.pages.naive.visitors, w.pages.failsoft.visitors, w.ads.naive.visitors, w.ads.failsoft.visitors) > 0
}

// turnout returns what became of a phase's visitors.
func (r *record) turnout(front string, phase int) turnout {
	t := turnout{tally: r.tally(front, phase, phase+1)}
	r.mu.Lock()
	defer r.mu.Unlock()
	t.simpler = r.arrivals(phase, r.sides[front].simpler)
	t.refused = r.arrivals(phase, r.sides[front].refused)
	return t
}

// arrivals returns when those of some visitors came who did in a phase. It needs the lock.
func (r *record) arrivals(phase int, visitors []int) []time.Duration {
	var all []time.Duration
	for _, number := range visitors {
		if v := r.visitors[number]; v.phase == phase {
			all = append(all, v.at)
		}
	}
	return all
}

// The bars of the verdict on the crowd.
const (
	// worthIt is the least number of pages at the peak, as a multiple of those that a front
	// can build with everything. One that refuses all ads can have 4/3 of them, one that
	// builds simpler pages, too, 10/3, and a few more from its queue when the peak is over.
	worthIt = 2.0
	// collapsed is the largest share of its visitors at the peak who get their pages from
	// naive. If it were more, the crowd would have been none.
	collapsed = 0.1
	// rested is the least share of pages when there is no crowd, before it and after.
	rested = 0.9
	// premature is the largest share of the refused pages that may be refused before the
	// first one does without some part. Chance has it that somebody is.
	premature = 0.05
	// dearer is how many times larger the share of ads that are refused is, at least.
	dearer = 2
)

// judge returns what is wrong with failsoft's side, wave by wave.
func (x rush) judge() error {
	var wrong []error
	for _, w := range x {
		switch {
		case w.peak:
			wrong = append(wrong, w.judgePeak())
		case !w.overload:
			wrong = append(wrong, w.judgeRest())
		}
	}
	return errors.Join(append(wrong, x.judgeOrder())...)
}

// judgePeak returns what is wrong with what the two sides make of four times as many
// visitors as they have the capacity for.
func (w wave) judgePeak() error {
	var wrong []error
	if served := float64(w.pages.failsoft.served); served < worthIt*w.worth {
		wrong = append(wrong, fmt.Errorf(
			"%w in row %q: its pages are %.0f %% of what it can build in full; simpler ones make %.0f %% at least",
			errBehind, w.phase, 100*served/w.worth, 100*worthIt))
	}
	if share := w.pages.naive.availability(); share > collapsed {
		wrong = append(wrong, fmt.Errorf(
			"%w in row %q, for want of a crowd: naive answered %.2f %% of its visitors, more than %.0f %%",
			errBehind, w.phase, 100*share, 100*collapsed))
	}
	return errors.Join(wrong...)
}

// judgeRest returns what is wrong with the pages when there is no crowd: half of the
// capacity is enough for all then.
func (w wave) judgeRest() error {
	if share := w.pages.failsoft.availability(); share < rested {
		return fmt.Errorf("%w in row %q: it answered %.2f %% of its visitors, and has the capacity for all of them",
			errBehind, w.phase, 100*share)
	}
	return nil
}

// judgeOrder returns what is wrong with what failsoft gave up first: parts of pages
// before pages, and ads before pages.
func (x rush) judgeOrder() error {
	var wrong []error
	pages, ads := x.overloaded(func(w wave) turnout { return w.pages.failsoft }),
		x.overloaded(func(w wave) turnout { return w.ads.failsoft })
	first := slices.Min(append(pages.simpler, forever))
	early := slices.DeleteFunc(slices.Clone(pages.refused), func(at time.Duration) bool { return at >= first })
	if float64(len(early)) > premature*float64(len(pages.refused)) {
		wrong = append(wrong, fmt.Errorf(
			"%w in the crowd: it refused %d of %d pages before it left out a part of one",
			errBehind, len(early), len(pages.refused)))
	}
	if p, a := pages.share(pages.refused), ads.share(ads.refused); dearer*p > a {
		wrong = append(wrong, fmt.Errorf(
			"%w in the crowd: it refused %.0f %% of the pages, and %.0f %% of the ads, which matter less",
			errBehind, 100*p, 100*a))
	}
	return errors.Join(wrong...)
}

// overloaded adds up what became of those who came when too many did.
func (x rush) overloaded(of func(wave) turnout) (all turnout) {
	for _, w := range x {
		if t := of(w); w.overload {
			all.visitors += t.visitors
			all.simpler = append(all.simpler, t.simpler...)
			all.refused = append(all.refused, t.refused...)
		}
	}
	return all
}

// String is the part of the report, empty if it did not come to that.
func (x rush) String() string {
	if len(x) == 0 {
		return ""
	}
	var text strings.Builder
	fmt.Fprintf(&text, "\n%-16s %-8s %8s%8s%8s%8s%8s%6s%8s\n",
		"crowd", "front", "pages", "of full", "p99", "simpler", "refused", "ads", "refused")
	for _, w := range x {
		text.WriteString(w.line(w.phase, naive, w.pages.naive, w.ads.naive))
		text.WriteString(w.line("", failsoft, w.pages.failsoft, w.ads.failsoft))
	}
	fmt.Fprintf(&text, "\nAt the peak four times as many visitors come as a front can serve in full,\n"+
		"which are %.0f in a phase. Each asks for a page and for the ads beside it. Of\n"+
		"full is what pages within %v make of those; simpler ones have no reviews.\n", x[0].worth, patienceInCrowd)
	return text.String()
}

func (w wave) line(phase, front string, pages, ads turnout) string {
	return fmt.Sprintf("%-16s %-8s %6.2f %%%6.0f %%%8s%6.0f %%%6.0f %%%4.0f %%%6.0f %%\n",
		phase, front, 100*pages.availability(), 100*float64(pages.served)/w.worth, millis(pages.quantile(0.99)),
		100*pages.share(pages.simpler), 100*pages.share(pages.refused),
		100*ads.availability(), 100*ads.share(ads.refused))
}
