//go:build !race

// The race detector keeps books of its own on every allocation.

package stale_test

import (
	"context"
	"math"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/stale"
)

// Twice the budget goes in; what is alive afterwards is what counts, and not what
// the Memory says.
func TestMemoryKeepsItsBoundOnTheHeap(t *testing.T) {
	const budget = 32 << 20
	sizes := map[string]func(*rand.Rand) int{
		"evenly from 100 B to 512 KiB":         func(r *rand.Rand) int { return 100 + r.IntN(512<<10) },
		"by magnitude from 100 B to 512 KiB":   func(r *rand.Rand) int { return int(100 * math.Exp(r.Float64()*math.Log(512<<10/100))) },
		"by magnitude from 4 KiB to 64 KiB":    func(r *rand.Rand) int { return int(4096 * math.Exp(r.Float64()*math.Log(16))) },
		"a crowd of small ones and then large": func(*rand.Rand) int { return 512 << 10 },
	}
	for name, size := range sizes {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			before := memoryHeap()
			m := stale.NewMemory(budget)
			if strings.HasPrefix(name, "a crowd") {
				for i := range 2 * budget / 500 {
					_ = m.Set(context.Background(), stale.Key{Primary: "small" + strconv.Itoa(i)}, memoryEntry(nil), 0)
				}
			}
			for i, pushed := 0, int64(0); pushed < 2*budget; i++ {
				e := memoryEntry(make([]byte, size(r)))
				e.Header = memoryFields(i)
				pushed += e.Size()
				_ = m.Set(context.Background(), stale.Key{Primary: "https://example.com/" + strconv.Itoa(i)}, e, 0)
			}
			ratio := float64(memoryHeap()-before) / budget
			entries, bytes := m.Size()
			t.Logf("%.3f of the budget is alive, by %d entries; the Memory says %.3f", ratio, entries, float64(bytes)/budget)
			assert.LessOrEqual(t, ratio, 1.15)
			assert.GreaterOrEqual(t, ratio, 0.8, "and it is made use of")
			runtime.KeepAlive(m)
		})
	}
}

func TestAPurgeOfEverythingTakesMilliseconds(t *testing.T) {
	const entries, tries = 20_000, 3
	for _, purge := range []func(m *stale.Memory) error{
		func(m *stale.Memory) error { return m.PurgeTag(context.Background(), "none", true) },
		func(m *stale.Memory) error { return m.PurgeTag(context.Background(), "b", true) },
		func(m *stale.Memory) error { return m.PurgeAll(context.Background(), false) },
	} {
		took := time.Hour
		for try := 0; try < tries && took >= time.Second; try++ { // the machine may stand still
			m := stale.NewMemory(0)
			for i := range entries {
				_ = m.Set(context.Background(), stale.Key{Primary: strconv.Itoa(i)}, memoryEntry(nil, "a", "b"), 0)
			}
			start := time.Now()
			assert.NoError(t, purge(m))
			took = time.Since(start)
			t.Log(took)
		}
		assert.Less(t, took, time.Second, "it is a few milliseconds, on a machine that has nothing else to do")
	}
}

func memoryFields(n int) http.Header {
	h := make(http.Header)
	for i := range 10 {
		h.Set("X-Field-"+strconv.Itoa(i), strings.Repeat("v", 20)+strconv.Itoa(n))
	}
	return h
}

func memoryHeap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
