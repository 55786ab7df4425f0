package bench_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/bench"
)

const connsCalls = 200

// What becomes of the responses that are not handed over: one that is not read
// and closed costs a connection and the goroutines that serve it.
func TestConnections(t *testing.T) {
	tab := &table{name: "connections"}
	tab.row("after 200 calls, each 503 and then 200", "connections opened", "goroutines left")
	for i, contender := range bench.Connections() {
		t.Run(contender.Name, func(t *testing.T) {
			opened, left := callOften(t, contender)
			if i == 0 {
				least, goroutines := opened, left
				for tries := 1; tries < 5 && least != 1; tries++ { // one is given up where the machine stops in a drain
					least, goroutines = callOften(t, contender)
				}
				assert.Equal(t, 1, least, "connections")
				assert.Zero(t, goroutines, "goroutines")
			}
			tab.row(contender.Name, strconv.Itoa(opened), strconv.Itoa(left))
		})
	}
	tab.publish(t)
}

// callOften makes the calls one after the other and returns how many
// connections they opened and how many goroutines, the server's included, are
// left when the idle ones have been closed.
func callOften(t *testing.T, contender bench.Transport) (opened, left int) {
	t.Helper()
	server, conns, attempts := flaky(t)
	// What a contender leaves behind ends with this context, after it was
	// counted, so that the next one starts from nothing.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	base := &http.Transport{}
	client := &http.Client{Transport: contender.Wrap(base)}
	before := runtime.NumGoroutine()
	buf := make([]byte, 512)
	for range connsCalls {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		require.NoError(t, err)
		require.Equal(t, len(answer), exchange(client, req, buf))
	}
	require.Equal(t, int64(2*connsCalls), attempts.Load())
	base.CloseIdleConnections()
	return int(conns.Load()), settled(before)
}

// flaky is a server that fails every other request.
func flaky(t *testing.T) (server *httptest.Server, conns, attempts *atomic.Int64) {
	t.Helper()
	conns, attempts = new(atomic.Int64), new(atomic.Int64)
	excuse := strings.Repeat("x", 1024)
	server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if attempts.Add(1)%2 == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(excuse))
			return
		}
		_, _ = w.Write([]byte(answer))
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	return server, conns, attempts
}

// settled returns how many goroutines there are beyond those from before, once
// the closing of connections has come through, for which it waits a second.
func settled(before int) int {
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	left := runtime.NumGoroutine() - before
	for tries := 0; left > 0 && tries < 100; tries++ {
		<-poll.C
		left = runtime.NumGoroutine() - before
	}
	return max(left, 0) // those that another test had left to end have ended
}
