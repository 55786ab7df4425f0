//go:build unix

package main_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// postgres is a server that a test has started.
type postgres struct {
	t    *testing.T // that it lives as long as
	bin  string
	who  *syscall.Credential
	data string
	port int
	url  string
	proc *process
}

// newPrimary starts a server with the table that the service needs.
func newPrimary(t *testing.T) *postgres {
	t.Helper()
	pg := &postgres{t: t, bin: filepath.Dir(part(t, "initdb", "/usr/lib/postgresql/*/bin"))}
	pg.who = servant(t, "postgres")
	pg.data = filepath.Join(folder(t, pg.who), "data")
	command(t, as(pg.who, filepath.Dir(pg.data)), filepath.Join(pg.bin, "initdb"),
		"-D", pg.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
	pg.address(t)
	pg.start(t)
	db := pg.open(t)
	_, err := db.ExecContext(t.Context(), "CREATE TABLE orders (id bigserial PRIMARY KEY, item text NOT NULL)")
	require.NoError(t, err)
	return pg
}

// replica starts a server that follows pg.
func (pg *postgres) replica(t *testing.T) *postgres {
	t.Helper()
	r := &postgres{t: t, bin: pg.bin, who: pg.who}
	r.data = filepath.Join(folder(t, r.who), "data")
	command(t, as(r.who, filepath.Dir(r.data)), filepath.Join(r.bin, "pg_basebackup"),
		"-h", "127.0.0.1", "-p", strconv.Itoa(pg.port), "-U", "postgres", "-D", r.data,
		"-R", "-X", "stream", "-c", "fast", "--no-sync")
	r.address(t)
	r.start(t)
	return r
}

func (pg *postgres) address(t *testing.T) {
	t.Helper()
	pg.port = freePort(t)
	pg.url = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable&connect_timeout=20", pg.port)
}

// start returns when the server answers. After a kill that may take several attempts: what is
// left of the old server must be gone first.
func (pg *postgres) start(t *testing.T) {
	t.Helper()
	db := pg.open(t)
	eventually(t, "PostgreSQL answers", func() bool {
		if pg.proc == nil || !pg.proc.running() {
			pg.proc = start(pg.t, as(pg.who, pg.data), filepath.Join(pg.bin, "postgres"), "-D", pg.data,
				"-p", strconv.Itoa(pg.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
				"-c", "fsync=off", "-c", "max_connections=100", "-c", "shared_buffers=16MB", "-c", "wal_retrieve_retry_interval=200ms")
			pg.proc.quit = syscall.SIGQUIT // it takes its children with it
		}
		return db.PingContext(t.Context()) == nil
	})
}

// kill ends the server as a crash does.
func (pg *postgres) kill(t *testing.T) {
	t.Helper()
	pg.proc.signal(t, os.Kill)
	require.Error(t, pg.proc.wait(t))
}

func (pg *postgres) open(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", pg.url)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

func (pg *postgres) exec(t *testing.T, statement string) {
	t.Helper()
	db, err := sql.Open("pgx", pg.url)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), statement)
	require.NoError(t, err, statement)
}
