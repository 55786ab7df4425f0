package backpressure

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// gated is a gate over a made-up processor: load says how much waits for it when a
// part of the requests is shed.
func gated(load func(shed float64) float64) *cpuGate {
	g := new(cpuGate)
	g.init(2, func() float64 { return load(math.Float64frombits(g.shed.Load())) }, func(any) {})
	return g
}

func (g *cpuGate) shedNow() float64 { return math.Float64frombits(g.shed.Load()) }

// run lets time pass, a sample each millisecond, and returns the mean of what is shed.
func (g *cpuGate) run(now *int64, d time.Duration) (mean float64) {
	for range d / time.Millisecond {
		*now += sampleEvery
		g.passes(&request{known: true}, *now)
		mean += g.shedNow()
	}
	return mean / float64(d/time.Millisecond)
}

func TestCPUGateFindsWhatIsTooMuch(t *testing.T) {
	var now int64
	g := gated(func(shed float64) float64 { return 20 * max(1-shed-0.5, 0) }) // half can be served
	g.run(&now, time.Second)
	assert.InDelta(t, 0.4, g.run(&now, time.Second), 0.05, "at a load of 2")
	assert.InDelta(t, 1, g.pressure(), 0.1)
}

func TestCPUGateIsOpenBelowTheThreshold(t *testing.T) {
	var now int64
	for _, load := range []float64{0, 1.9, math.NaN(), math.Inf(1), -1} {
		g := gated(func(float64) float64 { return load })
		assert.Zero(t, g.run(&now, time.Second), "%v", load)
	}
}

func TestCPUGateShedsByClass(t *testing.T) {
	g := gated(func(float64) float64 { return 2 })
	g.shed.Store(math.Float64bits(0.5))
	g.next.Store(math.MaxInt64)
	for class, passes := range map[Class]bool{Critical: true, Default: true, Sheddable: false, Background: false} {
		assert.Equal(t, passes, g.passes(&request{class: class}, 0), "%v", class)
		assert.Equal(t, passes, g.passes(&request{class: class, known: true, tenant: 77}, 0), "%v", class)
	}
	// Within a class, the same tenants are shed again and again.
	g.shed.Store(math.Float64bits(0.625))
	assert.True(t, g.passes(&request{known: true, tenant: cohorts/2 - 1}, 0))
	assert.False(t, g.passes(&request{known: true, tenant: cohorts / 2}, 0))
}

func TestCPUGateIsNotShutByOtherGoroutines(t *testing.T) {
	var now int64
	g := gated(func(float64) float64 { return 100 }) // a batch that requests have no part in
	g.run(&now, 2*time.Second)
	assert.Zero(t, g.run(&now, 10*time.Second), "shedding did nothing about it")
	assert.Less(t, g.pressure(), 0.1)

	batch := 100.0
	g.load = func() float64 { return batch + 20*max(1-g.shedNow()-0.5, 0) }
	g.run(&now, time.Second)
	assert.InDelta(t, 0.4, g.run(&now, time.Second), 0.1, "what requests add is still shed")

	batch = 0
	g.run(&now, time.Second)
	assert.InDelta(t, 0.4, g.run(&now, time.Second), 0.05, "also when the batch is done")
}

func TestCPUGateStaysShutInAFlood(t *testing.T) {
	var now int64
	g := gated(func(shed float64) float64 { return 1000 * (1 - shed) })
	g.run(&now, 2*time.Second)
	assert.Greater(t, g.run(&now, time.Minute), 0.9, "trials are rare")
}

func TestCPUGateOpensAgain(t *testing.T) {
	var now int64
	load := 50.0
	g := gated(func(shed float64) float64 { return load * (1 - shed) })
	g.run(&now, time.Second)
	load = 0
	g.run(&now, 200*time.Millisecond)
	assert.Zero(t, g.run(&now, time.Second))
}

func TestCPUGateReadsTheScheduler(t *testing.T) {
	var g cpuGate
	g.init(2, nil, func(any) {})
	load, panicked := g.read()
	assert.GreaterOrEqual(t, load, 0.0)
	assert.Nil(t, panicked)
	assert.Zero(t, testing.AllocsPerRun(100, func() { g.read() }))
}
