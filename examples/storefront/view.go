package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/failsoft/failsoft/healthcheck"
)

// view shows the drill while it runs: as a picture that is drawn again and
// again on a terminal, or as a line a second in a log.
type view struct {
	out    io.Writer
	plain  bool
	script script
	start  time.Time
	record *record
	health *healthcheck.Checker // of the front that has failsoft

	counts []count // of the last second
	drawn  int     // lines of the picture so far
}

// count is how many visitors had been answered at a time.
type count struct {
	at      time.Time
	answers int
}

// The escapes that the picture takes. Long lines are cut off rather than
// wrapped, as the picture would climb otherwise.
const (
	enter = "\x1b[?25l\x1b[?7l" // hide the cursor, do not wrap
	leave = "\x1b[?7h\x1b[?25h"
	up    = "\x1b[%dA\r"
	erase = "\x1b[K" // the rest of the line

	normal = "\x1b[0m"
	bold   = "\x1b[1m"
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
)

// show draws until ctx ends, and then once more.
func (v *view) show(ctx context.Context) {
	interval := time.Second
	if !v.plain {
		interval = time.Second / 4
		v.write(enter)
		defer v.write(leave)
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			v.draw()
		case <-ctx.Done():
			v.draw()
			return
		}
	}
}

func (v *view) draw() {
	clock := time.Now()
	elapsed := min(clock.Sub(v.start), v.script.total())
	phase := v.script.at(elapsed - 1) // at a phase's end, its own figures
	now := moment{
		elapsed: max(elapsed, 0), phase: phase, rate: v.rate(clock),
		naive: v.record.tally(naive, phase, phase+1), failsoft: v.record.tally(failsoft, phase, phase+1),
	}
	if v.plain {
		v.write(v.line(now))
		return
	}
	v.write(v.picture(now))
}

// moment is what is shown: the time, and the current phase so far.
type moment struct {
	elapsed         time.Duration
	phase           int
	rate            float64
	naive, failsoft tally
}

// rate is the visitors answered per second, over the last second.
func (v *view) rate(now time.Time) float64 {
	last := len(v.script.phases)
	answers := v.record.tally(naive, 0, last).visitors + v.record.tally(failsoft, 0, last).visitors
	if v.counts == nil {
		v.counts = []count{{at: v.start}}
	}
	v.counts = append(v.counts, count{at: now, answers: answers})
	for len(v.counts) > 2 && now.Sub(v.counts[1].at) >= time.Second {
		v.counts = v.counts[1:]
	}
	since := v.counts[0]
	return float64(answers-since.answers) / max(now.Sub(since.at), time.Millisecond).Seconds()
}

func (v *view) line(m moment) string {
	return fmt.Sprintf("%6.1fs  %-18s  %4.0f visitors/s   naive %s   failsoft %s   health: %s\n",
		m.elapsed.Seconds(), v.script.phases[m.phase].name, m.rate, figures(m.naive), figures(m.failsoft),
		statuses(v.health))
}

func figures(t tally) string {
	if t.visitors == 0 {
		return fmt.Sprintf("%8s, p99 %7s", "–", "–")
	}
	return fmt.Sprintf("%6.1f %%, p99 %7s", 100*t.availability(), millis(t.quantile(0.99)))
}

// barPerPhase is the width of a phase in the picture.
const barPerPhase = 8

func (v *view) picture(m moment) string {
	width := barPerPhase * len(v.script.phases)
	var labels strings.Builder
	for i, p := range v.script.phases {
		style := dim
		if i == m.phase {
			style = bold
		}
		fmt.Fprintf(&labels, "%s%-*s%s", style, barPerPhase, p.short, normal)
	}
	bar := func(front string) string { return bars(v.record.history(front, v.script.total(), width)) }
	lines := []string{
		fmt.Sprintf("%sstorefront%s  %4.1fs of %s   %s%s%s   %.0f visitors/s", bold, normal,
			m.elapsed.Seconds(), v.script.total().Round(time.Second),
			bold, v.script.phases[m.phase].name, normal, m.rate),
		"",
		"naive     " + bar(naive) + figures(m.naive),
		"failsoft  " + bar(failsoft) + figures(m.failsoft),
		"          " + labels.String(),
		"health    " + statuses(v.health),
	}
	text := strings.Join(lines, erase+"\n") + erase + "\n"
	if v.drawn > 0 {
		text = fmt.Sprintf(up, v.drawn) + text
	}
	v.drawn = len(lines)
	return text
}

// bars draws shares from 0 to 1 as blocks of that height, in the color of how
// bad that is.
func bars(shares []float64) string {
	blocks := []rune("▁▂▃▄▅▆▇█")
	var text strings.Builder
	for _, share := range shares {
		switch {
		case math.IsNaN(share):
			text.WriteString(dim + "·")
			continue
		case share < 0.9:
			text.WriteString(red)
		case share < 0.99:
			text.WriteString(yellow)
		default:
			text.WriteString(green)
		}
		text.WriteRune(blocks[int(share*float64(len(blocks)-1))])
	}
	return text.String() + normal
}

// write drops errors: a picture that cannot be shown is no reason to stop, and
// the table will not get through either.
func (v *view) write(text string) { _, _ = io.WriteString(v.out, text) }
