package stale_test

import (
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale"
)

// does sends a request of another method.
func (s *site) does(method, path string) *got {
	req := s.request(path)
	req.Method = method
	return new(s.ask(req))
}

func TestRequirement9UnsafeMethods(t *testing.T) {
	cases := []struct {
		name, method string
		status       int
		header       []string
		path         string // of what was stored
		isGone       bool
	}{
		{"POST", "POST", 200, nil, "/a", true},
		{"PUT", "PUT", 204, nil, "/a", true},
		{"DELETE", "DELETE", 202, nil, "/a", true},
		{"PATCH and redirect", "PATCH", 303, nil, "/a", true},
		{"unknown", "FROB", 200, nil, "/a", true},
		{"failed", "POST", 500, nil, "/a", false},
		{"refused", "POST", 403, nil, "/a", false},
		{"OPTIONS", "OPTIONS", 200, nil, "/a", false},
		{"something else", "POST", 200, nil, "/b", false},
		{"Location", "POST", 201, []string{"Location", "/b"}, "/b", true},
		{"Content-Location", "POST", 200, []string{"Content-Location", "http://shop.test/b"}, "/b", true},
		{"Location elsewhere", "POST", 201, []string{"Location", "http://evil.test/b"}, "/b", false},
		{"group", "POST", 200, []string{"Cache-Group-Invalidation", `"tagged"`}, "/b", true},
		{"another group", "POST", 200, []string{"Cache-Group-Invalidation", `"other"`}, "/b", false},
	}
	for _, c := range cases {
		at(t, allDoors(), c.name, stale.Config{}, func(t *testing.T, s *site) {
			s.answers(says("old", "Cache-Control", "max-age=60", "Cache-Groups", `"tagged"`))
			s.gets(c.path, "old", 0)
			s.answers(func(w http.ResponseWriter, _ *http.Request) {
				for i := 0; i+1 < len(c.header); i += 2 {
					w.Header().Set(c.header[i], c.header[i+1])
				}
				w.WriteHeader(c.status)
			})
			assert.Equal(t, c.status, s.does(c.method, "/a").status)
			s.answers(says("new", "Cache-Control", "max-age=60"))
			if c.isGone {
				s.gets(c.path, "new", 0)
			} else {
				s.gets(c.path, "old", 0)
			}
		})
	}
	byPath := stale.Config{Key: func(req *http.Request) string { return req.URL.Path }}
	at(t, allDoors(), "with a Key", byPath, func(t *testing.T, s *site) {
		s.counts("Cache-Control", "max-age=60")
		s.gets("/a?x", "v1", 0)
		s.gets("/a?y", "v1", 0)
		s.does("POST", "/a?z")
		s.gets("/a?x", "v3", 0)
		require.NoError(t, s.cache.PurgeKey(t.Context(), "/a", stale.Soft))
		s.gets("/a?x", "v4", 0)
	})
}

// purges are all the ways to purge what is at /.
func purges() map[string]func(s *site, how stale.Purge) error {
	return map[string]func(s *site, how stale.Purge) error{
		"URL": func(s *site, how stale.Purge) error { return s.cache.PurgeURL(s.t.Context(), "http://shop.test/", how) },
		"tag": func(s *site, how stale.Purge) error { return s.cache.PurgeTag(s.t.Context(), "tagged", how) },
		"all": func(s *site, how stale.Purge) error { return s.cache.PurgeAll(s.t.Context(), how) },
	}
}

func TestRequirement9Purges(t *testing.T) {
	for name, purge := range purges() {
		for how, text := range map[stale.Purge]string{stale.Soft: "soft", stale.Hard: "hard"} {
			at(t, allDoors(), name+" "+text, stale.Config{StaleAfter: 100 * ms, Healthy: func() bool { return false }}, func(t *testing.T, s *site) {
				s.answers(says("old", "Cache-Control", "max-age=60, stale-while-revalidate=60", "Cache-Groups", `"tagged"`, "Vary", "Lang"))
				s.gets("/", "old", 0, "Lang", "a")
				s.gets("/", "old", 0, "Lang", "b")
				synctest.Wait()
				require.NoError(t, purge(s, how))
				assert.Len(t, s.told(stale.Purged), purgeEvents(name))
				s.answers(replies(503, "failure"))
				for _, lang := range []string{"a", "b"} {
					want := "failure"
					if how == stale.Soft {
						want = "old"
					}
					s.gets("/", want, 0, "Lang", lang)
				}
				pause(2 * time.Minute)
				s.answers(after(time.Second, says("new", "Cache-Control", "max-age=60")))
				g := s.get("/", "Lang", "a")
				assert.Equal(t, "new", g.body, "it answers failures, and nothing else")
				assert.Equal(t, time.Second, g.took)
			})
			at(t, allDoors(), name+" "+text+", nothing else", stale.Config{}, func(t *testing.T, s *site) {
				s.counts("Cache-Control", "max-age=60")
				s.gets("/other", "v1", 0)
				synctest.Wait()
				require.NoError(t, purge(s, how))
				if name == "all" {
					s.gets("/other", "v2", 0)
				} else {
					s.gets("/other", "v1", 0)
				}
			})
		}
	}
	at(t, allDoors(), "what makes no sense", stale.Config{}, func(t *testing.T, s *site) {
		for _, url := range []string{"", "/", "shop.test", "::", "http://"} {
			assert.Error(t, s.cache.PurgeURL(t.Context(), url, stale.Hard))
		}
	})
	at(t, allDoors(), "Observe may ask", stale.Config{}, func(t *testing.T, s *site) {
		s.observing(func(e stale.Event) {
			if e.Kind == stale.Stored && e.Bytes > 0 {
				assert.NoError(t, s.cache.PurgeAll(t.Context(), stale.Hard))
				s.get("/other")
			}
		})
		s.answers(says("body", "Cache-Control", "max-age=60", "Vary", "Lang"))
		s.gets("/", "body", 0)
		synctest.Wait()
	})
}

func purgeEvents(name string) int {
	if name == "URL" {
		return 3 // one for each key that it stands for
	}
	return 1
}

func TestPitfall24PurgeInFlight(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"before the headers": after(2*time.Second, says("old", "Cache-Control", "max-age=60", "Cache-Groups", `"tagged"`)),
		"while filling": func(w http.ResponseWriter, req *http.Request) {
			says("ol", "Cache-Control", "max-age=60", "Cache-Groups", `"tagged"`)(w, req)
			_ = http.NewResponseController(w).Flush()
			_ = nap(req.Context(), 2*time.Second)
			_, _ = w.Write([]byte("d"))
		},
		"a variant": after(2*time.Second, says("old", "Cache-Control", "max-age=60", "Cache-Groups", `"tagged"`, "Vary", "Lang")),
	}
	for name, purge := range purges() {
		for how, text := range map[stale.Purge]string{stale.Soft: "soft", stale.Hard: "hard"} {
			for when, answer := range answers {
				at(t, allDoors(), name+" "+text+" "+when, stale.Config{}, func(t *testing.T, s *site) {
					s.answers(answer)
					go s.get("/")
					pause(time.Second)
					require.NoError(t, purge(s, how))
					s.answers(says("new", "Cache-Control", "max-age=60"))
					s.gets("/", "new", 0) // nor does who asks from now on get what was begun before
					pause(10 * time.Second)
					s.gets("/", "new", 0)
					assert.Equal(t, 2, s.hits())
				})
			}
			at(t, allDoors(), name+" "+text+" nothing new", stale.Config{}, func(t *testing.T, s *site) {
				s.answers(answers["before the headers"])
				go s.get("/")
				pause(time.Second)
				require.NoError(t, purge(s, how))
				pause(10 * time.Second)
				s.answers(says("new"))
				s.gets("/", "new", 0)
				assert.Equal(t, "purged", s.told(stale.NotStored)[0].Detail)
			})
			at(t, allDoors(), name+" "+text+" while it is refreshed", stale.Config{}, func(t *testing.T, s *site) {
				s.old("/", "max-age=10, stale-while-revalidate=60", "ETag", `"1"`, "Cache-Groups", `"tagged"`)
				s.answers(after(2*time.Second, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }))
				s.gets("/", "old", 0)
				pause(time.Second)
				require.NoError(t, purge(s, how))
				pause(10 * time.Second)
				s.answers(says("new"))
				s.gets("/", "new", 0)
			})
		}
	}
	at(t, allDoors(), "an unsafe method", stale.Config{}, func(_ *testing.T, s *site) {
		s.answers(answers["before the headers"])
		go s.get("/")
		pause(time.Second)
		s.answers(says("done"))
		s.does("POST", "/")
		s.answers(says("new", "Cache-Control", "max-age=60"))
		s.gets("/", "new", 0)
		pause(10 * time.Second)
		s.gets("/", "new", 0)
	})
	at(t, allDoors(), "a failure in flight says nothing of what comes after", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(after(2*time.Second, replies(500, "failure")))
		for range 2 {
			go s.get("/")
			synctest.Wait()
		}
		pause(3 * time.Second)
		require.NoError(t, s.cache.PurgeAll(t.Context(), stale.Soft))
		pause(10 * time.Second)
		s.answers(says("new"))
		s.gets("/", "new", 0)
	})
}

func TestPitfall01Vary(t *testing.T) {
	at(t, allDoors(), "bounded", stale.Config{MaxVariants: 4}, func(_ *testing.T, s *site) {
		s.counts("Cache-Control", "max-age=60", "Vary", "Lang")
		for i := range 10 {
			s.gets("/", "v"+strconv.Itoa(i+1), 0, "Lang", strconv.Itoa(i))
		}
		for i := 6; i < 10; i++ {
			s.gets("/", "v"+strconv.Itoa(i+1), 0, "Lang", strconv.Itoa(i))
		}
		s.gets("/", "v11", 0, "Lang", "0")
	})
	at(t, allDoors(), "anything", stale.Config{}, func(_ *testing.T, s *site) {
		s.counts("Cache-Control", "max-age=60", "Vary", "Lang, *")
		s.gets("/", "v1", 0)
		s.gets("/", "v2", 0)
	})
	at(t, allDoors(), "it may change", stale.Config{}, func(_ *testing.T, s *site) {
		s.counts("Cache-Control", "max-age=10", "Vary", "Lang")
		s.gets("/", "v1", 0, "Lang", "a")
		pause(20 * time.Second)
		s.counts("Cache-Control", "max-age=60")
		s.gets("/", "v2", 0, "Lang", "a")
		s.gets("/", "v2", 0, "Lang", "b")
	})
	at(t, allDoors(), "and come", stale.Config{}, func(_ *testing.T, s *site) {
		s.counts("Cache-Control", "max-age=10")
		s.gets("/", "v1", 0, "Lang", "a")
		pause(20 * time.Second)
		s.counts("Cache-Control", "max-age=60", "Vary", "Lang")
		s.gets("/", "v2", 0, "Lang", "a")
		s.gets("/", "v3", 0, "Lang", "b")
		s.gets("/", "v2", 0, "Lang", "a")
	})
}
