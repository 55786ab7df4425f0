package backpressure_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/backpressure"
	"github.com/failsoft/failsoft/internal/outcome"
)

// server is one that refuses requests above a capacity, which may be 0.
type server struct {
	capacity int // per 100 ms
	header   []string

	mu       sync.Mutex
	begun    time.Time
	taken    int
	sent     int
	accepted int
}

func (s *server) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.begun) >= 100*ms {
		s.begun, s.taken = time.Now(), 0
	}
	s.sent++
	if s.taken++; s.taken > s.capacity {
		return answers(503, s.header...)(req)
	}
	s.accepted++
	return answers(200)(req)
}

// reset forgets what was sent, and returns it.
func (s *server) reset() (sent, accepted int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent, accepted = s.sent, s.accepted
	s.sent, s.accepted = 0, 0
	return sent, accepted
}

// offer makes requests for d, evenly, and returns what became of them.
func offer(t *testing.T, rt http.RoundTripper, perSecond int, d time.Duration) (offered, held int) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second / time.Duration(perSecond)) {
		offered++
		if _, err := exchange(rt, get(t, "http://"+host)); err != nil {
			require.ErrorIs(t, err, backpressure.ErrLimited)
			held++
		}
	}
	return offered, held
}

func TestThrottleHoldsBackWhatWouldBeRefused(t *testing.T) {
	for _, times := range []int{2, 4, 10} {
		bubble(t, fmt.Sprintf("at %d times the capacity", times), func(t *testing.T) {
			s := &server{capacity: 10}
			rt := backpressure.MustNewThrottle(backpressure.ThrottleConfig{}).Transport(s)
			offer(t, rt, 100*times, 10*time.Second)
			s.reset()
			offer(t, rt, 100*times, 20*time.Second)
			sent, accepted := s.reset()
			assert.InDelta(t, 2000, accepted, 100, "the server is kept busy")
			assert.Less(t, sent, 2000*5/2, "twice what it accepts, and a few")
		})
	}
}

func TestThrottleLetsAllGoWhileAllIsWell(t *testing.T) {
	bubble(t, "one after the other", func(t *testing.T) {
		rt := backpressure.MustNewThrottle(backpressure.ThrottleConfig{}).Transport(&server{capacity: 100})
		_, held := offer(t, rt, 500, 10*time.Second)
		assert.Zero(t, held)
	})
	bubble(t, "a hundred at once, of a client that has just begun", func(t *testing.T) {
		rt := backpressure.MustNewThrottle(backpressure.ThrottleConfig{}).Transport(
			roundTrip(func(req *http.Request) (*http.Response, error) {
				time.Sleep(time.Second)
				return answers(200)(req)
			}))
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				_, err := exchange(rt, get(t, "http://"+host))
				assert.NoError(t, err, "what is under way has not been refused")
			})
		}
		all.Wait()
	})
	bubble(t, "half of it refused", func(t *testing.T) {
		rt := backpressure.MustNewThrottle(backpressure.ThrottleConfig{}).Transport(&server{capacity: 55})
		_, held := offer(t, rt, 1000, 10*time.Second)
		assert.Zero(t, held)
	})
	bubble(t, "a client that asks now and then", func(t *testing.T) {
		rt := backpressure.MustNewThrottle(backpressure.ThrottleConfig{}).Transport(answers(503))
		for range 100 {
			_, err := exchange(rt, get(t, "http://"+host))
			require.NoError(t, err)
			time.Sleep(2 * time.Second)
		}
	})
}

// Requirement: back within 15 s of a total outage, at any rate.
func TestRequirement4ThrottleRecovers(t *testing.T) {
	for _, rate := range []int{10, 100, 1000} {
		bubble(t, fmt.Sprintf("from a total outage of a minute at %d per second", rate), func(t *testing.T) {
			s := &server{capacity: 0}
			rt := backpressure.MustNewThrottle(backpressure.ThrottleConfig{}).Transport(s)
			offered, held := offer(t, rt, rate, time.Minute)
			assert.Greater(t, float64(held)/float64(offered), 0.5)
			t.Logf("%d per second: %.3f sent in the outage", rate, 1-float64(held)/float64(offered))
			s.mu.Lock()
			s.capacity = math.MaxInt
			s.mu.Unlock()
			offer(t, rt, rate, 15*time.Second)
			offered, held = offer(t, rt, rate, 10*time.Second)
			assert.Less(t, float64(held)/float64(offered), 0.01)
		})
	}
}

func TestRequirement4PauseIsTheLastResort(t *testing.T) {
	// paused says whether any of 100 further requests is told to pause.
	paused := func(t *testing.T, rt http.RoundTripper) bool {
		t.Helper()
		for range 100 {
			_, err := exchange(rt, get(t, "http://"+host))
			if refusal, ok := errors.AsType[*backpressure.LimitedError](err); ok && refusal.Refusal == backpressure.Paused {
				return true
			}
		}
		return false
	}
	// after returns a Throttle that has seen n answers.
	after := func(t *testing.T, status func(n int) int, n int, header ...string) http.RoundTripper {
		t.Helper()
		th := backpressure.MustNewThrottle(backpressure.ThrottleConfig{})
		asked := 0
		rt := th.Transport(roundTrip(func(req *http.Request) (*http.Response, error) {
			asked++
			return answers(status(asked), header...)(req)
		}))
		for asked < n {
			_, _ = exchange(rt, get(t, "http://"+host))
		}
		return rt
	}
	all := func(int) int { return 503 }
	bubble(t, "of 19 refusals", func(t *testing.T) {
		th := backpressure.MustNewThrottle(backpressure.ThrottleConfig{})
		for range 19 {
			a, err := th.Allow(t.Context(), host, backpressure.Default)
			if err == nil {
				a.Done(false, 10*time.Second)
			}
		}
		_, err := th.Allow(t.Context(), host, backpressure.Default)
		if err != nil {
			assert.Equal(t, backpressure.Throttled, limited(t, err).Refusal)
		}
	})
	bubble(t, "where all is refused", func(t *testing.T) {
		rt := after(t, all, 25, "Retry-After", "10")
		assert.True(t, paused(t, rt))
		time.Sleep(10*time.Second + 1)
		_, err := exchange(rt, get(t, "http://"+host))
		if refusal, ok := errors.AsType[*backpressure.LimitedError](err); ok {
			assert.Equal(t, backpressure.Throttled, refusal.Refusal, "the time is over")
		}
	})
	bubble(t, "without a Retry-After", func(t *testing.T) {
		rt := after(t, all, 25)
		assert.False(t, paused(t, rt))
	})
	bubble(t, "where one in five is accepted", func(t *testing.T) {
		rt := after(t, func(n int) int {
			if n%5 == 0 {
				return 200
			}
			return 503
		}, 100, "Retry-After", "10")
		assert.False(t, paused(t, rt))
	})
	bubble(t, "goes on with probes, and no longer than MaxPause", func(t *testing.T) {
		s := &server{header: []string{"Retry-After", "86400"}}
		rt := backpressure.MustNewThrottle(backpressure.ThrottleConfig{}).Transport(s)
		offer(t, rt, 100, 10*time.Second)
		s.reset()
		offered, _ := offer(t, rt, 100, 10*time.Second)
		sent, _ := s.reset()
		assert.InDelta(t, 0.05, float64(sent)/float64(offered), 0.04)
		s.mu.Lock()
		s.capacity = math.MaxInt
		s.mu.Unlock()
		offer(t, rt, 100, backpressure.DefaultMaxPause+15*time.Second)
		_, held := offer(t, rt, 100, time.Second)
		assert.LessOrEqual(t, held, 1)
	})
}

func TestThrottleRefusalsAreTyped(t *testing.T) {
	bubble(t, "for retry and breaker", func(t *testing.T) {
		var events diary
		th := backpressure.MustNewThrottle(backpressure.ThrottleConfig{Observe: events.observe})
		backpressure.Draw(th, 0)
		refuseAll(t, th, host, 20)
		_, err := th.Transport(answers(200)).RoundTrip(get(t, "http://"+host))
		refusal := limited(t, err)
		assert.Equal(t, backpressure.Throttled, refusal.Refusal)
		assert.Equal(t, host, refusal.Key)
		assert.GreaterOrEqual(t, refusal.RetryAfter(), time.Second)
		assert.Less(t, refusal.RetryAfter(), 2*time.Second)
		assert.Equal(t, outcome.Refused, outcome.OfError(t.Context(), err))
		last := events.of(backpressure.Refused)
		require.NotEmpty(t, last)
		assert.Equal(t, backpressure.Throttled, last[len(last)-1].Refusal)
	})
	bubble(t, "and those of others are not counted", func(t *testing.T) {
		th := backpressure.MustNewThrottle(backpressure.ThrottleConfig{})
		rt := th.Transport(roundTrip(func(*http.Request) (*http.Response, error) {
			return nil, &backpressure.LimitedError{Refusal: backpressure.AtLimit, After: time.Second}
		}))
		for range 100 {
			_, err := exchange(rt, get(t, "http://"+host))
			assert.Equal(t, backpressure.AtLimit, limited(t, err).Refusal)
		}
	})
}

func TestThrottleCountsApart(t *testing.T) {
	bubble(t, "hosts and classes", func(t *testing.T) {
		th := backpressure.MustNewThrottle(backpressure.ThrottleConfig{})
		backpressure.Draw(th, 0)
		for range 100 {
			if a, err := th.Allow(t.Context(), host, backpressure.Sheddable); err == nil {
				a.Done(false, 0)
			}
		}
		_, err := th.Allow(t.Context(), host, backpressure.Sheddable)
		_ = limited(t, err)
		for _, class := range []backpressure.Class{backpressure.Default, backpressure.Critical, backpressure.Background} {
			_, err = th.Allow(t.Context(), host, class)
			require.NoError(t, err, class.String())
		}
		_, err = th.Allow(t.Context(), "elsewhere", backpressure.Sheddable)
		require.NoError(t, err)
		ctx := backpressure.WithClass(t.Context(), backpressure.Sheddable)
		require.Error(t, th.Run(ctx, host, func(context.Context) error { return nil }))
		_, err = exchange(th.Transport(answers(200)), get(t, "http://"+host).WithContext(ctx))
		_ = limited(t, err)
	})
}

func TestThrottleJudges(t *testing.T) {
	refusals := map[string]struct {
		base    roundTrip
		refuses bool
	}{
		"200":             {answers(200), false},
		"404":             {answers(404), false},
		"500":             {answers(500), false},
		"429":             {answers(429), true},
		"503":             {answers(503), true},
		"an error":        {func(*http.Request) (*http.Response, error) { return nil, errDown }, false},
		"a timeout":       {func(*http.Request) (*http.Response, error) { return nil, context.DeadlineExceeded }, true},
		"one of our own":  {func(*http.Request) (*http.Response, error) { return nil, &backpressure.LimitedError{} }, false},
		"a hinting error": {func(*http.Request) (*http.Response, error) { return nil, hint{} }, true},
	}
	for name, tt := range refusals {
		bubble(t, name, func(t *testing.T) {
			rt := backpressure.MustNewThrottle(backpressure.ThrottleConfig{}).Transport(tt.base)
			held := false
			for range 100 {
				_, err := exchange(rt, get(t, "http://"+host))
				refusal, ok := errors.AsType[*backpressure.LimitedError](err)
				held = held || ok && refusal.Refusal == backpressure.Throttled
			}
			assert.Equal(t, tt.refuses, held)
		})
	}
}

// hint is an error that says when to come back.
type hint struct{}

func (hint) Error() string             { return "busy" }
func (hint) RetryAfter() time.Duration { return time.Second }

// It holds some requests back for a while when the server is well again, and the
// documentation says for how long.
func TestThrottleEndsSomeWindowsAfterTheLastRefusal(t *testing.T) {
	const window = backpressure.DefaultThrottleWindow
	for name, row := range map[string]struct {
		capacity      float64 // of one request each 20 ms
		least, atMost time.Duration
	}{
		"a quarter is accepted": {0.25, window / 10, 2 * window},
		"nothing is":            {0, window, 6 * window},
	} {
		bubble(t, name, func(t *testing.T) {
			throttle := backpressure.MustNewThrottle(backpressure.ThrottleConfig{})
			var last time.Duration // when one was held back, since the last refusal
			room := 0.0
			for n := range 50 * 60 {
				time.Sleep(20 * ms)
				well := time.Duration(n-50*30) * 20 * ms
				room = min(room+row.capacity, 5)
				a, err := throttle.Allow(t.Context(), "", backpressure.Default)
				if err != nil {
					last = well
					continue
				}
				accepted := well > 0 || room >= 1
				if accepted {
					room--
				}
				a.Done(accepted, 0)
			}
			assert.GreaterOrEqual(t, last, row.least)
			assert.LessOrEqual(t, last, row.atMost)
		})
	}
}
