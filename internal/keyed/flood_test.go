//go:build !race

// One goroutine and a million keys: the race detector would find nothing here
// and take minutes over it.

package keyed_test

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/keyed"
)

func TestACellDoesNotKeepTheCallersBytes(t *testing.T) {
	const cells, header = 256, 64 << 10
	m := keyed.New(keyed.Config[int]{Max: cells, New: newInt, Retire: atRest})
	before := heapInUse()
	for i := range cells {
		text := fmt.Sprintf("%08d", i) + strings.Repeat("x", header)
		m.Get(text[:8], int64(i))
	}
	assert.Less(t, heapInUse()-before, int64(cells*header/8))
	runtime.KeepAlive(m)
}

func TestAMillionKeysStayWithinTheBound(t *testing.T) {
	const keys, bytesPerCell = 1_000_000, 512
	for _, bound := range []int{1 << 10, 1 << 17} {
		t.Run(fmt.Sprintf("max=%d", bound), func(t *testing.T) {
			m := keyed.New(keyed.Config[int]{Max: bound, New: newInt, Retire: atRest})
			before, start := heapInUse(), time.Now()
			for i := range int64(keys) {
				m.Get(strconv.FormatInt(i, 10), i)
			}
			elapsed := time.Since(start)
			used := heapInUse() - before
			t.Logf("%v, %d ns per key, %d bytes per cell", elapsed, elapsed.Nanoseconds()/keys, used/int64(bound))
			require.Equal(t, bound, m.Len())
			assert.Less(t, used, int64(bound*bytesPerCell))
			// A scan of all cells per key would take minutes at the higher bound.
			assert.Less(t, elapsed, 30*time.Second)
		})
	}
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
