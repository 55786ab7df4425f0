//go:build !race

// The race detector allocates where the compiler does not.

package backpressure_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/backpressure"
)

// sink is a ResponseWriter that costs nothing.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}

func TestAllocations(t *testing.T) {
	get := visitor(t, "/")
	post := visitor(t, "/")
	post.Body = &slowBody{}
	w := &sink{header: http.Header{}}
	quiet := backpressure.MustNew(backpressure.Config{CPUThreshold: backpressure.Off})
	gated := backpressure.MustNew(backpressure.Config{CPULoad: func() float64 { return 0 }, HeapThreshold: 0.9})
	cfg := backpressure.Config{CPUThreshold: backpressure.Off, Tenant: func(*http.Request) string { return "somebody" }}
	cfg.Class = func(*http.Request) backpressure.Class { return backpressure.Critical }
	classed := backpressure.MustNew(cfg)
	plain, asking := quiet.Handler(silent), classed.Handler(silent)
	for name, tt := range map[string]struct {
		most float64
		f    func()
	}{
		"Acquire and Done": {0, func() {
			p, _ := quiet.Acquire(t.Context(), backpressure.Request{})
			p.Done(backpressure.Success)
		}},
		"Acquire and Done with all gates": {0, func() {
			p, _ := gated.Acquire(t.Context(), backpressure.Request{Key: "k", Tenant: "somebody", Class: backpressure.Critical})
			p.Done(backpressure.Success)
		}},
		"Handler":                     {2, func() { plain.ServeHTTP(w, get) }},
		"Handler with funcs":          {2, func() { asking.ServeHTTP(w, get) }},
		"Handler with a request body": {3, func() { plain.ServeHTTP(w, post) }},
	} {
		t.Run(name, func(t *testing.T) {
			assert.LessOrEqual(t, testing.AllocsPerRun(1000, tt.f), tt.most)
		})
	}
}

func BenchmarkHandler(b *testing.B) {
	l := backpressure.MustNew(backpressure.Config{})
	h := l.Handler(silent)
	req, _ := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://shop.test/", http.NoBody)
	w := &sink{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, req)
	}
}
