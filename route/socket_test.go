package route_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/route"
)

// 6,400 requests by 64 workers to 2 hosts open about as many connections as there are
// workers for each, and not one for each request. Where dialing is slow it is more by chance:
// a worker takes a connection that has become free meanwhile, and the dialed one is for nobody.
func TestPoolKeepsItsConnections(t *testing.T) {
	const most = 130
	opened := connectionsOfAPool(t)
	for tries := 1; tries < 5 && opened > most; tries++ {
		opened = connectionsOfAPool(t)
	}
	assert.LessOrEqual(t, opened, int64(most))
}

func connectionsOfAPool(t *testing.T) int64 {
	t.Helper()
	var opened atomic.Int64
	var hosts []route.Host
	for range 2 {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "hello")
		}))
		server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				opened.Add(1)
			}
		}
		server.Start()
		t.Cleanup(server.Close)
		hosts = append(hosts, route.Host{Addr: server.URL})
	}
	pool := route.MustNew(route.Config{Names: []string{"shop"}, Hosts: hosts})
	defer pool.Close(t.Context())
	next := pool.Transport(nil)
	var all sync.WaitGroup
	var failed atomic.Int64
	for range 64 {
		all.Go(func() {
			for range 100 {
				status, err := get(t.Context(), next)
				for tries := 0; tries < 10 && isDialTimeout(err); tries++ { // see patient
					status, err = get(t.Context(), next)
				}
				if err != nil || status != http.StatusOK {
					failed.Add(1)
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d connections", opened.Load())
	assert.Zero(t, failed.Load())
	return opened.Load()
}

func isDialTimeout(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial" && op.Timeout()
}

// patient is a transport that dials for as long as it takes: on a busy machine the two
// seconds of the pool's own can be too few.
func patient(t *testing.T) http.RoundTripper {
	base := &http.Transport{MaxIdleConnsPerHost: 100}
	t.Cleanup(base.CloseIdleConnections)
	return base
}

// Races: picks, ejections, probations, drains, checks and snapshots at once.
func TestRequirement4UnderLoad(t *testing.T) {
	var hosts []route.Host
	var turn atomic.Int64
	for i := range 4 {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			bad := turn.Load()%4 == int64(i)
			switch {
			case bad && r.URL.Path == "/health" && turn.Load()%3 == 0, bad && turn.Load()%3 == 1:
				w.WriteHeader(http.StatusServiceUnavailable)
			case bad && turn.Load()%3 == 2:
				w.Header().Set("X-Health", "drain")
			}
		}))
		t.Cleanup(server.Close)
		hosts = append(hosts, route.Host{Addr: server.URL})
	}
	d := &diary{}
	pool, err := route.New(route.Config{
		Names: []string{"shop"}, Hosts: hosts, EjectTime: 20 * ms, DrainTime: 20 * ms, Observe: d.observe,
		Check: route.Check{Path: "/health", Every: 10 * ms, Fall: 1, Rise: 1},
	})
	require.NoError(t, err)
	next := pool.Transport(patient(t))
	kinds := []route.Kind{route.Ejected, route.Returned, route.Drained, route.FoundIll, route.FoundWell}
	without := func(kind route.Kind) bool { return len(d.of(kind)) == 0 }
	var all sync.WaitGroup
	var over atomic.Bool
	for range 8 {
		all.Go(func() {
			for !over.Load() {
				_, err := get(t.Context(), next)
				assert.NoError(t, err)
			}
		})
	}
	// A busy machine takes longer than a second to get round to each of them.
	for begun := time.Now(); time.Since(begun) < time.Second ||
		slices.ContainsFunc(kinds, without) && time.Since(begun) < 30*time.Second; {
		turn.Add(1)
		_ = pool.Snapshot()
		<-time.After(25 * ms)
	}
	over.Store(true)
	all.Wait()
	require.NoError(t, pool.Close(t.Context()))
	for _, h := range pool.Snapshot().Hosts {
		assert.Zero(t, h.InFlight)
	}
	for _, kind := range kinds {
		assert.False(t, without(kind), kind.String())
	}
}
