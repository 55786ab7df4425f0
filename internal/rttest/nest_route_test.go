package rttest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/hedge"
	"github.com/failsoft/failsoft/internal/rttest"
	"github.com/failsoft/failsoft/retry"
	"github.com/failsoft/failsoft/route"
)

// itself routes each request to the host that it is for: the contract's scripts have
// one server, whatever its name is.
type itself struct {
	next http.RoundTripper

	mu    sync.Mutex
	pools map[string]http.RoundTripper
}

func routed(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return &itself{next: next, pools: make(map[string]http.RoundTripper)}
}

func (s *itself) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil || req.URL.Host == "" {
		return s.next.RoundTrip(req)
	}
	return s.of(req.URL.Host).RoundTrip(req)
}

func (s *itself) of(service string) http.RoundTripper {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pools[service] == nil {
		s.pools[service] = route.MustNew(route.Config{
			Names: []string{service}, Hosts: []route.Host{{Addr: service}}, TLSNameHandled: true,
		}).Transport(s.next)
	}
	return s.pools[service]
}

func (s *itself) CloseIdleConnections() {
	if c, ok := s.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func TestNestOverRouteKeepsTheContract(t *testing.T) {
	t.Run("retry over route", func(t *testing.T) {
		rttest.Client(t, func(next http.RoundTripper) http.RoundTripper {
			return patient(rich()).Transport(routed(next))
		})
	})
	t.Run("breaker over route", func(t *testing.T) {
		rttest.Client(t, func(next http.RoundTripper) http.RoundTripper {
			return unmoved().Transport(routed(next))
		})
	})
	t.Run("hedge over route", func(t *testing.T) {
		rttest.Client(t, func(next http.RoundTripper) http.RoundTripper {
			return restless(rich()).Transport(routed(next))
		}, rttest.Overlaps)
	})
	t.Run("retry over hedge over breaker over route", func(t *testing.T) {
		rttest.Client(t, func(next http.RoundTripper) http.RoundTripper {
			shared := rich()
			hedged := restless(shared.SpendOnly()).Transport(unmoved().Transport(routed(next)))
			return patient(shared).Transport(hedged)
		}, rttest.Overlaps)
	})
}

// lands counts the requests that each host gets, of which some fail.
func lands(status map[string]int) (base, func() []string) {
	var mu sync.Mutex
	var order []string
	return func(req *http.Request) (*http.Response, error) {
			mu.Lock()
			order = append(order, req.URL.Host)
			mu.Unlock()
			if status[req.URL.Host] == 0 {
				return nil, &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}
			}
			return replyWith(req, status[req.URL.Host]), nil
		}, func() []string {
			mu.Lock()
			defer mu.Unlock()
			defer func() { order = nil }()
			return order
		}
}

var threeHosts = []route.Host{{Addr: "a:1"}, {Addr: "b:1"}, {Addr: "c:1"}}

// Retry does not know of hosts, and route not of retries: what they tell each other is
// enough for each attempt to go somewhere else.
func TestAttemptsGoToDifferentHosts(t *testing.T) {
	for name, first := range map[string]int{"after a status": http.StatusServiceUnavailable, "after an error": 0} {
		t.Run(name, func(t *testing.T) {
			server, order := lands(map[string]int{"a:1": first, "b:1": first, "c:1": http.StatusOK})
			for range 50 {
				pool := route.MustNew(route.Config{Names: []string{"shop.test"}, Hosts: threeHosts})
				retrier := retry.MustNew(retry.Config{BaseDelay: retry.Immediately, Budget: rich()})
				resp, err := fetch(t, retrier.Transport(pool.Transport(server)))
				require.NoError(t, err)
				require.Equal(t, 200, resp.StatusCode)
				got := order()
				seen := map[string]bool{}
				for _, host := range got {
					assert.False(t, seen[host], "%v", got)
					seen[host] = true
				}
			}
		})
	}
	t.Run("of a hedge over a retry", func(t *testing.T) {
		slow := base(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		server, order := lands(map[string]int{"a:1": 200, "b:1": 200, "c:1": 200})
		var n atomic.Int64
		first := base(func(req *http.Request) (*http.Response, error) {
			resp, err := server(req)
			if n.Add(1)%2 == 1 {
				return slow(req)
			}
			return resp, err
		})
		pool := route.MustNew(route.Config{Names: []string{"shop.test"}, Hosts: threeHosts})
		hedger := hedge.MustNew(hedge.Config{Delay: time.Millisecond, Percent: 100, Budget: rich()})
		for range 20 {
			resp, err := fetch(t, hedger.Transport(pool.Transport(first)))
			require.NoError(t, err)
			resp.Body.Close()
			got := order()
			require.Len(t, got, 2)
			assert.NotEqual(t, got[0], got[1])
		}
	})
}

// instance is one server of a service, which can be replaced by a newer one.
type instance struct {
	addr    string
	server  *http.Server
	checker *healthcheck.Checker
	served  *atomic.Int64
}

func start(t *testing.T, addr string) *instance {
	t.Helper()
	listener, err := net.Listen("tcp", addr)
	// Another process may have got a port meanwhile that was given back.
	for begun := time.Now(); err != nil && time.Since(begun) < 30*time.Second; {
		<-time.After(50 * time.Millisecond)
		listener, err = net.Listen("tcp", addr)
	}
	require.NoError(t, err)
	i := &instance{addr: listener.Addr().String(), checker: healthcheck.MustNew(healthcheck.Config{}), served: new(atomic.Int64)}
	require.NoError(t, i.checker.Start())
	i.server = &http.Server{ReadHeaderTimeout: time.Second, Handler: i.checker.InBand(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			i.served.Add(1)
			select {
			case <-time.After(2 * time.Millisecond):
			case <-r.Context().Done():
			}
			_, _ = io.WriteString(w, "hello")
		}))}
	go func() { _ = i.server.Serve(listener) }()
	return i
}

func (i *instance) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	assert.NoError(t, i.checker.Shutdown(ctx, i.server, 100*time.Millisecond))
}

// Three servers are replaced one after the other, each of which first says that it
// drains and is then shut down: no request fails.
func TestRollingRestartFailsNoRequest(t *testing.T) {
	instances := make([]*instance, 3)
	hosts := make([]route.Host, 3)
	for i := range instances {
		instances[i] = start(t, "127.0.0.1:0")
		hosts[i] = route.Host{Addr: instances[i].addr}
	}
	pool := route.MustNew(route.Config{
		Names: []string{"shop.test"}, Hosts: hosts,
		DrainTime: 300 * time.Millisecond, EjectTime: 100 * time.Millisecond,
	})
	retrier := retry.MustNew(retry.Config{})
	transport := retrier.Transport(pool.Transport(nil))
	stop := make(chan struct{})
	var all sync.WaitGroup
	var sent, failed atomic.Int64
	for range 8 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				sent.Add(1)
				resp, err := fetch(t, transport)
				if err != nil || resp.StatusCode != http.StatusOK {
					failed.Add(1)
					t.Errorf("%v %v", resp, err)
					return
				}
				if _, err = io.Copy(io.Discard, resp.Body); err != nil {
					failed.Add(1)
					t.Errorf("the body broke off: %v", err)
				}
				resp.Body.Close()
			}
		})
	}
	pause := func(d time.Duration) { <-time.After(d) }
	pause(200 * time.Millisecond)
	for i, old := range instances {
		old.stop(t)
		pause(50 * time.Millisecond) // nobody listens
		now := start(t, old.addr)
		instances[i] = now
		require.Eventually(t, func() bool { return now.served.Load() > 0 }, 30*time.Second, 5*time.Millisecond)
	}
	close(stop)
	all.Wait()
	t.Logf("%d requests, %d failed", sent.Load(), failed.Load())
	assert.Zero(t, failed.Load())
	for _, now := range instances {
		now.stop(t)
	}
	require.NoError(t, pool.Close(t.Context()))
}
