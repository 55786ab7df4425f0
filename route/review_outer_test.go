package route_test

import (
	"bytes"
	"context"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/route"
)

// The server removes the files of an upload from the request that it knows, which is
// not the one that the application gets.
func TestReviewUploadsLeaveNoFiles(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, panics := range []bool{false, true} {
		upload := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			assert.NoError(t, r.ParseMultipartForm(1))
			if panics {
				panic(http.ErrAbortHandler)
			}
		})
		server := httptest.NewServer(writesOf(t, route.WritesConfig{}).Handler(upload))
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		part, err := form.CreateFormFile("f", "f")
		require.NoError(t, err)
		_, _ = part.Write(make([]byte, 11<<20)) // ten are kept in memory, whatever was asked for
		require.NoError(t, form.Close())
		resp, err := server.Client().Post(server.URL, form.FormDataContentType(), &body)
		if err == nil {
			assert.NoError(t, resp.Body.Close())
		}
		server.Close()
		if panics {
			continue // net/http itself leaves them then
		}
		require.NoError(t, err)
		files, err := os.ReadDir(os.TempDir())
		require.NoError(t, err)
		assert.Empty(t, files)
	}
}

// After a hijack there is no header any more that the cookie could be in.
func TestReviewMarkedAfterHijack(t *testing.T) {
	var seen observer
	w := writesOf(t, route.WritesConfig{Observe: seen.observe})
	server := httptest.NewServer(w.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, buf, err := http.NewResponseController(w).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		defer func() { assert.NoError(t, conn.Close()) }()
		route.MarkDirty(r.Context())
		assert.True(t, route.IsDirty(r.Context()), "it is, for what this request reads")
		_, _ = buf.WriteString("HTTP/1.1 204 No Content\r\n\r\n")
		_ = buf.Flush()
	})))
	defer server.Close()
	resp, err := server.Client().Get(server.URL)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Empty(t, resp.Cookies())
	assert.Equal(t, []string{"marked late: the header has been sent"}, seen.take())
}

// A cache that reads one line of Cache-Control only, or a field for caches that
// overrules it, must not give the cookie of one to all.
func TestReviewCachesDoNotShareTheCookie(t *testing.T) {
	app := func(w http.ResponseWriter, r *http.Request) {
		route.MarkDirty(r.Context())
		w.Header()["Cache-Control"] = []string{"public, max-age=60", "s-maxage=60"}
		w.Header().Set("CDN-Cache-Control", "max-age=60")
		w.Header().Set("Surrogate-Control", "max-age=60")
	}
	resp := serve(t, writesOf(t, route.WritesConfig{}), http.MethodGet, app)
	require.Len(t, resp.Cookies(), 1)
	assert.Equal(t, []string{"private, public, max-age=60, s-maxage=60"}, resp.Header["Cache-Control"])
	assert.Empty(t, resp.Header["Cdn-Cache-Control"])
	assert.Empty(t, resp.Header["Surrogate-Control"])

	resp = serve(t, writesOf(t, route.WritesConfig{}), http.MethodGet, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("CDN-Cache-Control", "max-age=60")
	})
	assert.Equal(t, "max-age=60", resp.Header.Get("CDN-Cache-Control"), "what sets no cookie is as it was")
}

// Secrets that nobody has filled with anything.
func TestReviewZeroSecret(t *testing.T) {
	_, err := route.NewWrites(route.WritesConfig{Secrets: [][]byte{dbSecret, make([]byte, 32)}})
	require.ErrorContains(t, err, "WritesConfig.Secrets[1] has nothing but zeros")
}

// An answer for want of a primary is not to be kept for others.
func TestReviewStaleReadsAreNotStored(t *testing.T) {
	d := newDatabase(t, route.Config{}, "r")
	ctx, answer := attempt.WithAnswer(dirty(t, ""))
	resp, err := d.once(ctx, t, http.MethodGet)
	require.NoError(t, err)
	require.Equal(t, "no-primary", resp.Header.Get("Stale-Read"))
	assert.True(t, answer.Degraded())

	ctx, answer = attempt.WithAnswer(t.Context())
	_, err = d.once(ctx, t, http.MethodGet)
	require.NoError(t, err)
	assert.False(t, answer.Degraded())
}

// The only primary is never ejected. If it does not answer, that is none all the same:
// with ReadReplica, sessions that have written read what there is.
func TestReviewOnlyPrimaryDown(t *testing.T) {
	bubble(t, "a stale read", func(t *testing.T) {
		d := newDatabase(t, route.Config{}, "p", "r1", "r2")
		d.fail(t, "p")
		stale := 0
		for range 20 { // one of them asks the primary
			resp, err := d.once(dirty(t, ""), t, http.MethodGet)
			if err == nil {
				assert.Equal(t, "no-primary", resp.Header.Get("Stale-Read"))
				stale++
			}
		}
		assert.GreaterOrEqual(t, stale, 19)

		hosts := &attempt.Hosts{}
		hosts.Add("p")
		time.Sleep(time.Minute)
		resp, err := d.once(attempt.WithRetry(dirty(t, ""), 2, hosts), t, http.MethodGet)
		require.NoError(t, err, "the call has asked the primary already")
		assert.Equal(t, "no-primary", resp.Header.Get("Stale-Read"))

		d.mu.Lock()
		d.down["p"] = false
		d.mu.Unlock()
		assert.Equal(t, []string{"p"}, d.send(dirty(t, ""), t, http.MethodGet, 20), "it is found to be back by the next read")
	})
	bubble(t, "writes find it", func(t *testing.T) {
		d := newDatabase(t, route.Config{}, "p", "r")
		d.fail(t, "p")
		_, _ = d.once(dirty(t, ""), t, http.MethodGet)
		d.mu.Lock()
		d.down["p"] = false
		d.mu.Unlock()
		assert.Equal(t, []string{"r"}, d.send(dirty(t, ""), t, http.MethodGet, 5))
		d.send(t.Context(), t, http.MethodPost, 1)
		assert.Equal(t, []string{"p"}, d.send(dirty(t, ""), t, http.MethodGet, 5))
	})
	bubble(t, "refused", func(t *testing.T) {
		d := newDatabase(t, route.Config{NoPrimary: route.Refuse}, "p", "r1", "r2")
		d.fail(t, "p")
		for range 20 {
			_, err := d.once(dirty(t, ""), t, http.MethodGet)
			require.ErrorIs(t, err, errGone, "it may be back at any time, and nobody else will do")
		}
	})
	bubble(t, "the rule is off", func(t *testing.T) {
		d := newDatabase(t, route.Config{Consecutive: route.Off, SuccessMargin: route.Off}, "p", "r")
		d.fail(t, "p")
		for range 20 {
			_, err := d.once(dirty(t, ""), t, http.MethodGet)
			require.ErrorIs(t, err, errGone)
		}
	})
	bubble(t, "no replica is there", func(t *testing.T) {
		d := newDatabase(t, route.Config{}, "p", "a")
		d.fail(t, "p")
		d.fail(t, "a")
		for range 20 {
			_, err := d.once(dirty(t, ""), t, http.MethodGet)
			require.ErrorIs(t, err, errGone)
		}
	})
}

// A POST that only reads, such as one with a query in its body, and a GET that writes.
func TestReviewOnlyReads(t *testing.T) {
	onlyReads := func(r *http.Request) bool {
		if r.Header.Get("Panic") != "" {
			panic("onlyReads")
		}
		return r.URL.Path == "/search"
	}
	w := writesOf(t, route.WritesConfig{OnlyReads: onlyReads})
	d := newDatabase(t, route.Config{OnlyReads: onlyReads}, "p", "r")
	ask := func(method, path, header string) (host string, cookies int) {
		t.Helper()
		req := httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody)
		req.Header.Set("Panic", header)
		rec := httptest.NewRecorder()
		w.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			out, err := http.NewRequestWithContext(r.Context(), method, "http://db"+path, http.NoBody)
			if !assert.NoError(t, err) {
				return
			}
			out.Header.Set("Panic", header)
			resp, err := d.RoundTrip(out)
			if assert.NoError(t, err) {
				host = resp.Request.URL.Host
				assert.NoError(t, resp.Body.Close())
			}
		})).ServeHTTP(rec, req)
		return host, len(rec.Result().Cookies())
	}
	for _, tt := range []struct {
		method, path, header string
		host                 string
		cookies              int
	}{
		{"POST", "/search", "", "r", 0},
		{"GET", "/search", "", "r", 0},
		{"POST", "/orders", "", "p", 1},
		{"GET", "/like", "", "p", 1},
		{"POST", "/search", "yes", "p", 1}, // it panics: the method says
		{"GET", "/like", "yes", "r", 0},
	} {
		host, cookies := ask(tt.method, tt.path, tt.header)
		assert.Equal(t, tt.host, host, tt)
		assert.Equal(t, tt.cookies, cookies, tt)
	}
}

// What a run of a Resolver has left behind does not outlive it.
func TestReviewResolverAfterItsEnd(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		runs, ended := 0, make(chan struct{})
		var late func([]route.Host, error)
		var events eventLog
		pool := route.MustNew(route.Config{
			Names: []string{"web"}, Observe: events.observe,
			Resolver: func(ctx context.Context, update func([]route.Host, error)) {
				runs++
				if runs == 1 {
					late = update
					update([]route.Host{h("old")}, nil)
					go func() {
						<-ctx.Done()
						close(ended)
					}()
					panic("once")
				}
				update([]route.Host{h("new")}, nil)
				<-ctx.Done()
			},
		})
		defer pool.Close(t.Context())
		time.Sleep(5 * time.Second)
		<-ended
		require.Equal(t, []string{"new"}, addrs(pool))
		events.all()
		late([]route.Host{h("old")}, nil)
		late(nil, io.ErrUnexpectedEOF)
		assert.Equal(t, []string{"new"}, addrs(pool))
		assert.Empty(t, events.all())
	})
}

// A number without a unit is a time in nanoseconds.
func TestReviewDNSWithoutAUnit(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		dials := 0
		cfg := route.DNSConfig{Every: 30, Timeout: 5, Resolver: &net.Resolver{
			PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
				dials++
				return nil, errGone
			},
		}}
		ctx, cancel := context.WithCancel(t.Context())
		var told []error
		go route.DNS("web.example", 80, cfg)(ctx, func(_ []route.Host, err error) { told = append(told, err) })
		time.Sleep(time.Second)
		cancel()
		time.Sleep(time.Second)
		require.Len(t, told, 1)
		require.ErrorContains(t, told[0], "DNSConfig.Every is 30ns")
		require.ErrorContains(t, told[0], "DNSConfig.Timeout is 5ns")
		assert.Zero(t, dials)
	})
}

// Half of a service is none.
func TestReviewHalfOfAService(t *testing.T) {
	for _, of := range [][2]string{{"http", ""}, {"", "tcp"}} {
		ctx, cancel := context.WithCancel(t.Context())
		route.SRV(of[0], of[1], "web.example", route.DNSConfig{})(ctx, func(_ []route.Host, err error) {
			assert.ErrorContains(t, err, "is no name of a service")
			cancel()
		})
	}
}

// Names that no URL can have are names that never match.
func TestReviewNames(t *testing.T) {
	for name, want := range map[string]string{
		"":                    `Config.Names: ""`,
		"http://web":          `Config.Names: "http://web"`,
		"web/":                `Config.Names: "web/"`,
		"web shop":            `Config.Names: "web shop"`,
		"web\tshop":           `Config.Names: "web\tshop"`,
		"web\n":               `Config.Names: "web\n"`,
		"web:":                `Config.Names: "web:"`,
		":80":                 `Config.Names: ":80"`,
		"web:0":               `Config.Names: "web:0"`,
		"web:65536":           `Config.Names: "web:65536"`,
		"web:http":            `Config.Names: "web:http"`,
		"::1":                 `Config.Names: "::1"`,
		"user:secret@web":     `Config.Names: "web"`,
		"user:secret@web/":    `Config.Names: "web/"`,
		"user:%secret@web:80": `Config.Names: "web:80"`,
	} {
		_, err := route.New(route.Config{Names: []string{"fine", name}, Hosts: []route.Host{h("a")}})
		if assert.ErrorContains(t, err, want, name) {
			assert.NotContains(t, err.Error(), "secret")
			assert.NotContains(t, err.Error(), "fine")
		}
	}
	for _, name := range []string{"web", "Web:80", "web.example.", "[::1]", "[::1]:80", "10.0.0.1:8080", "web_shop"} {
		_, err := route.New(route.Config{Names: []string{name}, Hosts: []route.Host{h("a")}})
		assert.NoError(t, err, name)
	}
}

// With the defaults, no replica is asked that may not have what a session has written
// whose pin has just ended.
func TestReviewLagIsWithinThePin(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		var d *database
		d = newDatabase(t, route.Config{Lag: func(addr string) (time.Duration, string, bool) {
			return d.lagging(addr)
		}}, "p", "r")
		w := writesOf(t, route.WritesConfig{})
		for lag := time.Second; lag < 15*time.Second; lag += 500 * time.Millisecond {
			d.lag["r"] = position{lag: lag}
			cookie := serve(t, w, http.MethodPost, status(http.StatusOK)).Cookies()[0]
			begun := time.Now()
			time.Sleep(time.Duration(cookie.MaxAge)*time.Second + 1) // the client has forgotten it
			if d.send(t.Context(), t, http.MethodGet, 1)[0] == "r" {
				assert.GreaterOrEqual(t, time.Since(begun), lag, "the replica does not have it yet")
			}
		}
	})
}

// A cookie from before a rotation of secrets, from a server whose clock is behind or
// ahead, and one that somebody keeps.
func TestReviewClocks(t *testing.T) {
	bubble(t, "skew", func(t *testing.T) {
		w := writesOf(t, route.WritesConfig{PinFor: 5 * time.Second})
		cookie := written(t, w, "")
		dirtyAt := func(after time.Duration) (is bool) {
			time.Sleep(after)
			serve(t, w, http.MethodGet, func(_ http.ResponseWriter, r *http.Request) { is = route.IsDirty(r.Context()) }, cookie)
			return is
		}
		assert.True(t, dirtyAt(0))
		assert.True(t, dirtyAt(9*time.Second), "the clock of the server that set it may be 5 s behind")
		assert.False(t, dirtyAt(time.Second+time.Millisecond), "but it is not kept for ever")
	})
}

// Every shape of request that a handler of an application can see is served as without
// Writes when its cookies are hostile.
func TestReviewHostileCookieHeader(t *testing.T) {
	w := writesOf(t, route.WritesConfig{})
	good := written(t, w, "")
	for _, header := range []string{
		"dirty=", "dirty", "=", ";;;;", "dirty=\"" + good.Value + "\"; x", strings.Repeat("dirty=x; ", 5000),
		"dirty=" + good.Value + "=", "dirty=" + good.Value + "\x00", "Dirty=" + good.Value, "dirty =" + good.Value,
	} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		req.Header["Cookie"] = []string{header}
		rec := httptest.NewRecorder()
		w.Handler(status(http.StatusTeapot)).ServeHTTP(rec, req)
		assert.Equal(t, http.StatusTeapot, rec.Code)
		assert.Empty(t, rec.Result().Cookies())
	}
}

// Two stores, of which a request writes to one: the other is marked as well, unless
// OnlyReads says that the write is not for it.
func TestReviewWritesOfSeveralStores(t *testing.T) {
	elsewhere := func(path string) func(*http.Request) bool {
		return func(r *http.Request) bool {
			return r.Method != http.MethodPost || !strings.HasPrefix(r.URL.Path, path)
		}
	}
	for name, test := range map[string]struct {
		users, orders func(*http.Request) bool
		want          []string
	}{
		"nobody knows":   {nil, nil, []string{"dirty-orders", "dirty-users"}},
		"OnlyReads does": {elsewhere("/users"), elsewhere("/orders"), []string{"dirty-users"}},
	} {
		t.Run(name, func(t *testing.T) {
			users := writesOf(t, route.WritesConfig{Store: "users", OnlyReads: test.users})
			orders := writesOf(t, route.WritesConfig{Store: "orders", OnlyReads: test.orders})
			rec := httptest.NewRecorder()
			users.Handler(orders.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				assert.True(t, route.IsDirty(r.Context(), "users"))
				assert.Equal(t, len(test.want) == 2, route.IsDirty(r.Context(), "orders"))
				w.Header().Set("Cache-Control", "max-age=60")
			}))).ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/users", http.NoBody))
			var marked []string
			for _, cookie := range rec.Result().Cookies() {
				marked = append(marked, cookie.Name)
			}
			assert.ElementsMatch(t, test.want, marked)
			assert.Equal(t, []string{"private, max-age=60"}, rec.Header()["Cache-Control"], "private is said once")
		})
	}
}

// What begins with private stays as it is, but only if that is the whole directive.
func TestReviewPrivateOnce(t *testing.T) {
	for said, want := range map[string]string{
		"":                      "private",
		"private":               "private",
		"Private , max-age=0":   "Private , max-age=0",
		"no-cache":              "private, no-cache",
		`private="set-cookie"`:  `private, private="set-cookie"`,
		"private-ish, no-cache": "private, private-ish, no-cache",
	} {
		resp := serve(t, writesOf(t, route.WritesConfig{}), http.MethodPost, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", said)
		})
		assert.Equal(t, []string{want}, resp.Header["Cache-Control"], said)
	}
}

// A log has a line for each of several errors, and each says where it comes from.
func TestReviewEachErrorSaysWhose(t *testing.T) {
	twoWrong := []route.Host{h("http://x/y"), h("")}
	lines := func(err error) []string { return strings.Split(err.Error(), "\n") }

	_, err := route.New(route.Config{Names: []string{"http://catalogue", "a/b"}, Hosts: twoWrong})
	require.Error(t, err)
	assert.Equal(t, []string{
		`route: Config.Names: "http://catalogue": leave the scheme away`,
		`route: Config.Names: "a/b": leave away what follows the host and its port`,
		`route: Config.Hosts: "http://x/y": leave away what follows the host and its port`,
		`route: Config.Hosts: "" is no host with or without a port`,
	}, lines(err))

	path := filepath.Join(t.TempDir(), "hosts.json")
	require.NoError(t, os.WriteFile(path, []byte(`[{"addr": "a", "weight": 0}, {"port": 1}]`), 0o600))
	for want, resolver := range map[string]route.Resolver{
		"route: File: " + path + ": entry ": route.File(path),
		"route: Resolver: \"": func(ctx context.Context, update func([]route.Host, error)) {
			update(twoWrong, nil)
			<-ctx.Done()
		},
	} {
		told := make(chan error, 1)
		pool := route.MustNew(route.Config{
			Names: []string{"web"}, Resolver: resolver,
			Observe: func(_ context.Context, e route.Event) { told <- e.Err },
		})
		err := <-told
		require.NoError(t, pool.Close(t.Context()))
		all := lines(err)
		assert.Len(t, all, 2)
		for _, line := range all {
			assert.True(t, strings.HasPrefix(line, want), line)
		}
	}
}
