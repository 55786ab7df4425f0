//go:build unix

package main_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	// The driver registers itself.
	_ "github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/healthcheck/checks"
)

// mariadb is a server that a test has started.
type mariadb struct {
	t    *testing.T // that it lives as long as
	bin  string
	who  *syscall.Credential
	data string
	port int
	id   int
	db   *sql.DB
	proc *process
}

func newMariaDB(t *testing.T, id int) *mariadb {
	t.Helper()
	m := &mariadb{t: t, bin: part(t, "mariadbd", "/usr/sbin"), port: freePort(t), id: id}
	install := part(t, "mariadb-install-db")
	m.who = servant(t, "mysql")
	dir := folder(t, m.who)
	m.data = filepath.Join(dir, "data")
	command(t, as(m.who, dir), install, "--no-defaults", "--datadir="+m.data,
		"--auth-root-authentication-method=normal", "--skip-test-db")
	db, err := sql.Open("mysql", fmt.Sprintf("root@tcp(127.0.0.1:%d)/?timeout=2s", m.port))
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	m.db = db
	m.start(t)
	return m
}

func (m *mariadb) start(t *testing.T) {
	t.Helper()
	eventually(t, "MariaDB answers", func() bool {
		if m.proc == nil || !m.proc.running() {
			m.proc = start(m.t, as(m.who, filepath.Dir(m.data)), m.bin, "--no-defaults", "--datadir="+m.data,
				"--bind-address=127.0.0.1", fmt.Sprintf("--port=%d", m.port), fmt.Sprintf("--server-id=%d", m.id),
				"--socket="+filepath.Join(filepath.Dir(m.data), "s"), "--pid-file="+filepath.Join(filepath.Dir(m.data), "pid"),
				"--log-bin=binlog", "--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0",
				"--innodb-log-file-size=8M", "--skip-name-resolve", "--slave-net-timeout=5")
		}
		return m.db.PingContext(t.Context()) == nil
	})
}

func (m *mariadb) exec(t *testing.T, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		_, err := m.db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}

// A source and a replica that follows it.
func TestMariaDB(t *testing.T) {
	source := newMariaDB(t, 1)
	replica := newMariaDB(t, 2)
	isolated := checks.MySQLLag(replica.db, checks.Lag{Replica: true})(t.Context())
	assert.Equal(t, healthcheck.Fail, isolated.Status, "it follows nobody yet")

	source.exec(t, "CREATE USER follower@127.0.0.1 IDENTIFIED BY 'me'", "GRANT REPLICATION SLAVE ON *.* TO follower@127.0.0.1",
		"CREATE DATABASE shop", "CREATE TABLE shop.orders (id serial, item text)")
	replica.exec(t, fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=%d, MASTER_USER='follower', "+
		"MASTER_PASSWORD='me', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1", source.port), "START SLAVE")

	ping := checks.SQL(source.db)
	lag := checks.MySQLLag(replica.db, checks.Lag{Warn: 1e9, Fail: 3e9, Replica: true})
	var found healthcheck.Result
	is := func(probe checks.Probe, status healthcheck.Status) func() bool {
		return func() bool {
			found = probe(t.Context())
			return found.Status == status
		}
	}
	eventually(t, "the replica follows", is(lag, healthcheck.Pass))
	require.NoError(t, ping(t.Context()).Err)
	nobody := checks.MySQLLag(source.db, checks.Lag{})(t.Context())
	assert.Equal(t, healthcheck.Pass, nobody.Status, "a source is not behind")
	eventually(t, "the table is there", func() bool {
		_, err := replica.db.ExecContext(t.Context(), "SELECT 1 FROM shop.orders")
		return err == nil
	})

	t.Run("what is received cannot be applied", func(t *testing.T) {
		lock, err := replica.db.Conn(t.Context())
		require.NoError(t, err)
		_, err = lock.ExecContext(t.Context(), "LOCK TABLES shop.orders READ")
		require.NoError(t, err)
		source.exec(t, "INSERT INTO shop.orders (item) VALUES ('tea')")

		took := eventually(t, "the lag is a warning", is(lag, healthcheck.Warn))
		assert.Equal(t, "s", found.Unit)
		assert.GreaterOrEqual(t, found.Observed, 1.0)
		t.Logf("warn after %v: %s", took, found.Public)
		took = eventually(t, "the lag is a failure", is(lag, healthcheck.Fail))
		assert.GreaterOrEqual(t, found.Observed, 3.0)
		t.Logf("fail after %v more: %s", took, found.Public)

		_, err = lock.ExecContext(context.WithoutCancel(t.Context()), "UNLOCK TABLES")
		require.NoError(t, err)
		require.NoError(t, lock.Close())
		took = eventually(t, "there is no lag any more", is(lag, healthcheck.Pass))
		assert.Zero(t, found.Observed)
		t.Logf("pass after %v", took)
	})

	t.Run("a thread is stopped", func(t *testing.T) {
		for _, thread := range []string{"SQL_THREAD", "IO_THREAD"} {
			replica.exec(t, "STOP SLAVE "+thread)
			assert.Error(t, lag(t.Context()).Err, thread)
			replica.exec(t, "START SLAVE "+thread)
			eventually(t, "the replica follows", is(lag, healthcheck.Pass))
		}
	})

	t.Run("the source is killed", func(t *testing.T) {
		source.proc.signal(t, syscall.SIGKILL)
		assert.Error(t, source.proc.wait(t))
		assert.Error(t, ping(t.Context()).Err)
		took := eventually(t, "the replica has nobody to follow", is(lag, healthcheck.Fail))
		t.Logf("the replica after %v: %v", took, found.Err)
		source.start(t)
		assert.NoError(t, ping(t.Context()).Err)
		took = eventually(t, "the replica follows", is(lag, healthcheck.Pass))
		t.Logf("the replica follows after %v", took)
	})
}
