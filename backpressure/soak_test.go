package backpressure_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/backpressure"
)

// Everything at once, over sockets, for the race detector: whatever clients and
// handlers do, no place is lost and none is given twice.
func TestSoak(t *testing.T) {
	const clients, rounds, limit = 24, 60, 6
	var now atomic.Int64
	cfg := fixed(limit)
	cfg.MaxStreams, cfg.ClassHeader, cfg.DemoteRetries = 3, "Criticality", true
	cfg.Tenant = func(req *http.Request) string { return req.Header.Get("Tenant") }
	cfg.Observe = func(context.Context, backpressure.Event) {}
	l := backpressure.MustNew(cfg)
	server := httptest.NewServer(l.Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		now.Add(1)
		defer now.Add(-1)
		switch req.URL.Path {
		case "/panic":
			panic(http.ErrAbortHandler)
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: 1\n\n")
			_ = http.NewResponseController(w).Flush()
		case "/early":
			_, _ = io.WriteString(w, strings.Repeat("x", 100_000))
			backpressure.ReleaseEarly(w)
		case "/upload":
			_, _ = io.Copy(io.Discard, req.Body)
		}
		select {
		case <-time.After(time.Duration(rand.IntN(2000)) * time.Microsecond):
		case <-req.Context().Done():
		}
	})))
	defer server.Close()
	outgoing := backpressure.MustNew(backpressure.Config{CPUThreshold: backpressure.Off, MaxLimit: 20})
	client := &http.Client{Transport: outgoing.Transport(server.Client().Transport)}
	var all sync.WaitGroup
	var answered atomic.Int64
	for range clients {
		all.Go(func() {
			for range rounds {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				if rand.IntN(5) == 0 {
					time.AfterFunc(time.Duration(rand.IntN(2000))*time.Microsecond, cancel)
				}
				path := []string{"/", "/panic", "/events", "/early", "/upload"}[rand.IntN(5)]
				req, _ := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+path, strings.NewReader("body"))
				req.Header.Set("Criticality", []string{"", "sheddable", "background", "9"}[rand.IntN(4)])
				req.Header.Set("Tenant", []string{"", "a", "b"}[rand.IntN(3)])
				if resp, err := client.Do(req); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
					answered.Add(1)
				}
				cancel()
			}
		})
	}
	all.Wait()
	atRest(t, outgoing)
	require.Eventually(t, func() bool { return now.Load() == 0 }, 10*time.Second, time.Millisecond)
	require.Eventually(t, func() bool {
		k := shot(t, l, "")
		return k.InFlight == 0 && k.Streams == 0 && k.Queued == 0
	}, 10*time.Second, time.Millisecond)
	assert.Positive(t, answered.Load())
	assert.Equal(t, limit, l.Free(backpressure.Request{}))
}
