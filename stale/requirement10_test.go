package stale_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale"
)

func TestRequirement10EventsAndSnapshot(t *testing.T) {
	at(t, allDoors(), "of all kinds", stale.Config{}, func(t *testing.T, s *site) {
		s.answers(says("old", "Cache-Control", "max-age=10"))
		s.gets("/", "old", 0)
		synctest.Wait()
		s.gets("/", "old", 0)
		pause(20 * time.Second)
		s.answers(replies(503, "failure"))
		s.gets("/", "old", 0)
		s.gets("/", "old", 0)
		s.gets("/other", "failure", 0)
		s.answers(says("", "Cache-Control", "no-store"))
		s.gets("/private", "", 0)
		s.does("POST", "/")

		shot := s.cache.Snapshot()
		assert.EqualValues(t, 1, shot.Hits)
		assert.EqualValues(t, 1, shot.Stale["failed"])
		assert.EqualValues(t, 1, shot.Stale["failing"])
		assert.EqualValues(t, 3, shot.Misses)
		assert.EqualValues(t, 1, shot.Stored)
		assert.EqualValues(t, 2, shot.Failures)
		assert.EqualValues(t, 1, shot.Passed)
		assert.EqualValues(t, 1, shot.Purges)
		assert.Equal(t, stale.AgeCount{UpTo: 10 * time.Second, Count: 2}, shot.StaleAges[1])
		assert.Positive(t, shot.Bytes)
		assert.Positive(t, shot.Entries)

		hits := s.told(stale.Hit)
		require.Len(t, hits, 3)
		assert.Equal(t, stale.Fresh, hits[0].Reason)
		assert.Equal(t, stale.Failed, hits[1].Reason)
		assert.Equal(t, 20*time.Second, hits[1].Age)
		failures := s.told(stale.FetchFailed)
		require.Len(t, failures, 2)
		assert.Equal(t, 503, failures[0].Status)
		assert.Len(t, s.told(stale.Miss), 4)
		assert.Equal(t, "no-store", s.told(stale.NotStored)[0].Detail)
		assert.Len(t, s.told(stale.Stored), 1)
		assert.Len(t, s.told(stale.Purged), 1)
		for _, e := range s.events {
			assert.NotEmpty(t, e.LogValue().Group())
		}
	})
}

func TestRequirement10Close(t *testing.T) {
	at(t, allDoors(), "waits for refreshes", stale.Config{}, func(t *testing.T, s *site) {
		s.old("/", "max-age=10, stale-while-revalidate=60")
		s.answers(after(5*time.Second, says("new", "Cache-Control", "max-age=60, stale-while-revalidate=600")))
		s.gets("/", "old", 0)
		begun := time.Now()
		require.NoError(t, s.cache.Close(t.Context()))
		assert.Equal(t, 5*time.Second, time.Since(begun))
		s.gets("/", "new", 0)
		pause(2 * time.Minute)
		s.gets("/", "new", 0)
		synctest.Wait()
		assert.Equal(t, 2, s.hits(), "nothing begins any more")
		s.answers(says("passed", "Cache-Control", "max-age=60"))
		s.gets("/other", "passed", 0)
		require.NoError(t, s.cache.Close(t.Context()), "twice")
	})
	at(t, allDoors(), "as long as it may", stale.Config{}, func(t *testing.T, s *site) {
		s.old("/", "max-age=10, stale-while-revalidate=60")
		ended := make(chan time.Time, 2)
		s.answers(func(w http.ResponseWriter, req *http.Request) {
			hangs(w, req)
			ended <- time.Now()
		})
		s.gets("/", "old", 0)
		req := s.request("/other")
		req.Method = http.MethodHead // which no other request can join
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s.ask(req.WithContext(ctx))
		begun := time.Now()
		enough := errors.New("enough")
		ctx, stop := context.WithTimeoutCause(t.Context(), 2*time.Second, enough)
		defer stop()
		require.ErrorIs(t, s.cache.Close(ctx), enough)
		for range 2 {
			assert.Equal(t, 2*time.Second, (<-ended).Sub(begun), "all are canceled")
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	_, err := stale.New(stale.Config{})
	require.NoError(t, err)
	const far = math.MaxInt64
	_, err = stale.New(stale.Config{
		MaxBytes: -1, MaxObject: -1, MaxVariants: -1, MaxRefreshes: -1,
		StaleAfter: -2, DefaultStaleIfError: -5, DefaultStaleWhileRevalidate: far, StaleIfSick: far, HitForMiss: -2,
		FailureTTL: far, FetchTimeout: stale.Off, StoreTimeout: stale.Off, EarlyRefresh: math.NaN(),
		Name: "a b", TargetedFields: []string{"CDN-Cache-Control", "x\r\ny"},
	})
	require.Error(t, err)
	for _, field := range []string{
		"MaxBytes", "MaxObject", "MaxVariants", "MaxRefreshes", "StaleAfter", "DefaultStaleIfError",
		"DefaultStaleWhileRevalidate", "StaleIfSick", "HitForMiss", "FailureTTL", "FetchTimeout", "StoreTimeout",
		"EarlyRefresh", "Name", "TargetedFields",
	} {
		assert.ErrorContains(t, err, "Config."+field)
	}
	for _, factor := range []float64{math.Inf(1), math.Inf(-1), -2, 101} {
		_, err = stale.New(stale.Config{EarlyRefresh: factor})
		assert.ErrorContains(t, err, "EarlyRefresh")
	}
	off := stale.Config{
		StaleAfter: stale.Off, DefaultStaleIfError: stale.Off, DefaultStaleWhileRevalidate: stale.Off,
		StaleIfSick: stale.Off, HitForMiss: stale.Off, FailureTTL: stale.Off, EarlyRefresh: stale.Off,
	}
	_, err = stale.New(off)
	require.NoError(t, err)
	assert.PanicsWithError(t, "stale: Config.Name is \"\\n\", not a token", func() { stale.MustNew(stale.Config{Name: "\n"}) })
}

func TestConfigIsJSON(t *testing.T) {
	cfg := stale.Config{
		Key: func(*http.Request) string { return "" }, Healthy: func() bool { return true },
		Observe: func(context.Context, stale.Event) {}, Store: stale.NewMemory(0),
		StaleAfter: time.Second, IgnoreCookies: []string{"_ga*"}, EarlyRefresh: 2,
	}
	text, err := json.Marshal(cfg)
	require.NoError(t, err)
	var read stale.Config
	require.NoError(t, json.Unmarshal(text, &read))
	cfg.Key, cfg.Healthy, cfg.Observe, cfg.Store = nil, nil, nil, nil
	assert.Equal(t, cfg, read)
}
