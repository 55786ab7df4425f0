//go:build !race

// One goroutine and a million keys: the race detector would find nothing here
// and take minutes over it.

package hedge_test

import (
	"context"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/hedge"
)

// retainedHeap is what is left of the heap when all garbage is gone.
func retainedHeap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// notNowError is an error that asks to be left alone.
type notNowError struct{}

func (notNowError) Error() string             { return "not now" }
func (notNowError) RetryAfter() time.Duration { return 30 * time.Second }

func TestPerKeyMemoryIsBoundedForAMillionKeys(t *testing.T) {
	const keys, maxKeys, bytesPerKey = 1_000_000, 1024, 2048 // the budget's window of a key included
	for name, c := range map[string]struct {
		err      error
		overflow bool
	}{
		"answered":      {nil, false},
		"asked to wait": {notNowError{}, true}, // and not forgotten for as long
	} {
		t.Run(name, func(t *testing.T) {
			h := hedge.MustNew(hedge.Config{MaxKeys: maxKeys})
			before := retainedHeap()
			for i := range keys {
				_ = h.Run(t.Context(), "customer-"+strconv.Itoa(i), func(context.Context) error { return c.err })
			}
			used := retainedHeap() - before
			t.Logf("%d bytes per key", used/maxKeys)
			shot := h.Snapshot()
			assert.LessOrEqual(t, len(shot.Keys), maxKeys+1)
			assert.Equal(t, c.overflow, shot.Overflow > 0, "calls without a state of their own: %d", shot.Overflow)
			assert.Less(t, used, int64(maxKeys*bytesPerKey))
		})
	}
}
