package stale_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale"
)

// old stores a response with this Cache-Control and lets it become 20 s old.
func (s *site) old(path, control string, header ...string) {
	s.t.Helper()
	s.answers(says("old", append(header, "Cache-Control", control)...))
	s.gets(path, "old", 0)
	pause(20 * time.Second)
}

func TestRequirement3StaleOnFailure(t *testing.T) {
	cfg := stale.Config{ErrorWhen: func(resp *http.Response) bool { return resp.StatusCode == 418 }}
	for _, status := range []int{418, 500, 502, 503, 504} {
		at(t, allDoors(), strconv.Itoa(status), cfg, func(t *testing.T, s *site) {
			s.old("/", "max-age=10")
			s.answers(replies(status, "failure"))
			g := s.gets("/", "old", 0)
			assert.Equal(t, "failed", g.detail())
			assert.Contains(t, g.header.Get("Cache-Status"), "fwd=stale; fwd-status="+strconv.Itoa(status)+"; ttl=-10;")
			assert.Equal(t, "20", g.header.Get("Age"))
			assert.Equal(t, 2, s.hits())

			assert.Equal(t, "failing", s.gets("/", "old", 0).detail(), "the origin is left alone")
			assert.Equal(t, 2, s.hits())
			pause(time.Second)
			s.answers(says("new", "Cache-Control", "max-age=10"))
			s.gets("/", "new", 0)
		})
	}
	for _, status := range []int{200, 404, 410, 429, 501} {
		at(t, allDoors(), "but not on "+strconv.Itoa(status), cfg, func(t *testing.T, s *site) {
			s.old("/", "max-age=10")
			s.answers(replies(status, "new", "Cache-Control", "no-store"))
			assert.Equal(t, status, s.gets("/", "new", 0).status)
		})
	}
	at(t, []string{ofGateway, ofUserAgent}, "broken connection", cfg, func(t *testing.T, s *site) {
		s.old("/", "max-age=10")
		s.answers(breaks)
		assert.Equal(t, "failed", s.gets("/", "old", 0).detail())
	})
	at(t, allDoors(), "refusal by a policy of ours", cfg, func(t *testing.T, s *site) {
		s.old("/", "max-age=10")
		s.refuse()
		for range 3 {
			assert.Equal(t, "refused", s.gets("/", "old", 0).detail())
		}
		assert.Equal(t, 4, s.hits(), "refusals are not remembered")
	})
	at(t, allDoors(), "timeout", stale.Config{StaleAfter: stale.Off, FetchTimeout: 2 * time.Second}, func(t *testing.T, s *site) {
		s.old("/", "max-age=10")
		s.answers(hangs)
		assert.Equal(t, "timed-out", s.gets("/", "old", 2*time.Second).detail())
	})
	at(t, []string{ofHandler}, "timeout of what does not listen", stale.Config{StaleAfter: stale.Off, FetchTimeout: 2 * time.Second}, func(t *testing.T, s *site) {
		s.old("/", "max-age=10")
		s.answers(func(http.ResponseWriter, *http.Request) { pauseAlone(time.Minute) })
		assert.Equal(t, "timed-out", s.gets("/", "old", 2*time.Second).detail())
		assert.Equal(t, "timed-out", s.gets("/", "old", 2*time.Second).detail(), "nobody waits for it any more")
		pause(2 * time.Minute)
	})
}

func TestRequirement3Pitfall17Windows(t *testing.T) {
	cases := []struct {
		name, control string
		cfg           stale.Config
		doors         []string
		age           time.Duration // at which the origin fails
		isStale       bool
	}{
		{"default", "max-age=10", stale.Config{}, allDoors(), 10*time.Second + time.Hour - 1, true},
		{"after the default", "max-age=10", stale.Config{}, allDoors(), 10*time.Second + time.Hour, false},
		{"configured", "max-age=10", stale.Config{DefaultStaleIfError: time.Minute}, allDoors(), 69 * time.Second, true},
		{"after the configured", "max-age=10", stale.Config{DefaultStaleIfError: time.Minute}, allDoors(), 70 * time.Second, false},
		{"off", "max-age=10", stale.Config{DefaultStaleIfError: stale.Off}, allDoors(), 10 * time.Second, false},
		{"directive", "max-age=10, stale-if-error=30", stale.Config{DefaultStaleIfError: stale.Off}, allDoors(), 39 * time.Second, true},
		{"after the directive", "max-age=10, stale-if-error=30", stale.Config{}, allDoors(), 40 * time.Second, false},
		{"no-cache", "max-age=10, no-cache", stale.Config{}, allDoors(), 11 * time.Second, false},
		{"must-revalidate", "max-age=10, must-revalidate", stale.Config{}, allDoors(), 11 * time.Second, false},
		{"must-revalidate with a window", "max-age=10, must-revalidate, stale-if-error=60", stale.Config{}, allDoors(), 11 * time.Second, false},
		{"proxy-revalidate", "max-age=10, proxy-revalidate", stale.Config{}, shared(), 11 * time.Second, false},
		{"proxy-revalidate in a private cache", "max-age=10, proxy-revalidate", stale.Config{}, []string{ofUserAgent}, 11 * time.Second, true},
		{"s-maxage", "s-maxage=10", stale.Config{}, shared(), 11 * time.Second, false},
		{"s-maxage with a window", "s-maxage=10, stale-if-error=60", stale.Config{}, shared(), 69 * time.Second, true},
		{"s-maxage with another window", "s-maxage=10, stale-while-revalidate=60", stale.Config{DefaultStaleIfError: time.Hour}, shared(), 71 * time.Second, false},
	}
	for _, c := range cases {
		at(t, c.doors, c.name, c.cfg, func(t *testing.T, s *site) {
			s.answers(says("old", "Cache-Control", c.control, "ETag", `"1"`))
			s.gets("/", "old", 0)
			pause(c.age)
			s.answers(replies(503, "failure"))
			g := s.get("/")
			assert.Equal(t, 2, s.hits())
			if c.isStale {
				assert.Equal(t, "old", g.body)
			} else {
				assert.Equal(t, "failure", g.body)
			}
		})
	}
	at(t, allDoors(), "not against the client's no-cache", stale.Config{}, func(_ *testing.T, s *site) {
		s.old("/", "max-age=100")
		s.answers(replies(503, "failure"))
		s.gets("/", "failure", 0, "Cache-Control", "no-cache")
	})
	at(t, allDoors(), "a stored failure is no stale copy", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(replies(503, "old failure", "Cache-Control", "max-age=10, stale-if-error=100"))
		s.gets("/", "old failure", 0)
		s.gets("/", "old failure", 0)
		require.Equal(t, 1, s.hits(), "it is stored, as it says")
		pause(20 * time.Second)
		s.answers(replies(500, "failure"))
		s.gets("/", "failure", 0)
	})
}

func TestRequirement3StaleWhileRevalidate(t *testing.T) {
	at(t, allDoors(), "directive", stale.Config{}, func(t *testing.T, s *site) {
		s.old("/", "max-age=10, stale-while-revalidate=60")
		s.answers(after(time.Second, says("new", "Cache-Control", "max-age=10")))
		g := s.gets("/", "old", 0)
		assert.Equal(t, "revalidating", g.detail())
		pause(time.Second)
		assert.Empty(t, s.gets("/", "new", 0).detail())
		assert.Equal(t, 2, s.hits())
	})
	at(t, allDoors(), "default", stale.Config{DefaultStaleWhileRevalidate: time.Minute}, func(_ *testing.T, s *site) {
		s.old("/", "max-age=10")
		s.answers(after(time.Second, says("new", "Cache-Control", "max-age=10")))
		s.gets("/", "old", 0)
		pause(time.Second)
		s.gets("/", "new", 0)
	})
	at(t, allDoors(), "none", stale.Config{}, func(_ *testing.T, s *site) {
		s.old("/", "max-age=10")
		s.answers(says("new", "Cache-Control", "max-age=10"))
		s.gets("/", "new", 0)
	})
}

func TestRequirement3Pitfall15SlowOrigin(t *testing.T) {
	cfg := stale.Config{StaleAfter: 100 * ms}
	at(t, allDoors(), "fixed", cfg, func(t *testing.T, s *site) {
		s.old("/", "max-age=10")
		s.answers(after(3*time.Second, says("new", "Cache-Control", "max-age=10")))
		assert.Equal(t, "slow", s.gets("/", "old", 100*ms).detail())
		s.gets("/", "old", 0) // it is late already
		pause(2900 * ms)
		s.gets("/", "new", 0)
		assert.Equal(t, 2, s.hits(), "the fetch went on behind")
	})
	at(t, allDoors(), "hanging for ever", cfg, func(t *testing.T, s *site) {
		s.old("/", "max-age=10")
		s.answers(hangs)
		s.gets("/", "old", 100*ms)
		pause(stale.DefaultFetchTimeout)
		assert.Equal(t, "failing", s.gets("/", "old", 0).detail())
		pause(time.Second)
		s.answers(says("new", "Cache-Control", "max-age=10"))
		s.gets("/", "new", 0)
	})
	at(t, allDoors(), "in time", cfg, func(_ *testing.T, s *site) {
		s.old("/", "max-age=10")
		s.answers(after(99*ms, says("new", "Cache-Control", "max-age=10")))
		s.gets("/", "new", 99*ms)
	})
	at(t, allDoors(), "off", stale.Config{StaleAfter: stale.Off}, func(_ *testing.T, s *site) {
		s.old("/", "max-age=10")
		s.answers(after(5*time.Second, says("new", "Cache-Control", "max-age=10")))
		s.gets("/", "new", 5*time.Second)
	})
	at(t, allDoors(), "not where it must be revalidated", cfg, func(_ *testing.T, s *site) {
		s.old("/", "max-age=10, must-revalidate")
		s.answers(after(5*time.Second, says("new", "Cache-Control", "max-age=10")))
		s.gets("/", "new", 5*time.Second)
	})
	at(t, allDoors(), "slow failure", cfg, func(t *testing.T, s *site) {
		s.old("/", "max-age=10")
		s.answers(after(time.Second, replies(500, "failure")))
		s.gets("/", "old", 100*ms)
		pause(time.Second)
		s.gets("/", "old", 0)
		assert.Equal(t, 2, s.hits(), "and it is remembered")
		pause(time.Second)
	})
}

func TestRequirement3SlowOriginLearned(t *testing.T) {
	// paced lets the origin answer n times in this pace.
	paced := func(s *site, n int, pace time.Duration) {
		s.answers(after(pace, says("", "Cache-Control", "no-store")))
		for i := range n {
			s.get("/paced/" + strconv.Itoa(i))
		}
	}
	for _, c := range []struct {
		name string
		n    int
		pace time.Duration
		want time.Duration
	}{
		{"before anything is known", 0, 0, 300 * ms},
		{"at least", 30, 5 * ms, 50 * ms},
		{"as it is", 30, 200 * ms, 0},
		{"at most", 30, 5 * time.Second, time.Second},
	} {
		at(t, allDoors(), c.name, stale.Config{}, func(t *testing.T, s *site) {
			paced(s, c.n, c.pace)
			s.old("/", "max-age=10")
			s.answers(hangs)
			g := s.get("/")
			assert.Equal(t, "old", g.body)
			if c.want > 0 {
				assert.Equal(t, c.want, g.took)
			} else {
				assert.InDelta(t, c.pace, g.took, float64(c.pace)/5)
			}
		})
	}
	at(t, allDoors(), "not from failures", stale.Config{}, func(t *testing.T, s *site) {
		paced(s, 30, 400*ms)
		s.answers(replies(503, "down"))
		for i := range 300 {
			s.get("/down/" + strconv.Itoa(i))
		}
		s.old("/", "max-age=10")
		s.answers(hangs)
		assert.Greater(t, s.get("/").took, 300*ms, "how fast it says that it is down is no pace")
	})
}

func TestRequirement3Healthy(t *testing.T) {
	sick := false
	cfg := stale.Config{Healthy: func() bool { return !sick }, DefaultStaleIfError: time.Minute}
	test := func(name, control string, cfg stale.Config, age time.Duration, doors []string, want string) {
		at(t, doors, name, cfg, func(t *testing.T, s *site) {
			sick = false
			s.answers(says("old", "Cache-Control", control))
			s.gets("/", "old", 0)
			pause(age)
			s.answers(says("new", "Cache-Control", "max-age=10"))
			sick = true
			g := s.gets("/", want, 0)
			if want == "old" {
				assert.Equal(t, "sick", g.detail())
				pause(1)
				assert.Equal(t, 2, s.hits(), "it is refreshed behind")
			}
		})
	}
	test("longer while sick", "max-age=10", cfg, 23*time.Hour, allDoors(), "old")
	test("a day", "max-age=10", cfg, 24*time.Hour+11*time.Second, allDoors(), "new")
	test("never where it must be revalidated", "max-age=10, must-revalidate", cfg, time.Minute, allDoors(), "new")
	test("within the windows that it named", "s-maxage=10, stale-if-error=20", cfg, 25*time.Second, shared(), "old")
	test("not beyond", "s-maxage=10, stale-if-error=20", cfg, 31*time.Second, shared(), "new")
	short, off := cfg, cfg
	short.StaleIfSick, off.StaleIfSick = 10*time.Minute, stale.Off
	test("configured", "max-age=10", short, 10*time.Minute, allDoors(), "old")
	test("after what is configured", "max-age=10", short, 11*time.Minute, allDoors(), "new")
	test("off", "max-age=10", off, time.Minute, allDoors(), "new")

	at(t, allDoors(), "healthy", cfg, func(_ *testing.T, s *site) {
		sick = false
		s.old("/", "max-age=10")
		s.answers(says("new", "Cache-Control", "max-age=10"))
		s.gets("/", "new", 0)
	})
	panics := stale.Config{Healthy: func() bool { panic(errTest) }}
	at(t, allDoors(), "a panic says nothing", panics, func(t *testing.T, s *site) {
		s.old("/", "max-age=10")
		s.answers(says("new", "Cache-Control", "max-age=10"))
		s.gets("/", "new", 0)
		require.Len(t, s.told(stale.Panicked), 1)
		assert.ErrorIs(t, s.told(stale.Panicked)[0].Err, errTest)
	})
}
