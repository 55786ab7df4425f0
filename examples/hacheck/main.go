// Command hacheck answers a load balancer's health checks on behalf of the services
// of its machine, and lets an operator take them out by hand. It does what the
// program of that name does (a cache, one probe for all who ask, files that say what
// is down), works on the same files, and is one binary:
//
//	hacheck serve                            answer checks on port 3333
//	hacheck hadown -r "moving" -e 1h orders  take a service down
//	hacheck hastatus orders                  ask how it is
//	hacheck haup orders                      take it up again
//
// README.md has it all. To copy: cache.go, which is one probe for many callers, and
// serve.go, which ends in order.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// The exit codes. A service that is down is what hastatus was asked for, and no
// failure.
const (
	exitOK = iota
	exitDown
	exitFailed
)

const usage = `usage: hacheck serve    [-listen :3333] [-spool-root DIR] [-cache 10s] [-v]
       hacheck hadown   [-r REASON] [-e EXPIRY] [-P PORT] SERVICE[:PORT]...
       hacheck haup     [-P PORT] SERVICE[:PORT]...
       hacheck hastatus [-P PORT] [SERVICE[:PORT]...]

All take -spool-root (/var/spool/hacheck). "all" is every service. EXPIRY is a
duration (90m), a time (2006-01-02T15:04:05Z) or seconds of Unix time.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second one ends it at once
	os.Exit(run(ctx, os.Args, os.Stdout, os.Stderr))
}

// run is also each of its commands if it is called by that name: links to it are in
// the place of hacheck's programs.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	command := filepath.Base(args[0])
	args = args[1:]
	do, known := commands()[command]
	if !known && len(args) > 0 {
		command, args = args[0], args[1:]
		do, known = commands()[command]
	}
	if !known {
		_, _ = io.WriteString(errs, usage)
		return exitFailed
	}
	code, err := do(ctx, args, out, errs)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		_, _ = fmt.Fprintf(errs, "%s: %v\n", command, err)
	}
	return code
}

type action func(ctx context.Context, args []string, out, errs io.Writer) (code int, err error)

func commands() map[string]action {
	return map[string]action{"serve": serveCommand, "haup": haup, "hadown": hadown, "hastatus": hastatus}
}

// newFlags returns the flags that all commands have.
func newFlags(name string, errs io.Writer) (flags *flag.FlagSet, root *string) {
	flags = flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(errs)
	return flags, flags.String("spool-root", "/var/spool/hacheck", "the directory of the files that say what is down")
}
