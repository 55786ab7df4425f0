//go:build unix

package bench_test

import (
	"context"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/bench"
)

const (
	idleChecks  = 10_000
	idlePeriod  = 10 * time.Second
	idleWatched = 2 * idlePeriod
	idleFew     = 1000        // checks, in an ordinary run
	idleMoment  = time.Second // and their period, and how long that is watched
)

// idle is what a process costs that does nothing but probe.
type idle struct {
	cores      float64 // percent of one
	probes     float64 // per second
	goroutines int     // when no probe runs
	bytes      uint64  // of the heap, per check
}

// What it costs to have many checks that nobody asks for, with probes that return
// at once. Who probes when asked has nothing to show here. Nor does go-sundheit: it
// copies all results after each probe, and so at times does not come up at all.
func TestHealthIdle(t *testing.T) {
	tab := &table{name: "health, idle"}
	tab.row("10,000 checks, period 10 s", "% of a core", "probes/s", "µs per probe", "goroutines", "bytes per check")
	for _, contender := range append([]bench.Health{bench.HealthBare()}, bench.Healths()[:3]...) {
		if !contender.InBackground || !contender.OneGoroutine && !inFull() {
			continue
		}
		t.Run(contender.Name, func(t *testing.T) {
			load := idling(t, contender)
			if contender.OneGoroutine {
				assert.LessOrEqual(t, load.goroutines, 1)
			}
			tab.row(contender.Name, fixed(load.cores, 1), fixed(load.probes, 0),
				fixed(load.cores*1e4/load.probes, 1), strconv.Itoa(load.goroutines), strconv.FormatUint(load.bytes, 10))
		})
	}
	tab.publish(t)
}

func idling(t *testing.T, contender bench.Health) idle {
	t.Helper()
	checks, period, watched := idleFew, idleMoment, idleMoment
	if inFull() {
		checks, period, watched = idleChecks, idlePeriod, idleWatched
	}
	var probes atomic.Int64
	goroutines, heap := runtime.NumGoroutine(), heapInUse()
	endpoint, stop := contender.New(bench.HealthConfig{
		Checks: checks, Period: period, Timeout: time.Second,
		Probe: func(context.Context) error {
			probes.Add(1)
			return nil
		},
	})
	defer stop()
	until(t, func() bool {
		return probes.Load() >= int64(checks) &&
			(!contender.OneGoroutine || runtime.NumGoroutine() <= goroutines+1) &&
			(endpoint == nil || pollHealth(endpoint) == "200")
	})
	load := idle{bytes: (heapInUse() - heap) / uint64(checks), goroutines: runtime.NumGoroutine() - goroutines}

	begun, cpu, before := time.Now(), processTime(t), probes.Load()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for time.Since(begun) < watched {
		<-poll.C
		load.goroutines = min(load.goroutines, runtime.NumGoroutine()-goroutines)
	}
	took := time.Since(begun)
	load.cores = 100 * float64(processTime(t)-cpu) / float64(took)
	load.probes = float64(probes.Load()-before) / took.Seconds()
	return load
}

// processTime is what the process has used of all cores.
func processTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func heapInUse() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
