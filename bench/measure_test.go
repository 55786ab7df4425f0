package bench_test

import (
	"flag"
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// rounds is 1 in an ordinary run, whose timings are there to be seen but not to
// be believed; allocations are exact either way.
var rounds = flag.Int("rounds", 1, "how often each timing is taken")

// batch is how long one timing takes.
const batch = 10 * time.Millisecond

// op is one row of a table. One that has fork runs on all cores at once, each
// goroutine with a function of its own.
type op struct {
	name string
	run  func()
	fork func() func()
}

// cost is what one call of an op takes. Times are medians over the rounds.
type cost struct {
	nanos  float64
	ratio  float64 // to the first op, within the same round
	bytes  float64
	allocs float64
}

// measure takes the ops in turns, each round starting with another one: what
// disturbs a shared machine for a second then disturbs them all.
func measure(ops []op) []cost {
	calls := make([]int, len(ops))
	nanos := make([][]float64, len(ops))
	ratios := make([][]float64, len(ops))
	for i, o := range ops {
		calls[i] = o.fill(batch)
	}
	for round := range max(*rounds, 1) {
		for i := range ops {
			turn := (i + round) % len(ops)
			took := ops[turn].time(calls[turn])
			nanos[turn] = append(nanos[turn], float64(took)/float64(calls[turn]))
		}
		for i := range ops {
			ratios[i] = append(ratios[i], nanos[i][round]/nanos[0][round])
		}
	}
	costs := make([]cost, len(ops))
	for i, o := range ops {
		costs[i] = cost{nanos: median(nanos[i]), ratio: median(ratios[i]), bytes: o.bytes(), allocs: o.allocs()}
	}
	return costs
}

// fill returns how many calls take d, from a warm start.
func (o op) fill(d time.Duration) int {
	for calls := 1; ; calls *= 2 {
		if took := o.time(calls); took >= d {
			return calls
		}
	}
}

// time returns what that many calls take.
func (o op) time(calls int) time.Duration {
	if o.fork == nil {
		begun := time.Now()
		for range calls {
			o.run()
		}
		return time.Since(begun)
	}
	var all sync.WaitGroup
	begun := time.Now()
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			run := o.fork()
			for range calls / runtime.GOMAXPROCS(0) {
				run()
			}
		})
	}
	all.Wait()
	return time.Since(begun)
}

func (o op) one() func() {
	if o.fork != nil {
		return o.fork()
	}
	return o.run
}

func (o op) allocs() float64 { return testing.AllocsPerRun(1000, o.one()) }

func (o op) bytes() float64 {
	const calls = 1000
	run := o.one()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range calls {
		run()
	}
	runtime.ReadMemStats(&after)
	return math.Round(float64(after.TotalAlloc-before.TotalAlloc) / calls)
}

// keep asserts how many allocations more than the first op some others make at
// most, by their names.
func keep(t *testing.T, promises map[string]float64, ops []op, measured []cost) {
	t.Helper()
	kept := 0
	for i, o := range ops {
		if promise, ours := promises[o.name]; ours {
			kept++
			assert.LessOrEqual(t, measured[i].allocs-measured[0].allocs, promise, o.name)
		}
	}
	assert.Len(t, promises, kept, "every promise names a contender")
}

// benchmark is the same for go test -bench.
func benchmark(b *testing.B, ops []op) {
	b.Helper()
	for _, o := range ops {
		b.Run(o.name, func(b *testing.B) {
			b.ReportAllocs()
			if o.fork == nil {
				for b.Loop() {
					o.run()
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				run := o.fork()
				for pb.Next() {
					run()
				}
			})
		})
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
