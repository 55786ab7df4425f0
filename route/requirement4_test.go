package route_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/route"
)

// diary keeps the events of a Pool.
type diary struct {
	mu     sync.Mutex
	begun  time.Time
	events []route.Event
	at     []time.Duration
}

func (d *diary) observe(_ context.Context, e route.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, e)
	d.at = append(d.at, time.Since(d.begun))
}

// of returns the events of a kind.
func (d *diary) of(kind route.Kind) (some []route.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.events {
		if e.Kind == kind {
			some = append(some, e)
		}
	}
	return some
}

func failing(r *replica) { r.status = http.StatusInternalServerError }
func mended(r *replica)  { r.status, r.err, r.hangs = http.StatusOK, nil, false }

func TestRequirement4Consecutive(t *testing.T) {
	for name, change := range map[string]func(*replica){
		"status": failing,
		"error":  func(r *replica) { r.err = errReset },
	} {
		bubble(t, name, func(t *testing.T) {
			f, d := newFleet(ms, "a:1", "b:1", "c:1"), &diary{}
			pool, next := poolOf(t, f, route.Config{Observe: d.observe, SuccessMargin: route.Off})
			f.set("a:1", change)
			loads(t, next, 30, 30*ms) // at once, so that it gets as many as the others
			assert.Equal(t, "ejected", health(t, pool, "a:1"))
			seen := f.seen("a:1")
			assert.GreaterOrEqual(t, seen, 5)
			assert.Equal(t, 100, gets(t, next, 100))
			assert.Equal(t, seen, f.seen("a:1"))
			ejected := d.of(route.Ejected)
			require.Len(t, ejected, 1)
			assert.Equal(t, "a:1", ejected[0].Addr)
			assert.Equal(t, "failures in a row", ejected[0].Reason)
			assert.InDelta(t, 5, ejected[0].For.Seconds(), 1)
		})
	}
	bubble(t, "a host that is avoided", func(t *testing.T) {
		f, d := newFleet(ms, "a:1", "b:1", "c:1"), &diary{begun: time.Now()}
		_, next := poolOf(t, f, route.Config{Observe: d.observe})
		gets(t, next, 100)
		f.set("a:1", failing)
		f.reset()
		loads(t, next, 2, time.Minute)
		ejected := d.of(route.Ejected)
		require.NotEmpty(t, ejected)
		assert.Equal(t, "nothing but failures", ejected[0].Reason)
		assert.Less(t, d.at[0], 25*time.Second)
		assert.Less(t, f.seen("a:1"), 8)
	})
	bubble(t, "off", func(t *testing.T) {
		f := newFleet(ms, "a:1", "b:1")
		f.set("a:1", failing)
		pool, next := poolOf(t, f, route.Config{SuccessMargin: route.Off, Consecutive: route.Off})
		loads(t, next, 5, 10*time.Second)
		assert.Equal(t, "well", health(t, pool, "a:1"))
	})
	bubble(t, "what is no failure", func(t *testing.T) {
		f := newFleet(ms, "a:1", "b:1")
		pool, next := poolOf(t, f, route.Config{})
		for _, status := range []int{400, 404, 429, 501} {
			f.set("a:1", func(r *replica) { r.status = status })
			loads(t, next, 5, 2*time.Second)
			assert.Equal(t, "well", health(t, pool, "a:1"), status)
		}
	})
	bubble(t, "a host that hangs", func(t *testing.T) {
		f := newFleet(10*ms, "a:1", "b:1", "c:1")
		pool, next := poolOf(t, f, route.Config{})
		loads(t, next, 5, time.Second)
		f.set("a:1", func(r *replica) { r.hangs = true })
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 500*ms)
				defer cancel()
				_, _ = get(ctx, next)
			})
		}
		all.Wait()
		assert.Equal(t, "ejected", health(t, pool, "a:1"), "that its callers have not waited longer is no excuse")
	})
}

// flaky fails every nth request of a host.
type flaky struct {
	*fleet

	mu    sync.Mutex
	every map[string]int
	n     map[string]int
}

func (f *flaky) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := f.fleet.RoundTrip(req)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n[req.URL.Host]++; err == nil && f.every[req.URL.Host] > 0 && f.n[req.URL.Host]%f.every[req.URL.Host] == 0 {
		resp.StatusCode = http.StatusBadGateway
	}
	return resp, err
}

func TestRequirement4SuccessRate(t *testing.T) {
	for name, c := range map[string]struct {
		every [3]int // of the hosts' requests, one fails in so many
		out   bool
	}{
		"half of its requests fail":   {[3]int{2}, true},
		"a third of them":             {[3]int{3}, true},
		"one of ten":                  {[3]int{10}, false},
		"half of those of all":        {[3]int{2, 2, 2}, false},
		"a little worse than others":  {[3]int{3, 4, 4}, false},
		"a hundredth of those of all": {[3]int{100, 100, 100}, false},
		"none":                        {[3]int{}, false},
	} {
		bubble(t, name, func(t *testing.T) {
			f := &flaky{fleet: newFleet(10*ms, names[:3]...), every: map[string]int{}, n: map[string]int{}}
			for i, n := range c.every {
				f.every[names[i]] = n
			}
			d := &diary{}
			pool := route.MustNew(route.Config{
				Names: []string{"shop"}, Hosts: hostsAt(names[:3]...), Consecutive: route.Off, Observe: d.observe,
			})
			loads(t, pool.Transport(f), 50, 4*time.Second)
			out := d.of(route.Ejected)
			t.Logf("%.2f %%, %+v", 100*f.share("a:1"), shot(t, pool, "a:1"))
			require.Equal(t, c.out, len(out) > 0, "%v", out)
			for _, e := range out {
				assert.Equal(t, "a:1", e.Addr)
			}
			if c.out {
				assert.Equal(t, "it fails more than the others", out[0].Reason)
			}
		})
	}
}

// Each ejection is twice as long, give or take a fifth, up to the longest.
func TestRequirement4Backoff(t *testing.T) {
	for name, before := range map[string]time.Duration{"from the start": 0, "after a long time": 3 * time.Hour} {
		bubble(t, name, func(t *testing.T) {
			f, d := newFleet(ms, "a:1", "b:1", "c:1"), &diary{}
			_, next := poolOf(t, f, route.Config{Observe: d.observe, MaxEjectTime: 40 * time.Second})
			gets(t, next, 100)
			time.Sleep(before)
			f.set("a:1", failing)
			for len(d.of(route.Ejected)) < 6 {
				gets(t, next, 1)
				time.Sleep(200 * ms)
			}
			var got []float64
			for i, e := range d.of(route.Ejected) {
				want := []float64{5, 10, 20, 40, 40, 40}[i]
				got = append(got, e.For.Seconds())
				assert.InDelta(t, want, e.For.Seconds(), want/5)
				if i > 0 {
					assert.Equal(t, "it failed on probation", e.Reason)
				}
			}
			t.Log(got)
			assert.Len(t, slices.Compact(got), 6, "no two are alike")
			f.set("a:1", mended)
			for len(d.of(route.Returned)) < 1 {
				gets(t, next, 1)
				time.Sleep(200 * ms)
			}
			f.set("a:1", failing)
			for len(d.of(route.Ejected)) < 7 {
				gets(t, next, 1)
				time.Sleep(200 * ms)
			}
			assert.Greater(t, d.of(route.Ejected)[6].For, 30*time.Second, "it was well for too short a time")
			f.set("a:1", mended)
			for len(d.of(route.Returned)) < 2 {
				gets(t, next, 1)
				time.Sleep(200 * ms)
			}
			time.Sleep(10 * time.Minute)
			f.set("a:1", failing)
			for len(d.of(route.Ejected)) < 8 {
				gets(t, next, 1)
				time.Sleep(200 * ms)
			}
			assert.Less(t, d.of(route.Ejected)[7].For, 7*time.Second, "the past is forgotten")
		})
	}
}

// No more hosts than may be, and never the last one of its role.
func TestRequirement4NotTooMany(t *testing.T) {
	out := func(pool *route.Pool) (n int) {
		for _, h := range pool.Snapshot().Hosts {
			if h.Health == "ejected" || h.Health == "probation" {
				n++
			}
		}
		return n
	}
	for name, c := range map[string]struct {
		hosts []string
		part  float64
		want  int
	}{
		"one host":                 {names[:1], 0, 0},
		"one host, all may go":     {names[:1], 1, 0},
		"two":                      {names[:2], 0, 1},
		"two, all may go":          {names[:2], 1, 1},
		"three":                    {names[:3], 0, 1},
		"four":                     {append(slices.Clone(names[:3]), "z:1"), 0, 2},
		"five":                     {names, 0, 2},
		"five, all may go":         {names, 1, 4},
		"five, a tenth, so one":    {names, 0.1, 1},
		"five, two fifths, so two": {names, 0.4, 2},
	} {
		bubble(t, name, func(t *testing.T) {
			f := newFleet(ms, c.hosts...)
			for _, addr := range c.hosts {
				f.set(addr, failing)
			}
			pool, next := poolOf(t, f, route.Config{
				MaxEjected: c.part, PanicThreshold: route.Off, EjectTime: time.Hour, MaxEjectTime: time.Hour,
			})
			loads(t, next, 10, time.Second)
			assert.Equal(t, c.want, out(pool))
		})
	}
	bubble(t, "roles", func(t *testing.T) {
		f := newFleet(ms, "p:1", "r:1", "r:2")
		for addr := range f.hosts {
			f.set(addr, failing)
		}
		pool, next := poolOf(t, f, route.Config{
			MaxEjected: 1, EjectTime: time.Hour, MaxEjectTime: time.Hour, Hosts: []route.Host{
				{Addr: "p:1", Role: route.Primary}, {Addr: "r:1", Role: route.Replica}, {Addr: "r:2", Role: route.Replica},
			},
		})
		for range 200 {
			gets(t, next, 1)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://shop/", nil)
			require.NoError(t, err)
			resp, err := next.RoundTrip(req)
			require.NoError(t, err)
			resp.Body.Close()
		}
		assert.Equal(t, "well", health(t, pool, "p:1"))
		assert.Equal(t, 2, out(pool), "the primary can do what replicas do; nobody can do what it does")
	})
}

// probed is a Pool of which host a is about to be on probation.
func probed(t *testing.T, cfg route.Config) (*route.Pool, http.RoundTripper, *fleet) {
	t.Helper()
	f := newFleet(10*ms, names...)
	pool, next := poolOf(t, f, cfg)
	gets(t, next, 50)
	f.set("a:1", failing)
	for health(t, pool, "a:1") == "well" {
		gets(t, next, 1)
	}
	f.set("a:1", mended)
	f.reset()
	time.Sleep(shot(t, pool, "a:1").For - 1)
	require.Equal(t, "ejected", health(t, pool, "a:1"))
	require.Zero(t, f.seen("a:1"))
	return pool, next, f
}

func TestRequirement4Probation(t *testing.T) {
	bubble(t, "begins when its time is over, and ends with a success", func(t *testing.T) {
		pool, next, f := probed(t, route.Config{})
		time.Sleep(time.Nanosecond)
		assert.Equal(t, "probation", health(t, pool, "a:1"))
		for f.seen("a:1") == 0 {
			gets(t, next, 1)
		}
		assert.Equal(t, "well", health(t, pool, "a:1"))
	})
	bubble(t, "exactly one request at a time", func(t *testing.T) {
		pool, next, f := probed(t, route.Config{})
		f.set("a:1", func(r *replica) { r.latency = time.Second })
		time.Sleep(time.Nanosecond)
		loads(t, next, 50, 900*ms)
		assert.Equal(t, 1, f.seen("a:1"))
		assert.Equal(t, 1, f.most("a:1"))
		time.Sleep(200 * ms)
		assert.Equal(t, "well", health(t, pool, "a:1"))
	})
	bubble(t, "one that fails", func(t *testing.T) {
		pool, next, f := probed(t, route.Config{})
		f.set("a:1", failing)
		time.Sleep(time.Nanosecond)
		loads(t, next, 50, time.Second)
		assert.Equal(t, 1, f.seen("a:1"))
		assert.Equal(t, "ejected", health(t, pool, "a:1"))
		assert.InDelta(t, 9, shot(t, pool, "a:1").For.Seconds(), 2)
		assert.EqualValues(t, 2, shot(t, pool, "a:1").Ejections)
		assert.Equal(t, "it failed on probation", shot(t, pool, "a:1").Why)
	})
	bubble(t, "one that is told to wait", func(t *testing.T) {
		pool, next, f := probed(t, route.Config{})
		f.set("a:1", func(r *replica) { r.status = http.StatusTooManyRequests })
		time.Sleep(time.Nanosecond)
		loads(t, next, 50, time.Second)
		assert.Equal(t, "probation", health(t, pool, "a:1"), "nothing is known")
		assert.Equal(t, 1, f.most("a:1"))
		f.set("a:1", mended)
		loads(t, next, 50, time.Second)
		assert.Equal(t, "well", health(t, pool, "a:1"))
	})
	bubble(t, "one that is canceled", func(t *testing.T) {
		pool, next, f := probed(t, route.Config{})
		f.set("a:1", func(r *replica) { r.hangs = true })
		time.Sleep(time.Nanosecond)
		ctx, cancel := context.WithCancel(t.Context())
		for f.seen("a:1") == 0 {
			go func() { _, _ = get(ctx, next) }()
			synctest.Wait()
		}
		time.Sleep(50 * ms)
		cancel()
		synctest.Wait()
		assert.Equal(t, "probation", health(t, pool, "a:1"))
		f.set("a:1", mended)
		gets(t, next, 50)
		assert.Equal(t, "well", health(t, pool, "a:1"))
	})
	bubble(t, "one that hangs", func(t *testing.T) {
		pool, next, f := probed(t, route.Config{})
		f.set("a:1", func(r *replica) { r.hangs = true })
		time.Sleep(time.Nanosecond)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for f.seen("a:1") == 0 {
			go func() { _, _ = get(ctx, next) }()
			synctest.Wait()
		}
		f.set("a:1", mended)
		loads(t, next, 50, 4900*ms)
		assert.Equal(t, 1, f.seen("a:1"), "it is not given up at once")
		loads(t, next, 50, 200*ms)
		assert.Equal(t, "well", health(t, pool, "a:1"), "another has found out")
		cancel()
		synctest.Wait()
		assert.Equal(t, "well", health(t, pool, "a:1"))
	})
	bubble(t, "one that panics", func(t *testing.T) {
		pool, _, f := probed(t, route.Config{})
		time.Sleep(time.Nanosecond)
		wild := pool.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "a:1" {
				panic("wild")
			}
			return f.RoundTrip(req)
		}))
		panicked := false
		for !panicked {
			func() {
				defer func() { panicked = recover() != nil }()
				gets(t, wild, 1)
			}()
		}
		gets(t, pool.Transport(f), 50)
		assert.Equal(t, "well", health(t, pool, "a:1"))
		assert.Zero(t, shot(t, pool, "a:1").InFlight)
	})
	bubble(t, "what was sent before says nothing", func(t *testing.T) {
		f := newFleet(10*ms, names...)
		pool, next := poolOf(t, f, route.Config{})
		f.set("a:1", func(r *replica) { r.latency, r.err = 8*time.Second, errReset })
		var all sync.WaitGroup
		for range 100 { // many of them are sent to a, to fail after 8 s
			all.Go(func() { _, _ = get(t.Context(), next) })
		}
		synctest.Wait()
		f.set("a:1", func(r *replica) { r.latency = ms })
		for health(t, pool, "a:1") == "well" {
			gets(t, next, 1)
		}
		f.set("a:1", func(r *replica) { r.latency, r.err = 5*time.Second, nil })
		time.Sleep(6100 * ms)
		for range 40 { // one of them is on probation when those fail
			all.Go(func() { _, _ = get(t.Context(), next) })
		}
		all.Wait()
		assert.Equal(t, "well", health(t, pool, "a:1"))
		assert.EqualValues(t, 1, shot(t, pool, "a:1").Ejections)
	})
	bubble(t, "two hosts, both on probation", func(t *testing.T) {
		f := newFleet(10*ms, "a:1", "b:1")
		pool, next := poolOf(t, f, route.Config{DrainTime: time.Second})
		for _, addr := range []string{"a:1", "b:1"} {
			f.set(addr, func(r *replica) { r.header = http.Header{"X-Health": {"drain"}} })
		}
		gets(t, next, 20)
		f.set("a:1", func(r *replica) { r.header = nil })
		f.set("b:1", func(r *replica) { r.header = nil })
		time.Sleep(time.Second)
		require.Equal(t, "probation", health(t, pool, "a:1"))
		require.Equal(t, "probation", health(t, pool, "b:1"))
		r := loads(t, next, 50, time.Second)
		assert.Zero(t, r.failures, "nobody is refused because all are asked already")
		assert.Equal(t, "well", health(t, pool, "a:1"))
	})
	bubble(t, "the only one in the zone", func(t *testing.T) {
		f := newFleet(10*ms, names...)
		hosts := hostsAt(names...)
		hosts[0].Zone = "here"
		pool, next := poolOf(t, f, route.Config{Hosts: hosts, Zone: "here"})
		f.set("a:1", failing)
		gets(t, next, 10)
		require.Equal(t, "ejected", health(t, pool, "a:1"))
		f.set("a:1", func(r *replica) { mended(r); r.latency = time.Second })
		time.Sleep(6 * time.Second)
		f.reset()
		loads(t, next, 50, 900*ms)
		assert.Equal(t, 1, f.most("a:1"))
	})
}

// Below the threshold all hosts are used: what is left could not carry the load, and
// what is wrong is likely not the hosts'.
func TestRequirement4Panic(t *testing.T) {
	for ill, want := range []bool{false, false, false, true, true, true} {
		bubble(t, string(rune('0'+ill))+" of 5 are ill", func(t *testing.T) {
			f, d := newFleet(10*ms, names...), &diary{}
			for _, addr := range names[:ill] {
				f.set(addr, func(r *replica) { r.check = 503 })
			}
			pool, next := poolOf(t, f, route.Config{
				Observe: d.observe, Check: route.Check{Path: "/health"}, SlowStart: route.Off,
			})
			time.Sleep(2 * time.Second)
			r := loads(t, next, 50, time.Second)
			assert.Zero(t, r.failures)
			assert.Equal(t, want, pool.Snapshot().Panics)
			assert.Len(t, d.of(route.PanicBegan), map[bool]int{true: 1}[want])
			for _, addr := range names[:ill] {
				assert.Equal(t, want, f.seen(addr) > 100, addr)
			}
			for _, addr := range names {
				f.set(addr, func(r *replica) { r.check = 200 })
			}
			time.Sleep(time.Minute)
			assert.Len(t, d.of(route.PanicEnded), map[bool]int{true: 1}[want])
			assert.Len(t, d.of(route.FoundIll), ill)
			assert.Len(t, d.of(route.FoundWell), ill)
		})
	}
}
