package backpressure_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/backpressure"
	"github.com/failsoft/failsoft/internal/attempt"
)

func throttle(cfg backpressure.ThrottleConfig) *backpressure.Throttle {
	return backpressure.MustNewThrottle(cfg)
}

// told has a Throttle see n answers with the header, and returns what it says to the
// next request.
func told(t *testing.T, th *backpressure.Throttle, n int, header ...string) *backpressure.LimitedError {
	t.Helper()
	backpressure.Draw(th, 0.999) // as a probe would
	rt := th.Transport(answers(http.StatusServiceUnavailable, header...))
	for range n {
		_, err := exchange(rt, get(t, "http://"+host))
		require.NoError(t, err)
	}
	backpressure.Draw(th, 0)
	_, err := rt.RoundTrip(get(t, "http://"+host))
	if err == nil {
		return nil
	}
	return limited(t, err)
}

func TestRequirement4RetryAfterOfAnyKind(t *testing.T) {
	date := func(t *testing.T, d time.Duration) string {
		t.Helper()
		return time.Now().Add(d).UTC().Format(http.TimeFormat)
	}
	for text, pause := range map[string]time.Duration{
		"0": 0, "-1": 0, "-1000000000000": 0, "": 0, "soon": 0, "NaN": 0, "Inf": 0, "1e12": 0, "0x10": 0, "1, 2": 0,
		"1": time.Second, "0.5": 500 * ms, "29": 29 * time.Second,
		"1000000000000": backpressure.DefaultMaxPause, strings.Repeat("9", 400): backpressure.DefaultMaxPause,
		"Mon, 01 Jan 1990 00:00:00 GMT": 0,
		"Fri, 31 Dec 9999 23:59:59 GMT": backpressure.DefaultMaxPause,
	} {
		bubble(t, fmt.Sprintf("%.20q", text), func(t *testing.T) {
			refusal := told(t, throttle(backpressure.ThrottleConfig{}), 20, "Retry-After", text)
			require.NotNil(t, refusal)
			if pause == 0 {
				assert.Equal(t, backpressure.Throttled, refusal.Refusal)
				return
			}
			assert.Equal(t, backpressure.Paused, refusal.Refusal)
			assert.GreaterOrEqual(t, refusal.After, pause)
			assert.Less(t, refusal.After, 2*pause)
		})
	}
	bubble(t, "a date", func(t *testing.T) {
		refusal := told(t, throttle(backpressure.ThrottleConfig{}), 20, "Retry-After", date(t, 10*time.Second))
		assert.Equal(t, backpressure.Paused, refusal.Refusal)
		assert.GreaterOrEqual(t, refusal.After, 9*time.Second)
	})
	bubble(t, "a date, by a clock that is wrong", func(t *testing.T) {
		refusal := told(t, throttle(backpressure.ThrottleConfig{}), 20,
			"Retry-After", date(t, time.Hour+10*time.Second), "Date", date(t, time.Hour))
		assert.Equal(t, backpressure.Paused, refusal.Refusal)
		assert.Less(t, refusal.After, 20*time.Second)
	})
	bubble(t, "of a Throttle that does not heed it", func(t *testing.T) {
		refusal := told(t, throttle(backpressure.ThrottleConfig{MaxPause: backpressure.Off}), 100, "Retry-After", "10")
		assert.Equal(t, backpressure.Throttled, refusal.Refusal)
	})
	bubble(t, "of errors", func(t *testing.T) {
		th := throttle(backpressure.ThrottleConfig{})
		backpressure.Draw(th, 0.999)
		for range 20 {
			_ = th.Run(t.Context(), host, func(context.Context) error { return hint{} })
		}
		_, err := th.Allow(t.Context(), host, backpressure.Default)
		require.NoError(t, err, "a probe")
		backpressure.Draw(th, 0)
		_, err = th.Allow(t.Context(), host, backpressure.Default)
		assert.Equal(t, backpressure.Paused, limited(t, err).Refusal)
	})
}

// The bounds of the pause, to the answer.
func TestRequirement4PauseAtNineOfTenOfTwenty(t *testing.T) {
	paused := func(t *testing.T, accepted, refusals int) bool {
		t.Helper()
		th := throttle(backpressure.ThrottleConfig{})
		backpressure.Draw(th, 0.999)
		for n := range accepted + refusals {
			a, err := th.Allow(t.Context(), host, backpressure.Default)
			require.NoError(t, err)
			a.Done(n < accepted, time.Minute)
		}
		backpressure.Draw(th, 0.94)
		_, err := th.Allow(t.Context(), host, backpressure.Default)
		refusal, ok := errors.AsType[*backpressure.LimitedError](err)
		return ok && refusal.Refusal == backpressure.Paused
	}
	for _, tt := range []struct {
		accepted, refusals int
		want               bool
	}{
		{0, 19, false}, {0, 20, true}, {1, 18, false}, {2, 18, true}, {3, 17, false}, {3, 26, false}, {3, 27, true}, {20, 0, false},
	} {
		bubble(t, fmt.Sprintf("%d accepted, %d refused", tt.accepted, tt.refusals), func(t *testing.T) {
			assert.Equal(t, tt.want, paused(t, tt.accepted, tt.refusals))
		})
	}
	bubble(t, "goes on while nine of ten are refused", func(t *testing.T) {
		th := throttle(backpressure.ThrottleConfig{})
		reason := func() backpressure.Refusal {
			backpressure.Draw(th, 0.5)
			_, err := th.Allow(t.Context(), host, backpressure.Default)
			return limited(t, err).Refusal
		}
		answer := func(n int, accepted bool) {
			backpressure.Draw(th, 0.999)
			for range n {
				a, err := th.Allow(t.Context(), host, backpressure.Default)
				require.NoError(t, err)
				a.Done(accepted, time.Minute)
			}
		}
		answer(20, false)
		assert.Equal(t, backpressure.Paused, reason())
		answer(2, true)
		assert.Equal(t, backpressure.Paused, reason(), "20 of 22")
		answer(1, true)
		assert.Equal(t, backpressure.Throttled, reason(), "20 of 23")
	})
	bubble(t, "a Retry-After of one answer is for who got it", func(t *testing.T) {
		th := throttle(backpressure.ThrottleConfig{})
		backpressure.Draw(th, 0)
		for n := range 1000 {
			a, err := th.Allow(t.Context(), host, backpressure.Default)
			require.NoError(t, err, "%d", n)
			a.Done(n%3 != 2, time.Hour)
			time.Sleep(ms)
		}
	})
}

// Probes are there to be believed: a server that is well again is not left alone until
// the time is up that it named while it was not.
func TestPauseEndsWhenProbesAreAccepted(t *testing.T) {
	for _, rate := range []int{100, 1000} {
		bubble(t, fmt.Sprintf("%d per second", rate), func(t *testing.T) {
			s := &server{header: []string{"Retry-After", "3600"}}
			rt := throttle(backpressure.ThrottleConfig{MaxPause: time.Hour}).Transport(s)
			offer(t, rt, rate, time.Minute)
			s.mu.Lock()
			s.capacity = math.MaxInt
			s.mu.Unlock()
			offer(t, rt, rate, 15*time.Second)
			offered, held := offer(t, rt, rate, 10*time.Second)
			assert.Less(t, float64(held)/float64(offered), 0.01)
		})
	}
}

func TestThrottleGuardsWhatItAsks(t *testing.T) {
	bubble(t, "a Key and a Class that panic", func(t *testing.T) {
		var events diary
		var keys []string
		th := throttle(backpressure.ThrottleConfig{
			Key:   func(*http.Request) string { panic("key") },
			Class: func(*http.Request) backpressure.Class { panic("class") },
			Observe: func(ctx context.Context, e backpressure.Event) {
				keys = append(keys, e.Key+" "+e.Class.String())
				events.observe(ctx, e)
			},
		})
		rt := th.Transport(answers(200))
		require.NotPanics(t, func() {
			status, err := exchange(rt, get(t, "http://"+host))
			require.NoError(t, err)
			assert.Equal(t, 200, status)
		})
		told := events.of(backpressure.Panicked)
		require.Len(t, told, 2)
		assert.ErrorContains(t, told[0].Err, "key")
		assert.ErrorContains(t, told[1].Err, "class")
		backpressure.Draw(th, 0)
		refuseAll(t, th, host, 20)
		_, err := rt.RoundTrip(get(t, "http://"+host).WithContext(backpressure.WithClass(t.Context(), backpressure.Sheddable)))
		require.NoError(t, err, "its class is what the context says")
		_, err = rt.RoundTrip(get(t, "http://"+host))
		assert.Equal(t, host, limited(t, err).Key, "its key is the host")
	})
	bubble(t, "a Judge that panics leaks nothing", func(t *testing.T) {
		body := &closed{Reader: strings.NewReader("body")}
		rt := throttle(backpressure.ThrottleConfig{
			Judge: func(*http.Response, error) backpressure.Outcome { panic("judge") },
		}).Transport(roundTrip(func(req *http.Request) (*http.Response, error) {
			resp, err := answers(200)(req)
			resp.Body = body
			return resp, err
		}))
		assert.PanicsWithValue(t, "judge", func() { _, _ = rt.RoundTrip(get(t, "http://"+host)) })
		assert.True(t, body.is)
	})
	bubble(t, "a Judge of answers is not asked where there are none", func(t *testing.T) {
		th := throttle(backpressure.ThrottleConfig{
			Judge: func(resp *http.Response, _ error) backpressure.Outcome {
				if resp.StatusCode == http.StatusTeapot {
					return backpressure.Overload
				}
				return backpressure.ByRule
			},
			JudgeError: func(err error) backpressure.Outcome {
				if errors.Is(err, errDown) {
					return backpressure.Overload
				}
				return backpressure.ByRule
			},
		})
		backpressure.Draw(th, 0)
		require.NotPanics(t, func() {
			require.NoError(t, th.Run(t.Context(), "", func(context.Context) error { return nil }))
		})
		var err error
		for range 20 {
			err = th.Run(t.Context(), "", func(context.Context) error { return errDown })
		}
		assert.Equal(t, backpressure.Throttled, limited(t, err).Refusal)
	})
}

// closed is a body that knows whether it is.
type closed struct {
	io.Reader
	is bool
}

func (c *closed) Close() error {
	c.is = true
	return nil
}

func TestThrottleKeepsClassesApart(t *testing.T) {
	bubble(t, "whatever keys look like", func(t *testing.T) {
		th := throttle(backpressure.ThrottleConfig{})
		backpressure.Draw(th, 0)
		for _, class := range []backpressure.Class{backpressure.Critical, backpressure.Sheddable, backpressure.Background} {
			refuseAll(t, th, "k\x00"+class.String(), 20)
			_, err := th.Allow(t.Context(), "k", class)
			assert.NoError(t, err)
		}
	})
	bubble(t, "refreshes of caches are background", func(t *testing.T) {
		th := throttle(backpressure.ThrottleConfig{})
		backpressure.Draw(th, 0)
		ctx := attempt.WithBackground(t.Context())
		rt := th.Transport(answers(503))
		for range 20 {
			_, _ = exchange(rt, get(t, "http://"+host).WithContext(ctx))
		}
		_, err := rt.RoundTrip(get(t, "http://"+host).WithContext(ctx))
		assert.Equal(t, backpressure.Background, limited(t, err).Class)
		_, err = exchange(rt, get(t, "http://"+host))
		assert.NoError(t, err, "the calls of users are another class")
	})
	bubble(t, "a class that does not exist is the default", func(t *testing.T) {
		th := throttle(backpressure.ThrottleConfig{})
		backpressure.Draw(th, 0)
		refuseAll(t, th, host, 20)
		_, err := th.Allow(t.Context(), host, 200)
		assert.Equal(t, backpressure.Default, limited(t, err).Class)
	})
	bubble(t, "where there are too many keys, too", func(t *testing.T) {
		th := throttle(backpressure.ThrottleConfig{MaxKeys: 1})
		backpressure.Draw(th, 0)
		for n := range 20 {
			for _, key := range []string{"a", "b", strconv.Itoa(n)} {
				if a, err := th.Allow(t.Context(), key, backpressure.Background); err == nil {
					a.Done(false, 0)
				}
			}
		}
		_, err := th.Allow(t.Context(), "new", backpressure.Background)
		_ = limited(t, err)
		_, err = th.Allow(t.Context(), "new", backpressure.Critical)
		assert.NoError(t, err)
	})
}

func TestThrottleOfAMillionHosts(t *testing.T) {
	if testing.Short() {
		t.Skip("a million calls")
	}
	th := throttle(backpressure.ThrottleConfig{})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for n := range manyKeys {
		a, err := th.Allow(t.Context(), strconv.Itoa(n)+".test", backpressure.Class(n%4))
		if err == nil {
			a.Done(n%2 == 0, time.Hour)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	assert.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(4<<20))
	runtime.KeepAlive(th)
}

func TestThrottleOfManyHostsForgetsThoseAtRest(t *testing.T) {
	bubble(t, "and not those that are refused", func(t *testing.T) {
		th := throttle(backpressure.ThrottleConfig{MaxKeys: 2})
		backpressure.Draw(th, 0)
		refuseAll(t, th, "down", 20)
		for n := range 100 {
			a, err := th.Allow(t.Context(), strconv.Itoa(n), backpressure.Default)
			require.NoError(t, err)
			a.Done(true, 0)
			_, err = th.Allow(t.Context(), "down", backpressure.Default)
			assert.Equal(t, "down", limited(t, err).Key)
			time.Sleep(10 * ms)
		}
	})
}

// An answer may come long after its key was forgotten.
func TestThrottleCountsLateAnswers(t *testing.T) {
	bubble(t, "of more hosts than are known at a time", func(t *testing.T) {
		th := throttle(backpressure.ThrottleConfig{MaxKeys: 1})
		backpressure.Draw(th, 0)
		var attempts []backpressure.Attempt
		for range 20 {
			a, err := th.Allow(t.Context(), "slow", backpressure.Default)
			require.NoError(t, err)
			attempts = append(attempts, a)
		}
		time.Sleep(time.Second)
		_, err := th.Allow(t.Context(), "other", backpressure.Default)
		require.NoError(t, err)
		for _, a := range attempts {
			a.Done(false, 0)
		}
		_, err = th.Allow(t.Context(), "slow", backpressure.Default)
		assert.Equal(t, backpressure.Throttled, limited(t, err).Refusal)
	})
}

// Requests that are under way say nothing, however many there are and however long
// they take; those that have timed out do.
func TestThrottleAndRequestsThatNeverAnswer(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		th := throttle(backpressure.ThrottleConfig{})
		backpressure.Draw(th, 0)
		rt := th.Transport(roundTrip(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, context.Cause(req.Context())
		}))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		results := make(chan error, 200)
		req := get(t, "http://"+host).WithContext(ctx)
		for range 100 {
			go func() {
				_, err := exchange(rt, req)
				results <- err
			}()
		}
		for range 100 {
			require.ErrorIs(t, <-results, context.DeadlineExceeded)
		}
		_, err := rt.RoundTrip(get(t, "http://"+host))
		assert.Equal(t, backpressure.Throttled, limited(t, err).Refusal)
	})
	bubble(t, "what the caller has left says nothing", func(t *testing.T) {
		th := throttle(backpressure.ThrottleConfig{})
		backpressure.Draw(th, 0)
		rt := th.Transport(roundTrip(func(req *http.Request) (*http.Response, error) {
			return nil, context.Cause(req.Context())
		}))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 100 {
			_, err := exchange(rt, get(t, "http://"+host).WithContext(ctx))
			require.ErrorIs(t, err, context.Canceled)
		}
	})
}

func TestThrottleNumbersStayNumbers(t *testing.T) {
	for _, window := range []time.Duration{100 * ms, time.Hour} {
		bubble(t, window.String(), func(t *testing.T) {
			th := throttle(backpressure.ThrottleConfig{Window: window, Ratio: 1.1})
			for range 100_000 {
				if a, err := th.Allow(t.Context(), host, backpressure.Default); err == nil {
					a.Done(false, math.MaxInt64)
					a.Done(false, math.MinInt64)
				}
			}
			time.Sleep(100 * 365 * 24 * time.Hour)
			a, err := th.Allow(t.Context(), host, backpressure.Default)
			require.NoError(t, err)
			a.Done(true, -1)
			_, err = th.Allow(t.Context(), host, backpressure.Default)
			assert.NoError(t, err)
		})
	}
	bubble(t, "an attempt of nothing", func(*testing.T) {
		var none backpressure.Attempt
		none.Done(false, time.Hour)
		none.Done(true, 0)
	})
}

// A request is refused without its body being touched, other than closed.
func TestThrottleRefusalClosesTheBodyUnread(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		th := throttle(backpressure.ThrottleConfig{})
		backpressure.Draw(th, 0)
		refuseAll(t, th, host, 20)
		body := &closed{Reader: iotestReader{t}}
		req := get(t, "http://"+host)
		req.Method, req.Body, req.ContentLength = http.MethodPost, body, 4
		_, err := th.Transport(answers(200)).RoundTrip(req)
		_ = limited(t, err)
		assert.True(t, body.is)
		assert.Same(t, body, req.Body)
	})
}

// iotestReader must not be read.
type iotestReader struct{ t *testing.T }

func (r iotestReader) Read([]byte) (int, error) {
	assert.Fail(r.t, "the body was read")
	return 0, io.EOF
}
