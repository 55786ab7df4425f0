package backpressure

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// Who takes a sample may be kept from a processor between looking at the clock and
// taking it, for seconds in an overload, while others go by.
func TestCPUGateSamplesOutOfOrder(t *testing.T) {
	for _, load := range []float64{0, 50} {
		t.Run(strconv.Itoa(int(load)), func(t *testing.T) {
			now := int64(time.Minute)
			g := gated(func(float64) float64 { return load })
			g.take(now)
			g.take(now - int64(5*time.Second))
			load = 0
			g.run(&now, 2*time.Second)
			assert.Zero(t, g.shedNow())
			assert.InDelta(t, 0, g.pressure(), 0.01)
			assert.True(t, g.passes(&request{known: true}, now))
		})
	}
}

func TestCPUGateOneReadingAfterAPauseSaysLittle(t *testing.T) {
	var now int64
	load := 0.0
	g := gated(func(float64) float64 { return load })
	g.run(&now, time.Second)
	load = 50
	refused := 0
	for range 20 { // two seconds at ten requests a second
		now += int64(100 * time.Millisecond)
		if !g.passes(&request{known: true}, now) {
			refused++
		}
		assert.LessOrEqual(t, g.shedNow(), 0.1, "a moment's load")
		load = 0
	}
	assert.Zero(t, refused)
	load = 50
	for range 20 {
		now += int64(100 * time.Millisecond)
		g.passes(&request{known: true}, now)
	}
	assert.Greater(t, g.shedNow(), 0.9, "but one that lasts is believed at any rate of requests")
}

// A batch whose load goes up and down by itself is as little the requests' doing as one
// that stays the same.
func TestCPUGateIsNotShutByOtherGoroutinesThatVary(t *testing.T) {
	for _, spread := range []float64{2, 5, 20, 40} {
		for _, every := range []int64{sampleEvery, 20 * sampleEvery} {
			t.Run(strconv.Itoa(int(spread))+"/"+time.Duration(every).String(), func(t *testing.T) {
				var now int64
				random := rand.New(rand.NewPCG(1, 2))
				g := gated(func(float64) float64 { return 100 + spread*(2*random.Float64()-1) })
				refused, asked := 0, 0
				for now < int64(time.Minute) {
					now += every
					passes := g.passes(&request{known: true}, now)
					if now > int64(5*time.Second) {
						asked++
						if !passes {
							refused++
						}
					}
				}
				assert.Less(t, refused, asked/5)
			})
		}
	}
}

func TestGatesLetABackgroundCallByEachSecond(t *testing.T) {
	t.Run("processor", func(t *testing.T) {
		var now int64
		g := gated(func(shed float64) float64 { return 20 * max(1-shed-0.5, 0) }) // half can be served
		g.run(&now, time.Second)
		passed := 0
		for range 60_000 { // a minute
			now += sampleEvery
			for range 3 { // of four, so that all of the others are shed
				g.passes(&request{known: true}, now)
			}
			if g.passes(&request{class: Background}, now) {
				passed++
			}
		}
		assert.InDelta(t, 60, passed, 1)
		assert.InDelta(t, 0.4, g.shedNow(), 0.1)
	})
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := heaped(t, func() (uint64, uint64) { return 100, 100 })
			passed := 0
			for range 6000 { // a minute
				time.Sleep(10 * time.Millisecond)
				p, _ := l.TryAcquire(t.Context(), Request{})
				p.Done(Ignore)
				p, err := l.TryAcquire(t.Context(), Request{Class: Background})
				if err == nil {
					passed++
				}
				p.Done(Ignore)
			}
			assert.InDelta(t, 60, passed, 1)
		})
	})
}
