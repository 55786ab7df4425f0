package stale_test

import (
	"io"
	"maps"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale"
)

// nowhere is a client that takes everything at once.
type nowhere struct{ header http.Header }

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) WriteHeader(int)             {}
func (w *nowhere) Write(p []byte) (int, error) { return len(p), nil }

// pageHeader is what a page says, and what a hit adds to it.
func pageHeader(hit bool) http.Header {
	header := http.Header{
		"Cache-Control": {"max-age=3600"},
		"Content-Type":  {"text/html"},
		"Etag":          {`"1"`},
		"Last-Modified": {"Mon, 02 Jan 2006 15:04:05 GMT"},
	}
	if hit {
		for _, name := range []string{"Age", "Cache-Status", "Content-Length", "Date"} {
			header[name] = []string{"as it is"}
		}
	}
	return header
}

func pageHandler(hit bool, body []byte) http.Handler {
	header := pageHeader(hit)
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		to := w.Header()
		maps.Copy(to, header)
		_, _ = w.Write(body)
	})
}

func pageRequest(t *testing.T) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://cache.test/page?number=1", nil)
	require.NoError(t, err)
	req.Header.Set("User-Agent", "test")
	req.Header.Set("Accept", "text/html")
	return req
}

// A hit is to cost what net/http costs, and next to nothing more.
func TestHandlerHitAllocations(t *testing.T) {
	body := []byte(strings.Repeat("x", 4096))
	req := pageRequest(t)
	count := func(h http.Handler) float64 {
		return testing.AllocsPerRun(1000, func() { h.ServeHTTP(&nowhere{make(http.Header)}, req) })
	}
	raw := count(pageHandler(true, body))
	cache := stale.MustNew(stale.Config{})
	cached := cache.Handler(pageHandler(false, body))
	cached.ServeHTTP(&nowhere{make(http.Header)}, req)
	require.Eventually(t, func() bool { return cache.Snapshot().Stored == 1 }, 30*time.Second, time.Millisecond)
	hit := &nowhere{make(http.Header)}
	cached.ServeHTTP(hit, req)
	require.Contains(t, hit.header.Get("Cache-Status"), "; hit")
	assert.LessOrEqual(t, count(cached)-raw, 3.0)
}

// roundTripper is a function that is one.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// All who are answered read the same bytes.
func TestTransportHitCopiesNoBody(t *testing.T) {
	bytesFor := func(size int) int64 {
		body := strings.Repeat("x", size)
		cache := stale.MustNew(stale.Config{})
		client := cache.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
			return &http.Response{
				Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
				Header: pageHeader(false), Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(size), Request: req,
			}, nil
		}))
		req := pageRequest(t)
		into := make([]byte, 32<<10)
		ask := func() {
			resp, err := client.RoundTrip(req)
			require.NoError(t, err)
			read := 0
			for err == nil {
				var n int
				n, err = resp.Body.Read(into)
				read += n
			}
			require.ErrorIs(t, err, io.EOF)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, size, read)
		}
		ask()
		require.Eventually(t, func() bool { return cache.Snapshot().Stored == 1 }, 30*time.Second, time.Millisecond)
		ask()
		const calls = 100
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range calls {
			ask()
		}
		runtime.ReadMemStats(&after)
		require.Equal(t, uint64(calls+1), cache.Snapshot().Hits)
		return int64(after.TotalAlloc-before.TotalAlloc) / calls
	}
	small, large := bytesFor(1<<10), bytesFor(1<<20)
	assert.InDelta(t, small, large, 256, "bytes allocated per hit")
	assert.Less(t, large, int64(4<<10))
}
