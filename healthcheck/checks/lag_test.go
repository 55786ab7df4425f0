package checks_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/healthcheck/checks"
)

func TestLagBadInput(t *testing.T) {
	bubble(t, "for both", func(t *testing.T) {
		db := database(t, &server{})
		refuses(t, checks.PostgresLag(nil, checks.Lag{}), "nil")
		refuses(t, checks.MySQLLag(nil, checks.Lag{}), "nil")
		contradiction := checks.Lag{Warn: 2 * time.Minute, Fail: time.Minute}
		refuses(t, checks.PostgresLag(db, contradiction), "Lag.Warn is 2m0s, above Fail, 1m0s")
		refuses(t, checks.MySQLLag(db, contradiction), "Lag.Warn is 2m0s, above Fail, 1m0s")
		refuses(t, checks.PostgresLag(db, checks.Lag{Warn: -time.Second, Fail: -time.Minute}), "Lag.Warn is -1s", "Lag.Fail is -1m0s")
	})
}

// postgres answers as PostgreSQL does to the one query that there is.
func postgres(s *server, recovering, receiving, current bool, age driver.Value) {
	s.set(func(s *server) {
		s.broken = func(r *rows) {
			r.table = table{
				columns: []string{"a", "b", "c", "d"},
				rows:    [][]driver.Value{{recovering, receiving, current, age}},
			}
		}
	})
}

func TestPostgresLag(t *testing.T) {
	type answer struct {
		recovering, receiving, current bool
		age                            driver.Value
	}
	for _, row := range []struct {
		name     string
		answer   answer
		limits   checks.Lag
		status   healthcheck.Status
		observed any
		public   string
	}{
		{"a primary", answer{age: nil}, checks.Lag{}, healthcheck.Pass, 0.0, ""},
		{"a primary in the place of a replica", answer{}, checks.Lag{Replica: true}, healthcheck.Fail, nil, "no replica"},
		{"an idle primary is no lag", answer{true, true, true, 86400.0}, checks.Lag{}, healthcheck.Pass, 0.0, ""},
		{"a replica that has replayed nothing, as there was nothing", answer{true, true, true, nil}, checks.Lag{}, healthcheck.Pass, 0.0, ""},
		{"behind", answer{true, true, false, 9.999}, checks.Lag{}, healthcheck.Pass, 9.999, ""},
		{"10 s behind", answer{true, true, false, 10.0}, checks.Lag{}, healthcheck.Warn, 10.0, "lag 10s"},
		{"12.3456 s behind", answer{true, true, false, 12.3456}, checks.Lag{}, healthcheck.Warn, 12.346, "lag 12.346s"},
		{"1 min behind", answer{true, true, false, 60.0}, checks.Lag{Replica: true}, healthcheck.Fail, 60.0, "lag 1m0s"},
		{"a clock ahead of the primary's", answer{true, true, false, -3.0}, checks.Lag{}, healthcheck.Pass, 0.0, ""},
		{"a lag that is not known", answer{true, true, false, nil}, checks.Lag{}, healthcheck.Fail, nil, "the lag is not known"},
		{"no receiver, although all is replayed", answer{true, false, true, 0.0}, checks.Lag{Fail: checks.Off}, healthcheck.Fail, nil, "replication is broken"},
		{"own thresholds", answer{true, true, false, 2.0}, checks.Lag{Warn: time.Second, Fail: 2 * time.Second}, healthcheck.Fail, 2.0, "lag 2s"},
		{"Warn above the default of Fail", answer{true, true, false, 120.0}, checks.Lag{Warn: time.Hour}, healthcheck.Pass, 120.0, ""},
		{"Fail below the default of Warn", answer{true, true, false, 5.0}, checks.Lag{Fail: 5 * time.Second}, healthcheck.Fail, 5.0, "lag 5s"},
		{"no thresholds", answer{true, true, false, 1e6}, checks.Lag{Warn: checks.Off, Fail: checks.Off}, healthcheck.Pass, 1e6, ""},
	} {
		bubble(t, row.name, func(t *testing.T) {
			s := &server{}
			db := database(t, s)
			postgres(s, row.answer.recovering, row.answer.receiving, row.answer.current, row.answer.age)
			finds(t, checks.PostgresLag(db, row.limits), row.status, row.observed, row.public)
			assert.Len(t, s.asked, 1, "one statement, so that one server answers")
			assert.Zero(t, db.Stats().InUse)
		})
	}
	bubble(t, "paused replay shows a lag that grows, until it goes on", func(t *testing.T) {
		s := &server{}
		probe := checks.PostgresLag(database(t, s), checks.Lag{})
		for age, want := range map[float64]healthcheck.Status{3: healthcheck.Pass, 33: healthcheck.Warn, 63: healthcheck.Fail} {
			postgres(s, true, true, false, age)
			assert.Equal(t, want, probe(t.Context()).Status)
		}
		postgres(s, true, true, true, 70.0)
		finds(t, probe, healthcheck.Pass, 0.0, "")
	})
	bubble(t, "the server is away, or slow", func(t *testing.T) {
		s := &server{err: errDown}
		probe := checks.PostgresLag(database(t, s), checks.Lag{})
		res := finds(t, probe, healthcheck.Fail, nil, "")
		assert.ErrorIs(t, res.Err, errDown)
		s.set(func(s *server) { s.delay = time.Hour })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.Equal(t, "no answer in time", probe(ctx).Public)
	})
	bubble(t, "an answer that is none", func(t *testing.T) {
		s := &server{broken: func(r *rows) {
			r.table = table{columns: []string{"a"}, rows: [][]driver.Value{{"?"}}}
		}}
		res := checks.PostgresLag(database(t, s), checks.Lag{})(t.Context())
		assert.Equal(t, healthcheck.Fail, res.Status)
		assert.Error(t, res.Err)
	})
}

const (
	newName = "SHOW REPLICA STATUS"
	oldName = "SHOW SLAVE STATUS"
)

var errSyntax = errors.New("server error 1064: you have an error in your SQL syntax")

func TestMySQLLag(t *testing.T) {
	modern := []string{"Replica_IO_State", "Replica_IO_Running", "Replica_SQL_Running", "Seconds_Behind_Source", "Last_IO_Error"}
	old := []string{"Seconds_Behind_Master", "Slave_IO_Running", "Slave_SQL_Running"}
	for _, row := range []struct {
		name     string
		query    string
		table    table
		limits   checks.Lag
		status   healthcheck.Status
		observed any
		public   string
		err      string
	}{
		{"no replica", newName, table{columns: modern}, checks.Lag{}, healthcheck.Pass, 0.0, "", ""},
		{"no replica where one has to be", newName, table{columns: modern}, checks.Lag{Replica: true}, healthcheck.Fail, nil, "no replica", "no replica"},
		{"current", newName, table{modern, [][]driver.Value{{"", "Yes", "Yes", int64(0), ""}}}, checks.Lag{Replica: true}, healthcheck.Pass, 0.0, "", ""},
		{"as text", newName, table{modern, [][]driver.Value{{"", []byte("Yes"), []byte("Yes"), []byte("59"), nil}}}, checks.Lag{}, healthcheck.Warn, 59.0, "lag 59s", ""},
		{"too far behind", newName, table{modern, [][]driver.Value{{"", "Yes", "Yes", "60", ""}}}, checks.Lag{}, healthcheck.Fail, 60.0, "lag 1m0s", "lag 1m0s"},
		{"its lag is NULL", newName, table{modern, [][]driver.Value{{"", "Yes", "Yes", nil, ""}}}, checks.Lag{Warn: checks.Off, Fail: checks.Off}, healthcheck.Fail, nil, "replication is broken", "NULL"},
		{"its source is gone, and it works off what it has", newName, table{modern, [][]driver.Value{{"", "Connecting", "Yes", "3", "cannot connect to db7"}}}, checks.Lag{}, healthcheck.Fail, nil, "replication is broken", "cannot connect to db7"},
		{"its SQL thread has stopped", newName, table{modern, [][]driver.Value{{"", "Yes", "No", "3", ""}}}, checks.Lag{}, healthcheck.Fail, nil, "replication is broken", `SQL thread is at "No"`},
		{"the worst of several channels", newName, table{modern, [][]driver.Value{{"", "Yes", "Yes", "1", ""}, {"", "Yes", "Yes", "20", ""}, {"", "Yes", "Yes", "5", ""}}}, checks.Lag{}, healthcheck.Warn, 20.0, "lag 20s", ""},
		{"one of several channels is broken", newName, table{modern, [][]driver.Value{{"", "Yes", "Yes", "1", ""}, {"", "Yes", "Yes", nil, ""}}}, checks.Lag{}, healthcheck.Fail, nil, "replication is broken", "NULL"},
		{"an old server, columns in another order", oldName, table{old, [][]driver.Value{{"11", "Yes", "Yes"}}}, checks.Lag{}, healthcheck.Warn, 11.0, "lag 11s", ""},
		{"an old server that is broken", oldName, table{old, [][]driver.Value{{nil, "No", "Yes"}}}, checks.Lag{}, healthcheck.Fail, nil, "replication is broken", "IO thread"},
		{"no such column", newName, table{[]string{"Foo"}, [][]driver.Value{{"1"}}}, checks.Lag{}, healthcheck.Fail, nil, "replication is broken", "no column"},
		{"no number", newName, table{modern, [][]driver.Value{{"", "Yes", "Yes", "soon", ""}}}, checks.Lag{}, healthcheck.Fail, nil, "replication is broken", `"soon"`},
		{"a negative number", newName, table{modern, [][]driver.Value{{"", "Yes", "Yes", int64(-1), ""}}}, checks.Lag{}, healthcheck.Fail, nil, "replication is broken", `"-1"`},
	} {
		bubble(t, row.name, func(t *testing.T) {
			s := &server{tables: map[string]table{row.query: row.table}, refuse: map[string]error{newName: errSyntax, oldName: errSyntax}}
			delete(s.refuse, row.query)
			db := database(t, s)
			res := finds(t, checks.MySQLLag(db, row.limits), row.status, row.observed, row.public)
			if row.err != "" {
				assert.ErrorContains(t, res.Err, row.err)
			}
			assert.Zero(t, db.Stats().InUse)
		})
	}
	bubble(t, "remembers the name that works, and survives an upgrade", func(t *testing.T) {
		s := &server{refuse: map[string]error{newName: errSyntax}}
		probe := checks.MySQLLag(database(t, s), checks.Lag{})
		finds(t, probe, healthcheck.Pass, 0.0, "")
		finds(t, probe, healthcheck.Pass, 0.0, "")
		assert.Equal(t, []string{newName, oldName, oldName}, s.asked)
		s.set(func(s *server) { s.refuse, s.asked = map[string]error{oldName: errSyntax}, nil })
		finds(t, probe, healthcheck.Pass, 0.0, "")
		finds(t, probe, healthcheck.Pass, 0.0, "")
		assert.Equal(t, []string{oldName, newName, newName}, s.asked)
	})
	bubble(t, "both names fail", func(t *testing.T) {
		denied := errors.New("server error 1227: access denied")
		s := &server{refuse: map[string]error{newName: errSyntax, oldName: denied}}
		res := finds(t, checks.MySQLLag(database(t, s), checks.Lag{}), healthcheck.Fail, nil, "")
		assert.ErrorIs(t, res.Err, errSyntax)
		assert.ErrorIs(t, res.Err, denied)
	})
	bubble(t, "does not ask twice when its time is over", func(t *testing.T) {
		s := &server{delay: time.Hour}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		res := checks.MySQLLag(database(t, s), checks.Lag{})(ctx)
		assert.Equal(t, "no answer in time", res.Public)
		assert.Len(t, s.asked, 1)
		assert.NotContains(t, res.Err.Error(), "other name")
	})
	bubble(t, "an answer that breaks off", func(t *testing.T) {
		s := &server{broken: func(r *rows) { r.err = errDown }}
		res := finds(t, checks.MySQLLag(database(t, s), checks.Lag{}), healthcheck.Fail, nil, "")
		assert.ErrorIs(t, res.Err, errDown)
	})
}
