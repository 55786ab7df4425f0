package route_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/route"
)

func distinct(addrs []string) int {
	addrs = slices.Clone(addrs)
	slices.Sort(addrs)
	return len(slices.Compact(addrs))
}

func TestRequirement6AnotherHostForEachAttempt(t *testing.T) {
	hosts := hostsAt(names...)
	weighted := slices.Clone(hosts)
	weighted[0].Weight = 1000
	zoned := slices.Clone(hosts)
	zoned[0].Zone, zoned[1].Zone = "here", "here"
	for name, cfg := range map[string]route.Config{
		"equal": {Hosts: hosts}, "weights": {Hosts: weighted}, "zones": {Hosts: zoned, Zone: "here"},
	} {
		bubble(t, name, func(t *testing.T) {
			f := newFleet(ms, names...)
			_, next := poolOf(t, f, cfg)
			for range 100 {
				f.reset()
				tried := new(attempt.Hosts)
				for n := range 12 {
					_, err := get(attempt.WithRetry(t.Context(), n+1, tried), next)
					require.NoError(t, err)
				}
				got := f.asked()
				assert.Equal(t, 5, distinct(got[:5]), "%v", got)
				assert.Equal(t, got[:5], got[5:10], "then the one that was tried the longest ago")
				if name == "zones" {
					assert.ElementsMatch(t, names[:2], got[:2], "first those in the zone")
				}
			}
		})
	}
	bubble(t, "a retry learns the host of an attempt that did not tell", func(t *testing.T) {
		f := newFleet(ms, "a:1", "b:1")
		_, next := poolOf(t, f, route.Config{})
		for range 50 {
			f.reset()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://shop/", nil)
			require.NoError(t, err)
			resp, err := next.RoundTrip(req)
			require.NoError(t, err)
			tried := new(attempt.Hosts)
			tried.Add(resp.Request.URL.Host)
			_, err = get(attempt.WithRetry(t.Context(), 2, tried), next)
			require.NoError(t, err)
			assert.Equal(t, 2, distinct(f.asked()))
		}
	})
	bubble(t, "and that of an error", func(t *testing.T) {
		f := newFleet(ms, "a:1")
		f.set("a:1", func(r *replica) { r.err = errReset })
		_, next := poolOf(t, f, route.Config{})
		_, err := get(t.Context(), next)
		require.ErrorIs(t, err, errReset)
		var at interface{ Host() string }
		require.ErrorAs(t, err, &at)
		assert.Equal(t, "a:1", at.Host())
		assert.Equal(t, errReset.Error(), err.Error())
	})
	bubble(t, "ejected hosts are not tried for want of others", func(t *testing.T) {
		f := newFleet(ms, "a:1", "b:1")
		f.set("a:1", failing)
		pool, next := poolOf(t, f, route.Config{})
		for health(t, pool, "a:1") == "well" {
			gets(t, next, 1)
			time.Sleep(time.Second)
		}
		f.reset()
		tried := new(attempt.Hosts)
		for n := range 5 {
			_, err := get(attempt.WithRetry(t.Context(), n+1, tried), next)
			require.NoError(t, err)
		}
		assert.Equal(t, 5, f.seen("b:1"))
	})
	bubble(t, "what one call has tried, another has not", func(t *testing.T) {
		f := newFleet(ms, "a:1", "b:1")
		_, next := poolOf(t, f, route.Config{})
		for range 200 {
			_, err := get(attempt.WithRetry(t.Context(), 2, new(attempt.Hosts)), next)
			require.NoError(t, err)
		}
		assert.InDelta(t, 0.5, f.share("a:1"), 0.2)
	})
}

// Of hedges at the same time, two may look before either has chosen; what they leave
// behind is each other's host.
func TestRequirement6Hedges(t *testing.T) {
	bubble(t, "one after the other, all in flight", func(t *testing.T) {
		f := newFleet(time.Second, names...)
		_, next := poolOf(t, f, route.Config{})
		for range 20 {
			f.reset()
			tried := new(attempt.Hosts)
			ctx, cancel := context.WithCancel(t.Context())
			var all sync.WaitGroup
			for n := range 5 {
				all.Go(func() { _, _ = get(attempt.WithHedge(ctx, n+1, tried), next) })
				time.Sleep(ms)
			}
			cancel()
			all.Wait()
			assert.Equal(t, 5, distinct(f.asked()))
		}
	})
	bubble(t, "at once", func(t *testing.T) {
		f := newFleet(time.Second, names...)
		_, next := poolOf(t, f, route.Config{})
		same := 0
		for range 200 {
			f.reset()
			tried := new(attempt.Hosts)
			ctx, cancel := context.WithCancel(t.Context())
			var all sync.WaitGroup
			for n := range 2 {
				all.Go(func() { _, _ = get(attempt.WithHedge(ctx, n+1, tried), next) })
			}
			time.Sleep(ms)
			cancel()
			all.Wait()
			if distinct(f.asked()) == 1 {
				same++
			}
		}
		assert.Zero(t, same)
	})
}
