//go:build unix

package main_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inter is the balancer's interval. One answer is enough for it to act.
const inter = 500 * time.Millisecond

// site is three servers whose health a balancer learns from hacheck.
type site struct {
	spool  string
	probes atomic.Int64 // that reached a server
	ports  []string
	h      *haproxy
}

func newSite(t *testing.T) *site {
	t.Helper()
	part(t, "haproxy", "/usr/sbin")
	s := &site{spool: filepath.Join(t.TempDir(), "spool")}
	listen := freePort(t)
	start(t, nil, hacheckBinary.build(t), "serve", "-spool-root", s.spool, "-listen", address(listen))
	backend := []string{
		// One line for all: the state that the balancer sends has the port of each.
		"option httpchk GET /http/orders/1/health",
		"http-check send-state",
		fmt.Sprintf("default-server check port %d inter %dms fall 1 rise 1", listen, inter.Milliseconds()),
	}
	for i := range servers {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/health" {
				s.probes.Add(1)
			}
			_, _ = fmt.Fprintf(w, "server %d\n", i)
		}))
		t.Cleanup(srv.Close)
		u, err := url.Parse(srv.URL)
		require.NoError(t, err)
		s.ports = append(s.ports, u.Port())
		backend = append(backend, fmt.Sprintf("server s%d %s", i, u.Host))
	}
	own := fmt.Sprintf("http://%s/health", address(listen))
	eventually(t, "hacheck is well", func() bool { return code(t, own) == http.StatusOK })
	s.h = newHAProxy(t, backend...)
	s.all(t, "UP")
	return s
}

// hand runs a command of an operator.
func (s *site) hand(t *testing.T, name string, args ...string) {
	t.Helper()
	command(t, nil, hacheckBinary.build(t), append([]string{name, "-spool-root", s.spool}, args...)...)
}

func (s *site) all(t *testing.T, status string) {
	t.Helper()
	for i := range s.ports {
		eventually(t, fmt.Sprintf("s%d is %s", i, status), s.h.is(t, fmt.Sprintf("s%d", i), status))
	}
}

func TestHacheck(t *testing.T) {
	begin := time.Now()
	s := newSite(t)
	l := newLoad(t, s.h.url, 4, home)
	slack := 4 * time.Second // the command, the look at the balancer, and others on this machine

	down := time.Now()
	s.hand(t, "hadown", "-r", "moving house", "-e", "4s", "orders:"+s.ports[0])
	out := eventually(t, "the server is out", s.h.is(t, "s0", "DOWN"))
	assert.Less(t, time.Since(down), inter+slack)
	assert.Equal(t, "UP", s.h.status(t, "s1"))
	assert.Equal(t, "UP", s.h.status(t, "s2"))

	eventually(t, "its time is over and it is in again", s.h.is(t, "s0", "UP"))
	in := time.Since(down)
	assert.GreaterOrEqual(t, in, 4*time.Second, "not before")
	assert.Less(t, in, 4*time.Second+inter+slack)
	t.Logf("out after %v, in again %v after hadown -e 4s", out, in.Round(time.Millisecond))

	s.hand(t, "hadown", "-r", "moving house", "orders:"+s.ports[1])
	eventually(t, "the server is out", s.h.is(t, "s1", "DOWN"))
	up := time.Now()
	s.hand(t, "haup", "orders:"+s.ports[1])
	eventually(t, "the server is in", s.h.is(t, "s1", "UP"))
	assert.Less(t, time.Since(up), inter+slack)

	l.end()
	assert.Empty(t, l.failed, "a server that is taken out serves what is under way")
	t.Logf("%d requests, %d failed", l.total, len(l.failed))

	// The machine as a whole.
	s.hand(t, "hadown", "-r", "burning", "all")
	s.all(t, "DOWN")
	assert.Equal(t, http.StatusServiceUnavailable, code(t, s.h.url))
	s.hand(t, "haup", "all")
	s.all(t, "UP")
	assert.Equal(t, http.StatusOK, code(t, s.h.url))

	// The balancer has asked twice a second for each, and an answer is good for 10 s.
	allowed := servers * (1 + int(time.Since(begin)/(10*time.Second)))
	t.Logf("%d probes of %d servers in %v", s.probes.Load(), servers, time.Since(begin).Round(time.Second))
	assert.LessOrEqual(t, int(s.probes.Load()), allowed)
	assert.GreaterOrEqual(t, int(s.probes.Load()), servers)
}
