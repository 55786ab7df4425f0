package rw_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/rw"
)

func TestServerHijack(t *testing.T) {
	t.Parallel()

	for name, hijack := range map[string]func(http.ResponseWriter) (net.Conn, error){
		"Hijacker": func(w http.ResponseWriter) (net.Conn, error) {
			conn, _, err := w.(http.Hijacker).Hijack()
			return conn, err
		},
		"controller": func(w http.ResponseWriter) (net.Conn, error) {
			conn, _, err := http.NewResponseController(w).Hijack()
			return conn, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			last := make(chan *rw.Response, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				wrapped, seen := rw.Wrap(w, rw.Hooks{})
				defer func() { last <- seen }()
				conn, err := hijack(wrapped)
				if err != nil {
					t.Errorf("hijack: %v", err)
					return
				}
				io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n"+
					"Connection: upgrade\r\nUpgrade: test\r\n\r\nhello")
				_ = conn.Close()
				_, err = wrapped.Write([]byte("late"))
				assert.ErrorIs(t, err, http.ErrHijacked)
			}))
			defer server.Close()

			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
			require.NoError(t, err)
			req.Header.Set("Connection", "upgrade")
			req.Header.Set("Upgrade", "test")
			resp, err := server.Client().Do(req)
			require.NoError(t, err)
			defer resp.Body.Close()
			assert.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
			assert.Equal(t, "hello", readAll(t, resp.Body))

			seen := <-last
			assert.True(t, seen.Hijacked())
			assert.Zero(t, seen.Status())
			assert.NoError(t, seen.Err())
		})
	}
}

// sendfiles counts the files that net/http hands to the connection whole: what
// the kernel then sends by itself.
type sendfiles struct {
	net.Listener
	count *atomic.Int32
}

type sendfileConn struct {
	*net.TCPConn
	count *atomic.Int32
}

func (l sendfiles) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return sendfileConn{conn.(*net.TCPConn), l.count}, nil
}

func (c sendfileConn) ReadFrom(src io.Reader) (int64, error) {
	inner := src
	if limited, ok := src.(*io.LimitedReader); ok {
		inner = limited.R
	}
	if _, ok := inner.(*os.File); ok {
		c.count.Add(1)
	}
	return c.TCPConn.ReadFrom(src)
}

func TestServerSendsFiles(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "file")
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	require.NoError(t, os.WriteFile(path, content, 0o600))

	var tee bytes.Buffer
	for name, tt := range map[string]struct {
		hooks rw.Hooks
		want  int32
	}{
		"no hook":     {rw.Hooks{}, 1},
		"header hook": {rw.Hooks{Header: func(int, http.Header) {}}, 1},
		"body hook":   {rw.Hooks{Body: func(p []byte) { tee.Write(p) }}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var count atomic.Int32
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				inner, _ := rw.Wrap(w, rw.Hooks{})
				outer, seen := rw.Wrap(inner, tt.hooks)
				http.ServeFile(outer, r, path)
				assert.Equal(t, int64(len(content)), seen.Written())
			}))
			server.Listener = sendfiles{server.Listener, &count}
			server.Start()
			defer server.Close()

			resp, err := server.Client().Get(server.URL)
			require.NoError(t, err)
			defer resp.Body.Close()
			assert.Equal(t, string(content), readAll(t, resp.Body))
			assert.Equal(t, tt.want, count.Load())
			if tt.hooks.Body != nil {
				assert.True(t, bytes.Equal(content, tee.Bytes()))
			}
		})
	}
}
