package stale_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale"
)

// A 304 may say that the response varies by something else than before.
func TestNotModifiedMayChangeVary(t *testing.T) {
	at(t, allDoors(), "another field", stale.Config{}, func(_ *testing.T, s *site) {
		s.answers(says("old", "Cache-Control", "max-age=10", "ETag", `"1"`, "Vary", "X-One"))
		s.gets("/", "old", 0, "X-One", "a")
		pause(11 * time.Second)
		s.answers(replies(304, "", "Cache-Control", "max-age=10", "ETag", `"1"`, "Vary", "X-Two"))
		s.gets("/", "old", 0, "X-One", "a", "X-Two", "b")

		s.answers(says("new", "Cache-Control", "max-age=10", "Vary", "X-Two"))
		s.gets("/", "old", 0, "X-One", "z", "X-Two", "b")
		s.gets("/", "new", 0, "X-Two", "a")
	})
	at(t, allDoors(), "the first one", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(says("old", "Cache-Control", "max-age=10", "ETag", `"1"`))
		s.gets("/", "old", 0, "X-Two", "b")
		pause(11 * time.Second)
		s.answers(after(ms, replies(304, "", "Cache-Control", "max-age=10", "ETag", `"1"`, "Vary", "X-Two")))
		for _, g := range s.herd(5, "/", "X-Two", "b") {
			assert.Equal(t, "old", g.body)
		}
		s.gets("/", "old", 0, "X-Two", "b")
		assert.Equal(t, 2, s.hits())
	})
}

// Who waits for a 304 shares what it renews only if that is for them, too.
func TestNotModifiedThatChangesVaryIsNotForAllWhoWait(t *testing.T) {
	at(t, allDoors(), "two", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(says("old", "Cache-Control", "max-age=10", "ETag", `"1"`, "Vary", "X-One"))
		s.gets("/", "old", 0, "X-One", "b")
		pause(11 * time.Second)
		s.answers(after(ms, func(w http.ResponseWriter, req *http.Request) {
			if req.Header.Get("X-Two") == "b" {
				replies(304, "", "Cache-Control", "max-age=10", "ETag", `"1"`, "Vary", "X-Two")(w, req)
				return
			}
			says("new", "Cache-Control", "max-age=10", "Vary", "X-Two")(w, req)
		}))
		var wg sync.WaitGroup
		wg.Go(func() { assert.Equal(t, "old", s.get("/", "X-One", "b", "X-Two", "b").body) })
		synctest.Wait()
		wg.Go(func() { assert.Equal(t, "new", s.get("/", "X-One", "b", "X-Two", "c").body) })
		wg.Wait()
	})
}

func headOf(s *site, path string) *http.Request {
	req := s.request(path)
	req.Method = http.MethodHead
	return req
}

// RFC 9111, section 4.3.5.
func TestHeadFreshensOrInvalidatesWhatIsStored(t *testing.T) {
	const tag = `"1"`
	cases := map[string]struct {
		purge  bool
		header []string
		want   string // of the GET that follows
	}{
		"the same tag":              {false, []string{"Cache-Control", "max-age=10", "ETag", tag}, "v1"},
		"the same tag after purge":  {true, []string{"Cache-Control", "max-age=10", "ETag", tag}, "v1"},
		"a lifetime":                {false, []string{"Cache-Control", "max-age=10"}, "v1"},
		"a lifetime after a purge":  {true, []string{"Cache-Control", "max-age=10"}, "new"},
		"nothing":                   {false, nil, "new"},
		"another tag":               {false, []string{"Cache-Control", "max-age=10", "ETag", `"2"`}, "new"},
		"another length":            {false, []string{"Cache-Control", "max-age=10", "Content-Length", "9"}, "new"},
		"for nobody else, the same": {false, []string{"Cache-Control", "no-store", "ETag", tag}, "new"},
	}
	for name, c := range cases {
		at(t, allDoors(), name, stale.Config{}, func(t *testing.T, s *site) {
			s.answers(says("v1", "Cache-Control", "max-age=10", "ETag", tag))
			s.gets("/", "v1", 0)
			if c.purge {
				require.NoError(t, s.cache.PurgeAll(t.Context(), stale.Soft))
			} else {
				pause(11 * time.Second)
			}
			s.answers(replies(200, "", append(c.header, "X-Head", "yes")...))
			assert.Equal(t, 200, s.ask(headOf(s, "/")).status)
			synctest.Wait()
			s.answers(says("new", "Cache-Control", "max-age=10"))
			g := s.gets("/", c.want, 0)
			if c.want == "v1" {
				assert.Equal(t, "yes", g.header.Get("X-Head"))
			}
		})
	}
}

// What a HEAD has found to be another is not fresh any more, however fresh it was.
func TestHeadInvalidatesWhatIsFresh(t *testing.T) {
	at(t, allDoors(), "reload", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(says("v1", "Cache-Control", "max-age=100", "ETag", `"1"`))
		s.gets("/", "v1", 0)
		s.answers(replies(200, "", "ETag", `"2"`))
		req := headOf(s, "/")
		req.Header.Set("Cache-Control", "no-cache")
		assert.Equal(t, 200, s.ask(req).status)
		synctest.Wait()
		s.answers(replies(503, "sorry"))
		s.gets("/", "v1", 0) // it still is better than nothing
		s.answers(says("v2", "Cache-Control", "max-age=100"))
		pause(time.Minute)
		s.gets("/", "v2", 0)
	})
}

// purgingStore purges just before it is asked for the epoch.
type purgingStore struct {
	*stale.Memory

	due atomic.Bool
}

func (p *purgingStore) Epoch(ctx context.Context) (stale.Epoch, error) {
	if p.due.Swap(false) {
		_ = p.PurgeAll(ctx, false)
	}
	return p.Memory.Epoch(ctx)
}

// What was found before a purge is not stored again after it, on the word of a 304.
func TestPurgeBetweenLookAndEpochIsNotUndone(t *testing.T) {
	store := map[string]*purgingStore{}
	for _, door := range allDoors() {
		store[door] = &purgingStore{Memory: stale.NewMemory(0)}
		at(t, []string{door}, "purge", stale.Config{Store: store[door]}, func(_ *testing.T, s *site) {
			s.answers(func(w http.ResponseWriter, req *http.Request) {
				if req.Header.Get("If-None-Match") != "" {
					replies(304, "", "ETag", `"1"`)(w, req)
					return
				}
				says("v"+strconv.Itoa(s.hits()), "Cache-Control", "max-age=10", "ETag", `"1"`)(w, req)
			})
			s.gets("/", "v1", 0)
			pause(11 * time.Second)
			store[door].due.Store(true)
			s.gets("/", "v2", 0)
			s.gets("/", "v2", 0)
		})
	}
}

// Where the answer is there and it is too late for it at the same moment, it is the
// answer that counts: who joins a flight that began long ago reads along.
func TestLateIsNotTooLateForAnAnswerThatIsThere(t *testing.T) {
	at(t, allDoors(), "streaming", stale.Config{StaleAfter: 100 * ms}, func(t *testing.T, s *site) {
		s.answers(says("old", "Cache-Control", "max-age=10"))
		s.gets("/", "old", 0)
		pause(11 * time.Second)
		s.answers(func(w http.ResponseWriter, req *http.Request) {
			says("new", "Cache-Control", "max-age=10")(w, req)
			_ = http.NewResponseController(w).Flush()
			_ = nap(req.Context(), time.Second)
		})
		var wg sync.WaitGroup
		wg.Go(func() { assert.Equal(t, "new", s.get("/").body) })
		pause(500 * ms)
		for _, g := range s.herd(20, "/") {
			assert.Equal(t, "new", g.body)
		}
		wg.Wait()
	})
}

// Callers may append to the header that they get.
func TestFollowersDoNotShareRoomInHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := stale.MustNew(stale.Config{})
		base := roundTrip(func(req *http.Request) (*http.Response, error) {
			time.Sleep(ms)
			body := append(make([]string, 0, 8), "a")
			return &http.Response{
				StatusCode: 200, Request: req, ContentLength: -1, Body: io.NopCloser(reader("x")),
				Header: http.Header{"Cache-Control": {"max-age=10"}, "X-Room": body},
			}, nil
		})
		transport := cache.Transport(base)
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://shop.test/", nil)
				assert.NoError(t, err)
				resp, err := transport.RoundTrip(req)
				if !assert.NoError(t, err) {
					return
				}
				resp.Header.Add("X-Room", strconv.Itoa(i))
				time.Sleep(ms)
				assert.Equal(t, []string{"a", strconv.Itoa(i)}, resp.Header["X-Room"])
				_ = resp.Body.Close()
			})
			time.Sleep(time.Microsecond)
		}
		wg.Wait()
		require.NoError(t, cache.Close(t.Context()))
	})
}

// A client that leaves cancels nothing that others wait for, also where no more
// requests may go on that nobody waits for.
func TestLeaderLeavesItsFollowersTheFlight(t *testing.T) {
	at(t, allDoors(), "no places left", stale.Config{MaxRefreshes: 1}, func(t *testing.T, s *site) {
		s.answers(after(time.Second, says("new", "Cache-Control", "max-age=10")))
		s.leaves("/other", 100*ms) // takes the only place
		go s.leaves("/", 100*ms)
		pause(50 * ms)
		for _, g := range s.herd(50, "/") {
			assert.Equal(t, "new", g.body)
			assert.Equal(t, 950*ms, g.took)
		}
		assert.Equal(t, 2, s.hits())
	})
	at(t, allDoors(), "they leave, too", stale.Config{MaxRefreshes: 1}, func(t *testing.T, s *site) {
		var canceled atomic.Int64
		s.answers(func(_ http.ResponseWriter, req *http.Request) {
			<-req.Context().Done()
			canceled.Add(1)
		})
		s.leaves("/other", 100*ms)
		for range 5 {
			go s.leaves("/", 100*ms)
			pause(10 * ms)
		}
		pause(ms)
		assert.Zero(t, canceled.Load())
		pause(150 * ms)
		assert.EqualValues(t, 1, canceled.Load())
		assert.Equal(t, 2, s.hits())
	})
}

// What is told while a long answer goes to who asked for it does not pile up.
func TestEventsBelowAPrivateStreamAreToldAtOnce(t *testing.T) {
	at(t, []string{ofHandler}, "sub-requests", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path != "/stream" {
				says("part", "Cache-Control", "max-age=100")(w, req)
				return
			}
			says("", "Cache-Control", "no-store")(w, req)
			_ = http.NewResponseController(w).Flush()
			before := len(s.told(stale.Hit))
			for range 3 {
				s.ask(s.request("/part").WithContext(req.Context()))
			}
			assert.Len(t, s.told(stale.Hit), before+3)
		})
		s.gets("/part", "part", 0)
		s.gets("/stream", "", 0)
	})
}

// A client that has left is no trouble of the Store's.
func TestLeavingIsNoTroubleOfTheStore(t *testing.T) {
	at(t, allDoors(), "gone", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(says("x", "Cache-Control", "max-age=10"))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s.ask(s.request("/").WithContext(ctx))
		synctest.Wait()
		assert.Empty(t, s.told(stale.StoreFailed))
	})
}

// Who asks when an answer is over does not share it: it is stored by then, or was
// for those who waited for it. That observers take their time changes nothing.
func TestFlightIsNotJoinedAfterItsEnd(t *testing.T) {
	for _, length := range []int{0, 1} {
		at(t, allDoors(), "length "+strconv.Itoa(length), stale.Config{}, func(t *testing.T, s *site) {
			s.hears = func(e stale.Event) {
				if e.Kind == stale.Stored || e.Kind == stale.NotStored {
					pause(time.Second)
				}
			}
			s.answers(func(w http.ResponseWriter, req *http.Request) {
				if s.hits() == 1 { // which the layer must be in the same process to hear of
					stale.MarkDegraded(req.Context())
				}
				says(strings.Repeat("x", length), "Cache-Control", "max-age=60")(w, req)
			})
			for range 3 {
				s.ask(s.request("/"))
			}
			shot := s.cache.Snapshot()
			want := []uint64{1, 1, 2, 0}
			if s.door == ofHandler {
				want = []uint64{1, 2, 1, 0}
			}
			assert.Equal(t, want, []uint64{shot.Stored, shot.Misses, shot.Hits, shot.Collapsed})
		})
	}
}
