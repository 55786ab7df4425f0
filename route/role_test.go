package route_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/internal/outcome"
	"github.com/failsoft/failsoft/route"
)

const dbURL = "http://db/rows"

var dbSecret = []byte("0123456789abcdef0123456789abcdef")

// Hosts are named after their roles: p are primaries, r replicas and a any.
func roleHosts(names ...string) (hosts []route.Host) {
	roles := map[byte]route.Role{'p': route.Primary, 'r': route.Replica, 'a': route.Any}
	for _, name := range names {
		hosts = append(hosts, route.Host{Addr: name, Role: roles[name[0]]})
	}
	return hosts
}

// database is the hosts of a store behind a Pool.
type database struct {
	*route.Pool

	http.RoundTripper

	mu    sync.Mutex
	down  map[string]bool     // does not answer
	says  map[string]string   // in X-Health
	asked []string            // which hosts, in order
	lag   map[string]position // of what is known something
	event []route.Event
	hold  chan struct{} // replicas answer when it is closed
}

// position is how far a replica is.
type position struct {
	lag time.Duration
	at  string
}

var errGone = errors.New("connection refused")

func newDatabase(t *testing.T, cfg route.Config, hosts ...string) *database {
	t.Helper()
	d := &database{down: make(map[string]bool), says: make(map[string]string), lag: make(map[string]position)}
	cfg.Names, cfg.Hosts = []string{"db"}, roleHosts(hosts...)
	cfg.Observe = func(_ context.Context, e route.Event) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.event = append(d.event, e)
	}
	pool, err := route.New(cfg)
	require.NoError(t, err)
	d.Pool = pool
	d.RoundTripper = pool.Transport(roundTripper(d.answer))
	return d
}

func (d *database) answer(req *http.Request) (*http.Response, error) {
	d.mu.Lock()
	d.asked = append(d.asked, req.URL.Host)
	hold := d.hold
	d.mu.Unlock()
	if hold != nil && req.URL.Host[0] == 'r' {
		<-hold
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down[req.URL.Host] {
		return nil, errGone
	}
	header := http.Header{}
	if said := d.says[req.URL.Host]; said != "" {
		header.Set("X-Health", said)
	}
	return &http.Response{StatusCode: http.StatusOK, Header: header, Body: http.NoBody, Request: req}, nil
}

// lagging is a Config.Lag that says what the test has set.
func (d *database) lagging(addr string) (lag time.Duration, at string, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, known := d.lag[addr]
	return p.lag, p.at, known
}

// send sends requests, and returns the hosts that answered, each once, in order.
func (d *database) send(ctx context.Context, t *testing.T, method string, times int) (hosts []string) {
	t.Helper()
	for range times {
		resp, err := d.once(ctx, t, method)
		require.NoError(t, err)
		hosts = append(hosts, resp.Request.URL.Host)
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

func (d *database) once(ctx context.Context, t *testing.T, method string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, dbURL, http.NoBody)
	require.NoError(t, err)
	resp, err := d.RoundTrip(req)
	if err == nil {
		require.NoError(t, resp.Body.Close())
	}
	return resp, err
}

// fail makes a host fail until it is ejected, or has had its chances. Attempts go to no
// other host that may serve them.
func (d *database) fail(t *testing.T, name string) {
	t.Helper()
	d.mu.Lock()
	d.down[name] = true
	d.mu.Unlock()
	for range 10 {
		others := &attempt.Hosts{}
		for _, host := range d.Snapshot().Hosts {
			if host.Addr != name {
				others.Add(host.Addr)
			}
		}
		method := http.MethodGet
		if name[0] == 'p' {
			method = http.MethodPost
		}
		_, err := d.once(attempt.WithRetry(t.Context(), 2, others), t, method)
		require.ErrorIs(t, err, errGone)
		if d.health(name) != "well" {
			return
		}
	}
}

func (d *database) health(name string) string {
	for _, host := range d.Snapshot().Hosts {
		if host.Addr == name {
			return host.Health
		}
	}
	return "unknown"
}

// kinds returns how many events there were of a kind.
func (d *database) kinds(kind route.Kind) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.event {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// inSession returns the context of a request that a Handler of Writes serves.
func inSession(t *testing.T, store string) context.Context {
	t.Helper()
	w := route.MustNewWrites(route.WritesConfig{Store: store, Secrets: [][]byte{dbSecret}})
	var ctx context.Context
	w.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { ctx = r.Context() })).
		ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody))
	return ctx
}

// dirty returns the context of a session that has written, up to a position if there
// is one.
func dirty(t *testing.T, at string) context.Context {
	t.Helper()
	ctx := inSession(t, "")
	route.MarkPosition(ctx, "", at)
	return ctx
}

func TestRequirement7WhoServesWhat(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		hosts                []string
		write, read, reading []string // write, read, and read of a session that has written
	}{
		{"primary and replicas", []string{"p", "r1", "r2"}, []string{"p"}, []string{"r1", "r2"}, []string{"p"}},
		{"two primaries", []string{"p1", "p2", "r"}, []string{"p1", "p2"}, []string{"r"}, []string{"p1", "p2"}},
		{"no replicas", []string{"p"}, []string{"p"}, []string{"p"}, []string{"p"}},
		{"no roles", []string{"a1", "a2"}, []string{"a1", "a2"}, []string{"a1", "a2"}, []string{"a1", "a2"}},
		{
			"hosts for everything beside",
			[]string{"a", "p", "r"},
			[]string{"a", "p"},
			[]string{"a", "r"},
			[]string{"a", "p"},
		},
		{"everything and replicas", []string{"a", "r"}, []string{"a"}, []string{"a", "r"}, []string{"a"}},
	} {
		bubble(t, tt.name, func(t *testing.T) { // all of them are equally fast
			d := newDatabase(t, route.Config{}, tt.hosts...)
			for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "PURGE"} {
				assert.Equal(t, tt.write, d.send(t.Context(), t, method, 60), method)
			}
			for _, method := range []string{"GET", "HEAD", "OPTIONS", "TRACE"} {
				assert.Equal(t, tt.read, d.send(t.Context(), t, method, 60), method)
				assert.Equal(t, tt.reading, d.send(dirty(t, ""), t, method, 60), method)
			}
			assert.Equal(t, tt.read, d.send(inSession(t, ""), t, "GET", 60), "a session that has not written")
		})
	}
}

func TestRequirement7AnotherStore(t *testing.T) {
	d := newDatabase(t, route.Config{Store: "orders"}, "p", "r")
	other, same := inSession(t, "users"), inSession(t, "orders")
	route.MarkDirty(other)
	route.MarkDirty(same)
	assert.Equal(t, []string{"r"}, d.send(other, t, "GET", 20))
	assert.Equal(t, []string{"p"}, d.send(same, t, "GET", 20))
}

func TestRequirement7Lag(t *testing.T) { bubble(t, "lag", testLag) }

func testLag(t *testing.T) {
	cfg := route.Config{MaxLag: 3 * time.Second}
	var d *database
	cfg.Lag = func(addr string) (time.Duration, string, bool) { return d.lagging(addr) }
	d = newDatabase(t, cfg, "p", "r1", "r2")

	assert.Equal(t, []string{"p"}, d.send(t.Context(), t, "GET", 30), "nothing is known")
	d.lag["r1"] = position{lag: 3 * time.Second}
	assert.Equal(t, []string{"r1"}, d.send(t.Context(), t, "GET", 30), "one is known to lag by no more than it may")
	d.lag["r1"] = position{lag: 3*time.Second + 1}
	assert.Equal(t, []string{"p"}, d.send(t.Context(), t, "GET", 30), "it lags by more")
	d.lag["r2"] = position{}
	assert.Equal(t, []string{"r2"}, d.send(t.Context(), t, "GET", 30), "another does not")
	d.lag["r1"] = position{}
	assert.Equal(t, []string{"r1", "r2"}, d.send(t.Context(), t, "GET", 60), "none does")
	assert.Zero(t, d.kinds(route.ReadStale))

	cfg.Lag = func(addr string) (time.Duration, string, bool) {
		assert.Equal(t, "r1", addr, "nobody else is a replica")
		return 0, "", false
	}
	d = newDatabase(t, cfg, "p", "a", "r1")
	assert.Equal(t, []string{"a"}, d.send(t.Context(), t, "GET", 30), "who has everything does not lag")
}

func TestRequirement7Position(t *testing.T) {
	var d *database
	cfg := route.Config{Lag: func(addr string) (time.Duration, string, bool) { return d.lagging(addr) }}
	d = newDatabase(t, cfg, "p", "r1", "r2")
	wrote := dirty(t, "1000")

	d.lag["r1"], d.lag["r2"] = position{at: "999"}, position{at: "999"}
	assert.Equal(t, []string{"p"}, d.send(wrote, t, "GET", 30), "none has reached it")
	d.lag["r1"] = position{at: "1000"}
	assert.Equal(t, []string{"r1"}, d.send(wrote, t, "GET", 30), "one has: compared as numbers, not as text")
	assert.Equal(t, []string{"p"}, d.send(dirty(t, ""), t, "GET", 30), "who knows no position waits for the end of the pin")
	d.lag["r1"] = position{at: "1000", lag: time.Hour}
	assert.Equal(t, []string{"p"}, d.send(wrote, t, "GET", 30), "who lags too far serves nobody, whatever was reached")
	for _, at := range []string{"", "x", "-5", "99999999999999999999999"} {
		d.lag["r1"] = position{at: at}
		assert.Equal(t, []string{"p"}, d.send(wrote, t, "GET", 30), "%q is no position", at)
	}
	d.lag["r1"] = position{at: "18446744073709551615"}
	assert.Equal(t, []string{"p"}, d.send(dirty(t, "0/16B3748"), t, "GET", 30), "what is written by another rule is not reached")
	assert.Equal(t, []string{"p"}, d.send(wrote, t, "POST", 30), "writes go to the primary all the same")
}

func TestRequirement7Reached(t *testing.T) {
	var d *database
	cfg := route.Config{
		Lag:     func(addr string) (time.Duration, string, bool) { return d.lagging(addr) },
		Reached: func(have, want string) bool { return len(have) >= len(want) },
	}
	d = newDatabase(t, cfg, "p", "r")
	d.lag["r"] = position{at: "ab"}
	assert.Equal(t, []string{"r"}, d.send(dirty(t, "xy"), t, "GET", 20))
	assert.Equal(t, []string{"p"}, d.send(dirty(t, "xyz"), t, "GET", 20))
}

func TestRequirement7FuncsThatPanic(t *testing.T) {
	boom := func(string) (time.Duration, string, bool) { panic("boom") }
	d := newDatabase(t, route.Config{Lag: boom}, "p", "r")
	assert.Equal(t, []string{"p"}, d.send(t.Context(), t, "GET", 20), "nothing is known of a replica")

	d = newDatabase(t, route.Config{
		Lag:     func(string) (time.Duration, string, bool) { return 0, "7", true },
		Reached: func(string, string) bool { panic("boom") },
	}, "p", "r")
	assert.Equal(t, []string{"r"}, d.send(t.Context(), t, "GET", 20))
	assert.Equal(t, []string{"p"}, d.send(dirty(t, "7"), t, "GET", 20), "it is not known to be reached")
}

// drained makes a host say that it drains, as the answer to a write or a read.
func (d *database) drained(t *testing.T, name, method string) {
	t.Helper()
	d.mu.Lock()
	d.says[name] = "drain"
	d.mu.Unlock()
	for d.health(name) == "well" {
		_, err := d.once(t.Context(), t, method)
		require.NoError(t, err)
	}
}

func TestRequirement7NoPrimary(t *testing.T) {
	// A replica is all that there is: the primary is not among the hosts any more.
	t.Run("a stale read", func(t *testing.T) {
		d := newDatabase(t, route.Config{}, "r")
		resp, err := d.once(t.Context(), t, "GET")
		require.NoError(t, err)
		assert.Empty(t, resp.Header.Get("Stale-Read"), "who has not written reads nothing stale")
		assert.Zero(t, d.kinds(route.ReadStale))

		resp, err = d.once(dirty(t, ""), t, "GET")
		require.NoError(t, err)
		assert.Equal(t, "no-primary", resp.Header.Get("Stale-Read"))
		assert.Equal(t, 1, d.kinds(route.ReadStale))
	})
	t.Run("refused", func(t *testing.T) {
		d := newDatabase(t, route.Config{NoPrimary: route.Refuse}, "r")
		assert.Equal(t, []string{"r"}, d.send(t.Context(), t, "GET", 5))
		_, err := d.once(dirty(t, ""), t, "GET")
		require.ErrorIs(t, err, route.ErrNoPrimary)
		assert.Zero(t, d.kinds(route.ReadStale))
	})
	t.Run("reached", func(t *testing.T) {
		lag := func(string) (time.Duration, string, bool) { return 0, "7", true }
		d := newDatabase(t, route.Config{NoPrimary: route.Refuse, Lag: lag}, "r")
		assert.Equal(t, []string{"r"}, d.send(dirty(t, "7"), t, "GET", 5), "it is not stale, so nothing is refused")
		resp, err := d.once(dirty(t, "7"), t, "GET")
		require.NoError(t, err)
		assert.Empty(t, resp.Header.Get("Stale-Read"))
	})
	t.Run("lagging", func(t *testing.T) {
		lag := func(string) (time.Duration, string, bool) { return time.Hour, "", true }
		d := newDatabase(t, route.Config{Lag: lag}, "r")
		resp, err := d.once(t.Context(), t, "GET")
		require.NoError(t, err)
		assert.Equal(t, "no-primary", resp.Header.Get("Stale-Read"), "too old for anybody")

		d = newDatabase(t, route.Config{Lag: lag, NoPrimary: route.Refuse}, "r")
		_, err = d.once(t.Context(), t, "GET")
		require.ErrorIs(t, err, route.ErrNoPrimary)
	})
	for _, policy := range []route.NoPrimary{route.ReadReplica, route.Refuse} {
		t.Run(fmt.Sprintf("a write, by policy %d", policy), func(t *testing.T) {
			d := newDatabase(t, route.Config{NoPrimary: policy}, "r")
			_, err := d.once(t.Context(), t, "POST")
			require.ErrorIs(t, err, route.ErrNoPrimary)
			assert.Empty(t, d.asked, "no replica is asked to write")
			assert.Equal(t, outcome.Refused, outcome.OfError(t.Context(), err))
			wait, ok := outcome.Hint(err)
			assert.True(t, ok)
			assert.Equal(t, time.Second, wait)
		})
	}
}

// A primary that is ejected or found ill is no primary, as long as a replica is well.
func TestRequirement7PrimaryEjected(t *testing.T) {
	for _, policy := range []route.NoPrimary{route.ReadReplica, route.Refuse} {
		bubble(t, fmt.Sprintf("policy %d", policy), func(t *testing.T) {
			d := newDatabase(t, route.Config{NoPrimary: policy}, "p1", "p2", "r1", "r2")
			d.fail(t, "p1")
			d.fail(t, "p2") // which is not ejected: it is the last one
			assert.ElementsMatch(t, []string{"ejected", "well"}, []string{d.health("p1"), d.health("p2")})
			_, err := d.once(dirty(t, ""), t, "GET")
			require.ErrorIs(t, err, errGone, "one primary is left to be asked")
			assert.Equal(t, []string{"r1", "r2"}, d.send(t.Context(), t, "GET", 40))
		})
	}
}

func TestRequirement7PrimaryDrains(t *testing.T) {
	for _, policy := range []route.NoPrimary{route.ReadReplica, route.Refuse} {
		bubble(t, fmt.Sprintf("policy %d", policy), func(t *testing.T) {
			d := newDatabase(t, route.Config{NoPrimary: policy}, "p", "r")
			d.drained(t, "p", "POST")
			assert.Equal(t, []string{"r"}, d.send(t.Context(), t, "GET", 20))
			assert.Equal(t, []string{"p"}, d.send(t.Context(), t, "POST", 20), "nobody else can write")
			assert.Equal(t, []string{"p"}, d.send(dirty(t, ""), t, "GET", 20), "it still answers")

			hosts := &attempt.Hosts{} // a second attempt, after the primary has not answered the first
			hosts.Add("p")
			second := attempt.WithRetry(dirty(t, ""), 2, hosts)
			resp, err := d.once(second, t, "GET")
			if policy == route.Refuse {
				require.ErrorIs(t, err, route.ErrNoPrimary)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, "r", resp.Request.URL.Host)
			assert.Equal(t, "no-primary", resp.Header.Get("Stale-Read"))
		})
	}
}

// Requirement 6 where there are roles: a read whose replicas have all been tried goes
// to the primary, and then to who was tried longest ago.
func TestRequirement6TriedHostsOfARole(t *testing.T) {
	next := func(d *database, ctx context.Context, method string, n int, hosts *attempt.Hosts) string {
		resp, err := d.once(attempt.WithRetry(ctx, n, hosts), t, method)
		require.NoError(t, err)
		return resp.Request.URL.Host
	}
	for range 10 { // what is drawn at random is the order of the replicas only
		d := newDatabase(t, route.Config{}, "p", "r1", "r2")
		hosts := &attempt.Hosts{}
		var order []string
		for n := range 6 {
			order = append(order, next(d, t.Context(), "GET", n+2, hosts))
		}
		assert.ElementsMatch(t, []string{"r1", "r2"}, order[:2])
		assert.Equal(t, "p", order[2])
		assert.Equal(t, order[:3], order[3:], "the one that was tried longest ago")

		hosts, order = &attempt.Hosts{}, nil
		for n := range 3 {
			order = append(order, next(d, t.Context(), "POST", n+2, hosts))
		}
		assert.Equal(t, []string{"p", "p", "p"}, order, "no replica is asked to write")

		hosts, order = &attempt.Hosts{}, nil
		wrote := dirty(t, "")
		for n := range 3 {
			order = append(order, next(d, wrote, "GET", n+2, hosts))
		}
		assert.Equal(t, []string{"p", "p", "p"}, order, "nor to show what it may not have")
	}
}

// Replicas of which less than half are usable still serve: the primary is not there to
// carry what they did, while there is any.
func TestRequirement7ReplicasInPanic(t *testing.T) {
	bubble(t, "panic", func(t *testing.T) {
		d := newDatabase(t, route.Config{MaxEjected: 1}, "p", "r1", "r2", "r3")
		for _, name := range []string{"r1", "r2"} {
			d.mu.Lock()
			d.says[name] = "drain"
			d.mu.Unlock()
		}
		for range 40 {
			_, err := d.once(t.Context(), t, "GET")
			require.NoError(t, err)
		}
		assert.Equal(t, []string{"r3"}, d.send(t.Context(), t, "GET", 30), "who drains is not part of a panic")

		d = newDatabase(t, route.Config{MaxEjected: 1}, "p", "r1", "r2", "r3")
		d.fail(t, "r1")
		d.fail(t, "r2")
		assert.Equal(t, "ejected", d.health("r1"))
		assert.Equal(t, "ejected", d.health("r2"))
		d.mu.Lock()
		clear(d.down)
		d.mu.Unlock()
		time.Sleep(3 * time.Second)               // still ejected
		got := d.send(t.Context(), t, "GET", 200) // how often each is asked depends on what is known of it
		assert.Greater(t, len(got), 1)
		assert.Subset(t, []string{"r1", "r2", "r3"}, got)
		assert.Equal(t, []string{"p"}, d.send(dirty(t, ""), t, "GET", 20))
	})
}

// The only replica is ejected when it fails: the primary reads as well.
func TestRequirement7OnlyReplicaFails(t *testing.T) {
	bubble(t, "ejected", func(t *testing.T) {
		d := newDatabase(t, route.Config{}, "p", "r")
		d.fail(t, "r")
		assert.Equal(t, "ejected", d.health("r"))
		assert.Equal(t, []string{"p"}, d.send(t.Context(), t, "GET", 20))
		assert.Equal(t, []string{"p"}, d.send(t.Context(), t, "POST", 20))
	})
}

// When it is back, one request at a time finds out, and the primary serves the others.
func TestRequirement7OnlyReplicaOnProbation(t *testing.T) {
	bubble(t, "one at a time", func(t *testing.T) {
		d := newDatabase(t, route.Config{}, "p", "r")
		d.fail(t, "r")
		time.Sleep(10 * time.Second)
		d.mu.Lock()
		d.hold, d.down["r"] = make(chan struct{}), false
		d.mu.Unlock()
		found := make(chan *http.Response, 1)
		go func() {
			resp, _ := d.RoundTrip(httptest.NewRequestWithContext(t.Context(), http.MethodGet, dbURL, http.NoBody))
			found <- resp
		}()
		synctest.Wait()
		assert.Equal(t, "probation", d.health("r"))
		assert.Equal(t, []string{"p"}, d.send(t.Context(), t, "GET", 20))
		close(d.hold)
		resp := <-found
		require.NotNil(t, resp)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, "r", resp.Request.URL.Host)
		assert.Equal(t, []string{"r"}, d.send(t.Context(), t, "GET", 20))
	})
}

// A primary is not ejected for want of another one that can write.
func TestPitfall08LastPrimary(t *testing.T) {
	bubble(t, "never", func(t *testing.T) {
		d := newDatabase(t, route.Config{}, "p", "r1", "r2")
		d.fail(t, "p")
		assert.Equal(t, "well", d.health("p"))
	})
}

func TestRequirement7ErrorOfTheClient(t *testing.T) {
	d := newDatabase(t, route.Config{}, "r")
	client := &http.Client{Transport: d}
	_, err := client.Post(dbURL, "text/plain", strings.NewReader("x"))
	require.ErrorIs(t, err, route.ErrNoPrimary)
	assert.Contains(t, err.Error(), `route: "db": no primary`)

	pool := route.MustNew(route.Config{Names: []string{"db"}, Resolver: stalled})
	defer pool.Close(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, dbURL, http.NoBody)
	require.NoError(t, err)
	_, err = (&http.Client{Transport: pool.Transport(nil)}).Do(req)
	wrapped, ok := errors.AsType[*url.Error](err)
	require.True(t, ok)
	assert.True(t, wrapped.Timeout(), err)
}

// Picking by role allocates nothing of its own.
func TestRequirement7Allocations(t *testing.T) {
	cost := func(cfg route.Config, hosts ...string) float64 {
		d := newDatabase(t, cfg, hosts...)
		base := d.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: req}, nil
		}))
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, dbURL, http.NoBody)
		require.NoError(t, err)
		return testing.AllocsPerRun(200, func() {
			resp, err := base.RoundTrip(req)
			if err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
	plain := cost(route.Config{}, "a1", "a2", "a3")
	assert.InDelta(t, plain, cost(route.Config{}, "p", "r1", "r2"), 0)
	lag := func(string) (time.Duration, string, bool) { return 0, "7", true }
	assert.InDelta(t, plain, cost(route.Config{Lag: lag}, "p", "r1", "r2"), 0, "nor does asking for the lag")
}
