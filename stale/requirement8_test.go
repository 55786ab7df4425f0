package stale_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale"
)

// oddStore is a Memory that does something odd before each call.
type oddStore struct {
	*stale.Memory

	odd     func(ctx context.Context) error
	garbage func(key stale.Key) *stale.Entry
	off     atomic.Bool
}

func (s *oddStore) do(ctx context.Context) error {
	if s.off.Load() || s.odd == nil {
		return nil
	}
	return s.odd(ctx)
}

func (s *oddStore) Get(ctx context.Context, key stale.Key) (*stale.Entry, error) {
	if err := s.do(ctx); err != nil {
		return nil, err
	}
	if s.garbage != nil {
		return s.garbage(key), nil
	}
	return s.Memory.Get(ctx, key)
}

func (s *oddStore) Epoch(ctx context.Context) (stale.Epoch, error) {
	if err := s.do(ctx); err != nil {
		return 0, err
	}
	return s.Memory.Epoch(ctx)
}

func (s *oddStore) Set(ctx context.Context, key stale.Key, e *stale.Entry, epoch stale.Epoch) error {
	if err := s.do(ctx); err != nil {
		return err
	}
	return s.Memory.Set(ctx, key, e, epoch)
}

func (s *oddStore) Purge(ctx context.Context, primary string, soft bool) error {
	if err := s.do(ctx); err != nil {
		return err
	}
	return s.Memory.Purge(ctx, primary, soft)
}

func TestRequirement8BadStores(t *testing.T) {
	for name, odd := range map[string]func(ctx context.Context) error{
		"errors":              func(context.Context) error { return errStore },
		"panics":              func(context.Context) error { panic(errStore) },
		"ends the goroutine":  func(context.Context) error { runtime.Goexit(); return nil },
		"hangs":               func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"ignores its context": func(context.Context) error { time.Sleep(time.Hour); return nil },
	} {
		store := &oddStore{odd: odd}
		at(t, allDoors(), name, stale.Config{Store: store}, func(t *testing.T, s *site) {
			store.Memory = stale.NewMemory(0)
			s.counts("Cache-Control", "max-age=60")
			for i := range 3 {
				g := s.get("/")
				assert.Equal(t, "v"+strconv.Itoa(i+1), g.body)
				assert.LessOrEqual(t, g.took, 3*stale.DefaultStoreTimeout, "two lookups, and the epoch")
				pause(time.Second)
			}
			assert.Positive(t, s.cache.Snapshot().StoreErrors)
			assert.NotEmpty(t, s.told(stale.StoreFailed))
			begun := time.Now()
			assert.Error(t, s.cache.PurgeURL(t.Context(), "http://shop.test/", stale.Hard))
			assert.LessOrEqual(t, time.Since(begun), 15*time.Second+time.Second)
			pause(2 * time.Hour)
		})
	}
	slow := &oddStore{odd: func(context.Context) error { time.Sleep(19 * ms); return nil }}
	at(t, allDoors(), "is slow, but in time", stale.Config{Store: slow}, func(_ *testing.T, s *site) {
		slow.Memory = stale.NewMemory(0)
		s.counts("Cache-Control", "max-age=60")
		s.get("/")
		pause(time.Second)
		s.gets("/", "v1", 19*ms)
	})
	stuck := &oddStore{odd: func(context.Context) error { time.Sleep(time.Hour); return nil }}
	at(t, []string{ofHandler}, "is stuck", stale.Config{Store: stuck}, func(t *testing.T, s *site) {
		stuck.Memory = stale.NewMemory(0)
		s.counts("Cache-Control", "max-age=60")
		s.together(2000, func(i int) *http.Request { return s.request("/" + strconv.Itoa(i)) })
		pause(time.Second)
		assert.Less(t, runtime.NumGoroutine(), 1200, "calls that never come back do not pile up")
		pause(2 * time.Hour)
	})
}

func TestRequirement8Garbage(t *testing.T) {
	now := time.Now()
	far := now.Add(1000 * time.Hour)
	header := func() http.Header { return http.Header{"Cache-Control": {"max-age=60"}} }
	cases := map[string]*stale.Entry{
		"empty":                     {},
		"no header":                 {Status: 200, Received: now},
		"status 0":                  {Header: header(), Received: now},
		"status 42":                 {Status: 42, Header: header(), Received: now},
		"status 100":                {Status: 100, Header: header(), Received: now},
		"status 1000":               {Status: 1000, Header: header(), Received: now},
		"status -1":                 {Status: -1, Header: header(), Received: now},
		"another length":            {Status: 200, Header: http.Header{"Cache-Control": {"max-age=60"}, "Content-Length": {"5"}}, Received: now},
		"asked for something else":  {Status: 200, Header: header(), Asked: "x", Received: now},
		"not to be stored":          {Status: 200, Header: http.Header{"Cache-Control": {"no-store, max-age=60"}}, Received: now},
		"private, with Set-Cookie":  {Status: 200, Header: http.Header{"Cache-Control": {"private, no-store"}, "Set-Cookie": {"a=1"}}, Received: now},
		"a mark":                    {Mark: &stale.Mark{}},
		"a list of nothing":         {Variants: []stale.Variant{{}}},
		"a list of itself":          {Variants: []stale.Variant{{ID: ""}}, Status: 200, Header: header()},
		"a long list":               {Variants: make([]stale.Variant, 10_000)},
		"all of it":                 {Status: 200, Header: header(), Mark: &stale.Mark{Failures: 1 << 60}, Variants: make([]stale.Variant, 1)},
		"a failure in the future":   {Mark: &stale.Mark{Failures: 5, Failed: far, Wait: 1000 * time.Hour}},
		"a failure for ever":        {Mark: &stale.Mark{Failures: 5, Failed: now.Add(-time.Hour), Wait: 1 << 62}},
		"failures beyond number":    {Mark: &stale.Mark{Failures: 1<<63 - 1, Failed: now.Add(-time.Hour)}},
		"failures below nothing":    {Mark: &stale.Mark{Failures: -1 << 63, Failed: now.Add(-time.Hour), Wait: -1 << 63}},
		"received at no time":       {Status: 200, Header: header()},
		"received in the far past":  {Status: 200, Header: header(), Received: time.Unix(-1<<40, 0)},
		"values that are no values": {Status: 200, Header: http.Header{"Etag": {}, "Last-Modified": nil, "Cache-Control": nil, "": {""}}},
	}
	for name, e := range cases {
		for _, where := range []string{"response", "mark", "everywhere"} {
			store := &oddStore{garbage: func(key stale.Key) *stale.Entry {
				if (key.Variant == "!") == (where == "mark") || where == "everywhere" {
					return e
				}
				return nil
			}}
			at(t, allDoors(), name+" as "+where, stale.Config{Store: store}, func(_ *testing.T, s *site) {
				store.Memory = stale.NewMemory(0)
				time.Sleep(time.Until(now)) // bubbles begin in the year 2000
				s.answers(says("body", "Cache-Control", "max-age=60"))
				for range 2 {
					s.gets("/", "body", 0)
				}
				s.gets("/", "body", 0, "Range", "bytes=0-100", "If-None-Match", `"1"`)
				synctest.Wait()
			})
		}
	}
	odd := &oddStore{garbage: func(stale.Key) *stale.Entry {
		return &stale.Entry{Status: 200, Header: header(), Sent: time.Now().Add(1000 * time.Hour), Received: time.Now().Add(1000 * time.Hour), Body: []byte("future")}
	}}
	at(t, allDoors(), "from the future is what it says", stale.Config{Store: odd}, func(_ *testing.T, s *site) {
		odd.Memory = stale.NewMemory(0)
		s.gets("/", "future", 0)
	})
}

// leasing is a Store of several processes, another of which has the lease.
type leasing struct {
	*stale.Memory
	yes  atomic.Bool
	err  error
	asks atomic.Int64
}

func (l *leasing) Lease(context.Context, stale.Key, time.Duration) (bool, error) {
	l.asks.Add(1)
	return l.yes.Load(), l.err
}

func TestRequirement8Leases(t *testing.T) {
	for name, err := range map[string]error{"": nil, "down": errors.New("down")} {
		store := &leasing{err: err}
		at(t, allDoors(), "another refreshes "+name, stale.Config{Store: store}, func(t *testing.T, s *site) {
			store.Memory = stale.NewMemory(0)
			store.yes.Store(false)
			store.asks.Store(0)
			s.old("/", "max-age=10, stale-while-revalidate=60")
			s.answers(after(time.Second, says("new", "Cache-Control", "max-age=60")))
			s.gets("/", "old", 0)
			synctest.Wait()
			if err != nil {
				assert.Equal(t, 2, s.hits(), "better twice than never")
				return
			}
			assert.Equal(t, 1, s.hits())
			store.yes.Store(true)
			s.herd(10, "/")
			synctest.Wait()
			assert.Equal(t, 2, s.hits())
			require.LessOrEqual(t, store.asks.Load(), int64(11))
			n := store.asks.Load()
			s.gets("/", "old", 0)
			assert.Equal(t, n, store.asks.Load(), "no lease is asked for what is on its way")
		})
	}
}
