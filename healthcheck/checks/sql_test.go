package checks_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/healthcheck/checks"
)

var errDown = errors.New("user orders at db.internal: down")

func TestSQL(t *testing.T) {
	bubble(t, "pings, and tells how long that took", func(t *testing.T) {
		s := &server{delay: 12 * time.Millisecond}
		probe := checks.SQL(database(t, s))
		finds(t, probe, healthcheck.Pass, 12.0, "")
		finds(t, probe, healthcheck.Pass, 12.0, "")
		assert.Equal(t, 2, s.pings)
		s.set(func(s *server) { s.err = errDown })
		res := finds(t, probe, healthcheck.Fail, nil, "")
		assert.ErrorIs(t, res.Err, errDown)
		s.set(func(s *server) { s.err = nil })
		finds(t, probe, healthcheck.Pass, 12.0, "")
	})
	bubble(t, "a stale connection of the pool is no failure of the server", func(t *testing.T) {
		s := &server{}
		db := database(t, s)
		db.SetMaxIdleConns(10)
		probe := checks.SQL(db)
		finds(t, probe, healthcheck.Pass, 0.0, "")
		hold(t, db, 5)()
		s.set(func(s *server) { s.stale = 5 })
		finds(t, probe, healthcheck.Pass, nil, "")
		assert.Equal(t, 7, s.pings, "on each of the old ones, and on a new one")
		s.set(func(s *server) { s.stale = 1000 })
		res := finds(t, probe, healthcheck.Fail, nil, "")
		assert.ErrorIs(t, res.Err, driver.ErrBadConn)
		assert.Equal(t, 9, s.pings, "a new one that is bad is the server's fault")
	})
	bubble(t, "ends with its context", func(t *testing.T) {
		probe := checks.SQL(database(t, &server{delay: time.Hour}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		res := probe(ctx)
		assert.Equal(t, time.Second, time.Since(begin))
		assert.Equal(t, healthcheck.Fail, res.Status)
		assert.ErrorIs(t, res.Err, context.DeadlineExceeded)
		assert.Equal(t, "no answer in time", res.Public)
	})
	bubble(t, "does not blame the server for a pool that is used up", func(t *testing.T) {
		db := database(t, &server{})
		db.SetMaxOpenConns(1)
		held, err := db.Conn(t.Context())
		require.NoError(t, err)
		for _, probe := range []checks.Probe{
			checks.SQL(db), checks.SQLQuery(db, "SELECT 1"),
			checks.PostgresLag(db, checks.Lag{}), checks.MySQLLag(db, checks.Lag{}),
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			res := probe(ctx)
			cancel()
			assert.Equal(t, healthcheck.Fail, res.Status)
			assert.Equal(t, "no connection of the pool is free", res.Public)
			assert.ErrorContains(t, res.Err, "all 1 connections")
			assert.ErrorIs(t, res.Err, context.DeadlineExceeded)
		}
		require.NoError(t, held.Close())
		finds(t, checks.SQL(db), healthcheck.Pass, nil, "")
		assert.Zero(t, db.Stats().InUse, "probes give connections back")
	})
	bubble(t, "a driver that cannot ping does not pass", func(t *testing.T) {
		db := database(t, &server{bare: true, err: errDown})
		require.NoError(t, db.PingContext(t.Context()), "database/sql asks nobody")
		refuses(t, checks.SQL(db), "cannot ping", "SQLQuery")
		assert.Zero(t, db.Stats().InUse)
	})
	bubble(t, "no db", func(t *testing.T) { refuses(t, checks.SQL(nil), "nil") })
}

func TestSQLQuery(t *testing.T) {
	const query = "SELECT 1"
	one := map[string]table{query: {columns: []string{"1"}, rows: [][]driver.Value{{int64(1)}, {int64(2)}}}}
	bubble(t, "passes with a row", func(t *testing.T) {
		s := &server{bare: true, tables: one, delay: time.Millisecond}
		db := database(t, s)
		finds(t, checks.SQLQuery(db, query), healthcheck.Pass, 1.0, "")
		assert.Equal(t, []string{query}, s.asked)
		assert.Zero(t, db.Stats().InUse)
	})
	bubble(t, "fails without one", func(t *testing.T) {
		db := database(t, &server{})
		res := finds(t, checks.SQLQuery(db, query), healthcheck.Fail, nil, "")
		assert.ErrorIs(t, res.Err, sql.ErrNoRows)
		assert.Zero(t, db.Stats().InUse)
	})
	bubble(t, "fails by what the server says", func(t *testing.T) {
		res := finds(t, checks.SQLQuery(database(t, &server{err: errDown}), query), healthcheck.Fail, nil, "")
		assert.ErrorIs(t, res.Err, errDown)
		late := &server{broken: func(r *rows) { r.err = errDown }}
		res = finds(t, checks.SQLQuery(database(t, late), query), healthcheck.Fail, nil, "")
		assert.ErrorIs(t, res.Err, errDown, "in the place of the first row")
	})
	bubble(t, "bad input", func(t *testing.T) { refuses(t, checks.SQLQuery(nil, ""), "nil", "empty") })
}

// hold takes n connections of db.
func hold(t *testing.T, db *sql.DB, n int) (release func()) {
	t.Helper()
	conns := make([]*sql.Conn, n)
	for i := range conns {
		var err error
		conns[i], err = db.Conn(t.Context())
		require.NoError(t, err)
	}
	return func() {
		for _, conn := range conns {
			assert.NoError(t, conn.Close())
		}
	}
}

func TestSQLPool(t *testing.T) {
	bubble(t, "tells what part is in use", func(t *testing.T) {
		db := database(t, &server{})
		db.SetMaxOpenConns(10)
		probe := checks.SQLPool(db, checks.Limits{})
		for _, row := range []struct {
			inUse    int
			status   healthcheck.Status
			observed float64
			public   string
		}{
			{0, healthcheck.Pass, 0, ""},
			{7, healthcheck.Pass, 70, ""},
			{8, healthcheck.Warn, 80, "80% of the connections are in use"},
			{9, healthcheck.Warn, 90, "90% of the connections are in use"},
			{10, healthcheck.Fail, 100, "100% of the connections are in use"},
		} {
			release := hold(t, db, row.inUse)
			finds(t, probe, row.status, row.observed, row.public)
			release()
		}
	})
	bubble(t, "warns once of calls that had to wait since the last time", func(t *testing.T) {
		db := database(t, &server{})
		db.SetMaxOpenConns(1)
		wait := func() {
			release := hold(t, db, 1)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := db.Conn(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			release()
		}
		wait()
		probe, deaf := checks.SQLPool(db, checks.Limits{}), checks.SQLPool(db, checks.Limits{IgnoreWaits: true})
		finds(t, probe, healthcheck.Pass, 0.0, "")
		wait()
		wait()
		finds(t, probe, healthcheck.Warn, 0.0, "0% of the connections are in use, and calls have waited for one 2 times")
		finds(t, probe, healthcheck.Pass, 0.0, "")
		finds(t, deaf, healthcheck.Pass, 0.0, "")
	})
	bubble(t, "thresholds of one's own", func(t *testing.T) {
		db := database(t, &server{})
		db.SetMaxOpenConns(2)
		defer hold(t, db, 1)()
		half := "50% of the connections are in use"
		finds(t, checks.SQLPool(db, checks.Limits{Fail: 0.5}), healthcheck.Fail, 50.0, half)
		finds(t, checks.SQLPool(db, checks.Limits{Warn: 0.5}), healthcheck.Warn, 50.0, half)
		finds(t, checks.SQLPool(db, checks.Limits{Warn: 0.5, Fail: checks.Off}), healthcheck.Warn, 50.0, half)
		finds(t, checks.SQLPool(db, checks.Limits{Warn: checks.Off}), healthcheck.Pass, 50.0, "")
	})
	bubble(t, "a pool without limit has nothing to compare with", func(t *testing.T) {
		db := database(t, &server{})
		probe := checks.SQLPool(db, checks.Limits{})
		res := finds(t, probe, healthcheck.Fail, nil, "the pool has no limit")
		assert.ErrorIs(t, res.Err, checks.ErrMisconfigured)
		db.SetMaxOpenConns(1)
		finds(t, probe, healthcheck.Pass, 0.0, "")
	})
	bubble(t, "bad input", func(t *testing.T) {
		db := database(t, &server{})
		refuses(t, checks.SQLPool(nil, checks.Limits{Warn: 0.9, Fail: 0.5}), "nil", "Limits.Warn is 0.9, above Fail, 0.5")
		for _, bad := range []float64{-0.5, -2, 1.01, math.NaN(), math.Inf(1), math.Inf(-1)} {
			refuses(t, checks.SQLPool(db, checks.Limits{Warn: bad}), "Limits")
			refuses(t, checks.SQLPool(db, checks.Limits{Fail: bad}), "Limits")
		}
	})
}
