package checks

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/healthcheck"
)

// The defaults of SQLPool.
const (
	DefaultPoolWarn = 0.8
	DefaultPoolFail = 1.0
)

// given returns an error if there is no db.
func given(db *sql.DB) error { return when(db == nil, "the *sql.DB is nil") }

// SQL returns a probe that pings db. A driver without a ping of its own would pass
// whatever the server does, as database/sql then asks nobody: the probe fails and
// says so; SQLQuery is for those.
func SQL(db *sql.DB) Probe {
	if err := given(db); err != nil {
		return misconfigured(err)
	}
	var known atomic.Bool
	return func(ctx context.Context) healthcheck.Result {
		begin := time.Now()
		if !known.Load() {
			if err := pings(ctx, db); err != nil {
				return noSQL(ctx, db, err)
			}
			known.Store(true)
		}
		if err := ping(ctx, db); err != nil {
			return noSQL(ctx, db, err)
		}
		return took(begin)
	}
}

// ping pings on another connection where one of the pool has been closed since it was
// last used. database/sql does that for queries and not for a ping. The pool drops
// such a connection, so that there comes a new one when it has no other idle.
func ping(ctx context.Context, db *sql.DB) error {
	err := db.PingContext(ctx)
	for idle := db.Stats().Idle; idle >= 0 && ctx.Err() == nil && errors.Is(err, driver.ErrBadConn); idle-- {
		err = db.PingContext(ctx)
	}
	return err
}

// pings returns an error if the driver behind db has no ping.
func pings(ctx context.Context, db *sql.DB) (err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	return conn.Raw(func(raw any) error {
		_, ok := raw.(driver.Pinger)
		return when(!ok, "the driver cannot ping (%T): use SQLQuery", raw)
	})
}

// SQLQuery returns a probe that runs query and passes if that returns a row. The
// query runs every period on every instance: it should cost next to nothing.
func SQLQuery(db *sql.DB, query string) Probe {
	if err := errors.Join(given(db), when(query == "", "the query is empty")); err != nil {
		return misconfigured(err)
	}
	return func(ctx context.Context) healthcheck.Result {
		begin := time.Now()
		if err := oneRow(ctx, db, query); err != nil {
			return noSQL(ctx, db, err)
		}
		return took(begin)
	}
}

func oneRow(ctx context.Context, db *sql.DB, query string) (err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if !rows.Next() {
		return cmp.Or(rows.Err(), sql.ErrNoRows)
	}
	return rows.Err()
}

// noSQL is the failure of a probe that uses db. One that has got no connection in
// time says nothing about the server, and must not send anybody to look there.
func noSQL(ctx context.Context, db *sql.DB, err error) healthcheck.Result {
	if errors.Is(err, ErrMisconfigured) {
		return failed(err, "the check is misconfigured")
	}
	stats := db.Stats()
	full := stats.MaxOpenConnections > 0 && stats.InUse >= stats.MaxOpenConnections
	if full && ctx.Err() != nil {
		return failed(fmt.Errorf("checks: all %d connections of the pool are in use: %w", stats.InUse, err),
			"no connection of the pool is free")
	}
	return unreachable(err)
}

// Limits say what part of a pool may be in use, in (0,1].
type Limits struct {
	// Warn and Fail are the parts from which on the result is that. Zero means 0.8
	// and 1; or Off.
	Warn, Fail float64

	// IgnoreWaits makes it no warning that calls have had to wait for a connection
	// since the last probe.
	IgnoreWaits bool

	_ struct{}
}

// SQLPool returns a probe that tells how much of db's pool is in use. It asks
// nobody. It fails if the pool has no limit: set one by SetMaxOpenConns.
func SQLPool(db *sql.DB, limits Limits) Probe {
	t, err := rising("Limits", limits.Warn, limits.Fail, DefaultPoolWarn, DefaultPoolFail)
	if err = errors.Join(given(db), err, ratios("Limits", t)); err != nil {
		return misconfigured(err)
	}
	var waits atomic.Int64
	waits.Store(db.Stats().WaitCount) // what has happened before is not news
	return func(context.Context) healthcheck.Result {
		stats := db.Stats()
		waited := stats.WaitCount - waits.Swap(stats.WaitCount)
		if stats.MaxOpenConnections <= 0 {
			return failed(wrong("the pool has no limit to compare with: use SetMaxOpenConns"), "the pool has no limit")
		}
		used := float64(stats.InUse) / float64(stats.MaxOpenConnections)
		percent := math.Round(used * 100)
		status, public := t.atLeast(used), fmt.Sprintf("%v%% of the connections are in use", percent)
		if waited > 0 && !limits.IgnoreWaits {
			public += fmt.Sprintf(", and calls have waited for one %d times", waited)
			status = max(status, healthcheck.Warn)
		}
		return measured(status, percent, "%", public)
	}
}
