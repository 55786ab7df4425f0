// Command conformance runs the public suite for HTTP caches, http-cache-tests, against
// examples/edge, and compares the tests that fail with those that docs/conformance.md
// lists with a reason:
//
//	go run ./stale/conformance                        all configurations
//	go run ./stale/conformance -only handler -v       one, with what each failure says
//	go run ./stale/conformance -only handler -id ID   one test, with what client and origin saw
//
// It needs Go, node and npm, which installs the suite into a temporary folder, speaks
// on loopback only, and ends what it has started.
//
// It exits with 0 if what fails is what is listed; with 1 if a test fails that is not
// listed, or one that is listed passes, or the page's scores are not what its list
// leaves; with 2 if it could not find out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// configuration is a way to run examples/edge. The page has a column for each.
type configuration struct {
	name  string
	flags []string
}

// patient makes the cache wait as long as it ever learns to for an origin that is
// slow. The suite sends a hundred requests at once, which on a small machine makes its
// origin slower than it usually is: what the cache then does by default is to answer
// with something old, which is right, and not what the suite asks about.
const patient = "-stale-after=1s"

func configurations() []configuration {
	return []configuration{
		{name: "handler", flags: []string{"-role=handler", patient}},
		{name: "transport", flags: []string{"-role=transport", patient}},
		{name: "options", flags: []string{
			"-role=handler", patient, "-store-set-cookie", "-heuristics",
			"-targeted-fields=Surrogate-Control,CDN-Cache-Control",
		}},
		{name: "private", flags: []string{"-role=private", patient}},
	}
}

// limit is for a run of everything, the installation included.
const limit = 10 * time.Minute

var errDiffers = errors.New("the page and the suite differ")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, limit)
	err := run(ctx, os.Args[1:], os.Stdout)
	cancel()
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errDiffers):
		os.Exit(1)
	default:
		_, _ = fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(2)
	}
}

// options are what the command line says.
type options struct {
	only     string
	id       string
	suite    string
	keep     string
	parallel int
	verbose  bool
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	var opts options
	flags := flag.NewFlagSet("conformance", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&opts.only, "only", "", "a configuration, instead of all")
	flags.StringVar(&opts.id, "id", "", "run this test alone and show it; needs -only")
	flags.StringVar(&opts.suite, "suite", "", "a folder in which npm has installed the suite, instead of a new one")
	flags.StringVar(&opts.keep, "keep", "", "a folder for the suite's own results and what the program logs")
	flags.IntVar(&opts.parallel, "parallel", 4, "how many configurations run at a time")
	flags.BoolVar(&opts.verbose, "v", false, "say what each failure says")
	if err = flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(opts)
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "conformance-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	b, err := prepare(ctx, temp, opts, out)
	if err != nil {
		return err
	}
	if opts.id != "" {
		return b.show(ctx, chosen[0], opts.id, out)
	}
	return b.compare(ctx, chosen, opts, out)
}

func choose(opts options) ([]configuration, error) {
	if opts.parallel < 1 {
		return nil, fmt.Errorf("-parallel %d is not at least 1", opts.parallel)
	}
	if opts.only == "" {
		if opts.id != "" {
			return nil, errors.New("-id needs -only: which configuration is it about?")
		}
		return configurations(), nil
	}
	for _, c := range configurations() {
		if c.name == opts.only {
			return []configuration{c}, nil
		}
	}
	return nil, fmt.Errorf("there is no configuration %q", opts.only)
}
