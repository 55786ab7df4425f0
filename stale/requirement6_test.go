package stale_test

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale"
)

// stores reports whether a second request like the first is answered from the
// Cache.
func (s *site) stores(header ...string) bool {
	s.t.Helper()
	s.get("/", header...)
	synctest.Wait()
	n := s.hits()
	s.get("/", header...)
	return s.hits() == n
}

func TestRequirement6SafeByDefault(t *testing.T) {
	type fields = []string
	cases := []struct {
		name     string
		cfg      stale.Config
		doors    []string
		asks     fields
		answers  fields
		isStored bool
	}{
		{"Set-Cookie", stale.Config{}, shared(), nil, fields{"Cache-Control", "max-age=60", "Set-Cookie", "a=1"}, false},
		{"Set-Cookie, public", stale.Config{}, shared(), nil, fields{"Cache-Control", "public, max-age=60", "Set-Cookie", "a=1"}, false},
		{"Set-Cookie by choice", stale.Config{StoreSetCookie: true}, shared(), nil, fields{"Cache-Control", "max-age=60", "Set-Cookie", "a=1"}, true},
		{"Set-Cookie to one user", stale.Config{}, []string{ofUserAgent}, nil, fields{"Cache-Control", "max-age=60", "Set-Cookie", "a=1"}, true},
		{"Authorization", stale.Config{}, shared(), fields{"Authorization", "x"}, fields{"Cache-Control", "max-age=60"}, false},
		{"Authorization, public", stale.Config{}, shared(), fields{"Authorization", "x"}, fields{"Cache-Control", "public, max-age=60"}, true},
		{"Authorization, s-maxage", stale.Config{}, shared(), fields{"Authorization", "x"}, fields{"Cache-Control", "s-maxage=60"}, true},
		{"Authorization, must-revalidate", stale.Config{}, shared(), fields{"Authorization", "x"}, fields{"Cache-Control", "must-revalidate, max-age=60"}, true},
		{"Authorization of one user", stale.Config{}, []string{ofUserAgent}, fields{"Authorization", "x"}, fields{"Cache-Control", "max-age=60"}, true},
		{"Cookie", stale.Config{}, shared(), fields{"Cookie", "session=1"}, fields{"Cache-Control", "max-age=60"}, false},
		{"Cookie, public", stale.Config{}, shared(), fields{"Cookie", "session=1"}, fields{"Cache-Control", "public, max-age=60"}, true},
		{"Cookie, must-revalidate", stale.Config{}, shared(), fields{"Cookie", "session=1"}, fields{"Cache-Control", "must-revalidate, max-age=60"}, false},
		{"ignored cookies", stale.Config{IgnoreCookies: []string{"_ga*", "consent"}}, shared(), fields{"Cookie", "_ga_X=1; consent=yes"}, fields{"Cache-Control", "max-age=60"}, true},
		{"one that is not ignored", stale.Config{IgnoreCookies: []string{"_ga*"}}, shared(), fields{"Cookie", "_ga_X=1; x_ga=1"}, fields{"Cache-Control", "max-age=60"}, false},
		{"no lifetime", stale.Config{}, allDoors(), nil, fields{"Last-Modified", "Mon, 01 Jan 1990 00:00:00 GMT"}, false},
		{"no lifetime, by choice", stale.Config{Heuristics: true}, allDoors(), nil, fields{"Last-Modified", "Mon, 01 Jan 1990 00:00:00 GMT"}, true},
		{"request's no-store", stale.Config{}, allDoors(), fields{"Cache-Control", "no-store"}, fields{"Cache-Control", "max-age=60"}, false},
		{"reload", stale.Config{}, allDoors(), fields{"Cache-Control", "no-cache"}, fields{"Cache-Control", "max-age=60"}, false},
		{"reload, ignored", stale.Config{IgnoreClientControl: true}, allDoors(), fields{"Cache-Control", "no-cache"}, fields{"Cache-Control", "max-age=60"}, true},
		{"bypass", stale.Config{Bypass: func(*http.Request) bool { return true }}, allDoors(), nil, fields{"Cache-Control", "max-age=60"}, false},
		{"no key", stale.Config{Key: func(*http.Request) string { return "" }}, allDoors(), nil, fields{"Cache-Control", "max-age=60"}, false},
		{"event stream", stale.Config{}, allDoors(), fields{"Accept", "text/event-stream"}, fields{"Cache-Control", "max-age=60"}, false},
		{"method override", stale.Config{}, allDoors(), fields{"X-Http-Method-Override", "DELETE"}, fields{"Cache-Control", "max-age=60"}, false},
	}
	for _, c := range cases {
		at(t, c.doors, c.name, c.cfg, func(t *testing.T, s *site) {
			s.answers(says("body", c.answers...))
			assert.Equal(t, c.isStored, s.stores(c.asks...))
		})
	}
	at(t, shared(), "what is stored for others is not for users", stale.Config{}, func(_ *testing.T, s *site) {
		s.counts("Cache-Control", "max-age=60")
		s.gets("/", "v1", 0)
		s.gets("/", "v2", 0, "Cookie", "session=1")
		s.gets("/", "v3", 0, "Authorization", "x")
		s.gets("/", "v1", 0)
	})
	at(t, shared(), "a 304 that says so ends it", stale.Config{StaleAfter: stale.Off}, func(t *testing.T, s *site) {
		s.old("/", "public, max-age=10", "ETag", `"1"`)
		s.answers(func(w http.ResponseWriter, req *http.Request) {
			time.Sleep(time.Second)
			if user := req.Header.Get("Cookie"); user != "" && req.Header.Get("If-None-Match") == "" {
				says("of "+user)(w, req)
				return
			}
			w.Header().Set("Cache-Control", "private, max-age=10")
			w.WriteHeader(http.StatusNotModified)
		})
		all := s.together(4, func(int) *http.Request { return s.request("/", "Cookie", "session=1") })
		require.Len(t, all, 4)
		assert.Equal(t, 5, s.hits(), "each asks for itself")
	})
}

func TestRequirement6UserCodeThatPanics(t *testing.T) {
	for name, cfg := range map[string]stale.Config{
		"Key":    {Key: func(*http.Request) string { panic(errTest) }},
		"Bypass": {Bypass: func(*http.Request) bool { panic(errTest) }},
	} {
		at(t, allDoors(), name, cfg, func(t *testing.T, s *site) {
			s.answers(says("body"))
			assert.Equal(t, errTest, s.get("/").value, "it is its caller's")
		})
	}
	at(t, allDoors(), "ErrorWhen", stale.Config{ErrorWhen: func(*http.Response) bool { panic(errTest) }}, func(t *testing.T, s *site) {
		s.answers(says("body", "Cache-Control", "max-age=60"))
		s.gets("/", "body", 0)
		s.gets("/", "body", 0)
		assert.Equal(t, 1, s.hits())
		assert.Len(t, s.told(stale.Panicked), 1)
	})
	at(t, allDoors(), "Observe", stale.Config{Observe: func(_ contextOf, _ stale.Event) { panic(errTest) }}, func(t *testing.T, s *site) {
		s.answers(says("body", "Cache-Control", "max-age=60"))
		s.gets("/", "body", 0)
		s.gets("/", "body", 0)
		assert.Equal(t, 1, s.hits())
	})
}

func TestPitfall11Truncation(t *testing.T) {
	at(t, allDoors(), "less than announced", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(says("half", "Cache-Control", "max-age=60", "Content-Length", "8"))
		assert.False(t, s.stores())
	})
	at(t, []string{ofHandler}, "more than announced", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Content-Length", "4")
			_, _ = io.WriteString(w, "1234")
			_, err := io.WriteString(w, "5")
			assert.ErrorIs(t, err, http.ErrContentLength)
		})
		s.gets("/", "1234", 0)
		s.gets("/", "1234", 0)
	})
	at(t, allDoors(), "broken off", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(func(w http.ResponseWriter, req *http.Request) {
			says("half", "Cache-Control", "max-age=60")(w, req)
			_ = http.NewResponseController(w).Flush()
			breaks(nil, nil)
		})
		assert.False(t, s.stores())
	})
	at(t, allDoors(), "takes too long", stale.Config{FetchTimeout: 5 * time.Second}, func(_ *testing.T, s *site) {
		s.answers(halves("Cache-Control", "max-age=60"))
		s.leaves("/", time.Second)
		pause(20 * time.Second)
		s.answers(says("body"))
		s.gets("/", "body", 0)
	})
	at(t, allDoors(), "the older one stays", stale.Config{}, func(t *testing.T, s *site) {
		s.old("/", "max-age=10")
		s.answers(func(w http.ResponseWriter, req *http.Request) {
			says("half", "Cache-Control", "max-age=60")(w, req)
			_ = http.NewResponseController(w).Flush()
			breaks(nil, nil)
		})
		s.get("/")
		synctest.Wait()
		assert.Equal(t, "failing", s.gets("/", "old", 0).detail())
	})
}

func TestPitfall18Poisoning(t *testing.T) {
	at(t, allDoors(), "the effective Host is in the key", stale.Config{}, func(t *testing.T, s *site) {
		s.counts("Cache-Control", "max-age=60")
		s.gets("/", "v1", 0)
		req := s.request("/")
		req.Host = "evil.test"
		assert.Equal(t, "v2", new(s.ask(req)).body)
		s.gets("/", "v1", 0)
	})
	for _, name := range []string{"X-Forwarded-Host", "X-Original-Url", "X-Forwarded-Proto", "X-Rewrite-Url", "Forwarded"} {
		at(t, allDoors(), name+" is kept apart", stale.Config{}, func(_ *testing.T, s *site) {
			s.counts("Cache-Control", "max-age=60")
			s.gets("/", "v1", 0, name, "host=evil")
			s.gets("/", "v2", 0)
			s.gets("/", "v3", 0, name, "host=other")
			for range 3 {
				s.gets("/", "v1", 0, name, "host=evil")
				s.gets("/", "v2", 0)
				s.gets("/", "v3", 0, name, "host=other")
			}
		})
		at(t, allDoors(), name+" pushes nothing out", stale.Config{MaxVariants: 3}, func(_ *testing.T, s *site) {
			s.counts("Cache-Control", "max-age=60")
			s.gets("/", "v1", 0)
			s.gets("/", "v2", 0, name, "host=evil")
			s.gets("/", "v1", 0)
		})
	}
	at(t, allDoors(), "a body on GET", stale.Config{}, func(t *testing.T, s *site) {
		s.counts("Cache-Control", "max-age=60")
		for _, want := range []string{"v1", "v2"} {
			req := s.request("/")
			req.Body, req.ContentLength = io.NopCloser(reader("x")), 1
			assert.Equal(t, want, new(s.ask(req)).body)
		}
		s.gets("/", "v3", 0)
	})
	at(t, allDoors(), "the key is not shown", stale.Config{}, func(t *testing.T, s *site) {
		s.counts("Cache-Control", "max-age=60")
		assert.NotContains(t, s.get("/secret").header.Get("Cache-Status"), "secret")
		assert.NotContains(t, s.get("/secret").header.Get("Cache-Status"), "secret")
	})
	at(t, allDoors(), "but on request", stale.Config{ShowKey: true}, func(t *testing.T, s *site) {
		s.counts("Cache-Control", "max-age=60")
		assert.Contains(t, s.get("/secret").header.Get("Cache-Status"), "secret")
		assert.Contains(t, s.get("/secret").header.Get("Cache-Status"), "secret")
	})
}

func TestPitfall19Deception(t *testing.T) {
	for _, path := range []string{"/account;x.css", "/account%2fx.css", "/a/../b.css", "/a/%2e%2e/b.css", "/a%00.css", "/a%5cb.css", "/account%3bx.css", "/a%252fb"} {
		at(t, allDoors(), path[1:], stale.Config{}, func(_ *testing.T, s *site) {
			s.counts("Cache-Control", "max-age=60")
			s.gets(path, "v1", 0)
			s.gets(path, "v2", 0)
		})
	}
	at(t, allDoors(), "nothing is stored for its extension", stale.Config{}, func(_ *testing.T, s *site) {
		s.counts()
		s.gets("/account.css", "v1", 0)
		s.gets("/account.css", "v2", 0)
	})
}
