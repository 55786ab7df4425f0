package bench_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/cachetest"
	"github.com/failsoft/failsoft/stale"
)

const (
	serverCore, loadCore = "0", "1"

	speedPath  = "/page"
	speedConns = 64
)

// page is what is served: 4 KiB, with the fields that pages have.
func page() (http.Header, []byte) {
	return http.Header{
		"Cache-Control": {"public, max-age=36000"},
		"Content-Type":  {"text/html; charset=utf-8"},
		"Etag":          {`"5f3c-1a2b3c4d5e6f"`},
		"Last-Modified": {"Mon, 02 Jan 2006 15:04:05 GMT"},
	}, []byte(strings.Repeat("0123456789abcdef", 256))
}

func writePage(w http.ResponseWriter) {
	header, body := page()
	maps.Copy(w.Header(), header)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

// rawChild is net/http, and nothing else: a handler that has all it says at hand.
func rawChild(string) error {
	header, body := page()
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	header["Date"] = []string{time.Now().UTC().Format(http.TimeFormat)}
	header["Age"] = []string{"12"}
	header["Cache-Status"] = []string{"failsoft; hit; ttl=35988"}
	return serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		maps.Copy(w.Header(), header)
		_, _ = w.Write(body)
	}))
}

// failsoftChild is the Handler at its defaults. The page is stored before it counts.
func failsoftChild(string) error {
	cache := stale.MustNew(stale.Config{})
	return serve(cache.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writePage(w) })))
}

// load is what a child has found.
type load struct {
	Requests int
	Took     time.Duration
	P50, P99 time.Duration
}

// loadChild asks an address, on many connections, so often.
func loadChild(arg string) error {
	var address string
	var requests int
	if _, err := fmt.Sscan(arg, &address, &requests); err != nil {
		return err
	}
	var mu sync.Mutex
	var all []time.Duration
	var failed error
	var done sync.WaitGroup
	begun := time.Now()
	for range speedConns {
		done.Go(func() {
			took, err := loadConn(address, requests/speedConns)
			mu.Lock()
			defer mu.Unlock()
			all, failed = append(all, took...), errors.Join(failed, err)
		})
	}
	done.Wait()
	if failed != nil {
		return failed
	}
	slices.Sort(all)
	return json.NewEncoder(writerFunc(fmt.Print)).Encode(load{
		Requests: len(all), Took: time.Since(begun), P50: all[len(all)/2], P99: all[len(all)*99/100],
	})
}

type writerFunc func(...any) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(string(p)) }

// loadConn reads no more of an answer than it must: the first says how long all are, but
// for a digit of an age, after which the body ends.
func loadConn(address string, requests int) ([]time.Duration, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ask := []byte("GET " + speedPath + " HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	_, body := page()
	in := bufio.NewReaderSize(conn, 16<<10)
	took := make([]time.Duration, 0, requests)
	for range requests {
		begun := time.Now()
		if _, err := conn.Write(ask); err != nil {
			return nil, err
		}
		if err := skim(in, len(body)); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begun))
	}
	return took, nil
}

// skim reads an answer, which must be a good one.
func skim(in *bufio.Reader, length int) error {
	line, err := in.ReadSlice('\n')
	if err == nil && !strings.HasPrefix(string(line), "HTTP/1.1 200") {
		return fmt.Errorf("answer %q", line)
	}
	for err == nil && len(line) > 2 {
		line, err = in.ReadSlice('\n')
	}
	if err == nil {
		_, err = in.Discard(length)
	}
	return err
}

// speedServer is a server that is measured.
type speedServer struct {
	name    string
	address string
	pid     int
	cpu     []float64 // µs per request, by round
	rate    []float64
	p50     []float64
	p99     []float64
}

// TestStaleSpeed is the price of a hit: CPU time of a server that has one core, while
// another loads it. Times are not asserted.
func TestStaleSpeed(t *testing.T) {
	if runtime.GOOS != "linux" || runtime.NumCPU() < 2 {
		t.Skip("it takes Linux, and two cores")
	}
	servers := speedServers(t)
	for _, s := range servers {
		s.mustHit(t)
		s.load(t, 20*speedConns)
	}
	requests := 50 * speedConns
	if *rounds > 1 {
		requests = 150 * speedConns
	}
	for round := range max(*rounds, 1) {
		for i := range servers {
			servers[(i+round)%len(servers)].measure(t, requests)
		}
	}
	tab := &table{name: "stale, hit"}
	tab.row("4 KiB, 64 connections", "CPU µs per request", "ratio", "requests/s", "p50, ms", "p99, ms")
	for _, s := range servers {
		ratios := make([]float64, len(s.cpu))
		for i := range s.cpu {
			ratios[i] = s.cpu[i] / servers[0].cpu[i]
		}
		tab.row(s.name, fixed(median(s.cpu), 1), fixed(median(ratios), 2), fixed(median(s.rate), 0),
			fixed(median(s.p50), 2), fixed(median(s.p99), 2))
	}
	tab.publish(t)
}

// speedServers starts who is measured, each on the same core: while one works, the others
// wait.
func speedServers(t *testing.T) []*speedServer {
	t.Helper()
	raw := &speedServer{name: "net/http, the same bytes"}
	raw.address, raw.pid = startServer(t, serverCore, "raw", "")
	ours := &speedServer{name: "failsoft, Handler"}
	ours.address, ours.pid = startServer(t, serverCore, "failsoft", "")
	on := []string(nil)
	if taskset, err := exec.LookPath("taskset"); err == nil {
		on = []string{taskset, "-c", serverCore}
	}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writePage(w) }))
	t.Cleanup(origin.Close)
	address := strings.TrimPrefix(origin.URL, "http://")
	varnish := cachetest.Varnish(t, address, nil, on)
	nginx := cachetest.Nginx(t, address, "add_header Age 12; add_header Cache-Status hit;", on)
	return []*speedServer{
		raw, ours,
		{name: "Varnish", address: varnish.Address, pid: varnish.Pid},
		{name: "nginx", address: nginx.Address, pid: nginx.Pid},
	}
}

func (s *speedServer) measure(t *testing.T, requests int) {
	t.Helper()
	before := cpuOf(t, s.pid)
	found := s.load(t, requests)
	s.cpu = append(s.cpu, float64((cpuOf(t, s.pid)-before).Nanoseconds())/1e3/float64(found.Requests))
	s.rate = append(s.rate, float64(found.Requests)/found.Took.Seconds())
	s.p50 = append(s.p50, found.P50.Seconds()*1e3)
	s.p99 = append(s.p99, found.P99.Seconds()*1e3)
}

func (s *speedServer) load(t *testing.T, requests int) load {
	t.Helper()
	out, err := child(t.Context(), loadCore, "load", fmt.Sprintf("%s %d", s.address, requests)).Output()
	require.NoError(t, err, s.name)
	var found load
	require.NoError(t, json.Unmarshal(out, &found))
	return found
}

// mustHit makes sure that it is hits that are measured.
func (s *speedServer) mustHit(t *testing.T) {
	t.Helper()
	_, body := page()
	for range 2 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.address+speedPath, nil)
		require.NoError(t, err)
		req.Host = "bench.test"
		resp, err := http.DefaultTransport.RoundTrip(req)
		require.NoError(t, err)
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, body, text, s.name)
	}
}
