package memnet_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/memnet"
)

func TestReadsWaitInVirtualTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, server := memnet.Pipe()
		begin := time.Now()

		time.AfterFunc(time.Hour, func() {
			_, err := server.Write([]byte("hello"))
			assert.NoError(t, err)
			assert.NoError(t, server.Close())
		})

		got, err := io.ReadAll(client)
		require.NoError(t, err)
		assert.Equal(t, "hello", string(got))
		assert.Equal(t, time.Hour, time.Since(begin))
	})
}

func TestDeadlines(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		set func(net.Conn, time.Time) error
		do  func(net.Conn) error
	}{
		"read":                {net.Conn.SetReadDeadline, readSome},
		"write":               {net.Conn.SetWriteDeadline, writeTooMuch},
		"read of both":        {net.Conn.SetDeadline, readSome},
		"write of both":       {net.Conn.SetDeadline, writeTooMuch},
		"moved while waiting": {setLate, readSome},
		"set after an old one": {func(c net.Conn, at time.Time) error {
			assert.NoError(t, c.SetDeadline(at.Add(-2*time.Hour)))
			assert.NoError(t, c.SetDeadline(at.Add(-time.Second)))

			return c.SetDeadline(at)
		}, readSome},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client, _ := memnet.Pipe()
				begin := time.Now()
				require.NoError(t, tt.set(client, begin.Add(time.Hour)))

				err := tt.do(client)
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)

				var timeout net.Error
				require.ErrorAs(t, err, &timeout)
				assert.True(t, timeout.Timeout())
				assert.Equal(t, time.Hour, time.Since(begin))
			})
		})
	}
}

func TestADeadlineCanBeLifted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, server := memnet.Pipe()
		require.NoError(t, client.SetDeadline(time.Now().Add(-time.Second)))
		require.ErrorIs(t, readSome(client), os.ErrDeadlineExceeded)

		require.NoError(t, client.SetDeadline(time.Time{}))

		_, err := server.Write([]byte("x"))
		require.NoError(t, err)
		assert.NoError(t, readSome(client))
	})
}

func TestClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, server := memnet.Pipe()
		_, err := client.Write([]byte("last words"))
		require.NoError(t, err)

		time.AfterFunc(time.Second, func() { assert.NoError(t, client.Close()) })
		require.ErrorIs(t, readSome(client), net.ErrClosed, "a read that waits is ended")

		got, err := io.ReadAll(server)
		require.NoError(t, err)
		assert.Equal(t, "last words", string(got))
		require.ErrorIs(t, writeTooMuch(server), syscall.EPIPE)
		require.ErrorIs(t, writeTooMuch(client), net.ErrClosed)
		require.ErrorIs(t, client.SetDeadline(time.Time{}), net.ErrClosed)
		assert.NoError(t, client.Close(), "twice")
	})
}

func TestCloseWriteEndsOneHalf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, server := memnet.Pipe()

		half, ok := client.(interface{ CloseWrite() error })
		require.True(t, ok)
		require.NoError(t, half.CloseWrite())
		require.ErrorIs(t, readSome(server), io.EOF)

		_, err := server.Write([]byte("still here"))
		require.NoError(t, err)
		assert.NoError(t, readSome(client))
	})
}

func TestEverythingWrittenIsRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, server := memnet.Pipe()
		sent := bytes.Repeat([]byte("0123456789"), 100_000)

		go func() {
			n, err := client.Write(sent)
			assert.NoError(t, err)
			assert.Equal(t, len(sent), n)
			assert.NoError(t, client.Close())
		}()

		synctest.Wait()

		got, err := io.ReadAll(server)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(sent, got))
	})
}

func TestListener(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		listener := memnet.Listen()

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()

		_, err := listener.Dial(ctx, "tcp", "nobody.accepts:80")
		require.ErrorIs(t, err, context.DeadlineExceeded)

		time.AfterFunc(time.Second, func() { assert.NoError(t, listener.Close()) })

		_, err = listener.Accept()
		require.ErrorIs(t, err, net.ErrClosed)

		_, err = listener.Dial(t.Context(), "tcp", "closed:80")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		assert.Equal(t, 2, listener.Dials())
		assert.NoError(t, listener.Close(), "twice")
	})
}

func TestServers(t *testing.T) {
	t.Parallel()

	servers := map[string]struct {
		start func(memnet.TB, http.Handler) *http.Transport
		proto string
	}{
		"HTTP/1.1": {memnet.Server, "HTTP/1.1"},
		"h2c":      {memnet.ServerH2C, "HTTP/2.0"},
	}
	for name, server := range servers {
		t.Run(name+" answers in virtual time", func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				client := &http.Client{Transport: server.start(t, http.HandlerFunc(echoAfterAnHour))}
				resp := post(t, client, "ping")

				got, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				assert.Equal(t, "ping", string(got))
				assert.Equal(t, server.proto, resp.Proto)
				assert.Equal(t, time.Hour, time.Since(begin))
			})
		})
		t.Run(name+" keeps connections", func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				remotes := map[string]bool{}
				handler := func(_ http.ResponseWriter, r *http.Request) { remotes[r.RemoteAddr] = true }
				client := &http.Client{Transport: server.start(t, http.HandlerFunc(handler))}

				for range 10 {
					require.NoError(t, post(t, client, "x").Body.Close())
				}

				require.Len(t, remotes, 1)

				for remote := range remotes {
					_, err := netip.ParseAddrPort(remote)
					assert.NoError(t, err)
				}
			})
		})
		t.Run(name+" closes what the test leaves open", func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				handler := func(w http.ResponseWriter, r *http.Request) {
					assert.NoError(t, http.NewResponseController(w).Flush())
					<-r.Context().Done()
				}
				client := &http.Client{Transport: server.start(t, http.HandlerFunc(handler))}
				post(t, client, "x")
			})
		})
	}
}

func readSome(c net.Conn) error {
	_, err := c.Read(make([]byte, 1))

	return err
}

func writeTooMuch(c net.Conn) error {
	_, err := c.Write(make([]byte, 1<<20))

	return err
}

func setLate(c net.Conn, at time.Time) error {
	time.AfterFunc(time.Minute, func() { _ = c.SetReadDeadline(at) })

	return nil
}

func echoAfterAnHour(w http.ResponseWriter, r *http.Request) {
	time.Sleep(time.Hour)

	_, _ = io.Copy(w, r.Body)
}

func post(t *testing.T, client *http.Client, body string) *http.Response {
	t.Helper()

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://memory/", strings.NewReader(body))
	require.NoError(t, err)

	resp, err := client.Do(req)
	require.NoError(t, err)

	return resp
}
