package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// outcome is what became of a configuration.
type outcome struct {
	name    string
	tests   map[string]test
	results results
	first   []string // how the page and the first run differed
	differs []string // and every run
	runs    int
	err     error
}

// report writes a line for each configuration, then where it and the page differ.
func report(out io.Writer, outcomes []outcome, verbose bool) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "configuration\trequired\toptimal\tcheck\truns")
	for _, o := range outcomes {
		_, _ = fmt.Fprint(w, o.name)
		for _, kind := range []string{required, optimal, check} {
			_, _ = fmt.Fprintf(w, "\t%v", o.results.score(o.tests, kind))
		}
		_, _ = fmt.Fprintf(w, "\t%d\n", o.runs)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	var failed error
	for _, o := range outcomes {
		if verbose {
			var fails []string
			for _, id := range o.results.failing(o.tests) {
				fails = append(fails, fmt.Sprintf("%-8s  %s: %s", o.tests[id].Kind, id, o.results.why(o.tests, id)))
			}
			list(out, o.name+" fails", fails)
		}
		switch {
		case len(o.differs) > 0:
			failed = errDiffers
			list(out, o.name+" and docs/conformance.md differ", o.differs)
		case len(o.first) > 0:
			list(out, o.name+" and docs/conformance.md differed once, and then no more", o.first)
		}
	}
	return failed
}

func list(out io.Writer, title string, lines []string) {
	_, _ = fmt.Fprintf(out, "\n%s:\n", title)
	for _, line := range lines {
		_, _ = fmt.Fprintln(out, " ", line)
	}
}
