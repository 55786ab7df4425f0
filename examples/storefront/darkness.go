package main

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// darkness is the second half of the blackout, in which nobody answers and
// everybody who is to notice has noticed.
type darkness struct {
	length          time.Duration
	naive, failsoft misses
	probes          int // that failsoft's breaker may send
}

// misses is what calls that come to nothing cost one side, over some time. What a
// cache answers is none of them: they are counted below it.
type misses struct {
	calls    int           // that failed
	median   time.Duration // that they took
	attempts int           // that the upstreams have seen
}

// darkness returns what there is to tell of the script's blackout.
func (r *record) darkness(s script) darkness {
	dark := slices.IndexFunc(s.phases, func(p phase) bool { return p.silent })
	end := time.Duration(dark+1) * s.length
	begin := end - s.length/2
	return darkness{
		length: end - begin,
		naive:  r.misses(naive, begin, end), failsoft: r.misses(failsoft, begin, end),
		probes: probes(end - begin),
	}
}

// misses counts what was begun between two times.
func (r *record) misses(front string, from, to time.Duration) misses {
	failed := tallyCalls(slices.DeleteFunc(r.calls(front, from, to), func(c call) bool { return c.answered }))
	m := misses{calls: failed.visitors, median: failed.quantile(0.5)}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, seen := range r.sides[front].sent {
		if from <= seen.at && seen.at < to {
			m.attempts++
		}
	}
	return m
}

// probes is the most attempts that the breaker sends in a time without answers.
// A probe holds its place until it has timed out. One more may have been on its
// way before, and another be cut short by its caller's deadline.
func probes(length time.Duration) int {
	r := rules()
	return len(upstreams()) * r.Probes * (int(length/r.ProbeTimeout) + 2)
}

// prompt is how long a refusal may take.
const prompt = time.Millisecond

// judge returns what is wrong with failsoft's side.
func (d darkness) judge() error {
	var wrong []error
	if d.failsoft.calls == 0 || d.failsoft.median >= prompt {
		wrong = append(wrong, fmt.Errorf(
			"%w in row %q: its %d failed calls of the second half took %v (median), not less than %v",
			errBehind, "blackout", d.failsoft.calls, d.failsoft.median, prompt))
	}
	if d.failsoft.attempts > d.probes {
		wrong = append(wrong, fmt.Errorf(
			"%w in row %q: it sent %d attempts in the second half, and its breaker has use for %d probes",
			errBehind, "blackout", d.failsoft.attempts, d.probes))
	}
	return errors.Join(wrong...)
}

// String is the part of the report, empty if it did not come to that.
func (d darkness) String() string {
	if d.naive.calls == 0 || d.failsoft.calls == 0 {
		return ""
	}
	per := func(n int) float64 { return float64(n) / d.length.Seconds() }
	return fmt.Sprintf("%-27s%24s%26s\n", "second half of the blackout", "a failed call takes", "upstreams get") +
		fmt.Sprintf("%-19s%-8s%21.2f ms%20.0f per s\n", "", naive, inMillis(d.naive.median), per(d.naive.attempts)) +
		fmt.Sprintf("%-19s%-8s%21.2f ms%20.0f ≤ %.0f probes per s\n\n",
			"", failsoft, inMillis(d.failsoft.median), per(d.failsoft.attempts), per(d.probes))
}

func inMillis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
