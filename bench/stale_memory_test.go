package bench_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale"
)

// memoryBudget is Config.MaxBytes of the process that is weighed.
const memoryBudget = 256 << 20

// weight is what a child has found, as parts of the budget.
type weight struct {
	Pushed, Stored, Heap, Resident, Peak float64

	Entries int
}

// memoryChild pushes twice the budget of objects through a Handler: from a hundred bytes
// to a hundred KiB, most of them small, as on the web.
func memoryChild(string) error {
	cache := stale.MustNew(stale.Config{MaxBytes: memoryBudget})
	draw := rand.New(rand.NewPCG(1, 2))
	source := make([]byte, 100<<10)
	for i := range len(source) / 8 {
		binary.LittleEndian.PutUint64(source[8*i:], draw.Uint64())
	}
	size := 0
	handler := cache.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=36000")
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("ETag", strconv.Quote(r.URL.Path))
		for rest := size; rest > 0; rest -= 32 << 10 { // its length is not announced
			_, _ = w.Write(source[:min(rest, 32<<10)])
		}
	}))
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	pushed := 0
	for n := 0; pushed < 2*memoryBudget; n++ {
		size = 100 << draw.IntN(10)
		size += draw.IntN(size)
		pushed += size
		path := "/object/" + strconv.Itoa(n)
		handler.ServeHTTP(&nowhere{make(http.Header)}, &http.Request{
			Method: http.MethodGet, URL: &url.URL{Path: path}, RequestURI: path, Host: "bench.test",
			Header: http.Header{"User-Agent": {"bench"}}, Body: http.NoBody,
		})
	}
	// Before anything is collected on purpose: that is what an operator sees.
	resident, peak := residentBytes()
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	snapshot := cache.Snapshot()
	part := func(bytes float64) float64 { return bytes / memoryBudget }
	err := json.NewEncoder(os.Stdout).Encode(weight{
		Pushed: part(float64(pushed)), Stored: part(float64(snapshot.Bytes)), Entries: snapshot.Entries,
		Heap:     part(float64(after.HeapAlloc) - float64(before.HeapAlloc)),
		Resident: part(resident), Peak: part(peak),
	})
	runtime.KeepAlive(source)
	return err
}

// nowhere is a client that takes everything at once.
type nowhere struct{ header http.Header }

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) WriteHeader(int)             {}
func (w *nowhere) Write(p []byte) (int, error) { return len(p), nil }

// residentBytes is what the kernel says, now and at most so far.
func residentBytes() (now, most float64) {
	text, _ := os.ReadFile("/proc/self/status")
	value := func(field string) float64 {
		match := regexp.MustCompile(field + `:\s+(\d+) kB`).FindSubmatch(text)
		if match == nil {
			return 0
		}
		kib, _ := strconv.Atoi(string(match[1]))
		return float64(kib) * 1024
	}
	return value("VmRSS"), value("VmHWM")
}

// TestStaleMemory weighs a process whose only work is to fill a Cache beyond its bound.
func TestStaleMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it takes Linux")
	}
	if info, _ := debug.ReadBuildInfo(); info != nil {
		for _, s := range info.Settings {
			if s.Key == "-race" && s.Value == "true" {
				t.Skip("the race detector has a memory of its own")
			}
		}
	}
	tab := &table{name: "stale, memory"}
	tab.row("256 MiB, 512 MiB pushed through", "entries", "counted", "live heap", "resident", "resident at most")
	limit := fmt.Sprintf("GOMEMLIMIT=%d", memoryBudget*14/10)
	for _, way := range []struct {
		name     string
		env      []string
		resident float64
	}{{"defaults", nil, 2.2}, {"GOMEMLIMIT of 1.4 × the budget", []string{limit}, 1.5}} {
		out, err := child(t.Context(), "", "memory", "", way.env...).Output()
		require.NoError(t, err)
		var w weight
		require.NoError(t, json.Unmarshal(out, &w))
		assert.GreaterOrEqual(t, w.Pushed, 2.0)
		assert.Greater(t, w.Stored, 0.9, "it is full")
		assert.LessOrEqual(t, w.Stored, 1.0)
		assert.LessOrEqual(t, w.Heap, 1.15, way.name)
		assert.LessOrEqual(t, w.Peak, way.resident, way.name)
		tab.row(way.name, strconv.Itoa(w.Entries), fixed(w.Stored, 2), fixed(w.Heap, 2), fixed(w.Resident, 2), fixed(w.Peak, 2))
	}
	tab.publish(t)
}
