package stale_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale"
)

func TestRequirement4Pitfall13Herds(t *testing.T) {
	const cacheable = "public, max-age=60"
	at(t, allDoors(), "100 cold requests are one", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(after(300*ms, says("body", "Cache-Control", cacheable)))
		for _, g := range s.herd(100, "/") {
			assert.Equal(t, "body", g.body)
			assert.Equal(t, 300*ms, g.took)
		}
		assert.Equal(t, 1, s.hits())
		shot := s.cache.Snapshot()
		assert.EqualValues(t, 1, shot.Misses)
		assert.EqualValues(t, 99, shot.Collapsed)
	})
	at(t, allDoors(), "per variant", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(func(w http.ResponseWriter, req *http.Request) {
			after(100*ms, says("in "+req.Header.Get("Lang"), "Cache-Control", cacheable, "Vary", "Lang"))(w, req)
		})
		for i, g := range s.together(40, func(i int) *http.Request { return s.request("/", "Lang", strconv.Itoa(i%2)) }) {
			assert.Equal(t, "in "+strconv.Itoa(i%2), g.body)
		}
		assert.Equal(t, 2, s.hits())
		s.gets("/", "in 0", 0, "Lang", "0")
		s.gets("/", "in 1", 0, "Lang", "1")
		assert.Equal(t, 2, s.hits(), "both are stored")
	})
	at(t, allDoors(), "100 stale hits are one refresh", stale.Config{}, func(t *testing.T, s *site) {
		s.old("/", "max-age=10, stale-while-revalidate=60")
		s.answers(after(300*ms, says("new", "Cache-Control", "max-age=60")))
		for _, g := range s.herd(100, "/") {
			assert.Equal(t, "old", g.body)
			assert.Zero(t, g.took)
		}
		pause(300 * ms)
		s.gets("/", "new", 0)
		assert.Equal(t, 2, s.hits())
		assert.EqualValues(t, 1, s.cache.Snapshot().Refreshes)
	})
	at(t, allDoors(), "one revalidation for all", stale.Config{}, func(t *testing.T, s *site) {
		s.old("/", "max-age=10", "ETag", `"1"`)
		s.answers(func(w http.ResponseWriter, req *http.Request) {
			assert.Equal(t, `"1"`, req.Header.Get("If-None-Match"))
			time.Sleep(100 * ms)
			w.Header().Set("Cache-Control", "max-age=60")
			w.WriteHeader(http.StatusNotModified)
		})
		for _, g := range s.herd(50, "/") {
			assert.Equal(t, "old", g.body)
			assert.Equal(t, 200, g.status)
		}
		assert.Equal(t, 2, s.hits())
	})
	at(t, allDoors(), "the Store down", stale.Config{Store: brokenStore{}}, func(t *testing.T, s *site) {
		s.answers(after(300*ms, says("body", "Cache-Control", cacheable)))
		s.herd(100, "/")
		assert.Equal(t, 1, s.hits(), "requests are one nevertheless")
	})
}

func TestRequirement4Pitfall04PrivateAnswers(t *testing.T) {
	private := func(s *site) {
		s.answers(func(w http.ResponseWriter, req *http.Request) {
			time.Sleep(200 * ms)
			says("for "+req.Header.Get("User"), "Cache-Control", "private, no-store")(w, req)
		})
	}
	herd := func(t *testing.T, s *site, most time.Duration) {
		t.Helper()
		for i, g := range s.together(50, func(i int) *http.Request { return s.request("/", "User", strconv.Itoa(i)) }) {
			assert.Equal(t, "for "+strconv.Itoa(i), g.body)
			assert.LessOrEqual(t, g.took, most)
		}
	}
	at(t, allDoors(), "never shared", stale.Config{}, func(t *testing.T, s *site) {
		private(s)
		herd(t, s, 400*ms)
		assert.Equal(t, 50, s.hits(), "nobody asks twice")
		herd(t, s, 200*ms)
		pause(stale.DefaultHitForMiss - 401*ms)
		herd(t, s, 200*ms)
		pause(time.Second)
		herd(t, s, 400*ms)
	})
	at(t, allDoors(), "hit-for-miss off", stale.Config{HitForMiss: stale.Off}, func(t *testing.T, s *site) {
		private(s)
		herd(t, s, 400*ms)
		herd(t, s, 400*ms)
	})
	at(t, shared(), "requests with a cookie do not wait at all", stale.Config{}, func(t *testing.T, s *site) {
		private(s)
		for _, g := range s.herd(50, "/", "Cookie", "session=1") {
			assert.Equal(t, 200*ms, g.took)
		}
	})
	at(t, allDoors(), "until one can be stored", stale.Config{}, func(t *testing.T, s *site) {
		private(s)
		herd(t, s, 400*ms)
		s.answers(says("for all", "Cache-Control", "max-age=60"))
		s.gets("/", "for all", 0)
		n := s.hits()
		s.gets("/", "for all", 0)
		assert.Equal(t, n, s.hits())
	})
	at(t, allDoors(), "its client's end is the handler's", stale.Config{}, func(t *testing.T, s *site) {
		ended := make(chan struct{}, 1)
		s.answers(func(w http.ResponseWriter, req *http.Request) {
			says("", "Cache-Control", "no-store")(w, req)
			_ = http.NewResponseController(w).Flush()
			<-req.Context().Done()
			ended <- struct{}{}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		s.ask(s.request("/").WithContext(ctx))
		<-ended
		assert.Equal(t, time.Second, time.Since(begun))
	})
}

// halves writes half of a body at once, and the other ten seconds later.
func halves(header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		says("half", header...)(w, req)
		_ = http.NewResponseController(w).Flush()
		if nap(req.Context(), 10*time.Second) == nil {
			_, _ = io.WriteString(w, "half")
		}
	}
}

func TestRequirement4ReadWhileWritten(t *testing.T) {
	at(t, allDoors(), "followers", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(halves("Cache-Control", "max-age=60"))
		begun := time.Now()
		all := s.together(5, func(i int) *http.Request {
			time.Sleep(time.Duration(i) * time.Second)
			return s.request("/")
		})
		for _, g := range all {
			assert.Equal(t, "halfhalf", g.body)
			assert.Zero(t, g.headed, "what is there comes at once")
		}
		assert.Equal(t, 10*time.Second, time.Since(begun))
		assert.Equal(t, 1, s.hits())
		s.gets("/", "halfhalf", 0)
	})
	at(t, allDoors(), "the leader leaves", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(halves("Cache-Control", "max-age=60"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go s.ask(s.request("/").WithContext(ctx))
		synctest.Wait()
		s.gets("/", "halfhalf", 10*time.Second)
		synctest.Wait()
		s.gets("/", "halfhalf", 0)
		assert.Equal(t, 1, s.hits())
	})
	at(t, allDoors(), "the leader leaves before the headers", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(after(3*time.Second, says("body", "Cache-Control", "max-age=60")))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		g := s.ask(s.request("/").WithContext(ctx))
		assert.Equal(t, time.Second, g.took)
		pause(2 * time.Second)
		s.gets("/", "body", 0)
		assert.Equal(t, 1, s.hits(), "what nobody waits for is stored all the same")
	})
	at(t, allDoors(), "too many leave", stale.Config{MaxRefreshes: 2}, func(t *testing.T, s *site) {
		for name, answer := range map[string]http.HandlerFunc{
			"before headers": after(3*time.Second, says("body", "Cache-Control", "max-age=60")),
			"while reading":  halves("Cache-Control", "max-age=60"),
		} {
			s.answers(answer)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			s.together(5, func(i int) *http.Request {
				return s.request("/" + strconv.Itoa(i) + "?" + strings.Fields(name)[0]).WithContext(ctx)
			})
			cancel()
			synctest.Wait()
			assert.EqualValues(t, 2, s.cache.Snapshot().Unattended, name)
			assert.Equal(t, 2, s.cache.Snapshot().InFlight, name)
			pause(10 * time.Second)
			assert.Zero(t, s.cache.Snapshot().Unattended, name)
		}
		assert.EqualValues(t, 4, s.cache.Snapshot().Stored)
	})
}

func TestRequirement4LeaderFails(t *testing.T) {
	at(t, allDoors(), "stale to all", stale.Config{StaleAfter: stale.Off}, func(t *testing.T, s *site) {
		s.old("/", "max-age=10")
		s.answers(after(time.Second, replies(502, "failure")))
		for _, g := range s.herd(20, "/") {
			assert.Equal(t, "old", g.body)
			assert.Equal(t, time.Second, g.took)
		}
		assert.Equal(t, 2, s.hits())
	})
	at(t, allDoors(), "elects once", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(after(time.Second, replies(502, "failure")))
		all := s.herd(20, "/")
		assert.Equal(t, 2, s.hits())
		own := 0
		for _, g := range all {
			assert.True(t, g.failed())
			if g.body == "failure" {
				own++
			}
		}
		assert.Equal(t, 2, own, "who led gets the origin's words")
		assert.EqualValues(t, 18, s.cache.Snapshot().Refused)
	})
	at(t, allDoors(), "who is elected may succeed", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(func(w http.ResponseWriter, req *http.Request) {
			answer := says("body", "Cache-Control", "max-age=60")
			if s.hits() == 1 {
				answer = replies(502, "failure")
			}
			after(time.Second, answer)(w, req)
		})
		assert.Equal(t, []string{"body", "failure"}, bodies(s.herd(20, "/")))
		assert.Equal(t, 2, s.hits())
	})
	at(t, []string{ofHandler}, "a refusal is for one", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(after(time.Second, refuses))
		for _, g := range s.herd(20, "/") {
			assert.Equal(t, 503, g.status)
			assert.Equal(t, "refused\n", g.body)
		}
		assert.Equal(t, 20, s.hits(), "and given to nobody else")
	})
	at(t, allDoors(), "429 is for one", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(func(w http.ResponseWriter, req *http.Request) {
			time.Sleep(time.Second)
			replies(429, "too many of "+req.Header.Get("User"))(w, req)
		})
		all := s.together(20, func(i int) *http.Request { return s.request("/", "User", strconv.Itoa(i)) })
		for i, g := range all {
			assert.Equal(t, "too many of "+strconv.Itoa(i), g.body)
		}
		s.get("/")
		assert.Equal(t, 21, s.hits(), "nor remembered")
	})
	at(t, allDoors(), "the leader leaves and nobody may go on", stale.Config{MaxRefreshes: 1}, func(t *testing.T, s *site) {
		s.answers(after(3*time.Second, says("body", "Cache-Control", "max-age=60")))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go s.ask(s.request("/other").WithContext(ctx))
		go s.ask(s.request("/").WithContext(ctx))
		synctest.Wait()
		for _, g := range s.herd(10, "/") {
			assert.Equal(t, "body", g.body)
		}
		assert.LessOrEqual(t, s.hits(), 3)
	})
}

func TestRequirement4LeaderPanics(t *testing.T) {
	cases := map[string]struct {
		do   func()
		want any
	}{
		"ErrAbortHandler": {func() { panic(http.ErrAbortHandler) }, http.ErrAbortHandler},
		"an error":        {func() { panic(errTest) }, errTest},
		"a text":          {func() { panic("boom") }, "boom"},
		"Goexit":          {end, goexit},
	}
	// down makes what is behind the door do something a second after it was asked.
	down := func(s *site, first func(w http.ResponseWriter), do func()) {
		behind := func(w http.ResponseWriter, req *http.Request) {
			if s.hits() == 1 {
				if first != nil {
					first(w)
				}
				time.Sleep(time.Second)
				do()
			}
			time.Sleep(time.Second)
			says("body", "Cache-Control", "max-age=60")(w, req)
		}
		s.answers(behind)
		if s.door != ofHandler {
			s.through(roundTrip(func(req *http.Request) (*http.Response, error) {
				return inProcess(http.HandlerFunc(s.serve), req)
			}))
		}
	}
	for name, c := range cases {
		at(t, allDoors(), name+" before the headers", stale.Config{}, func(t *testing.T, s *site) {
			down(s, nil, c.do)
			g := s.get("/")
			assert.Equal(t, c.want, g.value)
			assert.Equal(t, time.Second, g.took)
			s.gets("/", "body", time.Second)
		})
		at(t, allDoors(), name+" with followers", stale.Config{}, func(t *testing.T, s *site) {
			down(s, nil, c.do)
			panicked := 0
			for _, g := range s.herd(10, "/") {
				if g.value != nil {
					assert.Equal(t, c.want, g.value)
					panicked++
				} else {
					assert.Equal(t, "body", g.body)
				}
			}
			assert.Equal(t, 1, panicked, "it is the leader's alone")
			assert.Equal(t, 2, s.hits())
		})
		at(t, []string{ofHandler}, name+" after the headers", stale.Config{}, func(t *testing.T, s *site) {
			down(s, func(w http.ResponseWriter) {
				says("half", "Cache-Control", "max-age=60")(w, nil)
				_ = http.NewResponseController(w).Flush()
			}, c.do)
			panicked := 0
			for _, g := range s.herd(10, "/") {
				require.NotNil(t, g.value)
				assert.Equal(t, "half", g.body)
				if g.value == c.want {
					panicked++
				} else {
					assert.Equal(t, http.ErrAbortHandler, g.value, "others see it broken off")
				}
			}
			if name != "ErrAbortHandler" {
				assert.Equal(t, 1, panicked)
			}
			s.gets("/", "body", time.Second)
			assert.Equal(t, 2, s.hits(), "nothing of it was stored")
		})
		at(t, allDoors(), name+" where nobody waits", stale.Config{}, func(t *testing.T, s *site) {
			down(s, nil, c.do)
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			s.ask(s.request("/").WithContext(ctx))
			pause(time.Second)
			require.Len(t, s.told(stale.Panicked), 1)
			var crash *stale.PanicError
			require.ErrorAs(t, s.told(stale.Panicked)[0].Err, &crash)
		})
	}
	at(t, []string{ofHandler}, "followers have something older", stale.Config{StaleAfter: stale.Off}, func(t *testing.T, s *site) {
		s.old("/", "max-age=10")
		s.answers(func(http.ResponseWriter, *http.Request) {
			time.Sleep(time.Second)
			breaks(nil, nil)
		})
		panicked := 0
		for _, g := range s.herd(10, "/") {
			if g.value != nil {
				panicked++
			} else {
				assert.Equal(t, "old", g.body)
			}
		}
		assert.Equal(t, 1, panicked)
	})
}

func TestRequirement4Pitfall14Refresh(t *testing.T) {
	const control = "max-age=10, stale-while-revalidate=1000"
	at(t, allDoors(), "what the origin sees", stale.Config{}, func(t *testing.T, s *site) {
		s.old("/", control, "ETag", `"1"`)
		var background atomic.Bool
		type key struct{}
		var value atomic.Value
		s.answers(func(w http.ResponseWriter, req *http.Request) {
			background.Store(stale.Background(req.Context()))
			value.Store(req.Context().Value(key{}) != nil)
			says("new", "Cache-Control", "max-age=60")(w, req)
		})
		req := s.request("/", "Range", "bytes=0-1", "If-None-Match", `"0"`, "X-Trace", "1")
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, 1))
		g := s.ask(req.WithContext(ctx))
		cancel()
		assert.Equal(t, http.StatusPartialContent, g.status)
		assert.Equal(t, "ol", g.body)
		synctest.Wait()
		out := s.latest()
		assert.Equal(t, `"1"`, out.Header.Get("If-None-Match"))
		assert.Empty(t, out.Header.Get("Range"))
		assert.Equal(t, "1", out.Header.Get("X-Trace"))
		if s.door == ofHandler {
			assert.True(t, background.Load())
			assert.True(t, value.Load().(bool), "values are kept")
		}
		s.gets("/", "new", 0)
	})
	at(t, allDoors(), "has a deadline", stale.Config{FetchTimeout: 5 * time.Second}, func(t *testing.T, s *site) {
		s.old("/", control)
		begun := time.Now()
		s.answers(hangs)
		s.gets("/", "old", 0)
		pause(5*time.Second - 1)
		assert.EqualValues(t, 1, s.cache.Snapshot().Unattended)
		pause(1)
		assert.Zero(t, s.cache.Snapshot().Unattended)
		assert.Equal(t, 5*time.Second, time.Since(begun))
	})
	at(t, allDoors(), "no more than MaxRefreshes", stale.Config{MaxRefreshes: 2}, func(t *testing.T, s *site) {
		for i := range 5 {
			s.answers(says("old", "Cache-Control", control))
			s.get("/" + strconv.Itoa(i))
		}
		pause(20 * time.Second)
		s.answers(hangs)
		for i := range 5 {
			s.gets("/"+strconv.Itoa(i), "old", 0)
		}
		synctest.Wait()
		assert.Equal(t, 7, s.hits())
		assert.EqualValues(t, 2, s.cache.Snapshot().Unattended)
		pause(time.Minute)
	})
	at(t, allDoors(), "backs off", stale.Config{}, func(t *testing.T, s *site) {
		s.old("/", control)
		s.answers(replies(503, "failure"))
		var tries []time.Duration
		begun, n := time.Now(), s.hits()
		for time.Since(begun) < 100*time.Second {
			s.gets("/", "old", 0)
			synctest.Wait()
			if s.hits() > n {
				n = s.hits()
				tries = append(tries, time.Since(begun))
			}
			pause(250 * ms)
		}
		assert.Equal(t, []time.Duration{
			0, 1 * time.Second, 3 * time.Second, 6750 * ms, 14250 * ms, 29250 * ms, 59250 * ms, 89250 * ms,
		}, tries)
		pause(30 * time.Second)
		s.answers(says("new", "Cache-Control", "max-age=60"))
		s.gets("/", "old", 0)
		synctest.Wait()
		s.gets("/", "new", 0)
	})
	at(t, []string{ofHandler}, "its panic is contained", stale.Config{}, func(t *testing.T, s *site) {
		s.old("/", control)
		s.answers(func(http.ResponseWriter, *http.Request) { panic(errTest) })
		s.gets("/", "old", 0)
		synctest.Wait()
		require.Len(t, s.told(stale.Panicked), 1)
		assert.ErrorIs(t, s.told(stale.Panicked)[0].Err, errTest)
	})
	at(t, allDoors(), "one that cannot be stored", stale.Config{}, func(t *testing.T, s *site) {
		s.old("/", control)
		s.answers(after(time.Second, says("private", "Cache-Control", "no-store")))
		s.gets("/", "old", 0)
		pause(2 * time.Second)
		s.herd(10, "/")
		synctest.Wait()
		assert.Equal(t, 3, s.hits(), "is one refresh at a time all the same")
		pause(2 * time.Second)
	})
	at(t, allDoors(), "a request without a method is a GET", stale.Config{}, func(t *testing.T, s *site) {
		if s.door == ofHandler {
			return // servers know of none
		}
		s.old("/", control)
		s.answers(says("new", "Cache-Control", "max-age=60"))
		req := s.request("/")
		req.Method = ""
		assert.Equal(t, "old", new(s.ask(req)).body)
		synctest.Wait()
		s.gets("/", "new", 0)
	})
}

func TestRequirement4EarlyRefresh(t *testing.T) {
	busy := func(s *site) (waited bool) {
		s.answers(after(500*ms, says("body", "Cache-Control", "max-age=30")))
		s.get("/")
		for range 29*100 + 40 {
			g := s.get("/")
			waited = waited || g.took > 0
			time.Sleep(10 * ms)
		}
		return waited
	}
	at(t, allDoors(), "busy", stale.Config{}, func(t *testing.T, s *site) {
		assert.False(t, busy(s), "nobody waits")
		assert.Equal(t, 2, s.hits(), "as it was refreshed before its end")
	})
	at(t, allDoors(), "off", stale.Config{EarlyRefresh: stale.Off}, func(t *testing.T, s *site) {
		busy(s)
		assert.Equal(t, 1, s.hits())
	})
	at(t, allDoors(), "nobody asks", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(after(500*ms, says("body", "Cache-Control", "max-age=30")))
		s.get("/")
		for range 5 {
			pause(5 * time.Second)
			s.get("/")
		}
		assert.Equal(t, 1, s.hits())
	})
}
