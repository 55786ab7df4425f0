package stale_test

import (
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale"
)

func TestPitfall05HitForMissIsBounded(t *testing.T) {
	at(t, allDoors(), "a large body is not waited for twice", stale.Config{MaxObject: 10}, func(t *testing.T, s *site) {
		s.answers(after(time.Second, says(strings.Repeat("x", 100), "Cache-Control", "max-age=60")))
		s.get("/")
		synctest.Wait()
		for _, g := range s.herd(10, "/") {
			assert.Equal(t, time.Second, g.took)
			assert.Len(t, g.body, 100)
		}
		assert.Equal(t, "too-large", s.told(stale.NotStored)[0].Detail)
	})
	at(t, allDoors(), "no room at the moment is no reason", stale.Config{MaxBytes: 1 << 20, MaxObject: 1 << 17}, func(t *testing.T, s *site) {
		s.answers(halves("Cache-Control", "max-age=60", "Content-Length", strconv.Itoa(1<<17)))
		go s.get("/large")
		synctest.Wait()
		assert.EqualValues(t, 1<<17, s.cache.Snapshot().Filling)
		s.answers(says("body", "Cache-Control", "max-age=60"))
		s.gets("/", "body", 0)
		synctest.Wait()
		assert.Equal(t, "no-room", s.told(stale.NotStored)[0].Detail)
		pause(20 * time.Second)
		s.gets("/", "body", 0)
		s.gets("/", "body", 0)
		assert.Equal(t, 3, s.hits())
		s.herd(10, "/other")
		assert.Equal(t, 4, s.hits())
	})
}

func TestPitfall06Range(t *testing.T) {
	at(t, allDoors(), "parts of what is stored", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(says("0123456789", "Cache-Control", "max-age=60", "ETag", `"1"`))
		s.gets("/", "0123456789", 0)
		g := s.gets("/", "234", 0, "Range", "bytes=2-4")
		assert.Equal(t, http.StatusPartialContent, g.status)
		assert.Equal(t, "bytes 2-4/10", g.header.Get("Content-Range"))
		s.gets("/", "89", 0, "Range", "bytes=-2")
		s.gets("/", "0123456789", 0, "Range", "bytes=2-4", "If-Range", `"2"`)
		s.gets("/", "234", 0, "Range", "bytes=2-4", "If-Range", `"1"`)
		assert.Equal(t, http.StatusRequestedRangeNotSatisfiable, s.get("/", "Range", "bytes=20-").status)
		assert.Equal(t, 1, s.hits())
	})
	at(t, allDoors(), "a part is not the whole", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(func(w http.ResponseWriter, req *http.Request) {
			if req.Header.Get("Range") == "" {
				says("0123456789", "Cache-Control", "max-age=60")(w, req)
				return
			}
			replies(206, "234", "Cache-Control", "max-age=60", "Content-Range", "bytes 2-4/10")(w, req)
		})
		s.gets("/", "234", 0, "Range", "bytes=2-4")
		s.gets("/", "0123456789", 0)
		assert.Equal(t, 2, s.hits())
	})
	at(t, allDoors(), "a part that nobody asked for", stale.Config{}, func(_ *testing.T, s *site) {
		s.answers(replies(206, "234", "Cache-Control", "max-age=60", "Content-Range", "bytes 2-4/10"))
		s.gets("/", "234", 0)
		s.answers(says("all"))
		s.gets("/", "all", 0)
	})
	at(t, allDoors(), "a part of what is stale", stale.Config{}, func(_ *testing.T, s *site) {
		s.old("/", "max-age=10")
		s.answers(replies(503, "failure"))
		s.gets("/", "ol", 0, "Range", "bytes=0-1")
	})
}

func TestPitfall07Head(t *testing.T) {
	at(t, allDoors(), "from what is stored", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(says("body", "Cache-Control", "max-age=60"))
		s.gets("/", "body", 0)
		g := s.does("HEAD", "/")
		assert.Empty(t, g.body)
		assert.Equal(t, "4", g.header.Get("Content-Length"))
		assert.Equal(t, 1, s.hits())
	})
	at(t, allDoors(), "is no body of a GET", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Content-Length", "4")
			if req.Method == "GET" {
				_, _ = io.WriteString(w, "body")
			}
		})
		g := s.does("HEAD", "/")
		assert.Empty(t, g.body)
		assert.Equal(t, "4", g.header.Get("Content-Length"))
		s.gets("/", "body", 0)
		s.gets("/", "body", 0)
		assert.Equal(t, 2, s.hits())
	})
	at(t, allDoors(), "stale", stale.Config{}, func(t *testing.T, s *site) {
		s.old("/", "max-age=10")
		s.answers(replies(503, ""))
		assert.Equal(t, 200, s.does("HEAD", "/").status)
	})
}

func TestPitfall08Conditionals(t *testing.T) {
	at(t, allDoors(), "answered from what is stored", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(says("body", "Cache-Control", "max-age=60", "ETag", `W/"1"`, "Last-Modified", "Mon, 01 Jan 1990 00:00:00 GMT"))
		s.gets("/", "body", 0)
		assert.Equal(t, 304, s.get("/", "If-None-Match", `"0", "1"`).status)
		assert.Equal(t, 304, s.get("/", "If-Modified-Since", "Mon, 01 Jan 1990 00:00:00 GMT").status)
		assert.Equal(t, 200, s.get("/", "If-None-Match", `"2"`, "If-Modified-Since", "Mon, 01 Jan 1990 00:00:00 GMT").status)
		assert.Equal(t, 1, s.hits())
	})
	at(t, allDoors(), "asked with ours, answered by theirs", stale.Config{}, func(t *testing.T, s *site) {
		s.old("/", "max-age=10", "ETag", `"1"`)
		s.answers(func(w http.ResponseWriter, req *http.Request) {
			assert.Equal(t, []string{`"1"`}, req.Header["If-None-Match"])
			w.Header().Set("ETag", `"1"`)
			w.WriteHeader(http.StatusNotModified)
		})
		s.gets("/", "old", 0, "If-None-Match", `"0"`)
		pause(20 * time.Second)
		assert.Equal(t, 304, s.get("/", "If-None-Match", `"1"`).status)
	})
	at(t, allDoors(), "a cold one is for the whole", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(says("body", "Cache-Control", "max-age=60", "ETag", `"1"`))
		assert.Equal(t, 304, s.get("/", "If-None-Match", `"1"`).status)
		synctest.Wait()
		s.gets("/", "body", 0)
		assert.Equal(t, 1, s.hits())
	})
	at(t, allDoors(), "a 304 that nobody asked for", stale.Config{}, func(t *testing.T, s *site) {
		s.old("/", "max-age=10")
		s.answers(replies(304, ""))
		assert.Equal(t, "failed", s.gets("/", "old", 0).detail())
	})
	at(t, allDoors(), "nor does one alongside freshen anything", stale.Config{}, func(t *testing.T, s *site) {
		s.old("/", "max-age=10, must-revalidate", "ETag", `"1"`)
		require.NoError(t, s.cache.Close(t.Context())) // so that requests are passed on
		s.answers(replies(304, "", "Cache-Control", "max-age=60"))
		assert.Equal(t, 304, s.get("/", "If-None-Match", `"2"`).status)
		s.answers(says("new"))
		s.gets("/", "new", 0)
	})
}

func TestPitfall09Update(t *testing.T) {
	const monday, tuesday = "Mon, 01 Jan 1990 00:00:00 GMT", "Tue, 02 Jan 1990 00:00:00 GMT"
	at(t, allDoors(), "merges", stale.Config{}, func(t *testing.T, s *site) {
		s.old("/", "max-age=10", "ETag", `"1"`, "X-A", "old", "X-B", "old")
		s.answers(func(w http.ResponseWriter, _ *http.Request) {
			h := w.Header()
			h.Set("ETag", `"1"`)
			h.Set("X-A", "new")
			h.Set("Content-Encoding", "gzip")
			h.Set("Cache-Control", "max-age=60")
			w.WriteHeader(http.StatusNotModified)
		})
		for range 2 {
			g := s.gets("/", "old", 0)
			assert.Equal(t, "new", g.header.Get("X-A"))
			assert.Equal(t, "old", g.header.Get("X-B"))
			assert.Empty(t, g.header.Get("Content-Encoding"))
			assert.Equal(t, "0", g.header.Get("Age"))
		}
		assert.Equal(t, 2, s.hits())
	})
	other := func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("If-None-Match") == "" && req.Header.Get("If-Modified-Since") == "" {
			says("new", "ETag", `"2"`, "Last-Modified", tuesday, "Cache-Control", "max-age=60")(w, req)
			return
		}
		w.Header().Set("ETag", `"2"`)
		w.WriteHeader(http.StatusNotModified)
	}
	at(t, allDoors(), "of something else is asked for again, without conditions", stale.Config{}, func(t *testing.T, s *site) {
		s.old("/", "max-age=10", "ETag", `"1"`, "Last-Modified", monday)
		s.answers(other)
		for _, g := range s.herd(10, "/") {
			assert.Equal(t, "new", g.body)
		}
		assert.Equal(t, 3, s.hits())
		s.gets("/", "new", 0)
	})
	at(t, allDoors(), "behind, too", stale.Config{}, func(_ *testing.T, s *site) {
		s.old("/", "max-age=10, stale-while-revalidate=60", "ETag", `"1"`, "Last-Modified", monday)
		s.answers(other)
		s.gets("/", "old", 0)
		synctest.Wait()
		s.gets("/", "new", 0)
	})
	at(t, allDoors(), "again and again", stale.Config{}, func(t *testing.T, s *site) {
		s.old("/", "max-age=10", "ETag", `"1"`, "Last-Modified", monday)
		s.answers(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"2"`)
			w.WriteHeader(http.StatusNotModified)
		})
		assert.Equal(t, "failed", s.gets("/", "old", 0).detail())
		assert.Equal(t, 3, s.hits())
	})
}

func TestPitfall10Streaming(t *testing.T) {
	at(t, allDoors(), "larger than is kept", stale.Config{MaxObject: 10}, func(t *testing.T, s *site) {
		large := strings.Repeat("0123456789", 100_000)
		s.answers(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			for at := 0; at < len(large); at += 1000 {
				_, _ = io.WriteString(w, large[at:at+1000])
			}
		})
		for range 2 {
			for _, g := range s.herd(3, "/") {
				assert.Equal(t, large, g.body)
			}
		}
		assert.LessOrEqual(t, s.hits(), 6)
	})
}

func TestPitfall22Trailers(t *testing.T) {
	at(t, allDoors(), "arrive each time", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			says("body", "Cache-Control", "max-age=60")(w, req)
			w.Header().Set("X-Sum", "1")
		})
		for range 3 {
			g := s.gets("/", "body", 0)
			assert.Equal(t, "1", g.trailer.Get("X-Sum"))
			assert.Empty(t, g.header.Get("X-Sum"))
		}
		assert.Equal(t, 1, s.hits())
	})
}

func TestPitfall27Hygiene(t *testing.T) {
	signals := make(chan os.Signal, 1)
	assert.False(t, signal.Ignored(syscall.SIGTERM))
	cache := stale.MustNew(stale.Config{})
	cache.Handler(http.NotFoundHandler())
	assert.False(t, signal.Ignored(syscall.SIGTERM))
	assert.Empty(t, signals)
	at(t, allDoors(), "no address is special", stale.Config{}, func(t *testing.T, s *site) {
		s.counts()
		for i, path := range []string{"/purge", "/souin-api/souin", "/debug/cache", "/?PURGE"} {
			s.gets(path, "v"+strconv.Itoa(i+1), 0)
		}
		s.gets("/", "v5", 0)
		assert.Equal(t, "v6", s.does("PURGE", "/").body)
	})
}
