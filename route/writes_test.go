package route_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/memnet"
	"github.com/failsoft/failsoft/internal/rttest"
	"github.com/failsoft/failsoft/route"
)

func TestContractOfWrites(t *testing.T) {
	rttest.Server(t, func(next http.Handler) http.Handler {
		return route.MustNewWrites(route.WritesConfig{Secrets: [][]byte{dbSecret}}).Handler(next)
	})
}

// serve has a Handler of Writes serve a request, and returns the answer.
func serve(t *testing.T, w *route.Writes, method string, app http.HandlerFunc, cookies ...*http.Cookie) *http.Response {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, "/", http.NoBody)
	for _, cookie := range cookies {
		req.AddCookie(cookie)
	}
	rec := httptest.NewRecorder()
	w.Handler(app).ServeHTTP(rec, req)
	return rec.Result()
}

// written returns the cookie that says that a session has written.
func written(t *testing.T, w *route.Writes, at string) *http.Cookie {
	t.Helper()
	resp := serve(t, w, http.MethodGet, func(_ http.ResponseWriter, r *http.Request) {
		for _, store := range []string{"", "orders", "users"} {
			route.MarkPosition(r.Context(), store, at)
		}
	})
	require.Len(t, resp.Cookies(), 1)
	return resp.Cookies()[0]
}

func writesOf(t *testing.T, cfg route.WritesConfig) *route.Writes {
	t.Helper()
	if cfg.Secrets == nil {
		cfg.Secrets = [][]byte{dbSecret}
	}
	w, err := route.NewWrites(cfg)
	require.NoError(t, err)
	return w
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func TestRequirement7Cookie(t *testing.T) {
	resp := serve(t, writesOf(t, route.WritesConfig{}), http.MethodPost, status(http.StatusSeeOther))
	require.Len(t, resp.Cookies(), 1)
	cookie := resp.Cookies()[0]
	assert.NotEmpty(t, cookie.Value)
	cookie.Value = "v"
	assert.Equal(t, "dirty=v; Path=/; Max-Age=5; HttpOnly; Secure; SameSite=Lax", cookie.String())
	assert.Equal(t, []string{"private"}, resp.Header["Cache-Control"])

	w := writesOf(t, route.WritesConfig{Store: "orders", Insecure: true, PinFor: 1500 * time.Millisecond, Cookie: "rw"})
	cookie = serve(t, w, http.MethodPost, status(http.StatusOK)).Cookies()[0]
	cookie.Value = "v"
	assert.Equal(t, "rw-orders=v; Path=/; Max-Age=2; HttpOnly; SameSite=Lax", cookie.String(), "rounded up")

	long := writesOf(t, route.WritesConfig{
		Cookie: strings.Repeat("c", 128), Store: strings.Repeat("s", 128),
		Position: func(context.Context) string { return strings.Repeat("p", 1<<10) },
	})
	resp = serve(t, long, http.MethodPost, status(http.StatusOK))
	assert.Less(t, len(resp.Header.Get("Set-Cookie")), 4<<10)
}

func TestRequirement7WhatIsAWrite(t *testing.T) {
	for _, tt := range []struct {
		method string
		app    http.HandlerFunc
		want   bool
	}{
		{"POST", status(200), true},
		{"PUT", status(204), true},
		{"PATCH", status(303), true},
		{"DELETE", status(399), true},
		{"PURGE", status(200), true},
		{"POST", func(http.ResponseWriter, *http.Request) {}, true}, // net/http answers 200
		{"POST", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }, true},
		{"POST", func(w http.ResponseWriter, _ *http.Request) { _ = http.NewResponseController(w).Flush() }, true},
		{"POST", status(400), false},
		{"POST", status(503), false},
		{"GET", status(200), false},
		{"HEAD", status(200), false},
		{"OPTIONS", status(204), false},
		{"TRACE", status(200), false},
		{"GET", func(_ http.ResponseWriter, r *http.Request) { route.MarkDirty(r.Context()) }, true},
		{"GET", func(_ http.ResponseWriter, r *http.Request) { route.MarkDirty(r.Context(), "users", "") }, true},
		{"GET", func(_ http.ResponseWriter, r *http.Request) { route.MarkDirty(r.Context(), "users") }, false},
		{"GET", func(w http.ResponseWriter, r *http.Request) {
			route.MarkDirty(r.Context())
			w.WriteHeader(http.StatusInternalServerError)
		}, true}, // who says so knows better than a status
		{"GET", func(_ http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithCancel(context.WithValue(r.Context(), keyOfTest{}, 1))
			cancel()
			route.MarkDirty(ctx)
		}, true}, // under a context that was made from it
		{"GET", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			route.MarkDirty(r.Context())
		}, false}, // too late
	} {
		resp := serve(t, writesOf(t, route.WritesConfig{}), tt.method, tt.app)
		want := 0
		if tt.want {
			want = 1
		}
		assert.Len(t, resp.Cookies(), want, "%s %d", tt.method, resp.StatusCode)
		if !tt.want {
			assert.Empty(t, resp.Header["Cache-Control"])
		}
	}
}

type keyOfTest struct{}

// What is informational is not the header.
func TestRequirement7MarkedAfterEarlyHints(t *testing.T) {
	bubble(t, "103", func(t *testing.T) {
		base := memnet.Server(t, writesOf(t, route.WritesConfig{}).Handler(http.HandlerFunc(
			func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusEarlyHints)
				route.MarkDirty(r.Context())
			})))
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://shop.test/", http.NoBody)
		require.NoError(t, err)
		resp, err := base.RoundTrip(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, http.StatusOK, resp.StatusCode)
		assert.Len(t, resp.Cookies(), 1)
	})
}

func TestRequirement7MarkedAndPanicked(t *testing.T) {
	w := writesOf(t, route.WritesConfig{})
	recovered := func(app http.HandlerFunc, method string) *http.Response {
		rec := httptest.NewRecorder()
		func() {
			defer func() {
				assert.Equal(t, "boom", recover(), "it goes on as it came")
				rec.WriteHeader(http.StatusInternalServerError)
			}()
			w.Handler(app).ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), method, "/", http.NoBody))
		}()
		return rec.Result()
	}
	resp := recovered(func(_ http.ResponseWriter, r *http.Request) {
		route.MarkDirty(r.Context())
		panic("boom")
	}, http.MethodGet)
	assert.Len(t, resp.Cookies(), 1, "what was written is written")
	resp = recovered(func(http.ResponseWriter, *http.Request) { panic("boom") }, http.MethodPost)
	assert.Empty(t, resp.Cookies(), "this is none that ended well")
}

// reads is what a session that is being served reads from the store.
func reads(t *testing.T, d *database, into *[]string) http.HandlerFunc {
	t.Helper()
	return func(_ http.ResponseWriter, r *http.Request) {
		*into = d.send(r.Context(), t, http.MethodGet, 10)
	}
}

func TestRequirement7WithinOneRequest(t *testing.T) {
	d := newDatabase(t, route.Config{}, "p", "r")
	w := writesOf(t, route.WritesConfig{})
	serve(t, w, http.MethodGet, func(_ http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		assert.Equal(t, []string{"r"}, d.send(ctx, t, http.MethodGet, 10))
		assert.False(t, route.IsDirty(ctx))
		route.MarkDirty(ctx)
		assert.True(t, route.IsDirty(ctx))
		assert.Equal(t, []string{"p"}, d.send(ctx, t, http.MethodGet, 10), "from now on")
		assert.Equal(t, []string{"p"}, d.send(context.WithoutCancel(ctx), t, http.MethodGet, 10))
	})
	serve(t, w, http.MethodPost, func(_ http.ResponseWriter, r *http.Request) {
		assert.True(t, route.IsDirty(r.Context()))
		assert.Equal(t, []string{"p"}, d.send(r.Context(), t, http.MethodGet, 10), "from the start")
	})
	serve(t, w, http.MethodGet, func(rw http.ResponseWriter, r *http.Request) {
		rw.WriteHeader(http.StatusOK)
		route.MarkDirty(r.Context())
		assert.Equal(t, []string{"p"}, d.send(r.Context(), t, http.MethodGet, 10), "after the header, too")
	})
}

func TestRequirement7WithoutHandler(t *testing.T) {
	ctx := t.Context()
	route.MarkDirty(ctx)
	route.MarkPosition(ctx, "", "1")
	assert.False(t, route.IsDirty(ctx))
}

func TestRequirement7Stores(t *testing.T) {
	orders := newDatabase(t, route.Config{Store: "orders"}, "p", "r")
	users := newDatabase(t, route.Config{Store: "users"}, "p", "r")
	wo, wu := writesOf(t, route.WritesConfig{Store: "orders"}), writesOf(t, route.WritesConfig{Store: "users"})
	both := func(app http.HandlerFunc, cookies ...*http.Cookie) []*http.Cookie {
		inner := wu.Handler(app)
		return serve(t, wo, http.MethodGet, inner.ServeHTTP, cookies...).Cookies()
	}
	cookies := both(func(_ http.ResponseWriter, r *http.Request) {
		route.MarkDirty(r.Context(), "orders")
		assert.True(t, route.IsDirty(r.Context(), "orders"))
		assert.True(t, route.IsDirty(r.Context(), "users", "orders"))
		assert.True(t, route.IsDirty(r.Context()))
		assert.False(t, route.IsDirty(r.Context(), "users"))
	})
	require.Len(t, cookies, 1)
	assert.Equal(t, "dirty-orders", cookies[0].Name)
	both(func(_ http.ResponseWriter, r *http.Request) {
		assert.Equal(t, []string{"p"}, orders.send(r.Context(), t, http.MethodGet, 10))
		assert.Equal(t, []string{"r"}, users.send(r.Context(), t, http.MethodGet, 10))
	}, cookies...)
	assert.Len(t, both(func(_ http.ResponseWriter, r *http.Request) { route.MarkDirty(r.Context()) }), 2, "all of them")
	renamed := *cookies[0]
	renamed.Name = "dirty-users"
	both(func(_ http.ResponseWriter, r *http.Request) {
		assert.False(t, route.IsDirty(r.Context()), "another store's cookie by the name of this one's")
	}, &renamed)
}

func TestRequirement7Pinned(t *testing.T) {
	bubble(t, "until it expires", func(t *testing.T) {
		d := newDatabase(t, route.Config{}, "p", "r")
		w := writesOf(t, route.WritesConfig{PinFor: 3 * time.Second})
		cookie := written(t, w, "")
		var got []string

		resp := serve(t, w, http.MethodGet, reads(t, d, &got), cookie)
		assert.Equal(t, []string{"p"}, got)
		assert.Empty(t, resp.Cookies(), "reads do not renew it")
		assert.Empty(t, resp.Header["Cache-Control"])

		time.Sleep(6*time.Second - time.Millisecond)
		serve(t, w, http.MethodGet, reads(t, d, &got), cookie)
		assert.Equal(t, []string{"p"}, got, "a client without a clock, or a server with another")
		time.Sleep(time.Millisecond)
		serve(t, w, http.MethodGet, reads(t, d, &got), cookie)
		assert.Equal(t, []string{"r"}, got)
	})
	bubble(t, "until a replica has reached it", func(t *testing.T) {
		var d *database
		d = newDatabase(t, route.Config{
			Lag: func(addr string) (time.Duration, string, bool) { return d.lagging(addr) },
		}, "p", "r")
		w := writesOf(t, route.WritesConfig{})
		cookie := written(t, w, "41")
		var got []string
		d.lag["r"] = position{at: "40"}
		serve(t, w, http.MethodGet, reads(t, d, &got), cookie)
		assert.Equal(t, []string{"p"}, got)
		d.lag["r"] = position{at: "41"}
		serve(t, w, http.MethodGet, reads(t, d, &got), cookie)
		assert.Equal(t, []string{"r"}, got)
		serve(t, w, http.MethodPost, reads(t, d, &got), cookie)
		assert.Equal(t, []string{"p"}, got, "what is being written now has no position yet")
	})
}

// observer keeps events of Writes.
type observer struct {
	mu     sync.Mutex
	events []string
}

func (o *observer) observe(_ context.Context, e route.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	text := e.Kind.String() + ": " + e.Reason
	if e.Err != nil {
		text += e.Err.Error()
	}
	o.events = append(o.events, text)
}

func (o *observer) take() (events []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	events, o.events = o.events, nil
	return events
}

func TestRequirement7CookiesThatAreIgnored(t *testing.T) {
	bubble(t, "ignored", func(t *testing.T) {
		var seen observer
		w := writesOf(t, route.WritesConfig{Observe: seen.observe})
		good := written(t, w, "")
		with := func(change func(*http.Cookie)) *http.Cookie {
			c := *good
			change(&c)
			return &c
		}
		foreign := writesOf(t, route.WritesConfig{Secrets: [][]byte{bytes.Repeat([]byte("k"), 32)}})
		tampered := with(func(c *http.Cookie) {
			letter := "A"
			if c.Value[50] == 'A' {
				letter = "B"
			}
			c.Value = c.Value[:50] + letter + c.Value[51:]
		})
		long := with(func(c *http.Cookie) { c.Value = strings.Repeat("A", 8<<10) })
		junk := with(func(c *http.Cookie) { c.Value = "1" })
		for _, tt := range []struct {
			name    string
			cookies []*http.Cookie
			dirty   bool
			events  []string
		}{
			{"good", []*http.Cookie{good}, true, nil},
			{"none", nil, false, nil},
			{"others", []*http.Cookie{{Name: "session", Value: "1"}, {Name: "dirty-x", Value: good.Value}}, false, nil},
			{"tampered", []*http.Cookie{tampered}, false, []string{"cookie ignored: none of the secrets has signed it"}},
			{"foreign", []*http.Cookie{written(t, foreign, "")}, false, []string{"cookie ignored: none of the secrets has signed it"}},
			{"long", []*http.Cookie{long}, false, []string{"cookie ignored: it is malformed"}},
			{"junk", []*http.Cookie{junk}, false, []string{"cookie ignored: it is malformed"}},
			{"the first that is good", []*http.Cookie{junk, tampered, good}, true, []string{
				"cookie ignored: it is malformed", "cookie ignored: none of the secrets has signed it",
			}},
			{"very many", append(repeated(junk, 200), good), false, []string{
				"cookie ignored: it is malformed", "cookie ignored: it is malformed",
				"cookie ignored: it is malformed", "cookie ignored: it is malformed",
			}},
		} {
			resp := serve(t, w, http.MethodGet, func(_ http.ResponseWriter, r *http.Request) {
				assert.Equal(t, tt.dirty, route.IsDirty(r.Context()), tt.name)
			}, tt.cookies...)
			assert.Equal(t, http.StatusOK, resp.StatusCode, tt.name)
			assert.Empty(t, resp.Cookies(), tt.name)
			assert.Equal(t, tt.events, seen.take(), tt.name)
		}
		time.Sleep(time.Minute)
		serve(t, w, http.MethodGet, func(_ http.ResponseWriter, r *http.Request) {
			assert.False(t, route.IsDirty(r.Context()))
		}, good)
		assert.Equal(t, []string{"cookie ignored: it has expired"}, seen.take())
	})
}

func repeated(cookie *http.Cookie, n int) (all []*http.Cookie) {
	for range n {
		all = append(all, cookie)
	}
	return all
}

// positions returns the position in the cookie of an answer, by what a replica must
// have reached.
func positionIn(t *testing.T, cfg route.WritesConfig, app http.HandlerFunc) (at string) {
	t.Helper()
	w := writesOf(t, cfg)
	resp := serve(t, w, http.MethodPost, app)
	require.Len(t, resp.Cookies(), 1)
	d := newDatabase(t, route.Config{
		Lag:     func(string) (time.Duration, string, bool) { return 0, "", true },
		Reached: func(_, want string) bool { at = want; return true },
	}, "p", "r")
	serve(t, w, http.MethodGet, reads(t, d, new([]string)), resp.Cookies()...)
	return at
}

func TestRequirement7WhichPosition(t *testing.T) {
	var seen observer
	asked := 0
	cfg := route.WritesConfig{Observe: seen.observe, Position: func(ctx context.Context) string {
		assert.True(t, route.IsDirty(ctx), "it is the context of the request")
		asked++
		return "from func"
	}}
	mark := func(positions ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for _, at := range positions {
				route.MarkPosition(r.Context(), "", at)
			}
			_, _ = io.WriteString(w, "a")
			_, _ = io.WriteString(w, "b")
		}
	}
	assert.Equal(t, "from func", positionIn(t, cfg, mark()))
	assert.Equal(t, 1, asked, "once per write")
	assert.Equal(t, "2", positionIn(t, cfg, mark("1", "2")), "the last one")
	assert.Equal(t, 1, asked, "who has said so is not asked")
	assert.Equal(t, "from func", positionIn(t, cfg, mark("1", "")), "there was a write after that")
	assert.Empty(t, positionIn(t, route.WritesConfig{}, mark()))
	assert.Empty(t, seen.take())

	most := strings.Repeat("p", 1<<10)
	assert.Equal(t, most, positionIn(t, cfg, mark(most)))
	cfg.Position = nil
	assert.Empty(t, positionIn(t, cfg, mark(most+"p")))
	assert.Equal(t, []string{"position ignored: it is longer than 1 KiB"}, seen.take())
	cfg.Position = func(context.Context) string { return most + "p" }
	assert.Empty(t, positionIn(t, cfg, mark()))
	assert.Equal(t, []string{"position ignored: it is longer than 1 KiB"}, seen.take())
	cfg.Position = func(context.Context) string { panic("boom") }
	assert.Empty(t, positionIn(t, cfg, mark()))
	assert.Equal(t, []string{"position ignored: WritesConfig.Position panicked"}, seen.take())
}

func TestRequirement7MarkedLate(t *testing.T) {
	var seen observer
	w := writesOf(t, route.WritesConfig{Observe: seen.observe})
	serve(t, w, http.MethodGet, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		route.MarkDirty(r.Context())
	})
	assert.Equal(t, []string{"marked late: the header has been sent"}, seen.take())

	w = writesOf(t, route.WritesConfig{Observe: func(context.Context, route.Event) { panic("boom") }})
	resp := serve(t, w, http.MethodGet, status(http.StatusOK), &http.Cookie{Name: "dirty", Value: "x"})
	assert.Equal(t, http.StatusOK, resp.StatusCode, "an observer's panic is contained")
}

// Handlers mark from many goroutines while the header is being written.
func TestRequirement7MarkedByMany(t *testing.T) {
	w := writesOf(t, route.WritesConfig{})
	var work sync.WaitGroup
	serve(t, w, http.MethodPost, func(w http.ResponseWriter, r *http.Request) {
		for n := range 8 {
			work.Go(func() {
				for range 50 {
					route.MarkPosition(r.Context(), "", strconv.Itoa(n))
					route.IsDirty(r.Context())
				}
			})
		}
		w.WriteHeader(http.StatusOK)
	})
	work.Wait()
}

// A session of a real client with a jar, at several servers that share a secret, in
// front of a store whose replica is two seconds late.
func TestRequirement7Session(t *testing.T) {
	bubble(t, "a client with a jar", func(t *testing.T) {
		d := newDatabase(t, route.Config{}, "p", "r")
		w := writesOf(t, route.WritesConfig{Insecure: true, PinFor: 3 * time.Second})
		app := w.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			resp, err := d.once(r.Context(), t, r.Method)
			if err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			_, _ = io.WriteString(w, resp.Request.URL.Host)
		}))
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		client := &http.Client{Transport: memnet.Server(t, app), Jar: jar}
		stranger := &http.Client{Transport: client.Transport}
		send := func(client *http.Client, method string) string {
			req, err := http.NewRequestWithContext(t.Context(), method, "http://shop.test/", http.NoBody)
			require.NoError(t, err)
			resp, err := client.Do(req)
			require.NoError(t, err)
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			return string(body)
		}
		assert.Equal(t, "r", send(client, http.MethodGet))
		assert.Equal(t, "p", send(client, http.MethodPost))
		assert.Equal(t, "p", send(client, http.MethodGet))
		assert.Equal(t, "r", send(stranger, http.MethodGet), "somebody else has not written")
		time.Sleep(3*time.Second - time.Millisecond)
		assert.Equal(t, "p", send(client, http.MethodGet))
		time.Sleep(time.Millisecond)
		assert.Equal(t, "r", send(client, http.MethodGet), "the jar has forgotten, and reads have not renewed it")
	})
}

// The same over sockets and TLS, as the cookie is Secure.
func TestRequirement7SessionOverTLS(t *testing.T) {
	d := newDatabase(t, route.Config{}, "p", "r")
	w := writesOf(t, route.WritesConfig{PinFor: time.Second, Cookie: "__Host-dirty"})
	server := httptest.NewTLSServer(w.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, d.send(r.Context(), t, r.Method, 1)[0])
	})))
	defer server.Close()
	client := server.Client()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client.Jar = jar
	get := func() string {
		resp, getErr := client.Get(server.URL)
		require.NoError(t, getErr)
		defer resp.Body.Close()
		body, readErr := io.ReadAll(resp.Body)
		require.NoError(t, readErr)
		return string(body)
	}
	assert.Equal(t, "r", get())
	wrote := time.Now()
	resp, err := client.Post(server.URL, "text/plain", http.NoBody)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	if first := get(); time.Since(wrote) < time.Second {
		assert.Equal(t, "p", first)
	}
	assert.Eventually(t, func() bool { return get() == "r" }, 10*time.Second, 50*time.Millisecond)
	assert.GreaterOrEqual(t, time.Since(wrote), time.Second)
}

// The promise of a Handler to reads without a cookie.
func TestRequirement7WritesAllocations(t *testing.T) {
	app := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	answer := &silent{header: http.Header{}}
	cost := func(handler http.Handler) float64 {
		return testing.AllocsPerRun(200, func() { handler.ServeHTTP(answer, req) })
	}
	assert.Zero(t, cost(app))
	// The session, a request with its context, the writer, and the hook.
	assert.LessOrEqual(t, cost(writesOf(t, route.WritesConfig{}).Handler(app)), 4.0)
}

// silent is a ResponseWriter that costs nothing.
type silent struct{ header http.Header }

func (s *silent) Header() http.Header         { return s.header }
func (s *silent) WriteHeader(int)             {}
func (s *silent) Write(p []byte) (int, error) { return len(p), nil }
