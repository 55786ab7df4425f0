package bench_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/bench"
	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/internal/rttest"
	"github.com/failsoft/failsoft/route"
)

const (
	restartServers = 3
	restartWorkers = 20
	restartWork    = 2 * time.Millisecond
	restartDrain   = 300 * time.Millisecond  // how long a server goes on serving
	restartAway    = 250 * time.Millisecond  // and how long it is gone
	restartPause   = 1500 * time.Millisecond // until it is the next one's turn
	restartChecks  = 100 * time.Millisecond
	restartReady   = "/readyz"
)

// restarting is a server that can be stopped, and started again at the same address.
type restarting struct {
	addr   string
	server *http.Server
	health *healthcheck.Checker
}

func (s *restarting) start(t *testing.T) {
	t.Helper()
	at := s.addr
	if at == "" {
		at = "127.0.0.1:0"
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", at)
	require.NoError(t, err)
	s.addr = listener.Addr().String()
	s.health = healthcheck.MustNew(healthcheck.Config{})
	require.NoError(t, s.health.Start())
	mux := http.NewServeMux()
	mux.Handle(restartReady, s.health.Handler(healthcheck.Ready))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if pause(r.Context(), restartWork) {
			_, _ = w.Write([]byte(answer))
		}
	})
	s.server = &http.Server{ReadHeaderTimeout: time.Second, Handler: s.health.InBand(mux)}
	go func() {
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the server stopped by itself: %v", err)
		}
	}()
}

// stop is what a service does that is told to go: package healthcheck has the order.
func (s *restarting) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	require.NoError(t, s.health.Shutdown(ctx, s.server, restartDrain))
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// A service of three servers is restarted, one after the other, while it is asked. There
// is no retry above, so that each request that meets a server which is gone is counted.
func TestRouteRestart(t *testing.T) {
	check := route.Check{Path: restartReady, Every: restartChecks}
	contenders := []bench.Route{bench.RouteOurs("failsoft, checks", route.Config{Check: check})}
	turns := 1 // in an ordinary run, for the time that it takes
	if inFull() {
		all := bench.Routes()
		contenders = append(contenders,
			bench.RouteOurs("failsoft, without the header", route.Config{DrainTime: route.Off}),
			bench.RouteOurs("failsoft, checks, without the header", route.Config{Check: check, DrainTime: route.Off}),
			all[1], all[4], all[5], all[6])
		turns = restartServers
	}
	tab := &table{name: "route, restart"}
	tab.row("", "requests", "failed", "failed %")
	for i, contender := range contenders {
		asked, failed, held := restart(t, contender, turns)
		if i == 0 {
			// Whose machine stops while a server drains hears of that too late: it is asked again.
			for tries := 1; tries < 5 && failed > 0 && held > restartDrain/3; tries++ {
				asked, failed, held = restart(t, contender, turns)
			}
			assert.Zero(t, failed, "failed requests; the machine stopped for %v at most", held)
		}
		tab.row(contender.Name, strconv.Itoa(asked), strconv.Itoa(failed), percent(100*float64(failed)/float64(asked)))
	}
	tab.publish(t)
}

// restart also returns how long the machine was held up at most.
func restart(t *testing.T, contender bench.Route, turns int) (asked, failed int, held time.Duration) {
	t.Helper()
	watched := rttest.HoldUps()
	servers := make([]*restarting, restartServers)
	var hosts []string
	for i := range servers {
		servers[i] = new(restarting)
		servers[i].start(t)
		hosts = append(hosts, servers[i].addr)
	}
	through, end := contender.New(hosts, nil)
	defer end()
	var over atomic.Bool
	var how atomic.Value // the last one failed
	begun := time.Now()
	var asks, fails atomic.Int64
	var all sync.WaitGroup
	for range restartWorkers {
		all.Go(func() {
			for !over.Load() {
				status, err := fetch(t.Context(), through, routeAt)
				asks.Add(1)
				if err != nil || status != http.StatusOK {
					fails.Add(1)
					how.Store(fmt.Sprintf("after %v: status %d, %v", time.Since(begun), status, err))
					pause(t.Context(), restartWork) // as long as an answer takes
				}
			}
		})
	}
	pause(t.Context(), restartAway)
	for _, s := range servers[:turns] {
		s.stop(t)
		pause(t.Context(), restartAway)
		s.start(t)
		pause(t.Context(), restartPause)
	}
	over.Store(true)
	all.Wait()
	for _, s := range servers {
		s.stop(t)
	}
	if failed := how.Load(); failed != nil {
		t.Logf("%s: the last failure came %v", contender.Name, failed)
	}
	return int(asks.Load()), int(fails.Load()), watched()
}
