package checks_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/healthcheck/checks"
)

// bubble runs test in virtual time.
func bubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

// finds runs a probe and compares its finding; public is compared exactly.
func finds(t *testing.T, probe checks.Probe, status healthcheck.Status, observed any, public string) healthcheck.Result {
	t.Helper()
	res := probe(t.Context())
	assert.Equal(t, status.String(), res.Status.String(), "%v", res.Err)
	if observed != nil {
		assert.Equal(t, observed, res.Observed)
		assert.NotEmpty(t, res.Unit)
	}
	assert.Equal(t, status == healthcheck.Pass, res.Err == nil, "only what does not pass has an error: %v", res.Err)
	if status == healthcheck.Pass {
		assert.Empty(t, res.Public)
	} else {
		assert.Equal(t, public, res.Public)
	}
	return res
}

// refuses asserts that a probe was asked for what cannot be, and says so in these
// words.
func refuses(t *testing.T, probe checks.Probe, words ...string) {
	t.Helper()
	res := finds(t, probe, healthcheck.Fail, nil, "the check is misconfigured")
	assert.ErrorIs(t, res.Err, checks.ErrMisconfigured)
	for _, word := range words {
		assert.ErrorContains(t, res.Err, word)
	}
}

// server is a database server in memory. Its fields are set under the lock.
type server struct {
	mu     sync.Mutex
	err    error            // of everything
	delay  time.Duration    // of everything
	tables map[string]table // by query
	refuse map[string]error // by query
	asked  []string         // queries
	bare   bool             // connections cannot ping
	broken func(rows *rows) // spoils answers
	pings  int
	stale  int // so many of the next requests find their connection closed
}

// table is the answer to a query.
type table struct {
	columns []string
	rows    [][]driver.Value
}

// database returns a pool of connections to s.
func database(t *testing.T, s *server) *sql.DB {
	t.Helper()
	db := sql.OpenDB(s)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return db
}

// set changes the server.
func (s *server) set(change func(s *server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *server) Driver() driver.Driver { return nil }

func (s *server) Connect(context.Context) (driver.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bare {
		return bareConn{s}, nil
	}
	return pingConn{bareConn{s}}, nil
}

// work does what each request to the server does.
func (s *server) work(ctx context.Context) error {
	s.mu.Lock()
	delay, err := s.delay, s.err
	if s.stale > 0 {
		s.stale, err = s.stale-1, driver.ErrBadConn
	}
	s.mu.Unlock()
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return err
	}
}

type bareConn struct{ s *server }

func (bareConn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("no statements here") }

func (bareConn) Begin() (driver.Tx, error) { return nil, errors.New("no transactions here") }
func (bareConn) Close() error              { return nil }

func (c bareConn) QueryContext(ctx context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	c.s.set(func(s *server) { s.asked = append(s.asked, query) })
	if err := c.s.work(ctx); err != nil {
		return nil, err
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if err := c.s.refuse[query]; err != nil {
		return nil, err
	}
	r := &rows{table: c.s.tables[query]}
	if c.s.broken != nil {
		c.s.broken(r)
	}
	return r, nil
}

type pingConn struct{ bareConn }

func (c pingConn) Ping(ctx context.Context) error {
	c.s.set(func(s *server) { s.pings++ })
	return c.s.work(ctx)
}

type rows struct {
	table

	next int
	err  error // after the last row
}

func (r *rows) Columns() []string { return r.columns }
func (*rows) Close() error        { return nil }

func (r *rows) Next(into []driver.Value) error {
	if r.next == len(r.rows) {
		if r.err != nil {
			return r.err
		}
		return io.EOF
	}
	copy(into, r.rows[r.next])
	r.next++
	return nil
}
