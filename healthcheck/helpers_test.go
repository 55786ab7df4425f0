package healthcheck_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
)

// name is the check of tests that need one only.
const name = "db"

var errDown = errors.New("connection to db-7.internal refused")

// bubble runs test in virtual time.
func bubble(t *testing.T, title string, test func(t *testing.T)) {
	t.Helper()
	t.Run(title, func(t *testing.T) { synctest.Test(t, test) })
}

// begin returns a Checker of these checks that is started, and closed when the
// test ends.
func begin(t *testing.T, cfg healthcheck.Config, checks map[string]healthcheck.Check) *healthcheck.Checker {
	t.Helper()
	c, err := healthcheck.New(cfg)
	require.NoError(t, err)
	for of, check := range checks {
		require.NoError(t, c.Add(of, check))
	}
	start(t, c)
	return c
}

// start starts a Checker, and closes it when the test ends unless that was done.
func start(t *testing.T, c *healthcheck.Checker) {
	t.Helper()
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		if err := c.Close(context.Background()); !errors.Is(err, healthcheck.ErrClosed) {
			assert.NoError(t, err)
		}
	})
}

// single is begin with one check, called name.
func single(t *testing.T, check healthcheck.Check) *healthcheck.Checker {
	t.Helper()
	return begin(t, healthcheck.Config{}, map[string]healthcheck.Check{name: check})
}

// shot returns the snapshot of a check.
func shot(t *testing.T, c *healthcheck.Checker, of string) healthcheck.CheckSnapshot {
	t.Helper()
	all := c.Snapshot().Checks
	i := slices.IndexFunc(all, func(s healthcheck.CheckSnapshot) bool { return s.Name == of })
	require.GreaterOrEqual(t, i, 0, "no check %q", of)
	return all[i]
}

// is asserts the status of a check or a group, by its word: that is readable.
func is(t *testing.T, c *healthcheck.Checker, of string, want healthcheck.Status, msg ...any) {
	t.Helper()
	assert.Equal(t, want.String(), c.Status(of).String(), msg...)
}

// ask sends a GET of the target to a handler; header is a list of names and values.
func ask(t *testing.T, h http.Handler, target string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// expired returns a context that has ended.
func expired(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// everybody authorizes every request.
func everybody(*http.Request) bool { return true }

// passing is a probe that passes at once.
func passing(context.Context) healthcheck.Result { return healthcheck.Result{} }

// failing is a probe that fails at once.
func failing(context.Context) healthcheck.Result { return healthcheck.Result{Err: errDown} }

// fake is a dependency under control: its probe returns what was set last, nil at
// first.
type fake struct {
	mu     sync.Mutex
	res    healthcheck.Result
	takes  time.Duration // how long a probe takes; it heeds its context
	stall  chan struct{} // probes ignore their context and hang until it is closed
	starts []time.Time
	ends   []time.Time
	inside int // probes that are running now
	most   int // and at once, ever
}

func (f *fake) probe(ctx context.Context) healthcheck.Result {
	f.mu.Lock()
	f.starts = append(f.starts, time.Now())
	f.inside++
	f.most = max(f.most, f.inside)
	stall, takes := f.stall, f.takes
	f.mu.Unlock()
	defer f.leave()
	if stall != nil {
		<-stall
	}
	if takes > 0 {
		timer := time.NewTimer(takes)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return healthcheck.Result{Err: context.Cause(ctx)}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.res
}

func (f *fake) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ends = append(f.ends, time.Now())
	f.inside--
}

// find sets what probes find from now on.
func (f *fake) find(res healthcheck.Result) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.res = res
}

// fail sets the error that probes find from now on; nil is none.
func (f *fake) fail(err error) { f.find(healthcheck.Result{Err: err}) }

// slow sets how long probes take from now on.
func (f *fake) slow(takes time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.takes = takes
}

// hang makes probes hang, from now on and until release is called, which happens
// when the test ends at the latest. A test that calls it before begin must release
// by itself: Close, which begin leaves to the end, waits for probes.
func (f *fake) hang(t *testing.T) (release func()) {
	t.Helper()
	stall := make(chan struct{})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stall = stall
	release = sync.OnceFunc(func() {
		f.mu.Lock()
		f.stall = nil
		f.mu.Unlock()
		close(stall)
	})
	t.Cleanup(release)
	return release
}

// count returns how many probes were started.
func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.starts)
}

// atOnce returns how many probes are running, and how many ever ran at once.
func (f *fake) atOnce() (now, most int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.inside, f.most
}

// pauses returns the times between the end of a probe and the start of the next.
func (f *fake) pauses() (all []time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range len(f.starts) - 1 {
		all = append(all, f.starts[i+1].Sub(f.ends[i]))
	}
	return all
}

// log keeps events, and can be read while others write.
type log struct {
	mu     sync.Mutex
	events []healthcheck.Event
}

func (l *log) observe(_ context.Context, e healthcheck.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

// of returns the events of these kinds, or all if none is given.
func (l *log) of(kinds ...healthcheck.Kind) (found []healthcheck.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if len(kinds) == 0 || slices.Contains(kinds, e.Kind) {
			found = append(found, e)
		}
	}
	return found
}
