package route_test

import (
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/route"
)

// eventLog keeps what a Pool tells.
type eventLog struct {
	mu     sync.Mutex
	events []string
}

func (l *eventLog) observe(_ context.Context, e route.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, strings.TrimSpace(e.Kind.String()+" "+e.Addr))
}

// all returns what was told since it was last asked.
func (l *eventLog) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	events := l.events
	l.events = nil
	return events
}

func addrs(pool *route.Pool) (all []string) {
	for _, h := range pool.Snapshot().Hosts {
		all = append(all, h.Addr)
	}
	return all
}

// byHand is a Resolver that says what it is told to.
type byHand struct{ say chan update }

func newByHand() byHand { return byHand{make(chan update)} }

func (r byHand) resolve(ctx context.Context, update func([]route.Host, error)) {
	for {
		select {
		case u := <-r.say:
			update(u.hosts, u.err)
		case <-ctx.Done():
			return
		}
	}
}

// hosts has been said when it returns, and taken by the Pool in a bubble.
func (r byHand) hosts(hosts ...route.Host) {
	r.say <- update{hosts: hosts}
	synctest.Wait()
}

func (r byHand) fail(err error) {
	r.say <- update{err: err}
	synctest.Wait()
}

func h(addr string) route.Host { return route.Host{Addr: addr} }

// answers is a transport that knows what hosts answer.
func answers(status func(host string) int) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if req.Body != nil {
			req.Body.Close()
		}
		return &http.Response{
			StatusCode: status(req.URL.Host), Request: req, Body: http.NoBody,
			Header: http.Header{"Host": {req.URL.Host}},
		}, nil
	})
}

func fine(string) int { return http.StatusOK }

// ask sends one request and returns which host it went to.
func ask(ctx context.Context, next http.RoundTripper) (host string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://web/", nil)
	if err != nil {
		return "", err
	}
	resp, err := next.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	return resp.Header.Get("Host"), nil
}

func stalled(ctx context.Context, _ func([]route.Host, error)) { <-ctx.Done() }

// A caller waits for a Resolver as long as it wants to wait itself.
func TestRequirement2StalledResolver(t *testing.T) {
	bubble(t, "until the deadline", func(t *testing.T) {
		pool := route.MustNew(route.Config{Names: []string{"web"}, Resolver: stalled})
		defer pool.Close(t.Context())
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		begun := time.Now()
		var closed atomic.Bool
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://web/", closer{&closed})
		require.NoError(t, err)
		_, err = pool.Transport(answers(fine)).RoundTrip(req)
		assert.Equal(t, 100*time.Millisecond, time.Since(begun))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		notSent, ok := errors.AsType[*route.NotSentError](err)
		require.True(t, ok)
		assert.True(t, notSent.Unsent())
		assert.True(t, closed.Load(), "the body")
	})
	bubble(t, "until the client's timeout", func(t *testing.T) {
		pool := route.MustNew(route.Config{Names: []string{"web"}, Resolver: stalled})
		defer pool.Close(t.Context())
		client := &http.Client{Transport: pool.Transport(answers(fine)), Timeout: 100 * time.Millisecond}
		begun := time.Now()
		_, err := client.Get("http://web/")
		assert.Equal(t, 100*time.Millisecond, time.Since(begun))
		timeout, ok := errors.AsType[interface {
			error
			Timeout() bool
		}](err)
		assert.True(t, ok && timeout.Timeout(), err)
	})
	bubble(t, "until it leaves", func(t *testing.T) {
		pool := route.MustNew(route.Config{Names: []string{"web"}, Resolver: stalled})
		defer pool.Close(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := ask(ctx, pool.Transport(answers(fine)))
		assert.ErrorIs(t, err, context.Canceled)
	})
	bubble(t, "until the pool is closed", func(t *testing.T) {
		pool := route.MustNew(route.Config{Names: []string{"web"}, Resolver: stalled})
		closed := make(chan error, 1)
		time.AfterFunc(time.Second, func() { closed <- pool.Close(t.Context()) })
		_, err := ask(t.Context(), pool.Transport(answers(fine)))
		assert.ErrorIs(t, err, route.ErrClosed)
		assert.NoError(t, <-closed)
	})
	bubble(t, "until the first hosts", func(t *testing.T) {
		resolver := newByHand()
		pool := route.MustNew(route.Config{Names: []string{"web"}, Resolver: resolver.resolve})
		defer pool.Close(t.Context())
		begun := time.Now()
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				host, err := ask(t.Context(), pool.Transport(answers(fine)))
				assert.NoError(t, err)
				assert.Equal(t, "a", host)
			})
		}
		time.Sleep(time.Second)
		resolver.hosts(h("a"))
		all.Wait()
		assert.Equal(t, time.Second, time.Since(begun))
	})
	bubble(t, "not at all, with hosts to begin with", func(t *testing.T) {
		pool := route.MustNew(route.Config{Names: []string{"web"}, Hosts: []route.Host{h("a")}, Resolver: stalled})
		defer pool.Close(t.Context())
		begun := time.Now()
		host, err := ask(t.Context(), pool.Transport(answers(fine)))
		require.NoError(t, err)
		assert.Equal(t, "a", host)
		assert.Zero(t, time.Since(begun))
	})
	// A Close that waits for a Resolver that does not hear is over with its context.
	bubble(t, "but deaf", func(t *testing.T) {
		hear := make(chan struct{})
		pool := route.MustNew(route.Config{Names: []string{"web"}, Resolver: func(context.Context, func([]route.Host, error)) { <-hear }})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.ErrorIs(t, pool.Close(ctx), context.DeadlineExceeded)
		close(hear)
		assert.NoError(t, pool.Close(t.Context()))
	})
}

type closer struct{ closed *atomic.Bool }

func (closer) Read([]byte) (int, error) { return 0, io.EOF }
func (c closer) Close() error           { c.closed.Store(true); return nil }

// Until there are hosts, what is wrong is said to who calls; from then on it is known
// who can be asked.
func TestRequirement2FirstAnswerFails(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		resolver := newByHand()
		var events eventLog
		pool := route.MustNew(route.Config{Names: []string{"web"}, Resolver: resolver.resolve, Observe: events.observe})
		defer pool.Close(t.Context())
		next := pool.Transport(answers(fine))
		errs := make(chan error)
		go func() {
			_, err := ask(t.Context(), next)
			errs <- err
		}()
		synctest.Wait()
		for _, text := range []string{"down", "still down"} {
			resolver.fail(errors.New(text))
			if text == "down" { // who waits is told
				assert.ErrorContains(t, <-errs, text)
			}
			_, err := ask(t.Context(), next)
			assert.ErrorIs(t, err, route.ErrNoHosts)
			assert.EqualError(t, err, `route: "web": no host is known: `+text)
		}
		resolver.hosts()
		_, err := ask(t.Context(), next)
		assert.EqualError(t, err, `route: "web": no host is known: route: Resolver: it lists no hosts`)
		resolver.hosts(h("a"))
		host, err := ask(t.Context(), next)
		require.NoError(t, err)
		assert.Equal(t, "a", host)
		assert.Equal(t, []string{"resolve failed", "resolve failed", "resolve failed", "added a"}, events.all())
	})
}

// Whatever is wrong with an answer, the hosts stay.
func TestRequirement2KeepsTheLastHosts(t *testing.T) {
	for name, wrong := range map[string]update{
		"an error":       {err: errors.New("down")},
		"error and host": {hosts: []route.Host{h("b")}, err: errors.New("down")},
		"empty":          {hosts: []route.Host{}},
		"nil":            {},
		"duplicates":     {hosts: []route.Host{h("b"), h("b")}},
		"userinfo":       {hosts: []route.Host{h("b"), h("user:secret@c")}},
		"weight":         {hosts: []route.Host{h("b"), {Addr: "c", Weight: 1e9}}},
		"port":           {hosts: []route.Host{h("b"), h("c:70000")}},
	} {
		bubble(t, name, func(t *testing.T) {
			resolver := newByHand()
			var events eventLog
			pool := route.MustNew(route.Config{
				Names: []string{"web"}, Resolver: resolver.resolve,
				Observe: func(ctx context.Context, e route.Event) {
					events.observe(ctx, e)
					if e.Kind == route.ResolveFailed && assert.Error(t, e.Err) {
						assert.NotContains(t, e.Err.Error(), "secret")
					}
				},
			})
			defer pool.Close(t.Context())
			resolver.hosts(h("a"))
			resolver.say <- wrong
			synctest.Wait()
			assert.Equal(t, []string{"a"}, addrs(pool))
			assert.Equal(t, []string{"added a", "resolve failed"}, events.all())
			host, err := ask(t.Context(), pool.Transport(answers(fine)))
			require.NoError(t, err)
			assert.Equal(t, "a", host)
		})
	}
}

// What is wrong with hosts is said, of each, before there is a Pool.
func TestBadInputHosts(t *testing.T) {
	for name, test := range map[string]struct {
		hosts []route.Host
		want  []string
	}{
		"none":        {nil, []string{"Config.Hosts is empty, and there is no Resolver"}},
		"empty":       {[]route.Host{}, []string{"Config.Hosts is empty, and there is no Resolver"}},
		"duplicates":  {[]route.Host{h("a:1"), h("A:1")}, []string{`Config.Hosts: "A:1" is there twice`}},
		"userinfo":    {[]route.Host{h("http://user:secret@a:1")}, []string{`"a:1": what stands before the @`}},
		"weights":     {[]route.Host{{Addr: "a", Weight: 1e9}, {Addr: "b", Weight: -1}}, []string{`"a": the weight is 1000000000`, `"b": the weight is -1`}},
		"ports":       {[]route.Host{h("a:0"), h("a:65536"), h("a:b"), h("a:")}, []string{`"a:0"`, `"a:65536"`, `"a:b"`, `"a:"`}},
		"no address":  {[]route.Host{h(""), h(":80"), h("http://")}, []string{`"" is`, `":80" is`, `"http://" is`}},
		"no host":     {[]route.Host{h("a/b"), h("a?b"), h("a#b"), h("a b"), h("::1")}, []string{`"a/b"`, `"a?b"`, `"a#b"`, `"a b"`, `"::1"`}},
		"no scheme":   {[]route.Host{h("ftp://a"), h("unix:///a")}, []string{`"ftp://a": the scheme`, `"unix:///a": the scheme`}},
		"no role":     {[]route.Host{{Addr: "a", Role: 9}}, []string{`"a": there is no role 9`}},
		"all of them": {[]route.Host{h("a b"), h("c"), h("c")}, []string{`"a b"`, `"c" is there twice`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := route.New(route.Config{Names: []string{"web"}, Hosts: test.hosts})
			for _, want := range test.want {
				assert.ErrorContains(t, err, want)
			}
			if err != nil {
				assert.NotContains(t, err.Error(), "secret")
			}
		})
	}
	pool := route.MustNew(route.Config{Names: []string{"web"}, Hosts: []route.Host{h("a:1"), h("[::1]:1"), {Addr: "https://b", Weight: 1000}}})
	assert.Equal(t, []string{"a:1", "[::1]:1", "b"}, addrs(pool))
	assert.InDelta(t, 1, pool.Snapshot().Hosts[0].Weight, 0, "0 means 1")
}

// What is known of a host is not lost because it is named again, in whatever order and
// with whatever weight, zone and role.
func TestRequirement2SameHosts(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		resolver := newByHand()
		var events eventLog
		pool := route.MustNew(route.Config{
			Names: []string{"web"}, Resolver: resolver.resolve, Observe: events.observe,
			EjectTime: time.Hour, MaxEjectTime: time.Hour, PanicThreshold: route.Off,
		})
		defer pool.Close(t.Context())
		resolver.hosts(h("a"), h("b"), h("c"))
		wait := make(chan struct{})
		next := pool.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
			switch {
			case req.URL.Path == "/wait":
				<-wait
			case req.URL.Host == "c":
				return answers(func(string) int { return 500 }).RoundTrip(req)
			default:
				time.Sleep(10 * time.Millisecond)
			}
			return answers(fine).RoundTrip(req)
		}))
		var waits sync.WaitGroup
		for events.all(); len(events.all()) == 0; { // until c is ejected
			_, err := ask(t.Context(), next)
			require.NoError(t, err)
		}
		waits.Go(func() {
			resp, err := next.RoundTrip(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://web/wait", nil))
			if assert.NoError(t, err) {
				resp.Body.Close()
			}
		})
		synctest.Wait()
		before := pool.Snapshot()
		require.Equal(t, "ejected", before.Hosts[2].Health)
		resolver.hosts(h("a"), h("b"), h("c"))
		resolver.hosts(h("a"), h("b"), h("c"))
		assert.Equal(t, before, pool.Snapshot())
		resolver.hosts(route.Host{Addr: "c", Weight: 7, Zone: "x", Role: route.Replica}, h("b"), h("a"))
		after := pool.Snapshot()
		c := before.Hosts[2]
		c.Weight, c.Zone, c.Role = 7, "x", route.Replica
		assert.Equal(t, []route.HostSnapshot{c, before.Hosts[1], before.Hosts[0]}, after.Hosts)
		assert.Empty(t, events.all())
		close(wait)
		waits.Wait()
		for _, host := range pool.Snapshot().Hosts {
			assert.Zero(t, host.InFlight, host.Addr)
		}
	})
}

// A host that was gone is a new one; one that stays is not.
func TestRequirement2EventsInOrder(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		resolver := newByHand()
		var events eventLog
		pool := route.MustNew(route.Config{
			Names: []string{"web"}, Hosts: []route.Host{h("d"), h("a")}, Resolver: resolver.resolve, Observe: events.observe,
		})
		defer pool.Close(t.Context())
		resolver.hosts(h("c"), h("a"), h("b"))
		assert.Equal(t, []string{"added d", "added a", "added c", "added b", "removed d"}, events.all())
		assert.Equal(t, []string{"c", "a", "b"}, addrs(pool))
		resolver.hosts(h("d"))
		assert.Equal(t, []string{"added d", "removed c", "removed a", "removed b"}, events.all())
		resolver.hosts(h("a"))
		resolver.fail(errors.New("down"))
		assert.Equal(t, []string{"added a", "removed d", "resolve failed"}, events.all())
		require.NoError(t, pool.Close(t.Context()))
		assert.Empty(t, events.all())
	})
}

// A Resolver that gives up is started again, not too often; its Pool goes on meanwhile.
func TestRequirement2ResolverGivesUp(t *testing.T) {
	for name, end := range map[string]func(){
		"returns": func() {},
		"panics":  func() { panic("no") },
	} {
		bubble(t, name, func(t *testing.T) {
			begun := time.Now()
			starts := make(chan time.Duration, 100)
			var events eventLog
			pool := route.MustNew(route.Config{
				Names: []string{"web"}, Observe: events.observe,
				Resolver: func(_ context.Context, update func([]route.Host, error)) {
					starts <- time.Since(begun)
					update([]route.Host{h("a")}, nil)
					end()
				},
			})
			defer pool.Close(t.Context())
			time.Sleep(3 * time.Minute)
			host, err := ask(t.Context(), pool.Transport(answers(fine)))
			require.NoError(t, err)
			assert.Equal(t, "a", host)
			assert.Equal(t, []string{"added a", "resolve failed", "resolve failed"}, events.all()[:3])
			at := <-starts
			for _, want := range []float64{1, 2, 4, 8, 16, 30, 30} {
				next := <-starts
				assert.InDelta(t, want, (next - at).Seconds(), want/5)
				at = next
			}
		})
	}
	bubble(t, "ends its goroutine", func(t *testing.T) {
		starts := make(chan struct{}, 100)
		pool := route.MustNew(route.Config{
			Names: []string{"web"}, Resolver: func(context.Context, func([]route.Host, error)) {
				starts <- struct{}{}
				runtime.Goexit()
			},
		})
		defer pool.Close(t.Context())
		<-starts
		<-starts
	})
}

// What a Resolver says after Close is not heard.
func TestRequirement2ClosedPool(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		var events eventLog
		pool := route.MustNew(route.Config{
			Names: []string{"web"}, Hosts: []route.Host{h("a")}, Observe: events.observe,
			Resolver: func(ctx context.Context, update func([]route.Host, error)) {
				<-ctx.Done()
				update([]route.Host{h("b")}, nil)
				update(nil, errors.New("down"))
			},
		})
		require.NoError(t, pool.Close(t.Context()))
		assert.Equal(t, []string{"a"}, addrs(pool))
		assert.Equal(t, []string{"added a"}, events.all())
		host, err := ask(t.Context(), pool.Transport(answers(fine)))
		require.NoError(t, err)
		assert.Equal(t, "a", host)
	})
}

// Hosts come and go under load: no request fails, and none that begins after a host is
// gone is sent there.
func TestRequirement2HostsUnderLoad(t *testing.T) {
	const servers, workers, changes = 6, 8, 150
	var clock atomic.Int64 // orders what happens
	var gone [servers]atomic.Int64
	var late, served atomic.Int64
	hosts := make([]route.Host, servers)
	for i := range servers {
		gone[i].Store(math.MaxInt64)
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			begun, err := strconv.ParseInt(r.Header.Get("Begun"), 10, 64)
			if err != nil || begun > gone[i].Load() {
				late.Add(1)
			}
			served.Add(1)
		}))
		t.Cleanup(server.Close)
		hosts[i] = h(server.Listener.Addr().String())
	}
	say := make(chan []route.Host)
	heard := make(chan struct{})
	pool := route.MustNew(route.Config{
		Names: []string{"web"}, Hosts: hosts,
		Resolver: func(ctx context.Context, update func([]route.Host, error)) {
			for {
				select {
				case some := <-say:
					update(some, nil)
					heard <- struct{}{}
				case <-ctx.Done():
					return
				}
			}
		},
	})
	next := pool.Transport(patient(t))
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	for range workers {
		work.Go(func() {
			for ctx.Err() == nil {
				req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://web/", nil)
				req.Header.Set("Begun", strconv.FormatInt(clock.Add(1), 10))
				resp, err := next.RoundTrip(req)
				if !assert.NoError(t, err) {
					return
				}
				resp.Body.Close()
				assert.Equal(t, 200, resp.StatusCode)
			}
		})
	}
	for range changes {
		there := rand.Perm(servers)[:1+rand.IntN(servers)]
		var some []route.Host
		in := make(map[int]bool)
		for _, i := range there {
			gone[i].Store(math.MaxInt64)
			some = append(some, hosts[i])
			in[i] = true
		}
		say <- some
		<-heard
		for i := range servers {
			if !in[i] && gone[i].Load() == math.MaxInt64 {
				gone[i].Store(clock.Add(1))
			}
		}
		for before := served.Load(); served.Load() < before+10; {
			runtime.Gosched()
		}
	}
	cancel()
	work.Wait()
	assert.Zero(t, late.Load(), "requests to hosts that are gone")
	var inFlight int64
	for _, host := range pool.Snapshot().Hosts {
		inFlight += host.InFlight
	}
	assert.Zero(t, inFlight)
	require.NoError(t, pool.Close(t.Context()))
}
