package stale_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale"
)

// behavior is what a load does, and how long it takes.
type behavior byte

const (
	loadsWell behavior = iota
	loadsSlowly
	loadsFailing
	loadsFailingSlowly
	loadsRefused
	loadsGone
	loadsDegraded
	loadsUnfit
)

const behaviors = 8

func (b behavior) takes() time.Duration {
	if b == loadsSlowly || b == loadsFailingSlowly {
		return 700 * time.Millisecond
	}
	return 0
}

// loaderModel says what a Loader must do with one key, the slow and obvious way.
type loaderModel struct {
	cfg   stale.LoaderConfig[string, int64]
	does  behavior
	sick  bool
	loads *int64

	has, purged bool
	value       int64
	fresh       time.Time

	failures int
	failed   time.Time // the latest
	pause    time.Time

	flight *modelFlight
}

type modelFlight struct {
	does  behavior
	value int64
	begun time.Time
}

func (f *modelFlight) lands() time.Time { return f.begun.Add(f.does.takes()) }

func (m *loaderModel) within(now time.Time, window time.Duration) bool {
	return m.has && now.Before(m.fresh.Add(max(window, 0)))
}

func (m *loaderModel) begin(now time.Time) *modelFlight {
	*m.loads++
	m.flight = &modelFlight{m.does, *m.loads, now}
	return m.flight
}

// land applies what came of the flight, if it is over.
func (m *loaderModel) land(now time.Time) {
	f := m.flight
	if f == nil || f.lands().After(now) {
		return
	}
	m.flight = nil
	at := f.lands()
	usable := m.within(at, max(m.cfg.StaleWhileRevalidate, m.cfg.StaleIfError, m.cfg.StaleIfSick))
	switch f.does {
	case loadsWell, loadsSlowly:
		m.put(at, f.value)
	case loadsFailing, loadsFailingSlowly:
		m.failures++
		m.failed = at
		m.pause = at.Add(min(time.Second<<min(m.failures-1, 6), 30*time.Second))
	case loadsRefused, loadsDegraded:
		if usable && m.pause.Before(at.Add(time.Second)) {
			m.pause = at.Add(time.Second)
		}
	case loadsGone, loadsUnfit:
		m.forget()
	}
}

func (m *loaderModel) forget() { m.has, m.failures, m.pause = false, 0, time.Time{} }

func (m *loaderModel) put(now time.Time, value int64) {
	m.has, m.purged, m.value, m.fresh = true, false, value, now.Add(max(m.cfg.TTL, 0))
	m.failures, m.pause = 0, time.Time{}
}

func (m *loaderModel) purge(now time.Time, how stale.Purge) {
	m.flight = nil
	if how == stale.Hard || !m.has {
		m.forget()
		return
	}
	m.purged, m.failures, m.pause = true, 0, time.Time{}
	if m.fresh.After(now) {
		m.fresh = now
	}
}

// expectation is what a Get must do.
type expectation struct {
	value int64
	err   error
	at    time.Time // when it returns
}

var (
	errRemembered = errors.New("a remembered error")
	errNoRow      = errors.New("no such row")
)

// get says what a Get must do. Where chance decides whether an error is still
// remembered, the caller tells what it has decided.
func (m *loaderModel) get(now time.Time, elected, remembered bool) expectation {
	m.land(now)
	old := expectation{value: m.value, at: now}
	atOnce := m.within(now, m.cfg.StaleWhileRevalidate) || m.sick && m.within(now, m.cfg.StaleIfSick)
	fallback := m.within(now, m.cfg.StaleIfError)
	switch {
	case m.within(now, 0) && !m.purged:
		return old
	case atOnce && !m.purged:
		if m.flight == nil && !now.Before(m.pause) {
			m.begin(now)
			m.land(now)
		}
		return old
	case fallback && now.Before(m.pause):
		return old
	case !fallback && m.failures >= 2 && m.cfg.FailureTTL > 0 && now.Before(m.failed.Add(m.cfg.FailureTTL*3/4)):
		return expectation{err: errRemembered, at: now}
	case !fallback && m.failures >= 2 && now.Before(m.failed.Add(m.cfg.FailureTTL*5/4)) && remembered:
		return expectation{err: errRemembered, at: now}
	}
	f, leads := m.flight, false
	if f == nil {
		f, leads = m.begin(now), true
	}
	if late := f.begun.Add(m.cfg.StaleAfter); m.cfg.StaleAfter != stale.Off && f.lands().After(late) {
		if late.Before(now) {
			late = now
		}
		if !m.purged && fallback && m.within(late, m.cfg.StaleIfError) {
			return expectation{value: m.value, at: late}
		}
	}
	return m.share(f, leads, elected)
}

// share says what comes of waiting for a flight to the end.
func (m *loaderModel) share(f *modelFlight, leads, elected bool) expectation {
	at := f.lands()
	m.land(at)
	old, hasOld := expectation{value: m.value, at: at}, m.within(at, m.cfg.StaleIfError)
	switch f.does {
	case loadsWell, loadsSlowly, loadsUnfit:
		return expectation{value: f.value, at: at}
	case loadsGone:
		return expectation{err: errNoRow, at: at}
	case loadsDegraded:
		if hasOld && !leads {
			return old
		}
		return expectation{value: f.value, at: at}
	case loadsFailing, loadsFailingSlowly, loadsRefused:
	}
	if hasOld {
		return old
	}
	if !leads && !elected {
		return m.get(at, true, false)
	}
	if f.does == loadsRefused {
		return expectation{err: refusal{}, at: at}
	}
	return expectation{err: errLoad, at: at}
}

// program is a Loader, its model for each of two keys, and the bytes that say what to
// do with them.
type program struct {
	t      *testing.T
	code   []byte
	loader *stale.Loader[string, int64]
	models map[string]*loaderModel
	loads  int64 // by the models
	calls  int64 // in fact
}

func (p *program) next() byte {
	if len(p.code) == 0 {
		return 0
	}
	b := p.code[0]
	p.code = p.code[1:]
	return b
}

func (p *program) load(ctx context.Context, key string) (int64, error) {
	p.calls++
	n, does := p.calls, p.models[key].does
	if err := nap(ctx, does.takes()); err != nil {
		return 0, err
	}
	switch does {
	case loadsFailing, loadsFailingSlowly:
		return 0, errLoad
	case loadsRefused:
		return 0, refusal{}
	case loadsGone:
		return 0, errNoRow
	case loadsDegraded:
		stale.MarkDegraded(ctx)
	case loadsUnfit:
		n = -n // what Storable goes by
	case loadsWell, loadsSlowly:
	}
	return n, nil
}

func newProgram(t *testing.T, code []byte) *program {
	p := &program{t: t, code: code, models: make(map[string]*loaderModel)}
	window := func(windows ...time.Duration) time.Duration { return windows[int(p.next())%len(windows)] }
	cfg := stale.LoaderConfig[string, int64]{
		Load: p.load, EarlyRefresh: stale.Off,
		MaxRefreshes:         400, // more than a program can begin: the model knows of no bound
		TTL:                  window(time.Second, 10*time.Second, stale.Off),
		StaleWhileRevalidate: window(stale.Off, 3*time.Second, time.Minute),
		StaleIfError:         window(20*time.Second, time.Second, stale.Off),
		StaleIfSick:          window(5*time.Second, time.Hour, stale.Off),
		StaleAfter:           window(200*time.Millisecond, stale.Off),
		FailureTTL:           window(2*time.Second, 20*time.Second, stale.Off),
		Healthy:              func() bool { return !p.models["a"].sick },
		Storable:             func(n int64) bool { return n > 0 },
		JudgeError: func(err error) stale.LoadOutcome {
			if errors.Is(err, errNoRow) {
				return stale.LoadGone
			}
			return stale.LoadByRule
		},
	}
	p.loader = stale.MustNewLoader(cfg)
	for _, key := range []string{"a", "b"} {
		p.models[key] = &loaderModel{cfg: cfg, loads: &p.loads}
	}
	return p
}

func (p *program) step() (what string) {
	op, with := p.next(), p.next()
	key := []string{"a", "b"}[with%2]
	m, ctx, now := p.models[key], p.t.Context(), time.Now()
	with /= 2
	switch op % 10 {
	case 0, 1, 2, 3:
		return "get " + key + p.get(key)
	case 4:
		time.Sleep(time.Duration(with) * 50 * time.Millisecond)
		return "wait"
	case 5:
		time.Sleep(time.Duration(with) * time.Second)
		return "wait long"
	case 6, 7:
		m.does = behavior(with) % behaviors
		return fmt.Sprint(key, " does ", m.does)
	case 8:
		p.models["a"].sick = with%2 == 0
		p.models["b"].sick = with%2 == 0
		return "sick or not"
	}
	how := stale.Purge(with % 2)
	switch with / 2 % 3 {
	case 0:
		p.loader.Purge(ctx, key, how)
		m.land(now)
		m.purge(now, how)
	case 1:
		p.loader.PurgeAll(ctx, how)
		for _, m := range p.models {
			m.land(now)
			m.purge(now, how)
		}
	case 2:
		p.loader.Put(ctx, key, 1000+int64(with))
		m.flight = nil
		m.put(now, 1000+int64(with))
	}
	return fmt.Sprint("purge or put ", key, with)
}

func (p *program) get(key string) string {
	begun := time.Now()
	value, err := p.loader.Get(p.t.Context(), key)
	took := time.Since(begun)
	if value < 0 {
		value = -value
	}
	var remembered *stale.LoadError
	want := p.models[key].get(begun, false, errors.As(err, &remembered) && took == 0)
	got := fmt.Sprint(value, err, took)
	switch {
	case errors.Is(want.err, errRemembered):
		require.NotNil(p.t, remembered, got)
		require.ErrorIs(p.t, err, errLoad)
	case want.err != nil:
		require.Nil(p.t, remembered, got)
		require.ErrorIs(p.t, err, want.err, got)
	default:
		require.NoError(p.t, err)
		require.Equal(p.t, want.value, value, got)
	}
	require.Equal(p.t, want.at.Sub(begun), took, got)
	return fmt.Sprint(" is ", got)
}

// check compares what can be seen between two steps.
func (p *program) check() {
	synctest.Wait()
	require.Equal(p.t, p.loads, p.calls, "loads")
	for key, m := range p.models {
		m.land(time.Now())
		_, ok := p.loader.Peek(key)
		want := m.within(time.Now(), m.cfg.StaleIfError) ||
			!m.purged && m.within(time.Now(), m.cfg.StaleWhileRevalidate) ||
			!m.purged && p.models["a"].sick && m.within(time.Now(), m.cfg.StaleIfSick)
		require.Equal(p.t, want, ok, "Peek "+key)
	}
}

// FuzzLoader runs random programs on a Loader and on a model of it.
func FuzzLoader(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x00\x00" + "\x00\x00\x05\x02\x06\x04\x00\x00\x00\x00\x09\x00\x00\x00"))
	f.Add([]byte("\x00\x01\x00\x00\x00\x00" + "\x00\x00\x04\x30\x06\x02\x00\x00\x00\x00\x04\x10\x00\x00\x08\x00\x00\x00"))
	f.Add([]byte("\x01\x00\x00\x01\x00\x01" + "\x06\x06\x00\x00\x06\x0a\x00\x00\x05\x10\x00\x00\x09\x02\x00\x00"))
	// Each Put cuts off the refresh of the Get before it, which goes on.
	f.Add([]byte("\x02\x01\x00\x00\x00\x00" + "\x06\x02" + strings.Repeat("\x09\x08\x00\x00", 98)))
	f.Fuzz(func(t *testing.T, code []byte) {
		if len(code) <= 400 {
			synctest.Test(t, func(t *testing.T) { runProgram(t, code) })
		}
	})
}

// TestLoaderIsAsItsModel is FuzzLoader for those who do not fuzz: programs that are
// long enough, and the same each time.
func TestLoaderIsAsItsModel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		code := make([]byte, 300)
		for i := range code {
			code[i] = byte(random.UintN(256))
		}
		synctest.Test(t, func(t *testing.T) { runProgram(t, code) })
		if t.Failed() {
			return
		}
	}
}

func runProgram(t *testing.T, code []byte) {
	p := newProgram(t, code)
	var story []string
	defer func() {
		if t.Failed() {
			t.Log(strings.Join(story, "\n"))
		}
	}()
	for len(p.code) > 0 {
		story = append(story, p.step())
		p.check()
	}
	assert.NoError(t, p.loader.Close(t.Context()))
}
