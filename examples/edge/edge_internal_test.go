package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale"
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

// running is the program, on loopback.
type running struct {
	url, admin string
	log        log
	stop       context.CancelFunc
	ended      chan error
}

// runEdge runs it until the test ends, and sees to it that it ends well.
func runEdge(t *testing.T, origin string, args ...string) *running {
	t.Helper()
	cfg, err := readConfig(append([]string{"-origin", origin}, args...), environment, io.Discard)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	e := &running{stop: stop, ended: make(chan error, 1)}
	listener, admin := listen(t), listen(t)
	e.url, e.admin = "http://"+listener.Addr().String(), "http://"+admin.Addr().String()
	logger := slog.New(slog.NewTextHandler(&e.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	go func() { e.ended <- serve(ctx, cfg, listener, admin, logger) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-e.ended:
			assert.NoError(t, err)
		case <-time.After(20 * time.Second):
			t.Error("it does not end")
		}
	})
	return e
}

const token = "let me in"

func environment(name string) string {
	if name == "EDGE_TOKEN" {
		return token
	}
	return ""
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return listener
}

// answer is what a client gets to see.
type answer struct {
	status int
	header http.Header
	body   string
}

func ask(t *testing.T, method, target, body string, fields ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// origin counts what reaches it. It can be taken down.
type origin struct {
	*httptest.Server

	seen atomic.Int32
	down atomic.Bool
}

func newOrigin(t *testing.T) *origin {
	t.Helper()
	o := &origin{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=1000")
		io.WriteString(w, "page for "+r.Host)
	})
	mux.HandleFunc("GET /brief", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=0, stale-if-error=1000")
		io.WriteString(w, "brief")
	})
	mux.HandleFunc("/mirror", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Asked-With", r.Method+" "+r.URL.RawQuery)
		io.Copy(w, r.Body)
	})
	mux.HandleFunc("GET /hints", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Cache-Control", "no-store")
		io.WriteString(w, "hinted")
	})
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.seen.Add(1)
		if o.down.Load() {
			panic(http.ErrAbortHandler)
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(o.Close)
	return o
}

// stored waits until so many responses are stored, which is after their last byte has
// left.
func (e *running) stored(t *testing.T, n uint64) {
	t.Helper()
	require.Eventually(t, func() bool { return e.snapshot(t).Stored >= n }, 30*time.Second, time.Millisecond)
}

func (e *running) snapshot(t *testing.T) stale.Snapshot {
	t.Helper()
	got := ask(t, "GET", e.admin+"/snapshot", "")
	assert.Equal(t, "application/json", got.header.Get("Content-Type"))
	var snap stale.Snapshot
	assert.NoError(t, json.Unmarshal([]byte(got.body), &snap))
	return snap
}

func eachRole(t *testing.T, test func(t *testing.T, role string)) {
	t.Helper()
	for _, role := range []string{roleHandler, roleTransport, rolePrivate} {
		t.Run(role, func(t *testing.T) { test(t, role) })
	}
}

func TestWhatMayBeStoredIsStored(t *testing.T) {
	eachRole(t, func(t *testing.T, role string) {
		o := newOrigin(t)
		e := runEdge(t, o.URL, "-role", role)
		first := ask(t, "GET", e.url+"/page", "")
		assert.Equal(t, 200, first.status)
		assert.Equal(t, "page for "+strings.TrimPrefix(e.url, "http://"), first.body, "the origin sees the client's Host")
		e.stored(t, 1)
		second := ask(t, "GET", e.url+"/page", "")
		assert.Equal(t, first.body, second.body)
		assert.Contains(t, second.header.Get("Cache-Status"), "hit")
		assert.NotEmpty(t, second.header.Get("Age"))
		assert.EqualValues(t, 1, o.seen.Load())
	})
}

func TestAllElsePasses(t *testing.T) {
	eachRole(t, func(t *testing.T, role string) {
		o := newOrigin(t)
		e := runEdge(t, o.URL, "-role", role)
		for n, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
			got := ask(t, method, e.url+"/mirror?a=1;b&c=%zz", "a body")
			assert.Equal(t, 200, got.status)
			assert.Equal(t, "a body", got.body)
			assert.Equal(t, method+" a=1;b&c=%zz", got.header.Get("Asked-With"), "the query as it came")
			assert.EqualValues(t, n+1, o.seen.Load())
		}
	})
}

func TestEarlyHintsArrive(t *testing.T) {
	eachRole(t, func(t *testing.T, role string) {
		e := runEdge(t, newOrigin(t).URL, "-role", role)
		var hints []string
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
				assert.Equal(t, http.StatusEarlyHints, code)
				hints = append(hints, header.Get("Link"))
				return nil
			},
		})
		req, err := http.NewRequestWithContext(ctx, "GET", e.url+"/hints", nil)
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, "hinted", string(text))
		assert.Equal(t, []string{"</style.css>; rel=preload"}, hints)
	})
}

func TestAnOldAnswerForAnOriginThatIsDown(t *testing.T) {
	eachRole(t, func(t *testing.T, role string) {
		o := newOrigin(t)
		e := runEdge(t, o.URL, "-role", role)
		assert.Equal(t, "brief", ask(t, "GET", e.url+"/brief", "").body)
		e.stored(t, 1)
		o.down.Store(true)
		got := ask(t, "GET", e.url+"/brief", "")
		assert.Equal(t, 200, got.status)
		assert.Equal(t, "brief", got.body)
		got = ask(t, "GET", e.url+"/page", "")
		assert.Equal(t, http.StatusBadGateway, got.status, "there is nothing old")
	})
}

func TestAnOriginThatDoesNotAnswer(t *testing.T) {
	hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(hang.Close)
	e := runEdge(t, hang.URL, "-origin-timeout", "50ms")
	assert.Equal(t, http.StatusGatewayTimeout, ask(t, "GET", e.url+"/", "").status)
	assert.Contains(t, e.log.String(), "no answer")
}

func TestOperators(t *testing.T) {
	eachRole(t, func(t *testing.T, role string) {
		o := newOrigin(t)
		e := runEdge(t, o.URL, "-role", role)
		ask(t, "GET", e.url+"/page", "")
		e.stored(t, 1)
		ask(t, "GET", e.url+"/page", "")

		assert.Equal(t, 200, ask(t, "GET", e.admin+"/readyz", "").status)
		assert.Equal(t, uint64(1), e.snapshot(t).Hits)

		purge := e.admin + "/purge?all&hard=true"
		assert.Contains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, ask(t, "POST", purge, "").status)
		assert.Contains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, ask(t, "POST", purge, "", "Authorization", "Bearer wrong").status)
		ask(t, "GET", e.url+"/page", "")
		assert.EqualValues(t, 1, o.seen.Load(), "nothing is gone")
		assert.Less(t, ask(t, "POST", purge, "", "Authorization", "Bearer "+token).status, 300)
		ask(t, "GET", e.url+"/page", "")
		assert.EqualValues(t, 2, o.seen.Load())
		e.stored(t, 2)

		purge = e.admin + "/purge?hard=true&url=" + url.QueryEscape(e.url+"/page")
		assert.Less(t, ask(t, "POST", purge, "", "Authorization", "Bearer "+token).status, 300)
		ask(t, "GET", e.url+"/page", "")
		assert.EqualValues(t, 3, o.seen.Load())

		assert.Equal(t, 404, ask(t, "GET", e.url+"/snapshot", "").status, "the public has no part in that")
	})
}

func TestNobodyPurgesWithoutAToken(t *testing.T) {
	e, err := newEdge(mustRead(t, "-origin", "http://127.0.0.1:9"), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { e.health.Close(context.Background()) })
	w := httptest.NewRecorder()
	e.operators("").ServeHTTP(w, httptest.NewRequest("POST", "/purge", nil))
	assert.Equal(t, 404, w.Code)
}

// What is under way when it is told to end is answered.
func TestItEndsInOrder(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		io.WriteString(w, "at last")
	}))
	t.Cleanup(slow.Close)
	e := runEdge(t, slow.URL)
	got := make(chan string, 1)
	go func() {
		resp, failed := http.Get(e.url)
		if !assert.NoError(t, failed) {
			got <- ""
			return
		}
		defer resp.Body.Close()
		text, failed := io.ReadAll(resp.Body)
		assert.NoError(t, failed)
		got <- string(text)
	}()
	<-arrived
	e.stop()
	select {
	case err := <-e.ended:
		t.Fatalf("it ended with a request under way: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	assert.Equal(t, "at last", <-got)
	err := <-e.ended
	require.NoError(t, err)
	e.ended <- err // for the cleanup
	_, err = net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
	assert.Error(t, err, "the port is free")
	_, err = net.Dial("tcp", strings.TrimPrefix(e.admin, "http://"))
	assert.Error(t, err)
}

func TestUpgradesPass(t *testing.T) {
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+r.Header.Get("Upgrade")+"\r\n\r\n")
		line, _ := rw.ReadString('\n')
		io.WriteString(conn, "you said "+line)
	}))
	t.Cleanup(echo.Close)
	eachRole(t, func(t *testing.T, role string) {
		e := runEdge(t, echo.URL, "-role", role)
		conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: edge\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		reader := bufio.NewReader(conn)
		resp, err := http.ReadResponse(reader, nil)
		require.NoError(t, err)
		assert.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
		io.WriteString(conn, "hello\n")
		line, err := reader.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, "you said hello\n", line)
	})
}

func mustRead(t *testing.T, args ...string) config {
	t.Helper()
	cfg, err := readConfig(args, environment, io.Discard)
	require.NoError(t, err)
	return cfg
}

// allFlags sets everything to something.
func allFlags() []string {
	return []string{
		"-listen", ":1", "-admin", ":2", "-origin", "https://origin.example/base", "-role", "transport",
		"-health", "http://origin.example/healthz", "-origin-timeout", "1s", "-drain", "2s", "-grace", "3s", "-log-events",
		"-drop-query", "utm_*,fbclid", "-bypass", "/account/", "-bypass", "/cart", "-store-set-cookie", "-heuristics",
		"-targeted-fields", "Surrogate-Control,CDN-Cache-Control", "-ignore-cookies", "_ga*", "-ignore-client-control",
		"-max-bytes", "1000000", "-max-object", "1000", "-max-variants", "3", "-hit-for-miss", "1s",
		"-store-timeout", "1ms", "-name", "edge", "-show-key", "-error-status", "520,521", "-stale-after", "300ms",
		"-stale-if-error", "2h", "-stale-while-revalidate", "1m", "-stale-if-sick", "3h", "-early-refresh", "2",
		"-max-refreshes", "5", "-failure-ttl", "1s", "-fetch-timeout", "10s",
	}
}

// An option that the Config gains is to be one here.
func TestEachOptionHasAFlag(t *testing.T) {
	rules := reflect.ValueOf(mustRead(t, allFlags()...).rules)
	other := []string{"Store", "Healthy", "Observe"} // the one in memory; of -health and -log-events, which need more
	for i := range rules.NumField() {
		field := rules.Type().Field(i)
		if field.IsExported() && !slices.Contains(other, field.Name) {
			assert.False(t, rules.Field(i).IsZero(), field.Name)
		}
	}
	_, err := stale.New(mustRead(t, allFlags()...).rules)
	assert.NoError(t, err)
}

func TestOptionsThatAreOff(t *testing.T) {
	rules := mustRead(t, "-origin", "http://o", "-hit-for-miss", "off", "-stale-after", "off", "-stale-if-error", "off",
		"-stale-while-revalidate", "off", "-stale-if-sick", "off", "-early-refresh", "off", "-failure-ttl", "off",
		"-targeted-fields", "none").rules
	for _, d := range []time.Duration{
		rules.HitForMiss, rules.StaleAfter, rules.DefaultStaleIfError, rules.DefaultStaleWhileRevalidate,
		rules.StaleIfSick, rules.FailureTTL,
	} {
		assert.EqualValues(t, stale.Off, d)
	}
	assert.InDelta(t, stale.Off, rules.EarlyRefresh, 0)
	assert.Equal(t, []string{}, rules.TargetedFields, "not nil, which is the default")
	_, err := stale.New(rules)
	assert.NoError(t, err)
}

// The defaults that the flags name are the Config's.
func TestWithoutFlagsItIsTheDefault(t *testing.T) {
	rules := mustRead(t, "-origin", "http://o").rules
	assert.Equal(t, stale.Config{Shared: true}, rules)
	assert.Equal(t, stale.Config{}, mustRead(t, "-origin", "http://o", "-role", rolePrivate).rules)
	var help bytes.Buffer
	_, err := readConfig([]string{"-help"}, environment, &help)
	require.Error(t, err)
	for _, text := range []string{
		"default 64 MiB", "default 1 MiB", "default 32", "default 2m", "default 20ms", "default 1h", "default 24h",
		"default 2s", "default 30s", "default failsoft",
	} {
		assert.Contains(t, help.String(), text)
	}
	assert.Equal(t, []int{64 << 20, 1 << 20, 32, 64},
		[]int{stale.DefaultMaxBytes, stale.DefaultMaxObject, stale.DefaultMaxVariants, stale.DefaultMaxRefreshes})
	assert.Equal(t,
		[]time.Duration{2 * time.Minute, 20 * time.Millisecond, time.Hour, 2 * time.Second, 30 * time.Second},
		[]time.Duration{
			stale.DefaultHitForMiss, stale.DefaultStoreTimeout, stale.DefaultStaleIfError, stale.DefaultFailureTTL,
			stale.DefaultFetchTimeout,
		})
	assert.Equal(t, "failsoft", stale.DefaultName)
}

func TestWhatTheCommandLineMustNotSay(t *testing.T) {
	good := []string{"-origin", "http://o"}
	for name, args := range map[string][]string{
		"no origin":            {},
		"an origin of nothing": {"-origin", "http://"},
		"another scheme":       {"-origin", "ftp://o"},
		"no URL":               {"-origin", "http://[::1"},
		"another role":         append(good, "-role", "both"),
		"words":                append(good, "what"),
		"no time":              append(good, "-origin-timeout", "0s"),
		"time runs backwards":  append(good, "-drain", "-1s"),
		"less than at once":    append(good, "-stale-after", "-1s"),
		"less than early":      append(good, "-early-refresh", "-1"),
		"no duration":          append(good, "-stale-if-error", "ever"),
		"no number":            append(good, "-early-refresh", "very"),
		"no status":            append(good, "-error-status", "teapot"),
		"an early status":      append(good, "-error-status", "103"),
		"nothing":              append(good, "-bypass", "/a,,/b"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readConfig(args, environment, io.Discard)
			assert.Error(t, err)
		})
	}
}

func TestKeysWithoutSomeParameters(t *testing.T) {
	key := mustRead(t, "-origin", "http://o", "-drop-query", "utm_*,fbclid").rules.Key
	for target, want := range map[string]string{
		"http://Shop.example/a%2Fb?x=1&utm_source=mail&y=2": "http://shop.example/a%2Fb?x=1&y=2",
		"http://shop.example/?fbclid":                       "http://shop.example/",
		"http://shop.example/?fbclidx=1&xutm_a=2":           "http://shop.example/?fbclidx=1&xutm_a=2",
		"http://shop.example/?%66bclid=1":                   "http://shop.example/?%66bclid=1",
		"https://shop.example/":                             "https://shop.example/",
	} {
		assert.Equal(t, want, key(httptest.NewRequest("GET", target, nil)), target)
	}
}

func TestBypassAndErrors(t *testing.T) {
	rules := mustRead(t, allFlags()...).rules
	for path, want := range map[string]bool{
		"/account/": true, "/account": true, "/account/orders": true, "/accounts": false, "/": false,
		"/cart": true, "/cart/1": true, "/carton": false,
	} {
		assert.Equal(t, want, rules.Bypass(&http.Request{URL: &url.URL{Path: path}}), path)
	}
	assert.True(t, rules.ErrorWhen(&http.Response{StatusCode: 520}))
	assert.False(t, rules.ErrorWhen(&http.Response{StatusCode: 404}))
}

// While the check of the origin fails, an old response answers at once.
func TestASickOrigin(t *testing.T) {
	o := newOrigin(t)
	var sick atomic.Bool
	check := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if sick.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(check.Close)
	sick.Store(true) // the first result counts at once
	e := runEdge(t, o.URL, "-health", check.URL, "-failure-ttl", "off")
	require.Eventually(t, func() bool {
		return strings.Contains(ask(t, "GET", e.admin+"/readyz", "").body, "warn")
	}, 30*time.Second, 10*time.Millisecond)
	assert.Equal(t, "brief", ask(t, "GET", e.url+"/brief", "").body)
	e.stored(t, 1)
	got := ask(t, "GET", e.url+"/brief", "")
	assert.Equal(t, "brief", got.body)
	assert.Contains(t, got.header.Get("Cache-Status"), "hit")
}

func TestItDoesNotKeepPortsThatItCannotUse(t *testing.T) {
	busy := listen(t)
	t.Cleanup(func() { busy.Close() })
	var out log
	err := run(t.Context(), []string{"-origin", "http://o", "-listen", busy.Addr().String()}, environment, &out)
	assert.Error(t, err)
	err = run(t.Context(), []string{"-origin", "http://o", "-listen", "127.0.0.1:0", "-admin", busy.Addr().String()}, environment, &out)
	assert.Error(t, err)
	err = run(t.Context(), []string{"-origin", "http://o", "-listen", "127.0.0.1:0", "-max-bytes", "-1"}, environment, &out)
	assert.ErrorContains(t, err, "MaxBytes")
}
