package rttest

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
)

// Bubble runs a clause in a synctest bubble, for a real test as for a [Recorder].
//
// It exists because [synctest.Test] takes a *testing.T, which no recorder can be, and because it
// panics when goroutines are left in the bubble: here that is a failure of the clause, with the
// stacks of those goroutines, and the clauses after it still run.
func Bubble(tb TB, run func(TB)) {
	tb.Helper()

	switch tb := tb.(type) {
	case *testing.T:
		if report := inBubble(tb, func(t *testing.T) { run(t) }); report != "" {
			tb.Fatalf("%s", report)
		}
	case *Recorder:
		tb.bubble(run)
	default:
		tb.Fatalf("rttest: %T cannot open a bubble", tb)
	}
}

// bubble gives the clause a recorder of its own, whose cleanups run before the bubble is left.
func (r *Recorder) bubble(run func(TB)) {
	inner := newRecorder(r.t)

	if report := inBubble(r.t, func(*testing.T) { inner.run(run) }); report != "" {
		r.Errorf("%s", report)
	}
	if report := inner.String(); report != "" {
		r.Errorf("%s", report)
	}
	if r.Failed() || inner.Failed() {
		r.FailNow()
	}
}

// inBubble returns what is wrong with the bubble itself, as far as synctest can tell.
func inBubble(t *testing.T, run func(*testing.T)) (report string) {
	t.Helper()

	var label string

	// synctest panics on this goroutine, which is outside of the bubble.
	defer func() {
		if v := recover(); v != nil {
			report = fmt.Sprintf("%v\n%s", v, stacks(label))
		}
	}()

	synctest.Test(t, func(t *testing.T) {
		label = bubbleLabel()
		run(t)
	})
	return ""
}

// bubbleLabel returns how stack traces call the bubble that the goroutine is in.
func bubbleLabel() string {
	header := make([]byte, 256) // The first line of a trace is: goroutine 7 [running, synctest bubble 3]:
	header = header[:runtime.Stack(header, false)]
	_, label, _ := strings.Cut(string(header), "synctest ")
	label, _, _ = strings.Cut(label, "]")
	return "synctest " + label + "]"
}

// stacks returns the traces of all goroutines that carry the label.
func stacks(label string) string {
	all := make([]byte, 1<<20)
	all = all[:runtime.Stack(all, true)]

	var left []string

	for trace := range strings.SplitSeq(string(all), "\n\n") {
		header, _, _ := strings.Cut(trace, "\n")
		if strings.Contains(header, label) {
			left = append(left, trace)
		}
	}
	return strings.Join(left, "\n\n")
}
