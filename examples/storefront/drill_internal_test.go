package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/rttest"
)

// leavesNothing fails t if there are more goroutines after it than before.
func leavesNothing(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		// The goroutine that polls is one more.
		assert.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 },
			30*time.Second, 10*time.Millisecond, "goroutines are left")
	})
}

func TestDrill(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes twenty seconds")
	}
	leavesNothing(t)
	var out strings.Builder
	s := newScript(shortest(), 1) // the breaker needs most of a second to notice the blackout
	err := drill(t.Context(), s, minVisitors, true, &out)
	assert.NotContains(t, out.String(), "\x1b")
	assert.Regexp(t, `(?m)^ +[\d.]+s  \w.* visitors/s `, out.String(), "it says what is going on")
	for _, p := range s.phases {
		assert.Regexp(t, `(?m)^`+p.name+` +naive `, out.String())
	}
	if rttest.UnderRace() || errors.Is(err, errBusy) || strings.Contains(out.String(), "busy") {
		t.Skipf("this machine is too busy for the rest:\n%s\n%v", out.String(), err)
	}
	require.NoError(t, err)
	for _, p := range s.phases {
		assert.Regexp(t, `(?m)^`+p.name+` +naive .* 4\.00$`, out.String(), "naive makes one attempt per call")
	}
	assert.Regexp(t, `(?m)^blackout +naive +0\.\d\d % +0 % +10\d\d ms`, out.String(), "it waits for its timeout")
	assert.Regexp(t, `(?m)^ +failsoft +0\.\d\d ms +\d+ ≤ \d+ probes per s$`, out.String())
	stalled, saved := served(t, out.String(), "one replica stalls")
	assert.InDelta(t, 100*2/3.0, stalled, 10)
	assert.Greater(t, saved, stalled+10)
	dark, kept := served(t, out.String(), "blackout")
	assert.Less(t, dark, 1.0)
	assert.GreaterOrEqual(t, kept, 99.0)
	assert.Regexp(t, `(?m)^flash crowd +naive +0\.00 % `, out.String(), "nobody is served in time")
	assert.Regexp(t, `(?m)^after the crowd +naive +0\.00 % `, out.String(), "nor when the crowd has gone")
}

// served returns the availability of both sides in a row of the table.
func served(t *testing.T, out, row string) (naivePercent, failsoftPercent float64) {
	t.Helper()
	_, table, _ := strings.Cut(out, "\nphase ")
	_, after, _ := strings.Cut(table, "\n"+row)
	_, err := fmt.Sscanf(strings.TrimSpace(after), naive+" %f", &naivePercent)
	require.NoError(t, err, out)
	_, after, _ = strings.Cut(after, failsoft)
	_, err = fmt.Sscan(after, &failsoftPercent)
	require.NoError(t, err, out)
	return naivePercent, failsoftPercent
}

func TestOnlyABusyMachineGetsAnotherRun(t *testing.T) {
	busy := errors.Join(errBehind, errBusy)
	for name, c := range map[string]struct {
		ends []error
		runs int
	}{
		"good":             {ends: []error{nil}, runs: 1},
		"bad":              {ends: []error{errBehind}, runs: 1},
		"interrupted":      {ends: []error{errInterrupted}, runs: 1},
		"busy, then good":  {ends: []error{busy, nil}, runs: 2},
		"busy, then bad":   {ends: []error{busy, errBehind}, runs: 2},
		"busy all the way": {ends: []error{busy, busy, busy}, runs: 3},
	} {
		t.Run(name, func(t *testing.T) {
			runs := 0
			err := insist(3, io.Discard, func() error {
				runs++
				return c.ends[runs-1]
			})
			assert.Equal(t, c.ends[c.runs-1], err)
			assert.Equal(t, c.runs, runs)
		})
	}
	assert.Equal(t, 1, exitCode(busy))
}

func TestInterruptedDrillReportsWhatItHas(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a second")
	}
	leavesNothing(t)
	var out strings.Builder
	var err error
	// A machine that stops has served nobody by then, and is not to be in the errors, at 4 s, when it goes on.
	for after := 800 * time.Millisecond; after < 4*time.Second && !strings.Contains(out.String(), "\ncalm"); after *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		out.Reset()
		err = drill(ctx, newScript(shortest(), 1), 50, false, &out)
		cancel()
		require.ErrorIs(t, err, errInterrupted)
	}
	assert.Equal(t, 130, exitCode(err))
	assert.Regexp(t, `(?m)^calm +naive `, out.String())
	assert.NotContains(t, out.String(), "\nerrors")
	assert.NotContains(t, out.String(), "crowd", "it did not come to that")
	assert.Contains(t, out.String(), leave, "the terminal is as it was")
}

func TestInterruptedBeforeTheStart(t *testing.T) {
	leavesNothing(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := drill(ctx, newScript(6*time.Second, 1), 50, true, io.Discard)
	require.Error(t, err)
	assert.NotErrorIs(t, err, errBehind)
}

func TestFlags(t *testing.T) {
	var out strings.Builder
	err := run(t.Context(), []string{"-for", "11999ms"}, &out)
	require.ErrorContains(t, err, "too short")
	assert.Equal(t, 2, exitCode(err))

	err = run(t.Context(), []string{"-nonsense"}, &out)
	require.Error(t, err)
	assert.Equal(t, 2, exitCode(err))

	err = run(t.Context(), []string{"-h"}, &out)
	require.ErrorIs(t, err, flag.ErrHelp)
	assert.Equal(t, 0, exitCode(err))
	for _, name := range []string{"-for", "-plain", "-seed", "at least 12s"} {
		assert.Contains(t, out.String(), name)
	}
}

func TestExitCodes(t *testing.T) {
	assert.Equal(t, 0, exitCode(nil))
	assert.Equal(t, 1, exitCode(fmt.Errorf("%w in some row", errBehind)))
	assert.Equal(t, 2, exitCode(errors.New("no port to listen on")))
}
