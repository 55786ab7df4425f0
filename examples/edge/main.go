// Command edge is a caching reverse proxy in front of one origin: what package stale
// does, as a program. It answers from memory what may be stored, with something old
// where the origin fails or is slow, and passes everything else on: uploads, streams,
// upgrades, early hints.
//
//	go run ./examples/edge -listen :8080 -origin http://127.0.0.1:9000
//	curl -i http://127.0.0.1:8080/    # Cache-Status says what became of it
//
// Each option of stale.Config is a flag; -help lists them with their defaults. Key,
// Bypass, ErrorWhen and Healthy are functions there, and here what most people would
// write in them: -drop-query, -bypass, -error-status and -health. The Store is the one
// in memory.
//
// -role says where the cache is:
//
//	handler      ─► Cache.Handler ─► ReverseProxy ─► origin       as Varnish: the default
//	transport    ─► ReverseProxy ─► Cache.Transport ─► origin     the same from below, Shared
//	private      ─► ReverseProxy ─► Cache.Transport ─► origin     for one user: do not put it in front of several
//
// -admin is an address for operators, which the public must not reach:
//
//	GET  /snapshot    what the cache has done so far, as JSON
//	GET  /readyz      200, and 503 while it ends; with -health it warns of a sick origin
//	POST /purge       removes URLs, tags or everything: Cache.Purger says how. It asks for
//	                  Authorization: Bearer and the token in EDGE_TOKEN, and is not there without.
//	                  A URL has the Host that clients use and, below the proxy, the origin's scheme
//
// On SIGTERM it serves on for -drain, so that balancers notice, then ends what is under
// way within -grace, refreshes included; a second one ends it at once. The conformance
// suite for caches runs against this program: docs/conformance.md.
//
// To copy: proxy.go, which is a ReverseProxy as it should be set up, and serve in this
// file.
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
	context.AfterFunc(ctx, stop) // a second one ends it at once
	err := run(ctx, os.Args[1:], os.Getenv, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		_, _ = fmt.Fprintln(os.Stderr, "edge:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, env func(string) string, errs io.Writer) error {
	cfg, err := readConfig(args, env, errs)
	if err != nil {
		return err
	}
	level := slog.LevelInfo
	if cfg.events {
		level = slog.LevelDebug
	}
	logger := slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: level}))
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.listen)
	if err != nil {
		return err
	}
	var admin net.Listener
	if cfg.admin != "" {
		if admin, err = (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.admin); err != nil {
			return errors.Join(err, listener.Close())
		}
	}
	return serve(ctx, cfg, listener, admin, logger)
}

// serve answers until ctx ends, and then ends in order. There may be no admin.
func serve(ctx context.Context, cfg config, listener, admin net.Listener, logger *slog.Logger) error {
	e, err := newEdge(cfg, logger)
	if err != nil {
		err = errors.Join(err, listener.Close())
		if admin != nil {
			err = errors.Join(err, admin.Close())
		}
		return err
	}
	public, operators := newServer(e.front, logger), newServer(e.operators(cfg.token), logger)
	failed := make(chan error, 2)
	go func() { failed <- public.Serve(listener) }()
	logger.InfoContext(ctx, "serving", "address", listener.Addr().String(), "origin", cfg.origin.Host, "role", cfg.role)
	if admin != nil {
		go func() { failed <- operators.Serve(admin) }()
		logger.InfoContext(ctx, "serving operators", "address", admin.Addr().String())
	}
	select {
	case err = <-failed:
		cfg.drain = 0 // it is not all there any more
	case <-ctx.Done():
		logger.InfoContext(ctx, "draining", "for", cfg.drain)
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.drain+cfg.grace)
	defer cancel()
	err = errors.Join(err, e.health.Shutdown(end, public, cfg.drain, e.cache.Close, e.closeIdle))
	// Last, because operators want to see how it ends.
	return errors.Join(err, operators.Close())
}

// newServer returns a server with the timeouts that a public one needs. None for
// reading a request or writing an answer: either would end uploads, downloads and
// streams of events that are well, and take as long as their clients do.
func newServer(h http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute, // longer than a balancer's, so that it is not us who close first
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
}
