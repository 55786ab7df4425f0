package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/healthcheck/spool"
)

// log is a log that can be read while it is written.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func get(t *testing.T, url string) (code int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text)
}

// What is under way when it is told to end is answered.
func TestServeEndsInOrder(t *testing.T) {
	m := newMachine(t) // for its services
	arrived, release := make(chan struct{}), make(chan struct{})
	port := m.web(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(arrived)
			<-release
		}
		io.WriteString(w, "fine")
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	at := "http://" + listener.Addr().String()
	var out log
	root := filepath.Join(t.TempDir(), "spool")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, config{
			root: root, cache: time.Second, timeout: 10 * time.Second, logger: slog.New(slog.NewTextHandler(&out, nil)),
		}, listener)
	}()

	code, body := get(t, at+"/http/orders/"+port+"/")
	assert.Equal(t, 200, code)
	assert.Equal(t, "fine", body)
	code, _ = get(t, at+"/health")
	assert.Equal(t, 200, code)
	dir, err := spool.New(root)
	require.NoError(t, err)
	require.NoError(t, dir.Down("orders", 0, "moving", time.Time{}))
	code, _ = get(t, at+"/http/orders/"+port+"/")
	assert.Equal(t, 503, code)
	require.NoError(t, dir.Up("orders", 0))

	slow := make(chan int, 1)
	go func() {
		resp, failed := http.Get(at + "/http/orders/" + port + "/slow")
		if !assert.NoError(t, failed) {
			slow <- 0
			return
		}
		resp.Body.Close()
		slow <- resp.StatusCode
	}()
	<-arrived
	cancel()
	select {
	case early := <-ended:
		t.Fatalf("it ended with a request under way: %v", early)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	assert.Equal(t, 200, <-slow)
	require.NoError(t, <-ended)
	_, err = listener.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	assert.Contains(t, out.String(), "serving")
}

func TestServeWithoutASpool(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	err = serve(t.Context(), config{root: filepath.Join(t.TempDir(), "no", "such"), logger: slog.New(slog.DiscardHandler)}, listener)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = listener.Accept()
	require.ErrorIs(t, err, net.ErrClosed, "it does not keep the port")
}

func TestSpoolHealth(t *testing.T) {
	root := filepath.Join(t.TempDir(), "spool")
	dir, err := spool.New(root)
	require.NoError(t, err)
	assert.Equal(t, healthcheck.Result{}, spoolHealth(dir))
	require.NoError(t, os.WriteFile(filepath.Join(root, "orders"), []byte(`{"reason": "mov`), 0o600))
	assert.Equal(t, healthcheck.Warn, spoolHealth(dir).Status)
	require.NoError(t, os.RemoveAll(root))
	res := spoolHealth(dir)
	assert.Equal(t, healthcheck.Unknown, res.Status)
	assert.ErrorIs(t, res.Err, os.ErrNotExist)
}
