package checks

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/failsoft/failsoft/healthcheck"
)

// postgresQuery asks in one statement, so that one server answers all of it. What has
// been received is read before what has been replayed: in the other order a busy
// replica would seem to be behind by what has come in between. Replay may be ahead
// of it: after a restart receiving begins with its segment again.
const postgresQuery = `SELECT pg_is_in_recovery(),
	EXISTS (SELECT 1 FROM pg_stat_wal_receiver),
	COALESCE(pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn(), false),
	EXTRACT(EPOCH FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8`

var errLagUnknown = errors.New("checks: there is something to replay, and nothing with a time was so far")

// PostgresLag returns a probe that tells how far a streaming replica is behind: the
// age of the last transaction that it has replayed, or 0 if it has replayed all that
// it has received, as a primary may be idle. It fails if nothing is received at all,
// and while the age is not known. It needs no privileges, and PostgreSQL 10.
//
// It compares the clock of the primary with that of the replica. After an idle time
// the first transaction counts as old as the time was long until it is replayed,
// mostly some milliseconds; Check.Fall looks over that. A connection that is dead and
// not closed is noticed by PostgreSQL after its wal_receiver_timeout. A replica that
// gets its log from an archive only has no receiver, and fails.
func PostgresLag(db *sql.DB, limits Lag) Probe {
	l, err := limits.complete(db)
	if err != nil {
		return misconfigured(err)
	}
	return func(ctx context.Context) healthcheck.Result {
		var recovering, receiving, current bool
		var age sql.NullFloat64
		if err := db.QueryRowContext(ctx, postgresQuery).Scan(&recovering, &receiving, &current, &age); err != nil {
			return noSQL(ctx, db, err)
		}
		switch {
		case !recovering:
			return l.primary()
		case !receiving:
			return broken("there is no WAL receiver")
		case current:
			return l.behind(0)
		case !age.Valid:
			return failed(errLagUnknown, "the lag is not known")
		default:
			return l.behind(max(0, time.Duration(age.Float64*float64(time.Second)))) // clocks differ
		}
	}
}
