package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/healthcheck/spool"
)

const (
	probeTimeout = 10 * time.Second // hacheck's
	maxCached    = 1000
	grace        = 15 * time.Second // for requests under way, which wait for a probe at most
)

// config is what serve is told on the command line.
type config struct {
	listen  string
	root    string
	cache   time.Duration
	timeout time.Duration
	header  string
	logger  *slog.Logger
}

func serveCommand(ctx context.Context, args []string, _, errs io.Writer) (int, error) {
	flags, root := newFlags("serve", errs)
	cfg := config{timeout: probeTimeout}
	flags.StringVar(&cfg.listen, "listen", ":3333", "the address to listen on")
	flags.DurationVar(&cfg.cache, "cache", 10*time.Second, "for how long an answer is good")
	flags.StringVar(&cfg.header, "service-name-header", "", "the header that tells an HTTP service which one is meant")
	verbose := flags.Bool("v", false, "log every check")
	if err := flags.Parse(args); err != nil {
		return exitFailed, err
	}
	if flags.NArg() > 0 {
		return exitFailed, fmt.Errorf("what is %q for?", flags.Arg(0))
	}
	if cfg.cache < 0 {
		return exitFailed, fmt.Errorf("-cache %v is negative", cfg.cache)
	}
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	cfg.root = *root
	cfg.logger = slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: level}))
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.listen)
	if err == nil {
		err = serve(ctx, cfg, listener)
	}
	return failedIf(err), err
}

// serve answers until ctx ends, and then ends in order.
func serve(ctx context.Context, cfg config, listener net.Listener) error {
	dir, err := spool.New(cfg.root)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	checker, err := newChecker(cfg, dir)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	answers := newCache(cfg.cache, cfg.timeout, maxCached, newProber(cfg.header).probe)
	srv := &http.Server{
		// Not in checker.InBand: its header would say that this program is well, on
		// answers that say that a service is not.
		Handler: &server{
			dir: dir, cache: answers, seen: newSeen(), own: checker.Handler(healthcheck.Ready),
			logger: cfg.logger, begin: time.Now(),
		},
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      cfg.timeout + 5*time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(cfg.logger.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(listener) }()
	cfg.logger.Info("serving", "address", listener.Addr().String(), "spool", cfg.root)
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	// No delay before the server closes: the services of this machine go on, and a
	// balancer that counts failed checks hardly notices a restart. A delay is for
	// programs that are themselves what is balanced.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	return errors.Join(err, checker.Shutdown(end, srv, 0, answers.close))
}

// newChecker returns what knows how this program is itself: whether it can read the
// spool.
func newChecker(cfg config, dir *spool.Dir) (*healthcheck.Checker, error) {
	checker, err := healthcheck.New(healthcheck.Config{
		Service: "hacheck",
		Observe: func(ctx context.Context, e healthcheck.Event) {
			if e.Kind == healthcheck.Changed && e.Status != healthcheck.Pass {
				cfg.logger.WarnContext(ctx, "spool", "status", e.Status.String(), "error", e.Err)
			} else if e.Kind == healthcheck.Changed {
				cfg.logger.InfoContext(ctx, "spool", "status", e.Status.String())
			}
		},
	})
	if err != nil {
		return nil, err
	}
	err = checker.Add("spool", healthcheck.Check{
		Probe:  func(context.Context) healthcheck.Result { return spoolHealth(dir) },
		Impact: healthcheck.Critical,
		Period: 5 * time.Second,
		Fall:   1, // a file does not become readable by being read again
		Rise:   1,
	})
	return checker, errors.Join(err, checker.Start())
}

// spoolHealth: a bad file takes a service down that somebody may want up; a spool
// that cannot be read leaves services up that somebody may want down.
func spoolHealth(dir *spool.Dir) healthcheck.Result {
	_, err := dir.List()
	if _, ok := errors.AsType[*spool.FileError](err); ok {
		return healthcheck.Result{Status: healthcheck.Warn, Err: err, Public: "there are bad files in the spool"}
	}
	if err != nil {
		return healthcheck.Result{Err: err, Public: "the spool cannot be read"}
	}
	return healthcheck.Result{}
}
