package route_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/route"
)

// checkEvery is how often HAProxy and the Pool check.
const checkEvery = 100 * time.Millisecond

// backend is a server that can be made ill, in the shape in which Synapse lists it.
type backend struct {
	Name    string            `json:"name"`
	Host    string            `json:"host"`
	Port    int               `json:"port"`
	ID      int               `json:"id"`
	Weight  *int              `json:"weight"`
	Options *string           `json:"haproxy_server_options"` //nolint:tagliatelle // it is called that
	Labels  map[string]string `json:"labels"`

	ill    *atomic.Bool
	server *httptest.Server
}

func newBackend(t *testing.T, id int, weight *int) backend {
	t.Helper()
	b := backend{Name: fmt.Sprintf("web%d", id), ID: id, Weight: weight, Labels: map[string]string{"az": "a"}}
	b.ill = new(atomic.Bool)
	b.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Name", b.Name)
		if r.URL.Path == "/health" && b.ill.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(b.server.Close)
	host, port, err := net.SplitHostPort(b.server.Listener.Addr().String())
	require.NoError(t, err)
	b.Host = host
	b.Port, err = strconv.Atoi(port)
	require.NoError(t, err)
	return b
}

func (b *backend) addr() string { return net.JoinHostPort(b.Host, strconv.Itoa(b.Port)) }

// haproxy is one that runs.
type haproxy struct{ service, stats string }

// startHAProxy starts a HAProxy for what a file of Synapse lists, as Synapse would.
func startHAProxy(t *testing.T, file string) haproxy {
	t.Helper()
	program, err := exec.LookPath("haproxy")
	if err != nil { // where a user's PATH does not lead
		program, err = exec.LookPath("/usr/sbin/haproxy")
	}
	if err != nil && os.Getenv("FAILSOFT_REQUIRE_SERVICES") == "" {
		t.Skip("there is no haproxy")
	}
	require.NoError(t, err)

	content, err := os.ReadFile(file)
	require.NoError(t, err)
	var backends []backend
	require.NoError(t, json.Unmarshal(content, &backends))
	config := fmt.Sprintf(`
defaults
  mode http
  timeout connect 1s
  timeout check 10s
  timeout client 5s
  timeout server 5s
listen stats
  bind fd@3
  stats enable
  stats uri /stats
listen web
  bind fd@4
  option httpchk GET /health
  http-check expect status 200
  default-server check inter %dms fall 2 rise 2
`, checkEvery.Milliseconds())
	for _, b := range backends {
		weight := 1
		if b.Weight != nil {
			weight = *b.Weight
		}
		config += fmt.Sprintf("  server %s %s weight %d\n", b.Name, b.addr(), weight)
	}
	name := filepath.Join(t.TempDir(), "haproxy.cfg")
	require.NoError(t, os.WriteFile(name, []byte(config), 0o600))

	var sockets []*os.File
	var urls []string
	for range 2 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		socket, err := listener.(*net.TCPListener).File()
		require.NoError(t, err)
		require.NoError(t, listener.Close()) // but not the socket, which becomes HAProxy's
		sockets, urls = append(sockets, socket), append(urls, "http://"+listener.Addr().String())
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, "-f", name, "-db")
	cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = sockets, &out, &out
	require.NoError(t, cmd.Start())
	for _, socket := range sockets {
		require.NoError(t, socket.Close())
	}
	t.Cleanup(func() {
		_ = cmd.Wait() // the end of t.Context has killed it
		if t.Failed() {
			t.Log(config, out.String())
		}
	})
	return haproxy{service: urls[1] + "/", stats: urls[0] + "/stats;csv"}
}

// view is who is up, and with what weight, by name.
type view map[string]string

// view is what HAProxy thinks. It is nil before it runs.
func (h haproxy) view(client *http.Client) view {
	resp, err := client.Get(h.stats)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	in := csv.NewReader(resp.Body)
	in.FieldsPerRecord = -1
	rows, err := in.ReadAll()
	if err != nil || len(rows) == 0 {
		return nil
	}
	column := func(row []string, name string) string {
		at := slices.Index(rows[0], name)
		if at < 0 || at >= len(row) {
			return ""
		}
		return row[at]
	}
	v := make(view)
	for _, row := range rows[1:] {
		if name := column(row, "svname"); row[0] == "web" && strings.HasPrefix(name, "web") {
			status, _, _ := strings.Cut(column(row, "status"), " ") // UP 1/2 is on its way down
			v[name] = status + " " + column(row, "weight")
		}
	}
	return v
}

// viewOf is what a Pool thinks, in HAProxy's words.
func viewOf(pool *route.Pool, backends []backend) view {
	v := make(view)
	for _, host := range pool.Snapshot().Hosts {
		at := slices.IndexFunc(backends, func(b backend) bool { return b.addr() == host.Addr })
		status := map[string]string{"well": "UP", "ill": "DOWN"}[host.Health]
		v[backends[at].Name] = status + " " + strconv.Itoa(int(host.Weight))
	}
	return v
}

// A HAProxy and a Pool have their hosts from one file and check them alike: they agree
// on who is up, and send requests nowhere else. Where all checks fail they do not: then
// HAProxy asks nobody, and the Pool all.
func TestRequirement2And5HAProxy(t *testing.T) {
	three := 3
	backends := []backend{newBackend(t, 1, nil), newBackend(t, 2, &three), newBackend(t, 3, nil)}
	content, err := json.Marshal(backends)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "web.json")
	require.NoError(t, os.WriteFile(file, content, 0o600))
	other := startHAProxy(t, file)
	pool := route.MustNew(route.Config{
		Names: []string{"web"}, Resolver: route.File(file), SlowStart: route.Off, Zone: "a",
		PanicThreshold: 0.1, // HAProxy has none
		Check: route.Check{ // as patient as HAProxy's timeout check: a busy machine finds nobody ill
			Path: "/health", Every: checkEvery, Timeout: 10 * time.Second, Fall: 2, Rise: 2,
		},
	})
	defer func() { assert.NoError(t, pool.Close(t.Context())) }()
	client := &http.Client{Timeout: 5 * time.Second}
	routed := &http.Client{Timeout: 5 * time.Second, Transport: pool.Transport(nil)}

	// agree waits until both think so.
	agree := func(want view) {
		t.Helper()
		var theirs, ours view
		require.Eventually(t, func() bool {
			theirs, ours = other.view(client), viewOf(pool, backends)
			return maps.Equal(theirs, want) && maps.Equal(ours, want)
		}, 20*time.Second, checkEvery/4, "they agree")
	}
	// servers are who answers, and with which status.
	servers := func(via *http.Client, url string) []string {
		t.Helper()
		seen := make(map[string]bool)
		for range 60 {
			resp, err := via.Get(url)
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			resp.Body.Close()
			seen[resp.Header.Get("Name")+" "+strconv.Itoa(resp.StatusCode)] = true
		}
		return slices.Sorted(maps.Keys(seen))
	}
	send := func(want ...string) {
		t.Helper()
		assert.Equal(t, want, servers(client, other.service), "through HAProxy")
		// It sends to the quickest, one request after the other, and so maybe not to all.
		assert.Subset(t, want, servers(routed, "http://web/"), "through the Pool")
	}

	agree(view{"web1": "UP 1", "web2": "UP 3", "web3": "UP 1"})
	send("web1 200", "web2 200", "web3 200")
	backends[1].ill.Store(true)
	agree(view{"web1": "UP 1", "web2": "DOWN 3", "web3": "UP 1"})
	send("web1 200", "web3 200")
	backends[1].ill.Store(false)
	agree(view{"web1": "UP 1", "web2": "UP 3", "web3": "UP 1"})
	send("web1 200", "web2 200", "web3 200")
	backends[0].ill.Store(true)
	backends[2].ill.Store(true)
	agree(view{"web1": "DOWN 1", "web2": "UP 3", "web3": "DOWN 1"})
	send("web2 200")

	backends[1].ill.Store(true)
	agree(view{"web1": "DOWN 1", "web2": "DOWN 3", "web3": "DOWN 1"})
	assert.Equal(t, []string{" 503"}, servers(client, other.service))
	assert.Subset(t, []string{"web1 200", "web2 200", "web3 200"}, servers(routed, "http://web/"))

	for i := range backends {
		backends[i].ill.Store(false)
	}
	backends[2].server.Close() // there is nobody any more
	agree(view{"web1": "UP 1", "web2": "UP 3", "web3": "DOWN 1"})
	send("web1 200", "web2 200")
}
