package spool_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/healthcheck/spool"
)

// stage is a Checker that is well, a directory, and what was told.
type stage struct {
	folder

	c *healthcheck.Checker

	mu     sync.Mutex
	events []healthcheck.Event // Overridden
	told   []spool.Status
	errs   []error
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{folder: newFolder(t)}
	s.c = healthcheck.MustNew(healthcheck.Config{Observe: func(_ context.Context, e healthcheck.Event) {
		if e.Kind == healthcheck.Overridden {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e)
		}
	}})
	s.c.MustAdd("db", healthcheck.Check{Probe: healthcheck.Errs(func(context.Context) error { return nil })})
	return s
}

func (s *stage) start() {
	s.t.Helper()
	require.NoError(s.t, s.c.Start())
	s.t.Cleanup(func() { require.NoError(s.t, s.c.Close(context.Background())) })
	synctest.Wait()
}

func (s *stage) observe(_ context.Context, status spool.Status, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told, s.errs = append(s.told, status), append(s.errs, err)
}

func (s *stage) follow(cfg spool.Following) (stop func()) {
	s.t.Helper()
	if cfg.Service == "" {
		cfg.Service = "orders"
	}
	cfg.Observe = s.observe
	stop, err := s.Follow(s.t.Context(), s.c, cfg)
	require.NoError(s.t, err)
	s.t.Cleanup(stop)
	return stop
}

func (s *stage) down(reason string, until time.Time) {
	s.t.Helper()
	require.NoError(s.t, s.Down("orders", 0, reason, until))
}

func events(s *stage) []healthcheck.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

func told(s *stage) []spool.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.told)
}

func errs(s *stage) []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.errs)
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestFollow(t *testing.T) {
	bubble(t, "fails while the file is there", func(t *testing.T) {
		s := newStage(t)
		s.start()
		s.follow(spool.Following{})
		assert.Equal(t, healthcheck.Pass, s.c.Status(healthcheck.Ready))
		assert.Empty(t, events(s), "there is nothing to lift")

		s.down("moving house", time.Time{})
		pass(time.Second - 1)
		assert.Equal(t, healthcheck.Pass, s.c.Status(healthcheck.Ready))
		pass(1)
		assert.Equal(t, healthcheck.Fail, s.c.Status(healthcheck.Ready))
		assert.Equal(t, healthcheck.Pass, s.c.Status(healthcheck.Live))
		assert.Equal(t, healthcheck.Override{Status: healthcheck.Fail, Reason: "spool file orders: moving house"},
			s.c.Overrides()[healthcheck.Ready])
		pass(time.Hour)
		assert.Equal(t, healthcheck.Fail, s.c.Status(healthcheck.Ready))
		require.NoError(t, s.Up("orders", 0))
		pass(time.Second)
		assert.Equal(t, healthcheck.Pass, s.c.Status(healthcheck.Ready))
		assert.Len(t, events(s), 2, "each change once")
		assert.Len(t, told(s), 3, "up, down, up")
	})
	bubble(t, "at once, if the Checker is started", func(t *testing.T) {
		s := newStage(t)
		s.start()
		require.NoError(t, s.Down(spool.All, 0, "", time.Time{}))
		s.follow(spool.Following{Port: 8080})
		assert.Equal(t, healthcheck.Fail, s.c.Status(healthcheck.Ready))
		assert.Equal(t, "spool file all", s.c.Overrides()[healthcheck.Ready].Reason)
	})
	bubble(t, "a check", func(t *testing.T) {
		s := newStage(t)
		s.start()
		s.down("", time.Time{})
		s.follow(spool.Following{Scope: "db", Period: time.Minute})
		assert.Equal(t, healthcheck.Fail, s.c.Status("db"))
		assert.Equal(t, healthcheck.Warn, s.c.Status(healthcheck.Ready), "which degrades")
		require.NoError(t, s.Up("orders", 0))
		pass(time.Minute - 1)
		assert.Equal(t, healthcheck.Fail, s.c.Status("db"))
		pass(1)
		assert.Equal(t, healthcheck.Pass, s.c.Status("db"))
	})
}

func TestFollowExpiry(t *testing.T) {
	bubble(t, "comes back on time, not when it is looked at", func(t *testing.T) {
		s := newStage(t)
		s.start()
		end := time.Now().Add(90*time.Second + 300*time.Millisecond)
		s.down("moving", end)
		s.follow(spool.Following{Period: time.Minute})
		assert.Equal(t, time.Until(end), s.c.Overrides()[healthcheck.Ready].TTL)
		pass(time.Until(end) - 1)
		assert.Equal(t, healthcheck.Fail, s.c.Status(healthcheck.Ready))
		pass(1)
		assert.Equal(t, healthcheck.Pass, s.c.Status(healthcheck.Ready))
		pass(time.Hour)
		assert.Len(t, events(s), 1, "it need not be lifted")
	})
	bubble(t, "prolonged", func(t *testing.T) {
		s := newStage(t)
		s.start()
		s.follow(spool.Following{})
		s.down("moving", time.Now().Add(time.Minute))
		pass(30 * time.Second)
		end := time.Now().Add(time.Hour)
		s.down("moving", end)
		pass(time.Until(end) - 1)
		assert.Equal(t, healthcheck.Fail, s.c.Status(healthcheck.Ready))
		pass(1)
		assert.Equal(t, healthcheck.Pass, s.c.Status(healthcheck.Ready))
		assert.Len(t, events(s), 2)
	})
	bubble(t, "in this very instant is not never", func(t *testing.T) {
		s := newStage(t)
		s.start()
		end := time.Now().Add(time.Second)
		s.down("moving", end)
		pass(time.Second)
		s.follow(spool.Following{})
		pass(time.Microsecond)
		assert.Equal(t, healthcheck.Pass, s.c.Status(healthcheck.Ready))
	})
}

func TestFollowACheckerThatStartsLater(t *testing.T) {
	bubble(t, "10 ms at most", func(t *testing.T) {
		s := newStage(t)
		s.down("moving", time.Time{})
		s.follow(spool.Following{})
		pass(5*time.Second + 3*time.Millisecond)
		s.start()
		pass(7 * time.Millisecond)
		assert.Equal(t, healthcheck.Fail, s.c.Status(healthcheck.Ready))
		require.Len(t, told(s), 1)
		assert.NoError(t, errs(s)[0], "it is no error not to be started")
		pass(time.Minute)
		assert.Len(t, events(s), 1)
	})
	bubble(t, "and has no such scope", func(t *testing.T) {
		s := newStage(t)
		s.down("moving", time.Time{})
		s.follow(spool.Following{Scope: "cache"})
		s.start()
		pass(time.Minute)
		require.Len(t, errs(s), 2)
		require.ErrorIs(t, errs(s)[1], healthcheck.ErrUnknownName)
	})
}

func TestFollowBesidesAHand(t *testing.T) {
	bubble(t, "the later one holds", func(t *testing.T) {
		s := newStage(t)
		s.start()
		s.down("moving", time.Time{})
		s.follow(spool.Following{})
		byHand := healthcheck.Override{Status: healthcheck.Warn, Reason: "never mind"}
		require.NoError(t, s.c.Override(healthcheck.Ready, byHand))
		pass(time.Minute)
		assert.Equal(t, byHand, s.c.Overrides()[healthcheck.Ready])
		require.NoError(t, s.Up("orders", 0))
		pass(time.Minute)
		assert.Equal(t, byHand, s.c.Overrides()[healthcheck.Ready], "it is not the file's to lift")
		s.down("moving", time.Time{})
		pass(time.Minute)
		assert.Equal(t, healthcheck.Fail, s.c.Status(healthcheck.Ready))
	})
}

func TestFollowBadFiles(t *testing.T) {
	bubble(t, "a bad file fails it, and is told once", func(t *testing.T) {
		s := newStage(t)
		s.start()
		s.follow(spool.Following{})
		s.put("orders", `{"reason": "mov`)
		pass(time.Minute)
		assert.Equal(t, healthcheck.Fail, s.c.Status(healthcheck.Ready))
		require.Len(t, errs(s), 2)
		require.ErrorIs(t, errs(s)[1], spool.ErrContent)
		s.down("moving", time.Time{})
		pass(time.Minute)
		require.Len(t, errs(s), 3)
		require.NoError(t, errs(s)[2])
	})
	bubble(t, "a directory that is gone says nothing", func(t *testing.T) {
		s := newStage(t)
		s.start()
		s.down("moving", time.Time{})
		s.follow(spool.Following{})
		require.NoError(t, os.RemoveAll(s.path))
		pass(time.Minute)
		assert.Equal(t, healthcheck.Fail, s.c.Status(healthcheck.Ready))
		require.Len(t, errs(s), 2)
		require.ErrorIs(t, errs(s)[1], os.ErrNotExist)
		assert.True(t, told(s)[1].Down, "what it said last")
		require.NoError(t, os.Mkdir(s.path, 0o700))
		pass(time.Second)
		assert.Equal(t, healthcheck.Pass, s.c.Status(healthcheck.Ready))
	})
	bubble(t, "a hook that panics", func(t *testing.T) {
		s := newStage(t)
		s.start()
		s.down("moving", time.Time{})
		stop, err := s.Follow(t.Context(), s.c, spool.Following{Service: "orders", Observe: func(context.Context, spool.Status, error) {
			panic(errors.New("hook"))
		}})
		require.NoError(t, err)
		defer stop()
		require.NoError(t, s.Up("orders", 0))
		pass(time.Second)
		assert.Equal(t, healthcheck.Pass, s.c.Status(healthcheck.Ready))
	})
}

// The end of the bubble is the proof that nothing is left.
func TestFollowEnds(t *testing.T) {
	bubble(t, "by stop", func(t *testing.T) {
		s := newStage(t)
		s.start()
		s.down("moving", time.Time{})
		stop := s.follow(spool.Following{})
		stop()
		stop()
		require.NoError(t, s.Up("orders", 0))
		pass(time.Minute)
		assert.Equal(t, healthcheck.Fail, s.c.Status(healthcheck.Ready), "it stays as it is")
	})
	bubble(t, "by its context", func(t *testing.T) {
		s := newStage(t)
		ctx, cancel := context.WithCancel(t.Context())
		_, err := s.Follow(ctx, s.c, spool.Following{Service: "orders"})
		require.NoError(t, err)
		cancel()
		synctest.Wait()
	})
}

func TestFollowRefuses(t *testing.T) {
	bubble(t, "bad input", func(t *testing.T) {
		s := newStage(t)
		s.start()
		_, err := s.Follow(t.Context(), nil, spool.Following{Service: "orders"})
		require.ErrorContains(t, err, "no Checker")
		_, err = s.Follow(t.Context(), s.c, spool.Following{Service: "../x", Period: time.Hour})
		require.ErrorIs(t, err, spool.ErrName)
		require.ErrorContains(t, err, "Period is 1h0m0s")
		_, err = s.Follow(t.Context(), s.c, spool.Following{Service: "orders", Period: -1})
		require.ErrorContains(t, err, "Period is -1ns")
		_, err = s.Follow(t.Context(), s.c, spool.Following{Service: "orders", Scope: "cache"})
		require.ErrorIs(t, err, healthcheck.ErrUnknownName)
	})
}
