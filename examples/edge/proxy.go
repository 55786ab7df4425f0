package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/healthcheck/checks"
	"github.com/failsoft/failsoft/stale"
)

// edge is a cache, the proxy that it is in front of or behind, and what knows how the
// origin is.
type edge struct {
	cache  *stale.Cache
	health *healthcheck.Checker
	front  http.Handler
	base   *http.Transport
}

func newEdge(cfg config, logger *slog.Logger) (*edge, error) {
	health, err := watch(cfg.health)
	if err != nil {
		return nil, err
	}
	if cfg.health != "" {
		// Before the first result it is unknown, which is not sick.
		cfg.rules.Healthy = func() bool { return health.Status(originCheck) != healthcheck.Fail }
	}
	if cfg.events {
		cfg.rules.Observe = func(ctx context.Context, e stale.Event) {
			logger.DebugContext(ctx, "cache", "event", e)
		}
	}
	cache, err := stale.New(cfg.rules)
	if err != nil {
		return nil, errors.Join(err, health.Close(context.Background()))
	}
	e := &edge{cache: cache, health: health, base: newTransport(cfg.timeout)}
	if cfg.role == roleHandler {
		e.front = cache.Handler(newProxy(cfg.origin, e.base, logger))
	} else {
		e.front = newProxy(cfg.origin, cache.Transport(e.base), logger)
	}
	return e, nil
}

const originCheck = "origin"

// watch returns what asks a URL how the origin is, if there is one.
func watch(probe string) (*healthcheck.Checker, error) {
	health, err := healthcheck.New(healthcheck.Config{Service: "edge"})
	if err != nil {
		return nil, err
	}
	if probe != "" {
		err = health.Add(originCheck, healthcheck.Check{
			Probe: checks.HTTP(checks.HTTPGet{URL: probe}), Period: 5 * time.Second,
		})
	}
	return health, errors.Join(err, health.Start())
}

// originIdle is for how long connections to the origin are kept. It must be shorter
// than what the origin has: an upload that meets the end of its connection is lost,
// because nobody has its body to send it again. Node has 5 s, most others more.
const originIdle = 4 * time.Second

// newTransport returns the way to the origin. It is not http.DefaultTransport, which
// keeps two connections at most, waits for ever, and asks for compressed answers that
// nobody here wants uncompressed.
func newTransport(timeout time.Duration) *http.Transport {
	return &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: timeout,
		ExpectContinueTimeout: time.Second,
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       originIdle,
		DisableCompression:    true,
		ForceAttemptHTTP2:     true,
	}
}

// newProxy passes requests on to the origin.
func newProxy(origin *url.URL, next http.RoundTripper, logger *slog.Logger) http.Handler {
	return &httputil.ReverseProxy{
		Transport: next,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(origin)
			r.Out.Host = r.In.Host // the origin may have several, and answers differ by it
			// As it came: a query that only the origin understands is none of ours.
			r.Out.URL.RawQuery = r.In.URL.RawQuery
			r.SetXForwarded()
		},
		FlushInterval: -1, // who reads along is to have what is there
		ErrorLog:      slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		ErrorHandler:  func(w http.ResponseWriter, r *http.Request, err error) { fail(w, r, err, logger) },
	}
}

// fail answers for an origin that did not. ReverseProxy's own answer is 502 whatever
// happened, and a cache above would like to know.
func fail(w http.ResponseWriter, r *http.Request, err error, logger *slog.Logger) {
	if !errors.Is(r.Context().Err(), context.Canceled) {
		logger.WarnContext(r.Context(), "no answer", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	// Also if nobody is there any more: what is not said is 200.
	status := http.StatusBadGateway
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		status = http.StatusGatewayTimeout
	}
	http.Error(w, http.StatusText(status), status)
}

// closeIdle closes what is kept open to the origin.
func (e *edge) closeIdle(context.Context) error {
	e.base.CloseIdleConnections()
	return nil
}
