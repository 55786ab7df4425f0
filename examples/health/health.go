package main

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"errors"
	"log/slog"
	"net/http"
	"time"

	// The driver is the program's choice: to package checks any *sql.DB will do.
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/healthcheck/checks"
)

// The names of the checks that code asks about.
const (
	dbCheck      = "db"
	replicaCheck = "replica"
)

// service is what serves, and what it depends on.
type service struct {
	primary *sql.DB
	replica *sql.DB // nil if there is none
	health  *healthcheck.Checker
	maxLag  time.Duration
	logger  *slog.Logger
}

func newService(cfg config, logger *slog.Logger) (*service, error) {
	s := &service{maxLag: cfg.maxLag, logger: logger}
	var err error
	if s.primary, err = open(cfg.primary); err != nil {
		return nil, err
	}
	if cfg.replica != "" {
		if s.replica, err = open(cfg.replica); err != nil {
			return nil, errors.Join(err, s.primary.Close())
		}
	}
	s.health, err = healthcheck.New(healthcheck.Config{
		Service:   "orders",
		Authorize: bearer(cfg.token),
		Observe:   logChanges(logger),
	})
	if err == nil {
		err = s.addChecks(cfg.period, min(cfg.period, cfg.timeout))
	}
	if err != nil {
		return nil, errors.Join(err, s.close(context.Background()))
	}
	return s, nil
}

// open connects to nothing yet. sql.Open would not even read the URL before it has to
// connect. A pool without a limit would pass an overload on to the database.
func open(url string) (*sql.DB, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err // it has no password in it
	}
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db, nil
}

// addChecks says what this service depends on. All of it degrades: every instance has
// the same database, and if its failure made them unready there would be nobody left
// to say so, or to serve what works without. Require is what couples routes to it.
func (s *service) addChecks(period, timeout time.Duration) error {
	orders := []string{"GET /orders/{id}", "POST /orders"}
	err := errors.Join(
		s.health.Add(dbCheck, healthcheck.Check{
			Probe: checks.SQL(s.primary), Affects: orders, Component: "datastore", Period: period, Timeout: timeout,
		}),
		s.health.Add("pool", healthcheck.Check{
			Probe: checks.SQLPool(s.primary, checks.Limits{}), Component: "datastore", Period: period, Timeout: timeout,
		}),
	)
	if s.replica == nil {
		return err
	}
	lag := checks.Lag{Warn: s.maxLag / 2, Fail: s.maxLag, Replica: true}
	return errors.Join(err, s.health.Add(replicaCheck, healthcheck.Check{
		Probe: checks.PostgresLag(s.replica, lag), Component: "datastore", Period: period, Timeout: timeout,
	}))
}

// reader returns what to read from: the replica, unless that is down or too far behind.
// Asking costs a few nanoseconds, so that it is asked for every request.
func (s *service) reader() *sql.DB {
	if s.replica == nil || s.health.Status(replicaCheck) == healthcheck.Fail {
		return s.primary
	}
	return s.replica
}

// close closes what the service depends on, when nothing uses it any more.
func (s *service) close(context.Context) error {
	err := s.primary.Close()
	if s.replica != nil {
		err = errors.Join(err, s.replica.Close())
	}
	return err
}

// bearer returns who may see details: those who have the token. Without a token nobody
// may.
func bearer(token string) func(*http.Request) bool {
	if token == "" {
		return nil
	}
	want := []byte("Bearer " + token)
	return func(r *http.Request) bool {
		return subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) == 1
	}
}

// logChanges logs what an operator wants to read afterwards. Probes that find what the
// last one found are left out.
func logChanges(logger *slog.Logger) func(context.Context, healthcheck.Event) {
	return func(ctx context.Context, e healthcheck.Event) {
		if e.Kind != healthcheck.Probed {
			logger.InfoContext(ctx, "health", "event", e)
		}
	}
}
