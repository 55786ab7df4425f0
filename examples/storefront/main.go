// Command storefront is a drill: two shop fronts ride through the same outages
// side by side, one with a plain http.Client, one with failsoft. At the end a
// table says what visitors got from each, and what it cost the upstreams.
//
//	go run ./examples/storefront
//
// Read clients.go first: it is all that the two fronts differ in, but for the limiter
// in door.go, which stands before one of them when at last the upstreams are well and
// four times as many visitors come as the fronts can serve.
//
// What upstreams say of a product may be kept for a second, as they say themselves;
// their ads may not. Only the front with failsoft has a cache, whose old answers it
// falls back on when they fail.
//
// It exits with 0 if failsoft did its job. It exits with 1 if failsoft fell behind
// naive's availability, of pages or, the recovery aside, of calls to upstreams; if
// it spent more than its budget in any phase; if its p99, of either, was more than a
// tenth of naive's while one replica stalled, if a call to that upstream took as long as
// a try may, or if that replica still got more than a tenth of the attempts a second
// later, or pages were not in time then; if less than 99 % of its visitors got
// a page in the blackout; or if its breaker did not refuse at once there or sent
// more than probes. It also does if failsoft built less than twice as many pages for
// the flash crowd as it can in full, refused some before it left out parts of them and
// most of the ads, or had not recovered right after; or if naive did not collapse, as
// that would have been no crowd. It exits with 2 if the drill could not run, and with
// 130 if it was interrupted, after the table so far.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once
	err := run(ctx, os.Args[1:], os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		_, _ = fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(exitCode(err))
}

func exitCode(err error) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errBehind):
		return 1
	case errors.Is(err, errInterrupted):
		return 130 // as a shell reports it
	default:
		return 2
	}
}

const (
	minVisitors = 200 // of each front in a phase, so that its figures mean something
	perSecond   = 60  // of each front: two small cores hardly notice
	maxRuns     = 3
)

// shortest is the least time for the drill. In a phase that is not clearly
// longer than a deadline, visitors would mostly get what is due to the phases
// around it, and so many visitors in so short a time would measure this machine.
func shortest() time.Duration { return time.Duration(len(phases())) * 2 * deadline }

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("storefront", flag.ContinueOnError)
	flags.SetOutput(out)
	length := flags.Duration("for", 20*time.Second, "how long the outages take, at least "+shortest().String())
	plain := flags.Bool("plain", !isTerminal(out), "log lines instead of a live picture, as where there is no terminal")
	seed := flags.Uint64("seed", 1, "what is random comes from here")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *length < shortest() {
		return fmt.Errorf("-for %v is too short: the %d phases take at least %v", *length, len(phases()), shortest())
	}
	s := newScript(*length, *seed)
	perPhase := max(minVisitors, int(math.Round(perSecond*s.length.Seconds())))
	return insist(maxRuns, out, func() error { return drill(ctx, s, perPhase, *plain, out) })
}

// insist runs a drill again that failsoft has failed on a machine too busy to
// keep the script's time: that would be an outage of the drill's own. What fails
// in the last run, or in one that was not disturbed, has failed.
func insist(runs int, out io.Writer, drill func() error) error {
	for n := 1; ; n++ {
		err := drill()
		if n == runs || !errors.Is(err, errBusy) {
			return err
		}
		_, _ = fmt.Fprintf(out, "\n%v\nOnce more: run %d of at most %d.\n\n", err, n+1, runs)
	}
}

// isTerminal reports whether escapes would be understood. Systems that set no
// TERM are not asked to try.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok || os.Getenv("TERM") == "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
