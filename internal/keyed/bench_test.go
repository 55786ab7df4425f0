package keyed_test

import (
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/failsoft/failsoft/internal/keyed"
)

func atRest(*int, int64) bool { return true }

func newInt(string) *int { return new(int) }

func hosts(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = "host-" + strconv.Itoa(i) + ".example.com"
	}
	return keys
}

func BenchmarkGetKnown(b *testing.B) {
	for _, n := range []int{16, 1024} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			m := keyed.New(keyed.Config[int]{Max: n, New: newInt, Retire: atRest})
			keys := hosts(n)
			for i, k := range keys {
				m.Get(k, int64(i))
			}
			now := int64(n)
			b.ReportAllocs()
			for b.Loop() {
				now++
				m.Get(keys[now&int64(n-1)], now)
			}
		})
	}
}

func BenchmarkGetKnownSameTime(b *testing.B) {
	for _, n := range []int{16, 1024} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			m := keyed.New(keyed.Config[int]{Max: n, New: newInt, Retire: atRest})
			keys := hosts(n)
			for i, k := range keys {
				m.Get(k, int64(i))
			}
			now := int64(n)
			b.ReportAllocs()
			for b.Loop() {
				now++
				m.Get(keys[now&int64(n-1)], 1024)
			}
		})
	}
}

func BenchmarkGetKnownParallel(b *testing.B) {
	m := keyed.New(keyed.Config[int]{Max: 1024, New: newInt, Retire: atRest})
	keys := hosts(1024)
	for i, k := range keys {
		m.Get(k, int64(i))
	}
	b.RunParallel(func(pb *testing.PB) {
		now := int64(1024)
		for pb.Next() {
			now++
			m.Get(keys[now&1023], now)
		}
	})
}

func BenchmarkSyncMap(b *testing.B) {
	for _, n := range []int{16, 1024} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			var m sync.Map
			keys := hosts(n)
			for _, k := range keys {
				m.Store(k, new(int))
			}
			now := int64(n)
			for b.Loop() {
				now++
				m.Load(keys[now&int64(n-1)])
			}
		})
	}
}

func BenchmarkPlainMap(b *testing.B) {
	for _, n := range []int{16, 1024} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			m := map[string]*int{}
			keys := hosts(n)
			for _, k := range keys {
				m[k] = new(int)
			}
			now := int64(n)
			for b.Loop() {
				now++
				_ = m[keys[now&int64(n-1)]]
			}
		})
	}
}

func BenchmarkGetFlood(b *testing.B) {
	for _, n := range []int{1024, 1 << 16} {
		b.Run(fmt.Sprintf("max=%d", n), func(b *testing.B) {
			m := keyed.New(keyed.Config[int]{Max: n, New: newInt, Retire: atRest})
			var now int64
			buf := make([]byte, 0, 32)
			b.ReportAllocs()
			for b.Loop() {
				now++
				buf = strconv.AppendInt(append(buf[:0], "host-"...), now, 10)
				m.Get(string(buf), now)
			}
		})
	}
}
