package bench_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/bench"
)

// healthFlat is how many times what one check costs 1,000 may cost: the rivals are
// at several hundred, and what is above one here is noise.
const healthFlat = 3.0

// healthSizes are how many checks there are.
var healthSizes = []int{1, 20, 1000}

// healthFloor is what any endpoint has to do: write the bytes and two headers.
const healthFloor = "floor: two headers and the bytes"

// What an endpoint costs that shows all details, when everything is well and
// nothing changes.
func TestHealthWarm(t *testing.T) {
	tab := &table{name: "health, warm"}
	tab.row("", "1 check: ns", "allocs", "20 checks: ns", "allocs", "1,000 checks: ns", "allocs")
	rows := make(map[string][]string)
	var names []string
	for _, size := range healthSizes {
		ops := healthWarmOps(t, size)
		for i, c := range measure(ops) {
			name := ops[i].name
			if rows[name] == nil {
				names = append(names, name)
				rows[name] = []string{name}
			}
			rows[name] = append(rows[name], fixed(c.nanos, 0), fixed(c.allocs, 0))
			if i < 5 { // the floor, the clock and ours
				assert.Zero(t, c.allocs, "%s, %d checks", name, size)
			}
		}
	}
	for _, name := range names {
		tab.row(append(rows[name], "", "")[:len(tab.rows[0])]...)
	}
	tab.publish(t)
}

// The same for ours beside itself: more checks cost no more. It is the least of many that is
// compared, as others use this machine too.
func TestHealthFlat(t *testing.T) {
	var ops []routeOp
	for _, size := range healthSizes {
		name, endpoint := strconv.Itoa(size)+" checks", warmHealth(t, bench.Healths()[0], size)
		ops = append(ops, routeOp{op: askHealth(t, name, endpoint)})
	}
	nanos := leasts(ops)
	for _, o := range ops {
		assert.LessOrEqual(t, nanos[o.name]/nanos[ops[0].name], healthFlat, o.name)
	}
}

func BenchmarkHealthWarm(b *testing.B) {
	for _, size := range healthSizes {
		b.Run(strconv.Itoa(size), func(b *testing.B) { benchmark(b, healthWarmOps(b, size)) })
	}
}

// healthWarmOps leaves out the rivals with 1,000 checks in an ordinary run, where
// they take milliseconds.
func healthWarmOps(tb testing.TB, size int) []op {
	tb.Helper()
	var ops []op
	for i, contender := range bench.Healths() {
		if i > 1 && size > 20 && !inFull() {
			break
		}
		endpoint := warmHealth(tb, contender, size)
		if i == 0 {
			made := time.Now()
			ops = append(ops, askHealth(tb, healthFloor, healthBytes(tb, endpoint)),
				op{name: "the clock: time.Since", run: func() { _ = time.Since(made) }})
		}
		ops = append(ops, askHealth(tb, contender.Name, endpoint))
		if i == 0 {
			ops = append(ops, op{name: contender.Name + ", all cores", fork: func() func() {
				return askHealth(tb, "", endpoint).run
			}})
		}
	}
	return ops
}

// warmHealth returns an endpoint all of whose checks have passed. The next probe
// is hours away.
func warmHealth(tb testing.TB, contender bench.Health, size int) http.Handler {
	tb.Helper()
	var probes atomic.Int64
	before := runtime.NumGoroutine()
	endpoint, stop := contender.New(bench.HealthConfig{
		Checks: size, Period: 24 * time.Hour, Timeout: time.Second,
		Probe: func(context.Context) error {
			probes.Add(1)
			return nil
		},
	})
	tb.Cleanup(stop)
	if contender.InBackground {
		until(tb, func() bool { return probes.Load() >= int64(size) })
	}
	if contender.OneGoroutine {
		settled(before + 1) // What a late result has to add would be rendered within the measurement.
	}
	w, r := newReplies(), askingForHealth()
	until(tb, func() bool {
		endpoint.ServeHTTP(w, r)
		return w.code == http.StatusOK
	})
	return endpoint
}

// until waits for something to be so, for which it has some seconds.
func until(tb testing.TB, so func() bool) {
	tb.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for range 1000 {
		if so() {
			return
		}
		<-poll.C
	}
	require.Fail(tb, "it never comes to pass")
}

// healthBytes is an endpoint that has nothing to find out.
func healthBytes(tb testing.TB, like http.Handler) http.Handler {
	tb.Helper()
	rec := httptest.NewRecorder()
	like.ServeHTTP(rec, askingForHealth())
	var body atomic.Pointer[[]byte]
	bytes, contentType, noStore := rec.Body.Bytes(), rec.Header()["Content-Type"], rec.Header()["Cache-Control"]
	body.Store(&bytes)
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["Content-Type"] = contentType
		h["Cache-Control"] = noStore
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(*body.Load())
	})
}

// askHealth is a request with a writer that is used again.
func askHealth(tb testing.TB, name string, endpoint http.Handler) op {
	tb.Helper()
	w, r := newReplies(), askingForHealth()
	return op{name: name, run: func() {
		endpoint.ServeHTTP(w, r)
		if w.code != http.StatusOK || w.bytes == 0 {
			panic("health got lost")
		}
	}}
}

func askingForHealth() *http.Request { return httptest.NewRequest(http.MethodGet, "/readyz", nil) }

// replies counts what is written and keeps only the last code.
type replies struct {
	header      http.Header
	code, bytes int
}

func newReplies() *replies { return &replies{header: make(http.Header)} }

func (w *replies) Header() http.Header { return w.header }

func (w *replies) WriteHeader(code int) { w.code, w.bytes = code, 0 }

func (w *replies) Write(p []byte) (int, error) {
	w.bytes += len(p)
	return len(p), nil
}
