package checks

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/healthcheck"
)

// mysqlQuery returns one of the two names of a statement: that of MySQL since 8.0.22
// (the only one since 8.4) and MariaDB since 10.5, and the old one.
func mysqlQuery(old bool) string {
	if old {
		return "SHOW SLAVE STATUS"
	}
	return "SHOW REPLICA STATUS"
}

// MySQLLag returns a probe that tells how far a replica is behind, by what MySQL or
// MariaDB says: Seconds_Behind_Source, or Seconds_Behind_Master. It fails if that is
// NULL or a thread of replication does not run. With several channels the worst of
// them counts. It needs the privilege REPLICATION CLIENT (MariaDB: REPLICA MONITOR).
//
// A server that has no replication to show counts as a primary, see Lag.Replica. Of
// MariaDB only the default connection is shown.
func MySQLLag(db *sql.DB, limits Lag) Probe {
	l, err := limits.complete(db)
	if err != nil {
		return misconfigured(err)
	}
	var old atomic.Bool // what the statement was called when it worked last
	return func(ctx context.Context) healthcheck.Result {
		channels, err := mysqlStatus(ctx, db, &old)
		if err != nil {
			return noSQL(ctx, db, err)
		}
		if len(channels) == 0 {
			return l.primary()
		}
		var worst time.Duration
		for _, c := range channels {
			behind, err := c.behind()
			if err != nil {
				return broken("%w", err)
			}
			worst = max(worst, behind)
		}
		return l.behind(worst)
	}
}

// mysqlStatus asks by the name that has worked last, and then by the other: a server
// may be upgraded to one that knows only the new name.
func mysqlStatus(ctx context.Context, db *sql.DB, old *atomic.Bool) ([]channel, error) {
	first := old.Load()
	channels, err := mysqlAsk(ctx, db, mysqlQuery(first))
	if err == nil || ctx.Err() != nil {
		return channels, err
	}
	channels, other := mysqlAsk(ctx, db, mysqlQuery(!first))
	if other != nil {
		return nil, fmt.Errorf("%w; by its other name: %w", err, other)
	}
	old.Store(!first)
	return channels, nil
}

// channel is a row of the status, by the names of its columns in lower case: which
// there are depends on the product and its version.
type channel map[string]sql.NullString

func mysqlAsk(ctx context.Context, db *sql.DB, query string) (channels []channel, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		c := make(channel, len(columns))
		for i, column := range columns {
			c[strings.ToLower(column)] = values[i]
		}
		channels = append(channels, c)
	}
	return channels, rows.Err()
}

// behind returns the lag of a channel, or why it has none. The lag alone does not
// tell: a replica that has lost its source works off what it has, and says how far it
// is with that.
func (c channel) behind() (time.Duration, error) {
	for _, thread := range []string{"io", "sql"} {
		state, ok := c.get("replica_"+thread+"_running", "slave_"+thread+"_running")
		if ok && !strings.EqualFold(state.String, "yes") {
			return 0, fmt.Errorf("the %s thread is at %q: %s", strings.ToUpper(thread), state.String,
				c["last_"+thread+"_error"].String)
		}
	}
	value, ok := c.get("seconds_behind_source", "seconds_behind_master")
	switch {
	case !ok:
		return 0, errors.New("the status has no column Seconds_Behind_Source")
	case !value.Valid:
		return 0, errors.New("the lag is NULL")
	}
	n, err := strconv.ParseUint(value.String, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("the lag is %q", value.String)
	}
	return time.Duration(n) * time.Second, nil
}

// get returns the first of these columns that there is.
func (c channel) get(columns ...string) (sql.NullString, bool) {
	for _, column := range columns {
		if value, ok := c[column]; ok {
			return value, true
		}
	}
	return sql.NullString{}, false
}
