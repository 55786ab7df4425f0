package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck/spool"
)

// interval is that of HAProxy's checks.
const interval = 100 * time.Millisecond

// haproxy starts a HAProxy before a service, which asks a hacheck how that is, and
// returns its address. The port of the service is known from the header only.
func haproxy(t *testing.T, service, hacheck string) (address string) {
	t.Helper()
	program, err := exec.LookPath("haproxy")
	if err != nil && os.Getenv("FAILSOFT_REQUIRE_SERVICES") == "" {
		t.Skip("there is no haproxy")
	}
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	socket, err := listener.(*net.TCPListener).File()
	require.NoError(t, err)
	require.NoError(t, listener.Close()) // but not the socket, which becomes HAProxy's
	_, port, err := net.SplitHostPort(hacheck)
	require.NoError(t, err)

	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `
defaults
  mode http
  timeout connect 10s
  timeout check 10s
  timeout client 10s
  timeout server 10s
listen orders
  bind fd@3
  option httpchk GET /http/orders/0/health
  http-check send-state
  server one %s check port %s inter %dms fall 2 rise 1
`, service, port, interval.Milliseconds()), 0o600))
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, "-f", file, "-db")
	cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = []*os.File{socket}, &out, &out
	require.NoError(t, cmd.Start())
	require.NoError(t, socket.Close())
	t.Cleanup(func() {
		_ = cmd.Wait() // the end of t.Context has killed it
		if t.Failed() {
			t.Log(out.String())
		}
	})
	return "http://" + listener.Addr().String() + "/"
}

// A hand takes a backend out within HAProxy's interval, and expiry brings it back.
func TestHAProxy(t *testing.T) {
	m := newMachine(t)
	port := m.web(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	at := haproxy(t, "127.0.0.1:"+port, listener.Addr().String())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, config{
			root: m.root, cache: 10 * time.Second, timeout: 10 * time.Second, logger: slog.New(slog.DiscardHandler),
		}, listener)
	}()
	defer func() { require.NoError(t, <-ended) }()
	defer cancel()

	client := &http.Client{Timeout: 5 * time.Second}
	answers := func(want int) func() bool {
		return func() bool {
			resp, err := client.Get(at)
			if err != nil {
				return false
			}
			resp.Body.Close()
			return resp.StatusCode == want
		}
	}
	const patience = 30 * time.Second // of a busy machine
	require.Eventually(t, answers(200), patience, interval/10, "it comes up")
	for _, service := range []string{"orders", spool.All} {
		until := time.Now().Add(3 * time.Second)
		require.NoError(t, m.dir.Down(service, 0, "moving", until))
		require.Eventually(t, answers(503), patience, interval/10, "it is taken out")
		assert.True(t, time.Now().Before(until), "before that is over")
		require.Eventually(t, answers(200), patience, interval/10, "it is back")
		assert.False(t, time.Now().Before(until), "not before its time")
	}
}
