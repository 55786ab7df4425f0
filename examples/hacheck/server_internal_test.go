package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck/spool"
)

// machine is a server and the services of its machine.
type machine struct {
	*server

	t    *testing.T
	root string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	root := filepath.Join(t.TempDir(), "spool")
	dir, err := spool.New(root)
	require.NoError(t, err)
	c := newCache(10*time.Second, 2*time.Second, 100, newProber("X-Service").probe)
	t.Cleanup(func() { require.NoError(t, c.close(t.Context())) })
	return &machine{&server{
		dir: dir, cache: c, seen: newSeen(), own: http.NotFoundHandler(),
		logger: slog.New(slog.DiscardHandler), begin: time.Now(),
	}, t, root}
}

func (m *machine) get(target string, header ...string) *httptest.ResponseRecorder {
	m.t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	return w
}

// web is an HTTP service; it returns its port.
func (m *machine) web(handler http.HandlerFunc) string {
	m.t.Helper()
	srv := httptest.NewServer(handler)
	m.t.Cleanup(srv.Close)
	u, err := url.Parse(srv.URL)
	require.NoError(m.t, err)
	return u.Port()
}

// greeter accepts connections and says something; it returns its port.
func (m *machine) greeter(greeting string, hangUp bool) string {
	m.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(m.t, err)
	m.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, greeting)
			if hangUp {
				conn.Close()
			} else {
				m.t.Cleanup(func() { conn.Close() })
			}
		}
	}()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// closedPort is one that nobody listens on, and nobody will: a connection has it. One
// that was listened on until now would be anybody's.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() {
		conn.Close()
		l.Close()
	})
	return strconv.Itoa(conn.LocalAddr().(*net.TCPAddr).Port)
}

func TestHTTP(t *testing.T) {
	m := newMachine(t)
	var requests atomic.Int64
	var got atomic.Pointer[http.Request]
	port := m.web(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		got.Store(r)
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
		case "/odd":
			w.WriteHeader(999)
		case "/long":
			w.Write(bytes.Repeat([]byte("x"), 1<<20))
		case "/bad":
			http.Error(w, "no database", http.StatusInternalServerError)
		default:
			io.WriteString(w, "fine")
		}
	})
	at := "/http/orders/" + port
	for path, want := range map[string]answer{
		"/health":  {200, "fine"},
		"/bad":     {500, "no database\n"},
		"/empty":   {204, ""},
		"/nothing": {200, "fine"},
	} {
		w := m.get(at + path)
		assert.Equal(t, want, answer{w.Code, w.Body.String()}, path)
		assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	}
	w := m.get(at + "/moved")
	assert.Equal(t, 302, w.Code)
	assert.Empty(t, w.Header().Get("Location"))
	w = m.get(at + "/odd")
	assert.Equal(t, 503, w.Code)
	assert.Contains(t, w.Body.String(), "it answers 999")
	assert.Len(t, m.get(at+"/long").Body.String(), maxBody)

	before := requests.Load()
	for range 10 {
		assert.Equal(t, 200, m.get(at+"/a%2Fb//c?deep=yes&x=%20").Code)
	}
	assert.Equal(t, before+1, requests.Load(), "the rest is from the cache")
	assert.Equal(t, "/a%2Fb//c?deep=yes&x=%20", got.Load().RequestURI, "as it came")
	assert.Equal(t, "orders", got.Load().Header.Get("X-Service"))
	assert.Equal(t, 200, m.get("/http/orders/"+port).Code, "no path is /")
	assert.Equal(t, "/", got.Load().RequestURI)

	w = m.get("/http/orders/" + closedPort(t) + "/health")
	assert.Equal(t, 503, w.Code)
	assert.Contains(t, w.Body.String(), "refused")
}

// What a balancer takes for a service that is up must come from the service.
func TestNoRedirectOfItsOwn(t *testing.T) {
	m := newMachine(t)
	for _, path := range []string{"/http/orders/" + closedPort(t) + "//x", "//http/orders/1/x", "/http//1/x", "/http/../http/a/1/", "/http/orders", "/x/../tcp/a/1"} {
		w := m.get(path)
		assert.GreaterOrEqual(t, w.Code, 400, path)
	}
}

func TestTCPAndMySQL(t *testing.T) {
	m := newMachine(t)
	greeting := func(payload string) string {
		return string([]byte{byte(len(payload)), 0, 0, 0}) + payload
	}
	good := m.greeter(greeting("\x0a11.8.3-MariaDB\x00and more"), true)
	for target, want := range map[string]struct {
		code int
		text string
	}{
		"/tcp/db/" + good:              {200, "Connected in"},
		"/tcp/db/" + good + "/ignored": {200, "Connected in"},
		"/tcp/db/" + closedPort(t):     {503, "refused"},
		"/mysql/db/" + good + "/":      {200, "MySQL 11.8.3-MariaDB"},
		"/mysql/db/" + closedPort(t):   {503, "refused"},
		"/mysql/db/" + m.greeter(greeting("\xff\x10\x04Too many connections"), true): {503, `error 1040: "Too many connections"`},
		"/mysql/db/" + m.greeter("SSH-2.0-OpenSSH_9.2\r\n", true):                    {503, "no greeting of MySQL"},
		"/mysql/db/" + m.greeter("", true):                                           {503, "no greeting"},
		"/mysql/db/" + m.greeter(greeting("\x0a11.8.3")[:7], true):                   {503, "half a greeting"},
		"/mysql/db/" + m.greeter(greeting("\x0a11.8.3"), true):                       {503, "no end"},
		"/mysql/db/" + m.greeter(greeting("\x09old\x00"), true):                      {503, "protocol 9"},
		"/mysql/db/" + m.greeter("", false):                                          {503, "after 2"}, // it never says a word
	} {
		w := m.get(target)
		assert.Equal(t, want.code, w.Code, target)
		assert.Contains(t, w.Body.String(), want.text, target)
	}
	m.get("/tcp/db/" + good + "/other")
	assert.Equal(t, 11, m.cache.stats()["misses"], "a path is no other question")
}

func TestSpoolComesFirst(t *testing.T) {
	m := newMachine(t)
	port := m.web(func(http.ResponseWriter, *http.Request) {})
	number, err := strconv.Atoi(port)
	require.NoError(t, err)
	check := "/http/orders/" + port + "/"
	assert.Equal(t, 200, m.get(check).Code)
	assert.Equal(t, 200, m.get("/spool/orders/"+port+"/status").Code)

	until := time.Now().Add(time.Hour)
	require.NoError(t, m.dir.Down("orders", number, "moving", until))
	w := m.get(check)
	assert.Equal(t, 503, w.Code, "whatever the cache says")
	assert.Regexp(t, `^Service orders in down state since \d+\.\d{6} until `+strconv.FormatInt(until.Unix(), 10)+`\.\d{6}: moving$`, w.Body.String())
	for target, want := range map[string]int{
		"/spool/orders/" + port: 503, "/tcp/orders/" + port: 503, "/mysql/orders/" + port: 503,
		"/spool/orders/0": 200, "/spool/other/" + port: 200, "/tcp/other/" + port: 200,
	} {
		assert.Equal(t, want, m.get(target).Code, target)
	}
	require.NoError(t, m.dir.Up("orders", number))
	assert.Equal(t, 200, m.get(check).Code)

	require.NoError(t, m.dir.Down(spool.All, 0, "", time.Time{}))
	for _, target := range []string{check, "/spool/orders/0", "/spool/all/1", "/tcp/other/" + port} {
		w := m.get(target)
		assert.Equal(t, 503, w.Code, target)
		assert.Regexp(t, `^Service all in down state since [\d.]+$`, w.Body.String())
	}
	require.NoError(t, m.dir.Up(spool.All, 0))

	require.NoError(t, os.WriteFile(filepath.Join(m.root, "orders"), []byte(`{"reason": "mov`), 0o600))
	assert.Equal(t, 503, m.get(check).Code, "a bad file means down")
	require.NoError(t, os.RemoveAll(m.root))
	assert.Equal(t, 200, m.get(check).Code, "a spool that is gone says nothing")
}

func TestPortOfHAProxy(t *testing.T) {
	m := newMachine(t)
	port := m.web(func(http.ResponseWriter, *http.Request) {})
	state := "UP 2/3; address=127.0.0.1; port=" + port + "; name=bck/srv2; node=lb1; weight=1/2; scur=13/22; qcur=0"
	assert.Equal(t, 200, m.get("/http/orders/0/", stateHeader, state).Code)
	assert.Equal(t, 400, m.get("/http/orders/0/").Code)
	assert.Equal(t, 200, m.get("/http/orders/"+port+"/", stateHeader, "UP; name=bck/srv2").Code, "older ones send none")
	assert.Equal(t, 400, m.get("/http/orders/"+port+"/", stateHeader, "UP; port=http").Code)
}

func TestBadRequests(t *testing.T) {
	m := newMachine(t)
	for target, want := range map[string]int{
		"/": 404, "/http": 404, "/http/orders": 404, "/ftp/orders/21/": 404, "/http/orders/0/": 400, "/tcp/orders/65536": 400,
		"/tcp/orders/-1": 400, "/tcp/orders/x": 400, "/spool/orders/": 400, "/spool/..%2fetc/1": 400, "/spool/.x/1": 400,
		"/tcp/a:1/1": 400, "/spool/../1/1": 400, "/recent?threshold=x": 400, "/health": 404,
	} {
		assert.Equal(t, want, m.get(target).Code, target)
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/spool/orders/1/status", strings.NewReader("status=down")))
	assert.Equal(t, 405, w.Code)
	assert.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
	w = httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest(http.MethodHead, "/tcp/orders/"+closedPort(t), nil))
	assert.Equal(t, 503, w.Code)
	assert.Empty(t, w.Body.String())
}

func TestRecentAndStatus(t *testing.T) {
	m := newMachine(t)
	m.get("/tcp/orders/" + closedPort(t))
	m.get("/spool/billing/0")
	var recent struct {
		Seen      [][2]json.RawMessage `json:"seen_services"`     //nolint:tagliatelle // hacheck's name for it
		Threshold int                  `json:"threshold_seconds"` //nolint:tagliatelle // likewise
	}
	require.NoError(t, json.Unmarshal(m.get("/recent").Body.Bytes(), &recent))
	require.Len(t, recent.Seen, 2)
	assert.JSONEq(t, `"billing"`, string(recent.Seen[0][0]))
	assert.Contains(t, string(recent.Seen[1][1]), `"code":503,"remote_ip":"192.0.2.1","ts":`)
	assert.Equal(t, 600, recent.Threshold)
	require.NoError(t, json.Unmarshal(m.get("/recent?threshold=0").Body.Bytes(), &recent))
	assert.Empty(t, recent.Seen)

	var status struct {
		Cache  map[string]int `json:"cache"`
		Uptime float64        `json:"uptime"`
	}
	require.NoError(t, json.Unmarshal(m.get("/status").Body.Bytes(), &status))
	assert.Equal(t, map[string]int{"size": 1, "gets": 1, "hits": 0, "misses": 1}, status.Cache)
	assert.Positive(t, status.Uptime)
}

func TestSeenIsBounded(t *testing.T) {
	s := newSeen()
	begin := time.Now()
	for n := range maxSeen + 5 {
		s.note("s"+strconv.Itoa(n), sight{at: begin.Add(time.Duration(n))})
	}
	assert.Len(t, s.services, maxSeen)
	assert.NotContains(t, s.services, "s4")
	assert.Contains(t, s.services, "s5")
}

func FuzzReadGreeting(f *testing.F) {
	f.Add([]byte("\x0a\x00\x00\x00\x0a11.8.3\x00."))
	f.Add([]byte("\x17\x00\x00\x00\xff\x10\x04Too many connections"))
	f.Add([]byte("\xff\xff\xff\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		version, err := readGreeting(bytes.NewReader(in))
		if err == nil {
			assert.True(t, bytes.HasPrefix(in[4:], append([]byte("\x0a"+version), 0)))
		}
	})
}

func FuzzReadQuestion(f *testing.F) {
	f.Add("/http/orders/80/health?x=1", "")
	f.Add("/spool/../../etc/0", "UP; port=1")
	f.Add("//", "port=")
	f.Fuzz(func(t *testing.T, target, state string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		q, code, err := readQuestion(&http.Request{URL: u, Header: http.Header{stateHeader: {state}}})
		if err != nil {
			assert.GreaterOrEqual(t, code, 400)
			return
		}
		_, err = spool.Name(q.service, portFor(q))
		require.NoError(t, err)
		if q.kind == "http" {
			made, err := url.Parse("http://127.0.0.1:80" + q.path)
			if err == nil {
				assert.Equal(t, "127.0.0.1:80", made.Host, "no path leads to another host")
				assert.Nil(t, made.User)
			}
		}
	})
}
