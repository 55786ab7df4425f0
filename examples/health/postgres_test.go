//go:build unix

package main_test

import (
	"bufio"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/healthcheck/checks"
)

// A primary and a replica that follows it, and the service with both.
func TestPostgres(t *testing.T) {
	primary := newPrimary(t)
	replica := primary.replica(t)
	// A lag is worth a warning for a second: a probe has to come in it, even if the one before took long.
	s := newService(t, primary.url, replica.url, "-drain", "2s", "-period", "750ms")

	eventually(t, "all is well", func() bool {
		return s.is(t, "db", "pass")() && s.is(t, "pool", "pass")() && s.is(t, "replica", "pass")()
	})
	assert.Equal(t, "ms", s.check(t, "db").Unit)
	first, err := s.post(t, "tea")
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, first.code, first.body)
	order := s.url + first.header.Get("Location")
	eventually(t, "the replica has the order", func() bool { return mustGet(t, order).body == "tea\n" })

	t.Run("replay is paused", func(t *testing.T) {
		replica.exec(t, "SELECT pg_wal_replay_pause()")
		second, err := s.post(t, "milk")
		require.NoError(t, err)
		late := s.url + second.header.Get("Location")
		assert.Equal(t, http.StatusNotFound, code(t, late), "the replica is trusted yet, and is behind")

		took := eventually(t, "the lag is a warning", s.is(t, "replica", "warn"))
		warned := s.check(t, "replica")
		assert.Equal(t, "s", warned.Unit)
		assert.GreaterOrEqual(t, warned.Observed, 1.0)
		t.Logf("warn after %v: %s", took, warned.Output)

		took = eventually(t, "the lag is a failure", s.is(t, "replica", "fail"))
		failed := s.check(t, "replica")
		assert.GreaterOrEqual(t, failed.Observed, 2.0)
		assert.Greater(t, failed.Observed, warned.Observed, "a lag grows while nothing is replayed")
		t.Logf("fail after %v more: %s", took, failed.Output)
		assert.Equal(t, "milk\n", mustGet(t, late).body, "the primary is read instead")
		assert.Equal(t, http.StatusOK, code(t, s.url+"/readyz"))

		replica.exec(t, "SELECT pg_wal_replay_resume()")
		took = eventually(t, "there is no lag any more", s.is(t, "replica", "pass"))
		assert.Zero(t, s.check(t, "replica").Observed)
		t.Logf("pass after %v", took)
	})

	t.Run("an idle primary is no lag", func(t *testing.T) {
		idle := 3 * time.Second // more than the lag that fails
		remains(t, "the replica passes", idle, s.is(t, "replica", "pass"))
	})

	t.Run("the primary is killed", func(t *testing.T) {
		primary.kill(t)
		took := eventually(t, "the check of the primary fails", s.is(t, "db", "fail"))
		t.Logf("fail after %v: %s", took, s.check(t, "db").Output)
		took = eventually(t, "the replica has nobody to follow", s.is(t, "replica", "fail"))
		t.Logf("the replica %v later: %s", took, s.check(t, "replica").Output)

		begin := time.Now()
		refused := mustGet(t, order)
		assert.Equal(t, http.StatusServiceUnavailable, refused.code)
		assert.NotEmpty(t, refused.header.Get("Retry-After"))
		assert.NotContains(t, refused.body, "the database does not answer", "it was not even asked")
		assert.Less(t, time.Since(begin), 5*time.Second)
		assert.Equal(t, http.StatusOK, code(t, s.url+"/"), "what needs no database works")
		ready := mustGet(t, s.url+"/readyz")
		assert.Equal(t, http.StatusOK, ready.code, "readiness is about this instance")
		assert.JSONEq(t, `{"status":"warn"}`, ready.body)

		primary.start(t)
		took = eventually(t, "the primary is back", s.is(t, "db", "pass"))
		t.Logf("pass after %v", took)
		took = eventually(t, "the replica follows", s.is(t, "replica", "pass"))
		t.Logf("the replica %v later", took)
		again, err := s.post(t, "sugar")
		require.NoError(t, err)
		assert.Equal(t, http.StatusCreated, again.code, again.body)
	})

	t.Run("a request under way is answered, a stream ends", func(t *testing.T) {
		stream, err := http.Get(s.url + "/events")
		require.NoError(t, err)
		defer stream.Body.Close()
		lines := bufio.NewScanner(stream.Body)
		require.True(t, lines.Scan())
		assert.Equal(t, "data: pass", lines.Text())

		tx, err := primary.open(t).BeginTx(t.Context(), nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(t.Context(), "LOCK TABLE orders IN EXCLUSIVE MODE")
		require.NoError(t, err)
		waiting := make(chan answer, 1)
		go func() {
			a, err := s.post(t, "bread")
			assert.NoError(t, err)
			waiting <- a
		}()
		db := primary.open(t)
		eventually(t, "the request waits", func() bool {
			var n int
			err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_locks WHERE NOT granted").Scan(&n)
			return err == nil && n == 1
		})

		s.proc.signal(t, syscall.SIGTERM)
		eventually(t, "readiness fails", func() bool { return code(t, s.url+"/readyz") == http.StatusServiceUnavailable })
		drained := mustGet(t, s.url+"/")
		assert.Equal(t, http.StatusOK, drained.code, "requests are served on")
		assert.Equal(t, "drain", drained.header.Get(healthcheck.HealthHeader))
		assert.Equal(t, http.StatusOK, code(t, s.url+"/livez"), "a process that drains is alive")

		var rest []string
		for lines.Scan() {
			rest = append(rest, lines.Text())
		}
		assert.NoError(t, lines.Err(), "a stream that ends in order has no error")
		assert.Contains(t, strings.Join(rest, "\n"), "data: fail")
		eventually(t, "nobody is let in any more", func() bool { return code(t, s.url+"/livez") == 0 })
		assert.True(t, s.proc.running(), "a request is under way")

		require.NoError(t, tx.Rollback())
		assert.Equal(t, http.StatusCreated, (<-waiting).code)
		assert.NoError(t, s.proc.wait(t), "the exit code is 0")
	})
}

// The checks alone, for what the service does not let happen.
func TestPostgresChecks(t *testing.T) {
	primary := newPrimary(t)
	db := primary.open(t)
	db.SetMaxOpenConns(2)

	assert.Equal(t, healthcheck.Pass, checks.SQL(db)(t.Context()).Status)
	assert.Equal(t, healthcheck.Pass, checks.SQLQuery(db, "SELECT 1 FROM pg_class LIMIT 1")(t.Context()).Status)
	assert.Error(t, checks.SQLQuery(db, "SELECT 1 FROM orders")(t.Context()).Err, "there is no row yet")
	lag := checks.PostgresLag(db, checks.Lag{})(t.Context())
	assert.Equal(t, healthcheck.Pass, lag.Status)
	assert.InDelta(t, 0, lag.Observed, 0, "a primary is not behind")
	assert.Error(t, checks.PostgresLag(db, checks.Lag{Replica: true})(t.Context()).Err, "a primary is no replica")

	pool := checks.SQLPool(db, checks.Limits{})
	one, err := db.Conn(t.Context())
	require.NoError(t, err)
	assert.Equal(t, healthcheck.Pass, pool(t.Context()).Status)
	two, err := db.Conn(t.Context())
	require.NoError(t, err)
	full := pool(t.Context())
	assert.Equal(t, healthcheck.Fail, full.Status)
	assert.InDelta(t, 100, full.Observed, 0)
	require.NoError(t, one.Close())
	require.NoError(t, two.Close())
	assert.Equal(t, healthcheck.Pass, pool(t.Context()).Status)

	ping := checks.SQL(db)
	require.NoError(t, ping(t.Context()).Err)
	primary.kill(t)
	assert.Error(t, ping(t.Context()).Err, "idle connections of the pool must not hide it")
	primary.start(t)
	assert.NoError(t, ping(t.Context()).Err, "connections that died with the server must not either")
}
