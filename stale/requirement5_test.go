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

func TestRequirement5Pitfall16ErrorsAreRemembered(t *testing.T) {
	for name, failure := range map[string]http.HandlerFunc{
		"500": replies(500, "failure"), "503": replies(503, "failure"), "broken": breaks,
	} {
		at(t, allDoors(), name, stale.Config{}, func(t *testing.T, s *site) {
			s.answers(failure)
			for i := range 20 {
				g := s.get("/")
				require.True(t, g.failed())
				if i < 2 {
					continue
				}
				if s.door == ofHandler {
					assert.Equal(t, 503, g.status)
					assert.Contains(t, []string{"2", "3"}, g.header.Get("Retry-After"))
					continue
				}
				var failing *stale.FailingError
				require.ErrorAs(t, g.err, &failing)
				require.ErrorIs(t, g.err, stale.ErrFailing)
				assert.Equal(t, 2, failing.Failures)
				assert.GreaterOrEqual(t, failing.RetryAfter(), 1500*ms)
				assert.LessOrEqual(t, failing.RetryAfter(), 2500*ms)
			}
			assert.Equal(t, 2, s.hits())
			assert.EqualValues(t, 18, s.cache.Snapshot().Refused)
			pause(2500 * ms)
			s.answers(says("body", "Cache-Control", "no-store"))
			s.gets("/", "body", 0)
			s.answers(failure)
			s.get("/")
			s.answers(says("body", "Cache-Control", "no-store"))
			s.gets("/", "body", 0)
			assert.Equal(t, 5, s.hits(), "a success ends the row")
		})
	}
	at(t, allDoors(), "HEAD, too", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(replies(500, ""))
		for range 5 {
			req := s.request("/")
			req.Method = http.MethodHead
			assert.True(t, new(s.ask(req)).failed())
		}
		assert.Equal(t, 2, s.hits())
	})
	at(t, allDoors(), "per resource", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(replies(500, "failure"))
		for i := range 10 {
			s.gets("/"+strconv.Itoa(i), "failure", 0)
		}
		assert.Equal(t, 10, s.hits())
	})
	at(t, allDoors(), "in a row is within a minute", stale.Config{}, func(_ *testing.T, s *site) {
		s.answers(replies(500, "failure"))
		for range 5 {
			s.gets("/", "failure", 0)
			pause(time.Minute)
		}
	})
	at(t, allDoors(), "configured", stale.Config{FailureTTL: 10 * time.Minute}, func(t *testing.T, s *site) {
		s.answers(replies(500, "failure"))
		s.get("/")
		s.get("/")
		pause(7 * time.Minute)
		assert.True(t, s.get("/").failed())
		assert.Equal(t, 2, s.hits())
	})
	at(t, allDoors(), "off", stale.Config{FailureTTL: stale.Off}, func(_ *testing.T, s *site) {
		s.answers(replies(500, "failure"))
		for range 10 {
			s.gets("/", "failure", 0)
		}
	})
	at(t, allDoors(), "not 404, 429 and 501", stale.Config{}, func(t *testing.T, s *site) {
		for _, status := range []int{404, 429, 501} {
			s.answers(replies(status, "no"))
			for range 5 {
				assert.Equal(t, status, s.gets("/", "no", 0).status)
			}
		}
	})
	at(t, allDoors(), "not refusals", stale.Config{}, func(t *testing.T, s *site) {
		s.refuse()
		for range 5 {
			g := s.get("/")
			if s.door == ofHandler {
				assert.Equal(t, "refused\n", g.body)
			} else {
				assert.ErrorIs(t, g.err, refusal{})
			}
		}
		assert.Equal(t, 5, s.hits())
	})
	at(t, []string{ofHandler}, "a refusal that the handler could do without", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(func(w http.ResponseWriter, req *http.Request) {
			refuses(&client{ResponseRecorder: newRecorder()}, req)
			says("body", "Cache-Control", "max-age=60")(w, req)
		})
		s.gets("/", "body", 0)
		s.gets("/", "body", 0)
		assert.Equal(t, 1, s.hits())
	})
	at(t, shared(), "not what befalls a user", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(replies(500, "failure"))
		for range 5 {
			s.gets("/", "failure", 0, "Cookie", "user=1")
		}
		s.answers(says("body"))
		s.gets("/", "body", 0)
		s.answers(replies(500, "failure"))
		s.get("/")
		s.gets("/", "failure", 0, "Cookie", "user=1")
		s.get("/")
		n := s.hits()
		s.get("/")
		assert.Equal(t, n, s.hits(), "nor does it interrupt the row of others")
	})
	at(t, allDoors(), "a client that leaves is no failure", stale.Config{MaxObject: 10}, func(t *testing.T, s *site) {
		s.answers(func(w http.ResponseWriter, req *http.Request) {
			for range 100 {
				says("0123456789", "Cache-Control", "max-age=60")(w, req)
				if http.NewResponseController(w).Flush() != nil || nap(req.Context(), 100*ms) != nil {
					return
				}
			}
		})
		for range 4 {
			s.leaves("/", time.Second)
			pause(time.Minute / 4)
		}
		assert.Equal(t, 4, s.hits())
		assert.Empty(t, s.told(stale.FetchFailed))
	})
	at(t, allDoors(), "one that breaks off is", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(func(w http.ResponseWriter, req *http.Request) {
			says("half", "Cache-Control", "max-age=60", "Content-Length", "8")(w, req)
		})
		for range 5 {
			s.get("/")
			synctest.Wait()
		}
		assert.Equal(t, 2, s.hits())
	})
}

func TestRequirement5Degraded(t *testing.T) {
	degraded := func(w http.ResponseWriter, req *http.Request) {
		stale.MarkDegraded(req.Context())
		says("without ads", "Cache-Control", "max-age=10, stale-while-revalidate=100")(w, req)
	}
	at(t, []string{ofHandler}, "is not stored", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(degraded)
		s.gets("/", "without ads", 0)
		s.answers(says("whole", "Cache-Control", "max-age=10, stale-while-revalidate=100"))
		s.gets("/", "whole", 0)
		pause(20 * time.Second)
		s.answers(degraded)
		s.gets("/", "whole", 0)
		synctest.Wait()
		require.Equal(t, 3, s.hits())
		s.gets("/", "whole", 0)
		synctest.Wait()
		require.Len(t, s.told(stale.NotStored), 3)
		assert.Equal(t, "degraded", s.told(stale.NotStored)[0].Detail)
	})
	at(t, []string{ofHandler}, "nor by a 304", stale.Config{}, func(t *testing.T, s *site) {
		s.old("/", "max-age=10", "ETag", `"1"`)
		s.answers(func(w http.ResponseWriter, req *http.Request) {
			stale.MarkDegraded(req.Context())
			w.Header().Set("Cache-Control", "max-age=100")
			w.WriteHeader(http.StatusNotModified)
		})
		s.gets("/", "old", 0)
		s.gets("/", "old", 0)
		assert.Equal(t, 3, s.hits())
	})
}
