package route_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/route"
)

func healthCheck() route.Check { return route.Check{Path: "/health"} }

func TestRequirement5RiseAndFall(t *testing.T) {
	bubble(t, "ill after three, well after two", func(t *testing.T) {
		f, d := newFleet(ms, names...), &diary{begun: time.Now()}
		pool, next := poolOf(t, f, route.Config{Observe: d.observe, Check: healthCheck()})
		time.Sleep(20 * time.Second) // all are known
		f.set("a:1", func(r *replica) { r.check = 503 })
		f.reset()
		for f.checked("a:1") < 2 {
			time.Sleep(10 * ms)
		}
		assert.Equal(t, "well", health(t, pool, "a:1"))
		for f.checked("a:1") < 3 {
			time.Sleep(10 * ms)
		}
		time.Sleep(10 * ms)
		assert.Equal(t, "ill", health(t, pool, "a:1"))
		require.Len(t, d.of(route.FoundIll), 1)
		assert.ErrorContains(t, d.of(route.FoundIll)[0].Err, "status 503, not 200")
		gets(t, next, 100)
		assert.Zero(t, f.seen("a:1"))
		f.set("a:1", func(r *replica) { r.check = 200 })
		f.reset()
		for f.checked("a:1") < 1 {
			time.Sleep(10 * ms)
		}
		time.Sleep(10 * ms)
		assert.Equal(t, "ill", health(t, pool, "a:1"))
		for f.checked("a:1") < 2 {
			time.Sleep(10 * ms)
		}
		time.Sleep(10 * ms)
		assert.Equal(t, "well", health(t, pool, "a:1"))
		require.Len(t, d.of(route.FoundWell), 1)
		assert.Equal(t, "a:1", d.of(route.FoundWell)[0].Addr)
	})
	bubble(t, "one that alternates is neither", func(t *testing.T) {
		f, d := newFleet(ms, names...), &diary{}
		poolOf(t, f, route.Config{Observe: d.observe, Check: healthCheck()})
		time.Sleep(2 * time.Second)
		for i := range 20 {
			had := f.checked("a:1")
			f.set("a:1", func(r *replica) { r.check = 200 + 303*(i%2) })
			for f.checked("a:1") == had {
				time.Sleep(10 * ms)
			}
			time.Sleep(10 * ms)
		}
		assert.Empty(t, d.of(route.FoundIll))
	})
	bubble(t, "the first decides", func(t *testing.T) {
		f := newFleet(ms, names...)
		f.set("a:1", func(r *replica) { r.check = 503 })
		pool, _ := poolOf(t, f, route.Config{Check: healthCheck()})
		time.Sleep(time.Second + 10*ms)
		assert.Equal(t, "ill", health(t, pool, "a:1"))
	})
	bubble(t, "the first does not decide about one that works", func(t *testing.T) {
		f := newFleet(ms, names...)
		f.set("a:1", func(r *replica) { r.check = 503 })
		pool, next := poolOf(t, f, route.Config{Check: route.Check{Path: "/health", Every: time.Minute}})
		for f.seen("a:1") == 0 && f.checked("a:1") == 0 {
			gets(t, next, 1)
		}
		if f.checked("a:1") > 0 {
			return // within the first milliseconds, as happens to one in a hundred
		}
		time.Sleep(2 * time.Second)
		require.Contains(t, []int{1, 2}, f.checked("a:1")) // the second one comes anywhere in the first minute
		assert.Equal(t, "well", health(t, pool, "a:1"))
	})
}

func TestRequirement5WhatIsIll(t *testing.T) {
	for name, c := range map[string]struct {
		check  route.Check
		change func(*replica)
		want   string // "" is well
	}{
		"as expected":              {route.Check{}, func(*replica) {}, ""},
		"another status":           {route.Check{}, func(r *replica) { r.check = 204 }, "status 204, not 200"},
		"the status that is meant": {route.Check{Status: 204}, func(r *replica) { r.check = 204 }, ""},
		"a redirect":               {route.Check{}, func(r *replica) { r.check = 302 }, "status 302"},
		"an error":                 {route.Check{}, func(r *replica) { r.err = errReset }, "connection reset"},
		"too slow":                 {route.Check{}, func(r *replica) { r.latency = 1001 * ms }, "deadline exceeded"},
		"just in time":             {route.Check{}, func(r *replica) { r.latency = 999 * ms }, ""},
		"the right service":        {route.Check{Service: "shop"}, func(r *replica) { r.service = "shop" }, ""},
		"another service":          {route.Check{Service: "shop"}, func(r *replica) { r.service = "mail" }, `service "mail", not "shop"`},
		"a service without a name": {route.Check{Service: "shop"}, func(*replica) {}, `service "", not "shop"`},
		"by another header": {
			route.Check{Service: "shop", ServiceHeader: "Server"},
			func(r *replica) { r.header = http.Header{"Server": {"shop"}} }, "",
		},
		"no answer at all": {route.Check{}, func(r *replica) { r.hangs = true }, "deadline exceeded"},
	} {
		bubble(t, name, func(t *testing.T) {
			f, d := newFleet(ms, "a:1", "b:1"), &diary{}
			f.set("b:1", func(r *replica) {
				r.service, r.header, r.check = "shop", http.Header{"Server": {"shop"}}, c.check.Status
			})
			f.set("a:1", c.change)
			c.check.Path = "/health"
			pool, _ := poolOf(t, f, route.Config{Observe: d.observe, Check: c.check})
			time.Sleep(3 * time.Second)
			assert.Equal(t, "well", health(t, pool, "b:1"))
			if c.want == "" {
				assert.Equal(t, "well", health(t, pool, "a:1"))
				return
			}
			assert.Equal(t, "ill", health(t, pool, "a:1"))
			require.Len(t, d.of(route.FoundIll), 1)
			assert.ErrorContains(t, d.of(route.FoundIll)[0].Err, c.want)
		})
	}
}

// deaf does not end with its request's context.
type deaf struct {
	fleet *fleet
	hung  atomic.Int64
	free  chan struct{}
}

func (d *deaf) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host == "a:1" {
		d.hung.Add(1)
		defer d.hung.Add(-1)
		<-d.free
		return nil, errReset
	}
	return d.fleet.RoundTrip(req)
}

func TestRequirement5Schedule(t *testing.T) {
	bubble(t, "at once, spread, with jitter", func(t *testing.T) {
		f := newFleet(ms, names...)
		var at []time.Duration
		begun := time.Now()
		poolOf(t, f, route.Config{Check: route.Check{
			Path: "/health?full=1",
			Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
				assert.Equal(t, "full=1", req.URL.RawQuery)
				assert.Equal(t, "shop", req.Host)
				assert.Equal(t, http.MethodGet, req.Method)
				if req.URL.Host == "a:1" {
					at = append(at, time.Since(begun))
				}
				return f.RoundTrip(req)
			}),
		}})
		time.Sleep(time.Second + 10*ms)
		for _, addr := range names {
			assert.InDelta(t, 1, f.checked(addr), 1, addr)
		}
		time.Sleep(10 * time.Minute)
		for _, addr := range names {
			assert.InDelta(t, 60, f.checked(addr), 10, addr)
		}
		time.Sleep(50 * time.Minute) // of 60 intervals, the least or the most is too far in by chance now and then
		synctest.Wait()
		least, most := time.Hour, time.Duration(0)
		for i := 3; i < len(at); i++ {
			least, most = min(least, at[i]-at[i-1]), max(most, at[i]-at[i-1])
		}
		assert.InDelta(t, 8, least.Seconds(), 0.5)
		assert.InDelta(t, 12, most.Seconds(), 0.5)
	})
	bubble(t, "one that hangs holds up no other, and is not asked twice", func(t *testing.T) {
		f, d := newFleet(ms, names...), &diary{}
		through := &deaf{fleet: f, free: make(chan struct{})}
		pool, next := poolOf(t, f, route.Config{Observe: d.observe, Check: route.Check{Path: "/health", Transport: through}})
		time.Sleep(5 * time.Minute)
		assert.EqualValues(t, 1, through.hung.Load())
		assert.Equal(t, "ill", health(t, pool, "a:1"))
		require.Len(t, d.of(route.FoundIll), 1)
		assert.ErrorContains(t, d.of(route.FoundIll)[0].Err, "takes too long")
		for _, addr := range names[1:] {
			assert.InDelta(t, 30, f.checked(addr), 8, addr)
		}
		gets(t, next, 10)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.ErrorIs(t, pool.Close(ctx), context.DeadlineExceeded, "Close waits for it, as long as it may")
		close(through.free)
	})
	bubble(t, "a transport that panics", func(t *testing.T) {
		f, d := newFleet(ms, "a:1", "b:1"), &diary{}
		poolOf(t, f, route.Config{Observe: d.observe, Check: route.Check{
			Path: "/health", Transport: roundTripper(func(*http.Request) (*http.Response, error) { panic("wild") }),
		}})
		time.Sleep(2 * time.Second)
		require.Len(t, d.of(route.FoundIll), 2)
		assert.ErrorContains(t, d.of(route.FoundIll)[0].Err, "wild")
	})
	bubble(t, "hosts come and go", func(t *testing.T) {
		f := newFleet(ms, names...)
		resolver := newByHand()
		pool, _ := poolOf(t, f, route.Config{
			Hosts: hostsAt(names[:2]...), Resolver: resolver.resolve, Check: healthCheck(),
		})
		time.Sleep(15 * time.Second)
		assert.Zero(t, f.checked("c:1"))
		f.set("c:1", func(r *replica) { r.check = 503 })
		resolver.hosts(hostsAt("b:1", "c:1")...)
		time.Sleep(time.Second + 10*ms)
		assert.Positive(t, f.checked("c:1"), "what is new is asked at once")
		assert.Equal(t, "ill", health(t, pool, "c:1"))
		f.reset()
		time.Sleep(time.Minute)
		assert.Zero(t, f.checked("a:1"), "what is gone is not asked")
		assert.Positive(t, f.checked("b:1"))
		resolver.hosts(hostsAt("c:1", "b:1")...)
		synctest.Wait()
		assert.Equal(t, "ill", health(t, pool, "c:1"))
	})
	bubble(t, "Close ends them", func(t *testing.T) {
		f := newFleet(ms, names...)
		f.set("a:1", func(r *replica) { r.hangs = true })
		pool, next := poolOf(t, f, route.Config{Check: healthCheck()})
		time.Sleep(500 * ms)
		begin := time.Now()
		require.NoError(t, pool.Close(t.Context()))
		assert.Zero(t, time.Since(begin))
		f.reset()
		time.Sleep(time.Minute)
		assert.Zero(t, f.checked("b:1"))
		f.set("a:1", mended)
		assert.Equal(t, 10, gets(t, next, 10))
	})
}

// All checks fail while hosts answer: no request does.
func TestRequirement5AllChecksFail(t *testing.T) {
	bubble(t, "no request fails", func(t *testing.T) {
		f := newFleet(10*ms, names...)
		for _, addr := range names {
			f.set(addr, func(r *replica) { r.check = 500 })
		}
		pool, next := poolOf(t, f, route.Config{Check: healthCheck()})
		r := loads(t, next, 5, time.Minute)
		assert.Zero(t, r.failures)
		assert.True(t, pool.Snapshot().Panics)
		for _, addr := range names {
			assert.Equal(t, "ill", health(t, pool, addr))
			assert.InDelta(t, 0.2, f.share(addr), 0.1)
		}
	})
}

// Checks that succeed do not bring back a host of which requests fail: they let another
// one find out, once.
func TestRequirement5ChecksAreNotTraffic(t *testing.T) {
	bubble(t, "requests fail, checks do not", func(t *testing.T) {
		f, d := newFleet(10*ms, names...), &diary{}
		f.set("a:1", failing)
		_, next := poolOf(t, f, route.Config{Observe: d.observe, Check: route.Check{Path: "/health", Every: time.Second}})
		loads(t, next, 10, time.Minute)
		assert.Empty(t, d.of(route.Returned))
		assert.Empty(t, d.of(route.FoundIll))
		ejected := d.of(route.Ejected)
		t.Logf("%d requests to it, %v", f.seen("a:1"), ejected)
		assert.InDelta(t, 4, len(ejected), 1, "0 s, about 2 s, about 12 s, about 32 s")
		assert.LessOrEqual(t, f.share("a:1"), 0.003)
	})
	bubble(t, "a host that is back is asked sooner", func(t *testing.T) {
		f, d := newFleet(10*ms, names...), &diary{}
		pool, next := poolOf(t, f, route.Config{Observe: d.observe, Check: route.Check{
			Path: "/health", Every: time.Second, Fall: 1000,
		}})
		time.Sleep(2 * time.Second) // or the first check decides
		f.set("a:1", func(r *replica) { r.err = errReset })
		loads(t, next, 5, 2*time.Minute)
		require.Equal(t, "ejected", health(t, pool, "a:1"))
		f.set("a:1", mended)
		require.Greater(t, shot(t, pool, "a:1").For, 5*time.Second)
		loads(t, next, 50, 4*time.Second)
		assert.Equal(t, "well", health(t, pool, "a:1"))
		assert.Len(t, d.of(route.Returned), 1)
	})
	bubble(t, "not before a second has passed", func(t *testing.T) {
		f := newFleet(ms, names...)
		pool, next := poolOf(t, f, route.Config{Check: route.Check{Path: "/health", Every: 10 * ms}})
		time.Sleep(2 * time.Second)
		f.set("a:1", failing)
		for health(t, pool, "a:1") == "well" {
			gets(t, next, 1)
		}
		time.Sleep(999 * ms)
		assert.Equal(t, "ejected", health(t, pool, "a:1"))
		time.Sleep(30 * ms)
		assert.Equal(t, "probation", health(t, pool, "a:1"))
	})
}

func drains(r *replica) { r.header = http.Header{"X-Health": {"drain"}} }

func TestRequirement5Drain(t *testing.T) {
	bubble(t, "no new request from the next on", func(t *testing.T) {
		f, d := newFleet(10*ms, names...), &diary{}
		pool, next := poolOf(t, f, route.Config{Observe: d.observe})
		gets(t, next, 50)
		long := newStream()
		f.set("a:1", func(r *replica) { drains(r); r.body = long })
		f.reset()
		for f.seen("a:1") == 0 {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://shop/", nil)
			require.NoError(t, err)
			resp, err := next.RoundTrip(req)
			require.NoError(t, err)
			if resp.Body == http.NoBody {
				continue
			}
			assert.Equal(t, "draining", health(t, pool, "a:1"))
			assert.EqualValues(t, 1, shot(t, pool, "a:1").InFlight)
			loads(t, next, 5, 29*time.Second)
			assert.Equal(t, 1, f.seen("a:1"))
			long.end <- io.EOF
			_, err = io.ReadAll(resp.Body)
			require.NoError(t, err, "what is in flight ends in peace")
		}
		require.Len(t, d.of(route.Drained), 1)
		assert.Equal(t, route.Event{Kind: route.Drained, Addr: "a:1", For: 30 * time.Second}, d.of(route.Drained)[0])
		f.set("a:1", func(r *replica) { r.header, r.body = nil, nil })
		time.Sleep(time.Second)
		assert.Equal(t, "probation", health(t, pool, "a:1"))
		loads(t, next, 50, time.Second)
		assert.Equal(t, "well", health(t, pool, "a:1"))
	})
	bubble(t, "all do", func(t *testing.T) {
		f := newFleet(10*ms, names...)
		for _, addr := range names {
			f.set(addr, drains)
		}
		pool, next := poolOf(t, f, route.Config{})
		r := loads(t, next, 50, time.Second)
		assert.Zero(t, r.failures)
		assert.True(t, pool.Snapshot().Panics || f.share("a:1") > 0.1)
	})
	bubble(t, "half of them do", func(t *testing.T) {
		f := newFleet(10*ms, names...)
		for _, addr := range names[:4] {
			f.set(addr, drains)
		}
		pool, next := poolOf(t, f, route.Config{})
		loads(t, next, 50, time.Second)
		f.reset()
		loads(t, next, 50, time.Second)
		assert.InDelta(t, 1, f.share("e:1"), 1e-9, "those who want nothing are no part of the threshold")
		assert.False(t, pool.Snapshot().Panics)
	})
	bubble(t, "another value, another header, off", func(t *testing.T) {
		for _, cfg := range []route.Config{
			{DrainHeader: "x-other"}, {DrainTime: route.Off}, {},
		} {
			f := newFleet(ms, "a:1", "b:1")
			f.set("a:1", func(r *replica) {
				drains(r)
				if cfg.DrainHeader == "" && cfg.DrainTime == 0 {
					r.header.Set("X-Health", "warn")
				}
			})
			pool, next := poolOf(t, f, cfg)
			gets(t, next, 20)
			assert.Equal(t, "well", health(t, pool, "a:1"))
		}
	})
	bubble(t, "checks see it, and see that it is over", func(t *testing.T) {
		f, d := newFleet(10*ms, names...), &diary{}
		pool, next := poolOf(t, f, route.Config{Observe: d.observe, Check: route.Check{Path: "/health", Every: time.Second}})
		time.Sleep(3 * time.Second)
		f.set("a:1", drains)
		time.Sleep(1300 * ms)
		assert.Equal(t, "draining", health(t, pool, "a:1"))
		f.set("a:1", func(r *replica) { r.header = nil })
		time.Sleep(3 * time.Second)
		assert.Equal(t, "probation", health(t, pool, "a:1"))
		gets(t, next, 50)
		assert.Equal(t, "well", health(t, pool, "a:1"))
	})
}

func TestBadInputCheck(t *testing.T) {
	for want, check := range map[string]route.Check{
		"Check has no Path, but other fields": {Every: time.Second},
		"Check has no Path, but":              {Transport: roundTripper(nil)},
		`Check.Path is "health"`:              {Path: "health"},
		`Check.Path is "/a#b"`:                {Path: "/a#b"},
		`Check.Path is "/%zz"`:                {Path: "/%zz"},
		"Check.Status is 7":                   {Path: "/", Status: 7},
		"Check has a ServiceHeader":           {Path: "/", ServiceHeader: "Server"},
		"Check.Every is -1s":                  {Path: "/", Every: -time.Second},
		"Check.Timeout is -1ns":               {Path: "/", Timeout: -1},
		"Check.Fall is -1":                    {Path: "/", Fall: -1},
		"Check.Rise is -2":                    {Path: "/", Rise: -2},
	} {
		_, err := route.New(route.Config{Names: []string{"shop"}, Hosts: hostsAt("a:1"), Check: check})
		require.ErrorContains(t, err, "route: Config."+want)
	}
	_, err := route.New(route.Config{Names: []string{"shop"}, Hosts: hostsAt("a:1"), Check: route.Check{Path: "/", Fall: -1, Rise: -1}})
	require.ErrorContains(t, err, "Fall")
	require.ErrorContains(t, err, "Rise")
}

// Checks of their own transport, to a real server that redirects, hangs and says much.
func TestRequirement5ChecksOnSockets(t *testing.T) {
	var elsewhere atomic.Int64
	var mode atomic.Value
	mode.Store("well")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" {
			elsewhere.Add(1)
			return
		}
		switch mode.Load() {
		case "redirect":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case "endless":
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, strings.Repeat("x", 1<<16))
			}
		default:
			_, _ = io.WriteString(w, "fine")
		}
	}))
	defer server.Close()
	events := make(chan route.Event, 100)
	pool := route.MustNew(route.Config{
		Names: []string{"shop"}, Hosts: []route.Host{{Addr: server.URL}, {Addr: "127.0.0.1:1"}},
		Observe: func(_ context.Context, e route.Event) { events <- e },
		Check:   route.Check{Path: "/health", Every: 20 * ms, Timeout: 20 * time.Second, Fall: 1, Rise: 1},
	})
	defer pool.Close(t.Context())
	next := func(kind route.Kind) route.Event {
		for {
			select {
			case e := <-events:
				if e.Kind == kind {
					return e
				}
			case <-time.After(20 * time.Second):
				require.Fail(t, "nothing happens", kind.String())
			}
		}
	}
	assert.Equal(t, "127.0.0.1:1", next(route.FoundIll).Addr)
	mode.Store("redirect")
	e := next(route.FoundIll)
	assert.ErrorContains(t, e.Err, "302")
	mode.Store("endless")
	next(route.FoundWell) // of which not all is read
	assert.Zero(t, elsewhere.Load())
}
