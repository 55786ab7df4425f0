//go:build !race

// One goroutine and a million keys: the race detector would find nothing here
// and take minutes over it.

package breaker_test

import (
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/breaker"
)

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func TestPerKeyMemoryIsBoundedForAMillionKeys(t *testing.T) {
	const keys, maxKeys, bytesPerCircuit = 1_000_000, 1024, 4096
	for name, o := range map[string]breaker.Outcome{
		"at rest again": breaker.Ignored, "known as good": breaker.Success, "known as bad": breaker.Failure,
	} {
		t.Run(name, func(t *testing.T) {
			b := breaker.MustNew(breaker.Config{MaxKeys: maxKeys, Rules: breaker.Rules{Consecutive: 1}})
			before := heapInUse()
			for i := range keys {
				if call, err := b.Allow(t.Context(), "customer-"+strconv.Itoa(i)); err == nil {
					call.DoneAs(o)
				}
			}
			used := heapInUse() - before
			t.Logf("%d bytes per circuit", used/maxKeys)
			assert.LessOrEqual(t, len(b.Snapshot().Circuits), maxKeys+1)
			assert.Less(t, used, int64(maxKeys*bytesPerCircuit))
		})
	}
}
