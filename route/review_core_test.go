package route_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/route"
)

// Attempts of one call that start at the same moment go to hosts of their own, as long
// as there are any.
func TestReviewHedgesAtTheSameMoment(t *testing.T) {
	roles := make([]route.Host, len(names))
	for i, addr := range names {
		roles[i] = route.Host{Addr: addr, Role: route.Replica}
	}
	for name, hosts := range map[string][]route.Host{"no roles": hostsAt(names...), "replicas": roles} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var asked []string
			next := route.MustNew(route.Config{Names: []string{"shop"}, Hosts: hosts}).Transport(
				roundTripper(func(req *http.Request) (*http.Response, error) {
					mu.Lock()
					defer mu.Unlock()
					asked = append(asked, req.URL.Host)
					return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
				}))
			for range 500 {
				asked = nil
				tried, start := new(attempt.Hosts), make(chan struct{})
				var all sync.WaitGroup
				for n := range names {
					all.Go(func() {
						<-start
						_, err := get(attempt.WithHedge(t.Context(), n+1, tried), next)
						assert.NoError(t, err)
					})
				}
				close(start)
				all.Wait()
				require.Equal(t, len(names), distinct(asked), "%v", asked)
			}
		})
	}
}

// Callers with little time say nothing of a host that nothing is known of.
func TestReviewShortDeadlinesBeforeTheFirstSuccess(t *testing.T) {
	within := func(t *testing.T, next http.RoundTripper, d time.Duration) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		_, _ = get(ctx, next)
	}
	bubble(t, "nothing is known of anybody", func(t *testing.T) {
		f := newFleet(50*ms, names...)
		pool, next := poolOf(t, f, route.Config{})
		for range 100 {
			within(t, next, 20*ms)
		}
		for _, h := range pool.Snapshot().Hosts {
			assert.Zero(t, h.Wrong, h.Addr)
			assert.Equal(t, "well", h.Health)
		}
	})
	newcomer := func(t *testing.T, latency time.Duration) (*route.Pool, http.RoundTripper, *fleet) {
		t.Helper()
		f, resolver := newFleet(latency, names...), newByHand()
		pool, next := poolOf(t, f, route.Config{
			Hosts: hostsAt(names[1:]...), Resolver: resolver.resolve, SlowStart: route.Off,
		})
		loads(t, next, 5, 2*time.Second)
		f.set("a:1", func(r *replica) { r.hangs = true })
		resolver.hosts(hostsAt(names...)...)
		return pool, next, f
	}
	bubble(t, "a newcomer, and less time than its peers take", func(t *testing.T) {
		pool, next, f := newcomer(t, 50*ms)
		for f.seen("a:1") < 8 {
			within(t, next, 60*ms)
		}
		assert.Zero(t, shot(t, pool, "a:1").Wrong)
		assert.Equal(t, "well", health(t, pool, "a:1"))
	})
	bubble(t, "a newcomer that hangs, and time enough for its peers", func(t *testing.T) {
		pool, next, f := newcomer(t, 50*ms)
		for range 100_000 {
			if f.seen("a:1") >= 5 {
				break
			}
			within(t, next, 150*ms)
		}
		assert.Equal(t, "ejected", health(t, pool, "a:1"))
	})
}

// That a host was slow once earns it no patience for ever.
func TestReviewPatienceEnds(t *testing.T) {
	bubble(t, "slow once, then it hangs", func(t *testing.T) {
		f := newFleet(10*ms, names...)
		pool, next := poolOf(t, f, route.Config{})
		f.set("a:1", func(r *replica) { r.latency = 20 * time.Second })
		for f.seen("a:1") == 0 {
			gets(t, next, 1)
		}
		f.set("a:1", func(r *replica) { r.hangs = true })
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		for ctx.Err() == nil && shot(t, pool, "a:1").Ejections == 0 {
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					_, _ = get(ctx, next)
				})
			}
			all.Wait()
			time.Sleep(100 * ms)
		}
		assert.Positive(t, shot(t, pool, "a:1").Ejections)
	})
}

// One peak of latency does not keep a host without traffic for longer than Decay.
func TestReviewNoHostStarves(t *testing.T) {
	for _, peak := range []time.Duration{100 * ms, time.Second, 30 * time.Second} {
		bubble(t, fmt.Sprint("a peak of ", peak), func(t *testing.T) {
			f := newFleet(ms, "a:1", "b:1")
			_, next := poolOf(t, f, route.Config{SlowStart: route.Off})
			gets(t, next, 100)
			f.set("a:1", func(r *replica) { r.latency = peak })
			for had := f.seen("a:1"); f.seen("a:1") == had; {
				gets(t, next, 1)
			}
			f.set("a:1", func(r *replica) { r.latency = ms })
			last, longest := time.Now(), time.Duration(0)
			for begun := time.Now(); time.Since(begun) < time.Minute; {
				had := f.seen("a:1")
				gets(t, next, 1)
				if f.seen("a:1") > had {
					longest, last = max(longest, time.Since(last)), time.Now()
				}
				time.Sleep(9 * ms)
			}
			longest = max(longest, time.Since(last))
			t.Log(longest)
			assert.LessOrEqual(t, longest, route.DefaultDecay+100*ms)
		})
	}
	bubble(t, "and what was is forgotten with it", func(t *testing.T) {
		f := newFleet(ms, "a:1", "b:1")
		_, next := poolOf(t, f, route.Config{SlowStart: route.Off})
		gets(t, next, 100)
		f.set("a:1", func(r *replica) { r.latency = 30 * time.Second })
		for had := f.seen("a:1"); f.seen("a:1") == had; {
			gets(t, next, 1)
		}
		f.set("a:1", func(r *replica) { r.latency = ms })
		gets(t, next, int((route.DefaultDecay+time.Second)/ms))
		f.reset()
		gets(t, next, 2000)
		assert.InDelta(t, 0.5, f.share("a:1"), 0.1)
	})
	bubble(t, "one that stays slow is asked by one at a time", func(t *testing.T) {
		f := newFleet(10*ms, names...)
		_, next := poolOf(t, f, route.Config{})
		loads(t, next, 50, time.Second)
		f.set("a:1", func(r *replica) { r.latency = 20 * time.Second })
		loads(t, next, 10, 30*time.Second)
		f.reset()
		loads(t, next, 10, time.Minute)
		t.Log(f.seen("a:1"), f.most("a:1"))
		assert.Positive(t, f.seen("a:1"))
		assert.LessOrEqual(t, f.most("a:1"), 2)
		assert.LessOrEqual(t, f.seen("a:1"), 6)
	})
	bubble(t, "one that hangs is asked more and more seldom", func(t *testing.T) {
		f := newFleet(10*ms, "a:1", "b:1")
		_, next := poolOf(t, f, route.Config{})
		gets(t, next, 10)
		f.set("a:1", func(r *replica) { r.hangs = true })
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 36_000 { // an hour of callers without a deadline
			all.Go(func() { _, _ = get(ctx, next) })
			time.Sleep(100 * ms)
		}
		t.Log(f.most("a:1"))
		assert.InDelta(t, 27, f.most("a:1"), 10) // 10 s × (1 + 2 + … + n)
		cancel()
		all.Wait()
	})
}

// A host that comes back is found in a zone whose other hosts take all of the traffic,
// and in another one.
func TestReviewProbationInZones(t *testing.T) {
	for name, zone := range map[string]string{"the own zone": "here", "another": "there"} {
		bubble(t, name, func(t *testing.T) {
			f := newFleet(10 * ms)
			var hosts []route.Host
			for i := range 5 {
				for _, z := range []string{"here", "there"} {
					addr := fmt.Sprintf("%s%d:1", z, i)
					f.hosts[addr] = &replica{latency: 10 * ms}
					hosts = append(hosts, route.Host{Addr: addr, Zone: z})
				}
			}
			pool, next := poolOf(t, f, route.Config{Hosts: hosts, Zone: "here", DrainTime: 5 * time.Second})
			addr := zone + "0:1"
			f.set(addr, drains)
			elsewhere := attempt.WithRetry(t.Context(), 2, new(attempt.Hosts))
			for range 10 { // attempts after attempts get everywhere
				_, err := get(elsewhere, next)
				require.NoError(t, err)
			}
			require.Equal(t, "draining", health(t, pool, addr))
			f.set(addr, func(r *replica) { r.header = nil })
			time.Sleep(5 * time.Second)
			require.Equal(t, "probation", health(t, pool, addr))
			loads(t, next, 5, time.Second)
			assert.Equal(t, "well", health(t, pool, addr))
		})
	}
}

// What a request has waited for before it was sent is not the host's latency.
func TestReviewWaitingForTheResolverIsNoLatency(t *testing.T) {
	bubble(t, "two seconds", func(t *testing.T) {
		f, resolver := newFleet(10*ms, "a:1"), newByHand()
		pool := route.MustNew(route.Config{Names: []string{"shop"}, Resolver: resolver.resolve})
		defer pool.Close(context.Background())
		time.AfterFunc(2*time.Second, func() { resolver.hosts(h("a:1")) })
		_, err := get(t.Context(), pool.Transport(f))
		require.NoError(t, err)
		assert.Equal(t, 10*ms, shot(t, pool, "a:1").Latency)
	})
}

// The only replica may be ejected while a primary is well: it can do the same. While it
// is not, the replica stays.
func TestReviewTheOnlyReplica(t *testing.T) {
	hosts := []route.Host{{Addr: "p:1", Role: route.Primary}, {Addr: "r:1", Role: route.Replica}}
	bubble(t, "its primary is well", func(t *testing.T) {
		f := newFleet(10*ms, "p:1", "r:1")
		f.set("r:1", failing)
		pool, next := poolOf(t, f, route.Config{Hosts: hosts})
		gets(t, next, 20)
		assert.Equal(t, "ejected", health(t, pool, "r:1"))
		assert.Equal(t, 100, gets(t, next, 100), "all are read from the primary")
		f.set("p:1", failing)
		for range 20 {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://shop/", nil)
			require.NoError(t, err)
			resp, err := next.RoundTrip(req)
			require.NoError(t, err)
			resp.Body.Close()
		}
		assert.Equal(t, "well", health(t, pool, "p:1"), "now it is the last one")
	})
	bubble(t, "its primary is not", func(t *testing.T) {
		f := newFleet(10*ms, "p:1", "r:1")
		f.set("p:1", func(r *replica) { r.check = 503 })
		f.set("r:1", failing)
		pool, next := poolOf(t, f, route.Config{Hosts: hosts, Check: route.Check{Path: "/health"}})
		time.Sleep(2 * time.Second)
		require.Equal(t, "ill", health(t, pool, "p:1"))
		gets(t, next, 20)
		assert.Equal(t, "well", health(t, pool, "r:1"))
	})
}

// All hosts out at once: every request is answered by whoever can.
func TestReviewAllHostsOut(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5} {
		bubble(t, fmt.Sprint(n), func(t *testing.T) {
			f := newFleet(10*ms, names[:n]...)
			for _, addr := range names[:n] {
				f.set(addr, drains)
			}
			pool, next := poolOf(t, f, route.Config{MaxEjected: 1, Check: route.Check{Path: "/health"}})
			gets(t, next, 5*n)
			for _, h := range pool.Snapshot().Hosts {
				assert.Equal(t, "draining", h.Health)
			}
			assert.Zero(t, loads(t, next, 5, 70*time.Second).failures)
		})
	}
}

// Where one host drains, and requests to the other fail, who drains is asked: it still
// answers.
func TestReviewWhoDrainsIsBetterThanWhoFails(t *testing.T) {
	bubble(t, "ejected before", func(t *testing.T) {
		f := newFleet(10*ms, "a:1", "b:1")
		pool, next := poolOf(t, f, route.Config{DrainTime: time.Minute})
		gets(t, next, 20)
		f.set("a:1", failing)
		for health(t, pool, "a:1") == "well" {
			gets(t, next, 1)
		}
		f.set("b:1", drains)
		gets(t, next, 1)
		require.Equal(t, "draining", health(t, pool, "b:1"))
		r := loads(t, next, 5, 30*time.Second)
		t.Logf("%.2f %%", 100*r.failed())
		assert.Less(t, r.failed(), 0.02)
	})
	bubble(t, "who is found ill by checks, and answers, goes before who drains", func(t *testing.T) {
		f := newFleet(10*ms, "a:1", "b:1")
		f.set("a:1", func(r *replica) { r.check = 503 })
		f.set("b:1", drains)
		pool, next := poolOf(t, f, route.Config{Check: route.Check{Path: "/health"}})
		time.Sleep(2 * time.Second)
		require.Equal(t, "draining", health(t, pool, "b:1"))
		f.reset()
		assert.Equal(t, 100, gets(t, next, 100))
		assert.Equal(t, 100, f.seen("a:1"))
	})
}

// The set is replaced while requests are in flight: what is on its way is answered, and
// the books of those that have gone are kept to the end.
func TestReviewHostsReplacedInFlight(t *testing.T) {
	bubble(t, "and one that comes again is new", func(t *testing.T) {
		f, resolver := newFleet(time.Second, "a:1", "b:1"), newByHand()
		pool, next := poolOf(t, f, route.Config{Hosts: hostsAt("a:1"), Resolver: resolver.resolve})
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				status, err := get(t.Context(), next)
				assert.NoError(t, err)
				assert.Equal(t, 200, status)
			})
		}
		time.Sleep(100 * ms)
		f.set("a:1", drains)
		resolver.hosts(h("b:1"))
		resolver.hosts(h("a:1"), h("b:1"))
		synctest.Wait()
		assert.Zero(t, shot(t, pool, "a:1").InFlight)
		f.set("a:1", failing)
		all.Wait()
		a := shot(t, pool, "a:1")
		assert.Zero(t, a.InFlight, "never below 0")
		assert.Zero(t, a.Picks)
		assert.Equal(t, "well", a.Health, "what the one before has said is not its own")
	})
}

// Closing ends neither requests that run nor those to come.
func TestReviewCloseWhileRequestsRun(t *testing.T) {
	bubble(t, "close", func(t *testing.T) {
		f, resolver := newFleet(time.Second, "a:1", "b:1"), newByHand()
		pool := route.MustNew(route.Config{
			Names: []string{"shop"}, Hosts: hostsAt("a:1", "b:1"), Resolver: resolver.resolve,
			Check: route.Check{Path: "/health", Transport: f},
		})
		next := pool.Transport(f)
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				_, err := get(t.Context(), next)
				assert.NoError(t, err)
			})
		}
		time.Sleep(500 * ms)
		for range 3 {
			all.Go(func() { assert.NoError(t, pool.Close(context.Background())) })
		}
		all.Wait()
		f.set("a:1", failing)
		for health(t, pool, "a:1") == "well" {
			gets(t, next, 1)
		}
		f.set("a:1", mended)
		time.Sleep(10 * time.Second)
		loads(t, next, 4, 20*time.Second)
		assert.Equal(t, "well", health(t, pool, "a:1"), "traffic alone goes on to find out")
	})
}

func TestReviewAddresses(t *testing.T) {
	for addr, want := range map[string]string{
		"[::1]:8080": "", "[2001:DB8::1]": "", "H.Example:80": "", "h.example.": "", "bücher.example:80": "",
		"http://h": "", "h:1": "", "h:65535": "",
		"h:0": "the port is not", "h:65536": "the port is not", "h:http": "no address", "h:": "no host",
		"": "no host", ":80": "no host", "h/": "what follows", "h?x": "what follows", "h#x": "what follows",
		"ftp://h": "the scheme", "user:secret@h": "before the @", "http://u:secret@h:1": "before the @",
		"h h": "no address", "[::1": "no address", "//h": "no host", "h\n": "no address",
	} {
		_, err := route.New(route.Config{Names: []string{"shop"}, Hosts: hostsAt(addr)})
		if want == "" {
			assert.NoError(t, err, addr)
			continue
		}
		assert.ErrorContains(t, err, want, "%q", addr)
		assert.ErrorContains(t, err, "Config.Hosts", addr)
		if err != nil {
			assert.NotContains(t, err.Error(), "secret")
		}
	}
	_, err := route.New(route.Config{Names: []string{"shop"}, Hosts: hostsAt("h:1", "H:1")})
	require.ErrorContains(t, err, "twice")
	for _, weight := range []int{-1, 1001, 1_000_000_000} {
		_, err := route.New(route.Config{Names: []string{"shop"}, Hosts: []route.Host{{Addr: "h", Weight: weight}}})
		assert.ErrorContains(t, err, "weight", weight)
	}
}

// The case in which a resolver spells an address is no other host.
func TestReviewSpelling(t *testing.T) {
	bubble(t, "case", func(t *testing.T) {
		f, resolver := newFleet(10*ms, "h.example:1"), newByHand()
		d := &diary{}
		pool, next := poolOf(t, f, route.Config{Hosts: hostsAt("H.Example:1"), Resolver: resolver.resolve, Observe: d.observe})
		assert.Equal(t, 10, gets(t, next, 10))
		resolver.hosts(h("h.eXample:1"))
		synctest.Wait()
		assert.Len(t, d.of(route.Added), 1)
		assert.Empty(t, d.of(route.Removed))
		assert.EqualValues(t, 10, shot(t, pool, "h.example:1").Picks)
	})
}

// Requests that cannot be routed, or that nobody waits for.
func TestReviewOddRequests(t *testing.T) {
	var got *http.Request
	pool := route.MustNew(route.Config{Names: []string{"shop"}, Hosts: hostsAt("h:1")})
	next := pool.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
		got = req
		if req.URL == nil {
			return nil, errors.New("no URL")
		}
		if err := req.Context().Err(); err != nil {
			return nil, err
		}
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
	}))
	own := new(http.Request)
	_, err := next.RoundTrip(own)
	require.ErrorContains(t, err, "no URL")
	assert.Same(t, own, got)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = get(ctx, next)
	require.ErrorIs(t, err, context.Canceled)
	ctx, cancel = context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	_, err = get(ctx, next)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	h := pool.Snapshot().Hosts[0]
	assert.Zero(t, h.InFlight)
	assert.Zero(t, h.Wrong)
	assert.Zero(t, h.Troubles)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodConnect, "http://shop", nil)
	require.NoError(t, err)
	resp, err := next.RoundTrip(req)
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, "h:1", got.URL.Host)
	assert.Equal(t, "shop", got.Host, "what it is to be connected to")
}

// Where there is no host the body is closed, and nobody has read it.
func TestReviewBodyWithoutHosts(t *testing.T) {
	bubble(t, "no host", func(t *testing.T) {
		pool := route.MustNew(route.Config{Names: []string{"shop"}, Resolver: func(ctx context.Context, update func([]route.Host, error)) {
			update(nil, errors.New("no name server"))
			<-ctx.Done()
		}})
		defer pool.Close(context.Background())
		body := &untouched{}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://shop/", body)
		require.NoError(t, err)
		_, err = pool.Transport(nil).RoundTrip(req)
		require.ErrorIs(t, err, route.ErrNoHosts)
		require.ErrorContains(t, err, "no name server")
		assert.True(t, strings.HasPrefix(err.Error(), "route: "), err)
		assert.Equal(t, untouched{closed: 1}, *body)
	})
}

type untouched struct{ read, closed int }

func (u *untouched) Read([]byte) (int, error) { u.read++; return 0, io.EOF }
func (u *untouched) Close() error             { u.closed++; return nil }

// A body that nobody closes is in flight for ever, as its connection is; its host is
// asked nonetheless, now and then.
func TestReviewBodiesThatAreNeverClosed(t *testing.T) {
	bubble(t, "leaked", func(t *testing.T) {
		f := newFleet(10*ms, "a:1", "b:1")
		pool, next := poolOf(t, f, route.Config{})
		gets(t, next, 20)
		f.set("a:1", func(r *replica) { r.body = newStream() })
		for shot(t, pool, "a:1").InFlight < 10 {
			resp := open(t, next)
			if resp.Request.URL.Host == "b:1" {
				resp.Body.Close()
			}
			time.Sleep(time.Second)
		}
		f.set("a:1", func(r *replica) { r.body = nil })
		f.reset()
		gets(t, next, int(11*route.DefaultDecay/(10*ms))) // as seldom as that, with ten
		assert.EqualValues(t, 10, shot(t, pool, "a:1").InFlight)
		assert.Positive(t, f.seen("a:1"))
		assert.Equal(t, "well", health(t, pool, "a:1"))
	})
}
