package checks_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/healthcheck/checks"
)

// What is known of probes one by one holds in a Checker: endpoints tell everybody no
// more than Public does.
func TestInAChecker(t *testing.T) {
	bubble(t, "details", func(t *testing.T) {
		s := &server{err: errDown}
		db := database(t, s)
		worker := checks.NewHeartbeat(time.Minute)
		checker := healthcheck.MustNew(healthcheck.Config{Authorize: func(*http.Request) bool { return true }})
		checker.MustAdd("db", healthcheck.Check{Probe: checks.SQL(db)})
		checker.MustAdd("lag", healthcheck.Check{Probe: checks.PostgresLag(db, checks.Lag{})})
		checker.MustAdd("pool", healthcheck.Check{Probe: checks.SQLPool(db, checks.Limits{Warn: 0.9, Fail: 0.1})})
		checker.MustAdd("worker", healthcheck.Check{
			Probe: worker.Probe, Fall: 1, Groups: []string{healthcheck.Live}, Impact: healthcheck.Critical,
		})
		require.NoError(t, checker.Start())
		defer func() { assert.NoError(t, checker.Close(t.Context())) }()
		synctest.Wait()

		page := httptest.NewRecorder()
		checker.Details().ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		assert.NotContains(t, page.Body.String(), "db.internal", "errors name hosts and users")
		assert.Contains(t, page.Body.String(), "the check is misconfigured")
		assert.Contains(t, page.Body.String(), "no heartbeat yet")
		assert.Equal(t, healthcheck.Fail, checker.Status("pool"), "at once")
		assert.Equal(t, healthcheck.Warn, checker.Status(healthcheck.Live), "nothing has gone wrong yet")

		for range 6 {
			worker.Beat()
			time.Sleep(20 * time.Second)
		}
		assert.Equal(t, healthcheck.Pass, checker.Status(healthcheck.Live))
		time.Sleep(52 * time.Second) // the minute since the last beat, and a period
		assert.Equal(t, healthcheck.Fail, checker.Status(healthcheck.Live))
	})
	bubble(t, "a lagging replica goes to fail and back, with the lag as observed value", func(t *testing.T) {
		s := &server{}
		postgres(s, true, true, true, 0.0)
		checker := healthcheck.MustNew(healthcheck.Config{})
		checker.MustAdd("lag", healthcheck.Check{Probe: checks.PostgresLag(database(t, s), checks.Lag{})})
		require.NoError(t, checker.Start())
		defer func() { assert.NoError(t, checker.Close(t.Context())) }()
		synctest.Wait()
		assert.Equal(t, healthcheck.Pass, checker.Status("lag"))
		postgres(s, true, true, false, 61.5)
		time.Sleep(time.Minute)
		assert.Equal(t, healthcheck.Fail, checker.Status("lag"))
		assert.InDelta(t, 61.5, checker.Snapshot().Checks[0].Result.Observed, 0)
		postgres(s, true, true, true, 0.0)
		time.Sleep(time.Minute)
		assert.Equal(t, healthcheck.Pass, checker.Status("lag"))
	})
}
