package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/failsoft/failsoft/healthcheck/spool"
)

// target is what a command is for.
type target struct {
	service string
	port    int
}

// openSpool parses the flags and arguments of a command that works on the spool. All
// names are checked before anything is done.
func openSpool(flags *flag.FlagSet, root *string, args []string) (*spool.Dir, []target, error) {
	port := flags.Int("P", 0, "the port, where it is not in the name")
	flags.IntVar(port, "service-port", 0, "the same as -P")
	if err := flags.Parse(args); err != nil {
		return nil, nil, err
	}
	var targets []target
	for _, name := range flags.Args() {
		service, own, err := spool.Split(name)
		if err == nil && own == 0 {
			own = *port
			_, err = spool.Name(service, own)
		}
		if err != nil {
			return nil, nil, err
		}
		targets = append(targets, target{service, own})
	}
	dir, err := spool.New(*root)
	return dir, targets, err
}

var errNoService = errors.New("which service? (all is every one)")

func haup(_ context.Context, args []string, _, errs io.Writer) (int, error) {
	flags, root := newFlags("haup", errs)
	dir, targets, err := openSpool(flags, root, args)
	if err == nil && len(targets) == 0 {
		err = errNoService
	}
	for _, t := range targets {
		err = errors.Join(err, dir.Up(t.service, t.port))
	}
	return failedIf(err), err
}

func hadown(_ context.Context, args []string, _, errs io.Writer) (int, error) {
	flags, root := newFlags("hadown", errs)
	reason := flags.String("r", "", "why (default: who)")
	flags.StringVar(reason, "reason", "", "the same as -r")
	expiry := flags.String("e", "", "when it comes back: 90m, 2006-01-02T15:04:05Z or Unix time (default: never)")
	flags.StringVar(expiry, "expiration", "", "the same as -e")
	dir, targets, err := openSpool(flags, root, args)
	if err != nil {
		return exitFailed, err
	}
	if len(targets) == 0 {
		return exitFailed, errNoService
	}
	until, err := parseExpiry(*expiry, time.Now())
	if err != nil {
		return exitFailed, err
	}
	if *reason == "" {
		*reason = who()
	}
	for _, t := range targets {
		err = errors.Join(err, dir.Down(t.service, t.port, *reason, until))
	}
	return failedIf(err), err
}

// hastatus prints as hacheck's does, for scripts that read it: tabs, and expiry as
// Unix time or inf.
func hastatus(_ context.Context, args []string, out, errs io.Writer) (int, error) {
	flags, root := newFlags("hastatus", errs)
	dir, targets, err := openSpool(flags, root, args)
	if err != nil {
		return exitFailed, err
	}
	if len(targets) == 0 {
		down, wrong := dir.List()
		for _, s := range down {
			printStatus(out, target{s.Service, s.Port}, s)
		}
		return failedIf(wrong), wrong
	}
	code := exitOK
	for _, t := range targets {
		s, wrong := dir.Status(t.service, t.port)
		err = errors.Join(err, wrong)
		printStatus(out, t, s)
		if s.Down {
			code = exitDown
		}
	}
	return max(code, failedIf(err)), err
}

func printStatus(out io.Writer, t target, s spool.Status) {
	asked := nameOf(t.service, t.port)
	if !s.Down {
		_, _ = fmt.Fprintf(out, "UP\t%s\n", asked)
		return
	}
	until := math.Inf(1)
	if !s.Until.IsZero() {
		until = unix(s.Until)
	}
	by := ""
	if file := nameOf(s.Service, s.Port); file != asked {
		by = " (all of " + file + ")"
		if s.Service == spool.All {
			by = " (all)"
		}
	}
	_, _ = fmt.Fprintf(out, "DOWN\t%s\t%s\t%s%s\n", pythonFloat(until), asked, s.Reason, by)
}

// parseExpiry reads when something ends. Empty is never.
func parseExpiry(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(d), nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	const latest = 1 << 40 // past what spool takes, and no overflow yet
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(seconds) < latest {
		return time.UnixMicro(int64(seconds * 1e6)), nil
	}
	return time.Time{}, fmt.Errorf("-e %q is no duration (90m), time (2006-01-02T15:04:05Z) or Unix time", text)
}

// who is the reason of an operator who gives none.
func who() string {
	for _, name := range []string{"SUDO_USER", "SSH_USER"} {
		if who := os.Getenv(name); who != "" {
			return who
		}
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "user " + strconv.Itoa(os.Geteuid())
}

func nameOf(service string, port int) string {
	if port == 0 {
		return service
	}
	return service + ":" + strconv.Itoa(port)
}

func unix(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// pythonFloat writes a number as hacheck does, which is in Python.
func pythonFloat(seconds float64) string {
	if math.IsInf(seconds, 1) {
		return "inf"
	}
	return strconv.FormatFloat(seconds, 'f', 6, 64)
}

func failedIf(err error) int {
	if err != nil {
		return exitFailed
	}
	return exitOK
}
