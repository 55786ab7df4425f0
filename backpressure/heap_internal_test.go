package backpressure

import (
	"math"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// heaped is a Limiter to which the heap is as large as used says.
func heaped(t *testing.T, used func() (used, limit uint64)) *Limiter {
	t.Helper()
	l, err := New(Config{CPUThreshold: Off, Limit: Fixed(1_000_000), HeapThreshold: 0.8})
	require.NoError(t, err)
	l.heap.used = used
	time.Sleep(10 * time.Millisecond) // until the first sample is too old
	return l
}

func TestHeapGateShedsTheLeastImportantFirst(t *testing.T) {
	// passed says how many of 1,000 requests of each class are let in where so many
	// parts of 100 are in use.
	passed := func(t *testing.T, percent uint64) (n [classes]int) {
		t.Helper()
		used := uint64(0)
		l := heaped(t, func() (uint64, uint64) { return used, 100 })
		for range 100 { // as much of each
			for class := range classes {
				p, _ := l.TryAcquire(t.Context(), Request{Class: class})
				p.Done(Ignore)
			}
		}
		used = percent
		time.Sleep(10 * time.Millisecond)
		for class := range classes {
			for range 1000 {
				p, err := l.TryAcquire(t.Context(), Request{Class: class})
				if err == nil {
					n[class]++
				}
				p.Done(Ignore)
			}
		}
		return n
	}
	for percent, want := range map[uint64][classes]int{
		0:  {1000, 1000, 1000, 1000},
		80: {1000, 1000, 1000, 1000},
		84: {1000, 1000, 1000, 240}, // 0.19 are refused
		92: {720, 1000, 0, 0},       // 0.57
		99: {0, 390, 0, 0},          // 0.90
		// At the limit and past it a few go on, and may free memory.
		100: {0, 200, 0, 0},
		250: {0, 200, 0, 0},
	} {
		t.Run(strconv.FormatUint(percent, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := passed(t, percent)
				for class := range want {
					assert.InDelta(t, want[class], got[class], 80, Class(class).String())
				}
			})
		})
	}
}

func TestHeapGateIsReadEachTenMilliseconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		l := heaped(t, func() (uint64, uint64) { reads++; return 1, 100 })
		for range 100 {
			p, err := l.TryAcquire(t.Context(), Request{})
			require.NoError(t, err)
			p.Done(Ignore)
			time.Sleep(time.Millisecond)
		}
		assert.Equal(t, 10, reads)
		assert.InDelta(t, 0.01, l.Snapshot().HeapLoad, 1e-9)
	})
}

func TestHeapGateWithoutALimitIsInactive(t *testing.T) {
	was := debug.SetMemoryLimit(math.MaxInt64)
	defer debug.SetMemoryLimit(was)
	l, err := New(Config{CPUThreshold: Off, HeapThreshold: 0.5})
	require.NoError(t, err)
	assert.Equal(t, GateInactive, l.Snapshot().HeapGate)
	assert.Zero(t, l.Snapshot().HeapLoad)
	text, err := l.Snapshot().HeapGate.MarshalText()
	require.NoError(t, err)
	assert.Equal(t, "inactive: GOMEMLIMIT is not set", string(text))

	off, err := New(Config{CPUThreshold: Off})
	require.NoError(t, err)
	assert.Equal(t, GateOff, off.Snapshot().HeapGate)
}

func TestHeapGateReadsTheRuntime(t *testing.T) {
	runtime.GC()
	was := debug.SetMemoryLimit(1 << 30)
	defer debug.SetMemoryLimit(was)
	l, err := New(Config{CPUThreshold: Off, HeapThreshold: 0.5})
	require.NoError(t, err)
	small := l.Snapshot()
	assert.Equal(t, GateOn, small.HeapGate)
	assert.Positive(t, small.HeapLoad)
	assert.Less(t, small.HeapLoad, 0.2)

	ballast := make([]byte, 300<<20)
	for i := 0; i < len(ballast); i += 4096 {
		ballast[i] = 1
	}
	runtime.GC()
	l.heap.take(l.now())
	assert.InDelta(t, small.HeapLoad+0.29, l.Snapshot().HeapLoad, 0.05, "it is alive")
	runtime.KeepAlive(ballast)
	runtime.GC()
	l.heap.take(l.now())
	assert.Less(t, l.Snapshot().HeapLoad, 0.2, "and gone")
}
