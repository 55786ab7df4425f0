package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// report writes the table at the end.
func report(out io.Writer, s script, r *record) error {
	rows := r.rows(s)
	if len(rows) == 0 {
		_, err := fmt.Fprintln(out, "\nNobody has been served yet.")
		return err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "\n%-18s %-8s %12s%8s%8s%8s  %s\n",
		"phase", "front", "availability", "p50", "p99", "p99.9", "attempts")
	for _, row := range rows {
		allowed := row.naive.perVisitor() + float64(row.allowance)/float64(row.failsoft.visitors)
		text.WriteString(line(row.phase, naive, row.naive) + "\n")
		text.WriteString(line("", failsoft, row.failsoft) + fmt.Sprintf(" ≤ %.2f\n", allowed))
	}
	last := len(s.phases)
	text.WriteString(line("all", naive, r.tally(naive, 0, last)) + "\n")
	text.WriteString(line("", failsoft, r.tally(failsoft, 0, last)) + "\n\n")
	text.WriteString(r.darkness(s).String())
	text.WriteString(notes(s, r, rows))
	_, err := io.WriteString(out, text.String())
	return err
}

// notes says how to read the table.
func notes(s script, r *record, rows []row) string {
	text := fmt.Sprintf("%d visitors of each front in a phase. Their times count from when they\n"+
		"meant to come, up to any answer, good or bad. Attempts are upstream requests\n"+
		"per visitor, and at most what the budget allows. Failed calls are those of a\n"+
		"front to an upstream.\n", rows[0].naive.visitors)
	if late, phase := r.latest(); late > tooLate {
		text += fmt.Sprintf("This machine is busy: visitors left up to %s late (in %q).\n",
			millis(late), s.phases[phase].name)
	}
	return text
}

// tooLate is a delay of the drill's own that can be seen in the table.
const tooLate = 100 * time.Millisecond

func line(phase, front string, t tally) string {
	return fmt.Sprintf("%-18s %-8s %10.2f %%%8s%8s%8s  %.2f",
		phase, front, 100*t.availability(),
		millis(t.quantile(0.5)), millis(t.quantile(0.99)), millis(t.quantile(0.999)), t.perVisitor())
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
}
