package breaker_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/breaker"
)

// fuzzRules are what a program starts with and switches between. All of them
// close a circuit again within fuzzBound, once the service is well.
func fuzzRules(n byte) breaker.Rules {
	rules := breaker.Rules{
		FailureMin: 4, SlowAfter: 500 * time.Millisecond, SlowMin: 4, OverloadMin: 4, Consecutive: 3,
		StalledAfter: 2 * time.Second, StalledMin: 3,
		OpenTime: time.Second, MaxOpenTime: 8 * time.Second, MaxRetryAfter: 4 * time.Second, HealAfter: 10 * time.Second,
		Probes: 1 + int(n%3), ProbeTimeout: time.Second, Ramp: 2 * time.Second,
	}
	if n&4 != 0 {
		rules.Ramp = breaker.Off
	}
	if n&8 != 0 {
		rules.FailureRate, rules.Consecutive = breaker.Off, breaker.Off
	}
	return rules
}

// fuzzBound is enough for probes that were lost to end (one ProbeTimeout, 1 s),
// the open time that follows (MaxOpenTime, 8 s), probes that succeed, and a ramp
// (2 s). What was lost before that opening cannot open the circuit a second time.
const fuzzBound = 15 * time.Second

// fuzzCall is a call that the model knows to be under way.
type fuzzCall struct {
	breaker.Call

	probeUntil time.Time // zero if it is no probe, or has headers
	period     time.Time // when the half-open state began that it probes
	changes    int       // of the state, before it began
}

// model is what must hold of a circuit whatever happens: it knows the calls and
// overrides of a program, and what a caller may rely on, but no rule.
type model struct {
	t        *testing.T
	b        *breaker.Breaker
	rules    breaker.Rules
	calls    []fuzzCall
	ended    []breaker.Call
	mode     breaker.Mode
	until    time.Time // zero is for ever
	changes  int       // of the state, but not from a ramp to closed: that goes on
	finished uint64
	rejected uint64
}

func newModel(t *testing.T, n byte) *model {
	t.Helper()
	m := &model{t: t, rules: fuzzRules(n)}
	m.b = breaker.MustNew(breaker.Config{Window: time.Second, Rules: m.rules, Observe: m.observe})
	time.Sleep(time.Duration(n) * 3 * time.Millisecond) // the circuit is younger than its Breaker
	return m
}

func (m *model) observe(_ context.Context, e breaker.Event) {
	if e.Kind == breaker.Changed && (e.From != breaker.Ramping || e.State != breaker.Closed) {
		m.changes++
	}
}

func (m *model) override() breaker.Mode {
	if !m.until.IsZero() && !time.Now().Before(m.until) {
		return breaker.Auto
	}
	return m.mode
}

// ask makes a call, and checks that it may pass, or may not.
func (m *model) ask() (fuzzCall, bool) {
	state := m.b.State(key)
	call, err := m.b.Allow(m.t.Context(), key)
	switch mode := m.override(); {
	case mode == breaker.Isolated:
		require.ErrorIs(m.t, err, breaker.ErrOpen, "isolated")
	case mode != breaker.Auto:
		require.NoError(m.t, err, "%v", mode)
	case state == breaker.Closed:
		require.NoError(m.t, err)
	case state == breaker.Open:
		require.ErrorIs(m.t, err, breaker.ErrOpen)
	}
	if err != nil {
		m.rejected++
		refusal, ok := errors.AsType[*breaker.OpenError](err)
		require.True(m.t, ok)
		require.GreaterOrEqual(m.t, refusal.After, time.Duration(0))
		return fuzzCall{}, false
	}
	made := fuzzCall{Call: call, changes: m.changes}
	if state == breaker.HalfOpen && m.override() == breaker.Auto {
		made.period, made.probeUntil = shot(m.t, m.b, key).Since, time.Now().Add(m.rules.ProbeTimeout)
	}
	m.calls = append(m.calls, made)
	if !made.probeUntil.IsZero() {
		m.checkProbes(made.period)
	}
	return made, true
}

// checkProbes counts the probes of a half-open time that wait for headers, when
// one more has passed.
func (m *model) checkProbes(period time.Time) {
	waiting := 0
	for _, call := range m.calls {
		if call.period.Equal(period) && time.Now().Before(call.probeUntil) {
			waiting++
		}
	}
	require.LessOrEqual(m.t, waiting, m.rules.Probes)
}

func (m *model) headers(n byte) {
	if len(m.calls) > 0 {
		call := &m.calls[int(n)%len(m.calls)]
		call.Headers()
		call.probeUntil = time.Time{}
	}
}

// hintedError is a failure that says when to come back.
type hintedError struct{ after time.Duration }

func (hintedError) Error() string               { return "busy" }
func (e hintedError) RetryAfter() time.Duration { return e.after }

func (m *model) end(n byte) {
	if len(m.calls) == 0 {
		return
	}
	call := m.take(int(n/8) % len(m.calls))
	switch n % 8 {
	case 0:
		call.Done(nil)
	case 1:
		call.Done(errDown)
	case 2:
		call.Done(hintedError{time.Duration(n) * 50 * time.Millisecond})
	default:
		call.DoneAs(breaker.Outcome(n%8 - 2))
	}
}

// take takes a call out of those under way, for its end.
func (m *model) take(i int) breaker.Call {
	call := m.calls[i].Call
	m.calls = slices.Delete(m.calls, i, i+1)
	m.finished++
	m.ended = append(m.ended, call)
	return call
}

// endAgain ends a call that has ended already, which changes nothing.
func (m *model) endAgain(n byte) {
	if len(m.ended) == 0 {
		return
	}
	before := m.b.Snapshot()
	call := m.ended[int(n)%len(m.ended)]
	call.Headers()
	call.DoneAs(breaker.Failure)
	require.Equal(m.t, before, m.b.Snapshot())
}

func (m *model) set(n byte) {
	m.mode, m.until = breaker.Mode(n%4), time.Time{}
	o := breaker.Override{Mode: m.mode}
	if n >= 16 && m.mode != breaker.Auto {
		o.TTL = time.Duration(n) * 20 * time.Millisecond
		m.until = time.Now().Add(o.TTL)
	}
	require.NoError(m.t, m.b.Set(key, o))
}

func (m *model) step(op, n byte) {
	switch op % 12 {
	case 0, 1, 2:
		m.ask()
	case 3, 4, 5:
		m.end(n)
	case 6:
		m.headers(n)
	case 7:
		time.Sleep(time.Duration(n) * 10 * time.Millisecond)
	case 8:
		m.endAgain(n)
	case 9:
		m.set(n)
	case 10:
		if n%2 == 0 {
			require.NoError(m.t, m.b.Trip(key))
		} else {
			require.NoError(m.t, m.b.Reset(key))
		}
	case 11:
		m.rules = fuzzRules(n)
		require.NoError(m.t, m.b.Reconfigure(m.rules))
	}
}

// check compares the circuit with the model.
func (m *model) check() {
	all := m.b.Snapshot()
	if len(all.Circuits) == 0 {
		return
	}
	require.Len(m.t, all.Circuits, 1)
	got := all.Circuits[0]
	require.Equal(m.t, len(m.calls), got.InFlight)
	c := got.Counts
	require.Equal(m.t, m.finished, c.Successes+c.Failures+c.Slow+c.Overload+c.Ignored)
	require.Equal(m.t, m.rejected, c.Rejected)
	require.Equal(m.t, m.override(), got.Override.Mode)
	require.GreaterOrEqual(m.t, got.Override.TTL, time.Duration(0))
	require.GreaterOrEqual(m.t, got.RetryAfter, time.Duration(0))
	require.LessOrEqual(m.t, got.RetryAfter, 8*time.Second)
	require.Equal(m.t, got.State != breaker.Closed, all.Open == 1)
	w := got.Window
	require.GreaterOrEqual(m.t, min(w.Successes, w.Failures, w.Slow, w.Overload, w.Consecutive), 0, "%+v", w)
	require.LessOrEqual(m.t, uint64(w.Successes+w.Failures+w.Slow+w.Overload), m.finished)
}

// recover makes the service well and keeps calling: the circuit must close, and
// stay so, whatever has happened and however many calls were lost.
func (m *model) recover() {
	m.set(byte(breaker.Auto))
	begun := time.Now()
	for time.Since(begun) < fuzzBound+10*time.Second {
		if made, ok := m.ask(); ok {
			m.calls = m.calls[:len(m.calls)-1]
			made.Headers()
			made.Done(nil)
			m.finished++
		}
		time.Sleep(50 * time.Millisecond)
		if time.Since(begun) > fuzzBound {
			require.Equal(m.t, breaker.Closed, m.b.State(key))
		}
	}
	m.check()
	m.comeBack()
}

// comeBack ends what was lost, which must leave the circuit closed. What began
// in an earlier state fails, as that does not count. What began in this one
// proves nothing: its success would be a slow one after so long, and by right
// open the circuit, should four fifths of the window's calls be such.
func (m *model) comeBack() {
	for len(m.calls) > 0 {
		late := breaker.Ignored
		if m.calls[0].changes < m.changes {
			late = breaker.Failure
		}
		m.take(0).DoneAs(late)
		require.Equal(m.t, breaker.Closed, m.b.State(key))
	}
	m.check()
}

// FuzzCircuit runs programs of calls, results, time and commands.
func FuzzCircuit(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte{0, 0, 0, 3, 1, 0, 0, 3, 1, 0, 0, 3, 1, 7, 200, 0, 0, 0, 0, 3, 0, 7, 100, 0, 0})
	f.Add([]byte{2, 10, 0, 7, 100, 0, 0, 0, 0, 0, 0, 0, 0, 6, 1, 0, 0, 7, 100, 7, 250, 0, 0, 3, 9})
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 7, 255, 0, 0, 3, 0, 9, 1, 0, 0, 9, 30, 0, 0, 7, 60, 0, 0})
	f.Add([]byte{4, 9, 3, 0, 0, 3, 1, 0, 0, 3, 2, 0, 0, 3, 1, 0, 0, 8, 0, 7, 99, 0, 0, 3, 0, 9, 0})
	f.Add([]byte{133, 0, 0, 3, 5, 7, 50, 0, 0, 3, 5, 7, 52, 7, 1, 11, 12, 10, 0, 10, 1, 0, 0})
	// A hundred calls that are lost: in the state in which the circuit stays.
	lost := append([]byte{0}, bytes.Repeat([]byte{0, 0}, 100)...)
	f.Add(lost)
	f.Add(append(slices.Clip(lost), 10, 0, 7, 100, 0, 0)) // before an opening, and a probe too
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) == 0 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			m := newModel(t, program[0])
			for step := program[1:min(len(program), 401)]; len(step) >= 2; step = step[2:] {
				m.step(step[0], step[1])
				m.check()
			}
			m.recover()
		})
	})
}
