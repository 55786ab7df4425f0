//go:build unix

package main_test

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const servers = 3

// fleet is three processes of the service behind a balancer that asks them whether they are
// ready. They are patient with the database: on a busy machine the first connection to it may
// take a second, and what is coupled to it would be refused until the next probe.
func fleet(t *testing.T, drain string) (*postgres, []*service, *haproxy) {
	t.Helper()
	part(t, "haproxy", "/usr/sbin")
	db := newPrimary(t)
	backend := []string{"option httpchk GET /readyz", "default-server check inter 200ms fall 2 rise 1"}
	var all []*service
	for i := range servers {
		s := newService(t, db.url, "", "-drain", drain, "-period", "10s", "-timeout", "10s")
		all = append(all, s)
		backend = append(backend, fmt.Sprintf("server s%d %s", i, strings.TrimPrefix(s.url, "http://")))
	}
	h := newHAProxy(t, backend...)
	for i := range all {
		eventually(t, "the server is in", h.is(t, fmt.Sprintf("s%d", i), "UP"))
	}
	return db, all, h
}

// Every server is ended and started again while requests come: none of them fails.
func TestRollingRestart(t *testing.T) {
	db, all, h := fleet(t, "3s")
	l := newLoad(t, h.url, 6, home, order)
	eventually(t, "all serve", func() bool { return l.processes() == servers })

	for i, s := range all {
		name := fmt.Sprintf("s%d", i)
		s.proc.signal(t, syscall.SIGTERM)
		out := eventually(t, "the balancer has noticed", h.is(t, name, "DOWN"))
		assert.True(t, s.proc.running(), "it serves until after that")
		assert.NoError(t, s.proc.wait(t), "the exit code is 0")
		s.start(t)
		in := eventually(t, "the balancer has noticed", h.is(t, name, "UP"))
		t.Logf("%s: out after %v, in again %v after its start", name, out, in)
	}
	eventually(t, "the new ones serve", func() bool { return l.processes() == 2*servers })
	eventually(t, "there were requests enough", func() bool { return l.sent() > 1000 })

	l.end()
	t.Logf("%d requests, %d failed", l.total, len(l.failed))
	assert.Empty(t, l.failed)
	assert.Greater(t, l.total, 1000)
	var orders int
	require.NoError(t, db.open(t).QueryRowContext(t.Context(), "SELECT count(*) FROM orders").Scan(&orders))
	assert.GreaterOrEqual(t, orders, l.orders, "what was confirmed is there")
	assert.LessOrEqual(t, orders-l.orders, 6, "and so is what the end of the load has interrupted, and no more")
}

// The same with servers that do not wait for the balancer, to show that the test above would
// notice. A second signal is how to have one end at once.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	_, all, h := fleet(t, "10m")
	l := newLoad(t, h.url, 6, home)
	eventually(t, "all serve", func() bool { return l.processes() == servers })

	first := all[0].proc
	first.signal(t, syscall.SIGTERM)
	eventually(t, "it drains", func() bool { return code(t, all[0].url+"/readyz") == http.StatusServiceUnavailable })
	eventually(t, "the balancer has noticed", h.is(t, "s0", "DOWN"))
	assert.True(t, first.running())
	first.signal(t, syscall.SIGTERM)
	assert.Error(t, first.wait(t), "ended by the signal")

	second := all[1].proc
	eventually(t, "it ends at once", func() bool {
		second.signal(t, syscall.SIGTERM)
		return !second.running()
	})
	eventually(t, "the balancer has noticed", h.is(t, "s1", "DOWN"))
	l.end()
	t.Logf("%d requests, %d failed", l.total, len(l.failed))
	assert.NotEmpty(t, l.failed)
}
