package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// report writes the table at the end.
func report(out io.Writer, s script, r *record, crowd rush) error {
	rows := r.rows(s)
	if len(rows) == 0 {
		_, err := fmt.Fprintln(out, "\nNobody has been served yet.")
		return err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "\n%-18s %-8s %8s%6s%8s%8s%8s  %s\n",
		"phase", "front", "answered", "stale", "p50", "p99", "p99.9", "attempts")
	for _, row := range rows {
		allowed := float64(row.failsoft.attempts-row.failsoft.extra+row.allowance) / float64(row.failsoft.visitors)
		text.WriteString(line(row.phase, naive, row.naive) + "\n")
		text.WriteString(line("", failsoft, row.failsoft) + fmt.Sprintf(" ≤ %.2f\n", allowed))
	}
	last := len(s.phases)
	text.WriteString(line("all", naive, r.tally(naive, 0, last)) + "\n")
	text.WriteString(line("", failsoft, r.tally(failsoft, 0, last)) + "\n\n")
	text.WriteString(callTable(rows))
	text.WriteString(r.stall(s).String())
	text.WriteString(r.darkness(s).String())
	text.WriteString(notes(s, r, rows))
	text.WriteString(crowd.String())
	_, err := io.WriteString(out, text.String())
	return err
}

// callTable is the part of the report that tells what the fronts' calls came to,
// below the cache: all that retries, hedges, the breaker and the pools are good for.
func callTable(rows []row) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%-18s %22s%10s%19s%10s\n",
		"calls to upstreams", naive+" answered", "p99", failsoft+" answered", "p99")
	for _, row := range rows {
		n, f := row.calls.naive, row.calls.failsoft
		fmt.Fprintf(&text, "%-18s %20.2f %%%10s%17.2f %%%10s\n", row.phase,
			100*n.availability(), millis(n.quantile(0.99)), 100*f.availability(), millis(f.quantile(0.99)))
	}
	return text.String() + "\n"
}

// notes says how to read the table.
func notes(s script, r *record, rows []row) string {
	text := fmt.Sprintf("%d visitors of each front in a phase, and the share of them who got a page;\n"+
		"stale is one with a part that was past its max-age. Times count from when\n"+
		"visitors meant to come, up to any answer, good or bad. Attempts are upstream\n"+
		"requests per visitor, and at most what the budget allows. Calls are those that\n"+
		"a front made, of one attempt or several; what its cache answers is none.\n",
		rows[0].naive.visitors)
	if late, phase := r.latest(); late > tooLate {
		text += fmt.Sprintf("This machine is busy: visitors left up to %s late (in %q).\n",
			millis(late), s.phases[phase].name)
	}
	return text
}

// tooLate is a delay of the drill's own that can be seen in the table.
const tooLate = 100 * time.Millisecond

func line(phase, front string, t tally) string {
	return fmt.Sprintf("%-18s %-8s %6.2f %%%4.0f %%%8s%8s%8s  %.2f",
		phase, front, 100*t.availability(), 100*t.old(),
		millis(t.quantile(0.5)), millis(t.quantile(0.99)), millis(t.quantile(0.999)), t.perVisitor())
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
}
