package checks

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/failsoft/failsoft/healthcheck"
)

// The defaults of a Lag.
const (
	DefaultLagWarn = 10 * time.Second
	DefaultLagFail = time.Minute
)

// Lag says how far a replica may be behind.
type Lag struct {
	// Warn and Fail are the lags from which on the result is that. Zero means 10 s
	// and 1 min; or Off. Replication that is broken fails always.
	Warn, Fail time.Duration

	// Replica says that the server must be one: a primary fails, and so does a
	// replica that has forgotten whom to follow. Otherwise a primary has a lag of
	// zero.
	Replica bool

	_ struct{}
}

// lag is what a Lag comes to.
type lag struct {
	thresholds[time.Duration]

	replica bool
}

func (l Lag) complete(db *sql.DB) (lag, error) {
	t, err := rising("Lag", l.Warn, l.Fail, DefaultLagWarn, DefaultLagFail)
	return lag{t, l.Replica}, errors.Join(given(db), err)
}

// behind is the result for a replica.
func (l lag) behind(d time.Duration) healthcheck.Result {
	return measured(l.atLeast(d), seconds(d), "s", fmt.Sprintf("lag %v", d.Round(time.Millisecond)))
}

// primary is the result for a server that follows nobody.
func (l lag) primary() healthcheck.Result {
	if l.replica {
		return failed(errors.New("checks: the server is no replica"), "no replica")
	}
	return passed(0.0, "s")
}

// broken is the result for a replica that does not follow any more.
func broken(format string, args ...any) healthcheck.Result {
	return failed(fmt.Errorf("checks: replication is broken: "+format, args...), "replication is broken")
}
