package keyed_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/failsoft/failsoft/internal/keyed"
)

func atRest(*int, int64) bool { return true }

func busy(*int, int64) bool { return false }

func newInt(string) *int { return new(int) }

func hosts(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = "host-" + strconv.Itoa(i) + ".example.com"
	}
	return keys
}

func BenchmarkGetKnown(b *testing.B) {
	for _, n := range []int64{16, 1024} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			m := keyed.New(keyed.Config[int]{Max: int(n), New: newInt, Retire: atRest})
			keys := hosts(int(n))
			now := int64(0)
			for _, key := range keys {
				m.Get(key, now)
			}
			b.ReportAllocs()
			for b.Loop() {
				now++
				m.Get(keys[now&(n-1)], now)
			}
		})
	}
}

// BenchmarkGoMap is the yardstick for BenchmarkGetKnown.
func BenchmarkGoMap(b *testing.B) {
	for _, n := range []int64{16, 1024} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			m := map[string]*int{}
			keys := hosts(int(n))
			now := int64(0)
			for _, key := range keys {
				m[key] = new(int)
			}
			for b.Loop() {
				now++
				_ = m[keys[now&(n-1)]]
			}
		})
	}
}

func BenchmarkGetFlood(b *testing.B) {
	for name, retire := range map[string]func(*int, int64) bool{"rest": atRest, "busy": busy} {
		for _, bound := range []int{1 << 10, 1 << 16} {
			b.Run(fmt.Sprintf("%s/max=%d", name, bound), func(b *testing.B) {
				m := keyed.New(keyed.Config[int]{Max: bound, New: newInt, Retire: retire})
				now := int64(0)
				b.ReportAllocs()
				for b.Loop() {
					now++
					m.Get(strconv.FormatInt(now, 10), now)
				}
			})
		}
	}
}
