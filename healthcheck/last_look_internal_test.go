package healthcheck

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The watchdog of a probe may fire when the probe has just come back.
func TestSettledWatchdogOfAProbeThatIsBack(t *testing.T) {
	_, k := one("db", Check{Probe: func(context.Context) Result { return Result{} }}, Result{})
	run, ok := k.begin(k.c.now())
	require.True(t, ok)
	stuck, _, _ := k.returned(Result{Status: Pass}, k.c.now())
	assert.False(t, stuck)
	assert.Nil(t, k.hangs(run))
	assert.False(t, k.stuck)
}

// What was reported holds until there is another result, which ages.
func TestSettledReportThenTraffic(t *testing.T) {
	g, k := one("db", Check{Impact: Critical}, Result{})
	now := k.c.now()
	k.take(Result{Status: Fail}, now, forGood)
	require.Equal(t, Fail, g.current(now))
	k.take(Result{Status: Fail}, now, atOnce)
	require.Equal(t, Fail, g.current(now))
	assert.Equal(t, Pass, g.current(now+int64(4*k.Period)), "nobody knows any more")
}

// Between a check's new status and the note to its groups there is a moment, in
// which a request may have seen the former.
func TestGroupIsNeverBehindItsChecks(t *testing.T) {
	c := MustNew(Config{})
	probe := func(context.Context) Result { return Result{} }
	c.MustAdd("db", Check{Probe: probe, OnDemand: time.Minute, Impact: Critical})
	require.NoError(t, c.Start())
	defer func() { require.NoError(t, c.Close(t.Context())) }()
	k, g := c.byName["db"], c.groups[full]
	require.Equal(t, Unknown, g.refresh(c.now()))
	k.announce(1)
	k.mu.Lock()
	k.machine.set(Pass)
	k.see(c.now())
	k.mu.Unlock()
	assert.Equal(t, Pass, g.current(c.now()))
	k.announce(-1)
}
