package retry_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/retry"
)

func TestRetriesReuseTheConnection(t *testing.T) {
	opened := int64(0)
	for tries := 0; tries < 5 && opened != 1; tries++ { // one is given up where the machine stops in a drain
		opened = connectionsOfRetries(t)
	}
	assert.EqualValues(t, 1, opened, "connections opened")
}

// connectionsOfRetries makes 200 calls, each with a retry, and returns how many connections they took.
func connectionsOfRetries(t *testing.T) int64 {
	t.Helper()
	before := runtime.NumGoroutine()
	var requests, conns atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1)%2 == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = io.WriteString(w, strings.Repeat("x", 1000))
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	server.Start()
	base := new(http.Transport)
	client := &http.Client{Transport: retry.MustNew(retry.Config{
		Budget: rich(), BaseDelay: retry.Immediately, TryTimeout: time.Minute,
	}).Transport(base)}
	for range 200 {
		resp, err := get(t, client, server.URL)
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	assert.EqualValues(t, 400, requests.Load())
	client.CloseIdleConnections() // which reaches the base
	server.Close()
	assert.LessOrEqual(t, settledGoroutines(before), before, "goroutines left")
	return conns.Load()
}

// settledGoroutines gives those that are about to end some time to do so.
func settledGoroutines(want int) int {
	tick, limit := time.NewTicker(time.Millisecond), time.Now().Add(30*time.Second)
	defer tick.Stop()
	for runtime.NumGoroutine() > want && time.Now().Before(limit) {
		<-tick.C
	}
	return runtime.NumGoroutine()
}

func get(t *testing.T, client *http.Client, url string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	return client.Do(req)
}

// listen serves each connection with serve until the test ends.
func listen(t *testing.T, serve func(net.Conn)) (address string) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	return listener.Addr().String()
}

func TestServerThatClosesMidHeader(t *testing.T) {
	var accepted atomic.Int64
	address := listen(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 4096))
		if accepted.Add(1) == 1 {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4")
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")
	})
	base := new(http.Transport)
	defer base.CloseIdleConnections()
	transport := retry.MustNew(retry.Config{Budget: rich()}).Transport(base)
	t.Run("a GET is sent again", func(t *testing.T) {
		resp, err := get(t, &http.Client{Transport: transport}, "http://"+address)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, "fine", string(body))
	})
	t.Run("a POST is not, and the error says why", func(t *testing.T) {
		accepted.Store(0)
		base.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address, strings.NewReader("x"))
		require.NoError(t, err)
		_, err = transport.RoundTrip(req)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		assert.EqualValues(t, 1, accepted.Load())
	})
}

// refuseStreams is an HTTP/2 server that resets every stream as refused, which
// makes net/http repeat the request by itself, with waits that double up to
// 32 s. It speaks just enough of RFC 9113 for that.
func refuseStreams(refused *atomic.Int64) func(net.Conn) {
	return func(conn net.Conn) {
		const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
		if _, err := io.ReadFull(conn, make([]byte, len(preface))); err != nil {
			return
		}
		frame := func(kind, flags byte, stream uint32, payload []byte) {
			header := []byte{0, 0, byte(len(payload)), kind, flags}
			header = binary.BigEndian.AppendUint32(header, stream)
			_, _ = conn.Write(append(header, payload...))
		}
		const rstStream, settings, ack, refusedStream = 3, 4, 1, 7
		frame(settings, 0, 0, nil)
		for header := make([]byte, 9); ; {
			if _, err := io.ReadFull(conn, header); err != nil {
				return
			}
			length := int64(header[0])<<16 | int64(header[1])<<8 | int64(header[2])
			if _, err := io.CopyN(io.Discard, conn, length); err != nil {
				return
			}
			switch {
			case header[3] == settings && header[4] != ack:
				frame(settings, ack, 0, nil)
			case header[3] == 1: // HEADERS
				refused.Add(1)
				frame(rstStream, 0, binary.BigEndian.Uint32(header[5:]), []byte{0, 0, 0, refusedStream})
			}
		}
	}
}

func TestTryTimeoutBoundsHiddenHTTP2Retries(t *testing.T) {
	var refused atomic.Int64
	base := &http.Transport{Protocols: new(http.Protocols)}
	base.Protocols.SetUnencryptedHTTP2(true)
	defer base.CloseIdleConnections()
	cfg := retry.Config{
		TryTimeout: 400 * time.Millisecond, MaxAttempts: 2, BaseDelay: retry.Immediately, Budget: rich(),
	}
	client, address := &http.Client{Transport: retry.MustNew(cfg).Transport(base)}, listen(t, refuseStreams(&refused))
	for tries := 0; tries < 10 && refused.Load() <= 2; tries++ { // on a busy machine an attempt may be over before that
		refused.Store(0)
		start := time.Now()
		_, err := get(t, client, "http://"+address)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Less(t, time.Since(start), 30*time.Second, "without a limit it goes on for a minute")
		assert.GreaterOrEqual(t, time.Since(start), 800*time.Millisecond, "two attempts of our own")
	}
	assert.Greater(t, refused.Load(), int64(2), "net/http did repeat by itself")
}
