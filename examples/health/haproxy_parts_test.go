//go:build unix

package main_test

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// haproxy is a balancer that a test has started.
type haproxy struct{ url, stats string }

// newHAProxy starts a balancer; backend is what its backend has besides the balancing. It is set
// up to forgive nothing: it does not try again, neither the same server nor another, and sends
// every request on a connection that it has kept, if there is one. But checks are given time: on a
// machine that stops for as long as their interval, they would be late without being failed.
func newHAProxy(t *testing.T, backend ...string) *haproxy {
	t.Helper()
	in, stats := address(freePort(t)), address(freePort(t))
	config := fmt.Sprintf(`
defaults
	mode http
	retries 0
	no option redispatch
	http-reuse always
	timeout connect 30s
	timeout check 30s
	timeout client 30s
	timeout server 30s

frontend in
	bind %s
	default_backend servers

frontend stats
	bind %s
	stats enable
	stats uri /

backend servers
	balance roundrobin
	%s
`, in, stats, strings.Join(backend, "\n\t"))
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	start(t, nil, part(t, "haproxy", "/usr/sbin"), "-db", "-f", file)
	return &haproxy{url: "http://" + in, stats: "http://" + stats}
}

// status returns the balancer's word for a server: UP, DOWN, and what is between them.
func (h *haproxy) status(t *testing.T, server string) string {
	t.Helper()
	a, err := get(t, h.stats+"/;csv", nil)
	if err != nil {
		return err.Error()
	}
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(a.body, "# "))).ReadAll()
	require.NoError(t, err, a.body)
	for _, row := range rows {
		value := func(column string) string {
			for i, name := range rows[0] {
				if name == column {
					return row[i]
				}
			}
			return ""
		}
		if value("pxname") == "servers" && value("svname") == server {
			return value("status")
		}
	}
	return "there is no such server"
}

func (h *haproxy) is(t *testing.T, server, status string) func() bool {
	t.Helper()
	return func() bool { return h.status(t, server) == status }
}

// load is requests, all the time.
type load struct {
	cancel  context.CancelFunc
	workers sync.WaitGroup

	mu     sync.Mutex
	served map[string]int // by the body of GET /
	orders int            // that were placed
	total  int
	failed []string
}

// newLoad has some callers, each of whom sends the requests of a round one after the other and
// keeps its connection.
func newLoad(t *testing.T, url string, callers int, round ...func(*load, caller) error) *load {
	t.Helper()
	l := &load{served: make(map[string]int)}
	ctx, cancel := context.WithCancel(t.Context())
	l.cancel = cancel
	t.Cleanup(func() { l.end() })
	for range callers {
		transport := &http.Transport{}
		c := caller{ctx: ctx, url: url, client: &http.Client{Transport: transport, Timeout: soon}}
		l.workers.Go(func() {
			defer transport.CloseIdleConnections()
			pace := time.NewTicker(10 * time.Millisecond)
			defer pace.Stop()
			for i := 0; ; i++ {
				select {
				case <-ctx.Done():
					return
				case <-pace.C:
				}
				l.note(ctx, round[i%len(round)](l, c))
			}
		})
	}
	return l
}

// note counts a request. What the end of the load has interrupted is none.
func (l *load) note(ctx context.Context, err error) {
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total++
	if err != nil {
		l.failed = append(l.failed, time.Now().Format("05.000 ")+err.Error())
	}
}

// end ends the load and waits for it.
func (l *load) end() {
	l.cancel()
	l.workers.Wait()
}

// processes returns how many there were to answer GET / by now.
func (l *load) processes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.served)
}

// sent returns how many requests there were by now.
func (l *load) sent() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// caller is one who makes the load.
type caller struct {
	ctx    context.Context
	url    string
	client *http.Client
}

func (c caller) ask(method, path, body string, header http.Header, want int) (answer, error) {
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	a, err := ask(c.ctx, c.client, method, c.url+path, content, header)
	if err == nil && a.code != want {
		err = fmt.Errorf("%s %s: %d %s", method, path, a.code, a.body)
	}
	return a, err
}

func home(l *load, c caller) error {
	a, err := c.ask(http.MethodGet, "/", "", nil, http.StatusOK)
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.served[a.body]++
	}
	return err
}

func order(l *load, c caller) error {
	a, err := c.ask(http.MethodPost, "/orders", "item=tea", form(), http.StatusCreated)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.orders++
	l.mu.Unlock()
	_, err = c.ask(http.MethodGet, a.header.Get("Location"), "", nil, http.StatusOK)
	return err
}
