package route_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/route"
)

// TestPitfall19UnEject: a host that was ejected has to win its way back by requests. That
// its checks succeed says nothing of those.
func TestPitfall19UnEject(t *testing.T) {
	const workers = 10
	bubble(t, "by requests, one at a time, and then slowly", func(t *testing.T) {
		f, d := newFleet(10*ms, names...), &diary{begun: time.Now()}
		pool, next := poolOf(t, f, route.Config{
			Observe: d.observe, SlowStart: 10 * time.Second,
			Check: route.Check{Path: "/health", Every: time.Second},
		})
		time.Sleep(11 * time.Second)
		f.set("a:1", failing) // its check goes on to say 200
		for health(t, pool, "a:1") == "well" {
			loads(t, next, workers, 100*ms)
		}
		require.Equal(t, "ejected", health(t, pool, "a:1"))
		f.reset()
		loads(t, next, workers, 50*time.Second)
		assert.Greater(t, f.checked("a:1"), 40)
		assert.Less(t, f.seen("a:1"), 10, "a request for each probation")
		assert.Equal(t, 1, f.most("a:1"))
		assert.Empty(t, d.of(route.FoundIll))

		f.set("a:1", mended)
		for health(t, pool, "a:1") != "well" {
			loads(t, next, workers, 10*ms)
		}
		f.reset()
		loads(t, next, workers, time.Second)
		first := f.share("a:1")
		assert.Less(t, first, 0.1, "a fifth would be its share")
		time.Sleep(10 * time.Second)
		f.reset()
		loads(t, next, workers, time.Second)
		assert.Greater(t, f.share("a:1"), 2*first, "it starts slowly")
	})
}

// TestPitfall20Identity: an address that is given to another service goes on to answer,
// and to answer 200.
func TestPitfall20Identity(t *testing.T) {
	bubble(t, "an address that is used again", func(t *testing.T) {
		f, d := newFleet(10*ms, names...), &diary{begun: time.Now()}
		called := func(service string) func(*replica) { return func(r *replica) { r.service = service } }
		for _, addr := range names {
			f.set(addr, called("shop"))
		}
		pool, next := poolOf(t, f, route.Config{
			Observe: d.observe, SlowStart: route.Off,
			Check: route.Check{Path: "/health", Service: "shop", Every: time.Second},
		})
		time.Sleep(3 * time.Second)
		require.Equal(t, "well", health(t, pool, "a:1"))
		f.set("a:1", called("mail"))
		time.Sleep(5 * time.Second)
		assert.Equal(t, "ill", health(t, pool, "a:1"))
		require.Len(t, d.of(route.FoundIll), 1)
		assert.ErrorContains(t, d.of(route.FoundIll)[0].Err, `service "mail", not "shop"`)
		f.reset()
		gets(t, next, 100)
		assert.Zero(t, f.seen("a:1"))
		f.set("a:1", called("shop"))
		time.Sleep(5 * time.Second)
		gets(t, next, 100)
		assert.NotZero(t, f.seen("a:1"))
	})
}
