// Command health is a service with a database that knows how it is, says so, and
// ends without failing a request:
//
//	DATABASE_URL=postgres://127.0.0.1/shop REPLICA_URL=postgres://127.0.0.2/shop go run -C examples/health .
//
// To copy: health.go, which says what healthy means here, and run in this file, which
// starts and ends in order. README.md says how to try it, and which numbers of the
// platform's belong to those of this program.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once, as if nobody had asked for them
	err := run(ctx, os.Args[1:], os.Getenv, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// config is what the service is told. What may hold a password comes from the
// environment and not from the command line, which everybody on the machine can read.
type config struct {
	primary, replica, token string

	listen  string
	period  time.Duration
	timeout time.Duration
	maxLag  time.Duration
	drain   time.Duration
	grace   time.Duration
}

func readConfig(args []string, env func(string) string, errs io.Writer) (config, error) {
	cfg := config{primary: env("DATABASE_URL"), replica: env("REPLICA_URL"), token: env("HEALTH_TOKEN")}
	flags := flag.NewFlagSet("health", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.StringVar(&cfg.listen, "listen", "127.0.0.1:8080", "the address to listen on")
	flags.DurationVar(&cfg.period, "period", 5*time.Second, "how often to ask the databases how they are")
	flags.DurationVar(&cfg.timeout, "timeout", time.Second, "how long they may take to answer that, a period at most")
	flags.DurationVar(&cfg.maxLag, "max-lag", 10*time.Second, "how far a replica may be behind to be read from")
	flags.DurationVar(&cfg.drain, "drain", 5*time.Second, "how long to serve on after SIGTERM, for balancers to notice")
	flags.DurationVar(&cfg.grace, "grace", 15*time.Second, "how long requests may take after that")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	switch {
	case flags.NArg() > 0:
		return cfg, fmt.Errorf("what is %q for?", flags.Arg(0))
	case cfg.primary == "":
		return cfg, errors.New("DATABASE_URL is not set: postgres://user:password@host/database")
	case cfg.drain < 0 || cfg.grace <= 0:
		return cfg, fmt.Errorf("-drain %v is negative or -grace %v not positive", cfg.drain, cfg.grace)
	}
	return cfg, nil
}

// run serves until ctx ends, and then ends in order. It comes up without its database
// too: a service that refuses to start while that is down has to be started again
// by somebody.
func run(ctx context.Context, args []string, env func(string) string, errs io.Writer) error {
	cfg, err := readConfig(args, env, errs)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(errs, nil))
	s, err := newService(cfg, logger)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.listen)
	if err == nil {
		err = s.health.Start()
	}
	if err != nil {
		return errors.Join(err, s.close(ctx))
	}
	stopSystemd, err := s.health.Systemd()
	if err != nil {
		logger.WarnContext(ctx, "systemd is not told", "error", err)
		stopSystemd = func() {}
	}
	defer stopSystemd()

	srv := &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       2 * time.Minute, // longer than a balancer's, so that it is not us who close first
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(listener) }()
	logger.InfoContext(ctx, "serving", "address", listener.Addr().String())

	select {
	case err = <-failed:
		cfg.drain = 0 // nobody is served any more
	case <-ctx.Done():
		logger.InfoContext(ctx, "draining", "for", cfg.drain)
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.drain+cfg.grace)
	defer cancel()
	err = errors.Join(err, s.health.Shutdown(end, srv, cfg.drain, s.close))
	logger.InfoContext(end, "ended", "error", err)
	return err
}
