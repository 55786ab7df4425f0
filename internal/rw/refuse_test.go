package rw_test

import (
	"bufio"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/rw"
)

func TestRefusal(t *testing.T) {
	t.Parallel()

	w := httptest.NewRecorder()
	w.Header().Set("Content-Encoding", "gzip")
	w.Header().Set("Content-Length", "1000")
	w.Header().Set("ETag", `"1"`)
	req := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	rw.Refuse(w, req, http.StatusServiceUnavailable, 1500*time.Millisecond, "breaker: open")

	assert.Equal(t, http.StatusServiceUnavailable, w.Code)
	assert.Equal(t, "breaker: open\n", w.Body.String())
	assert.Equal(t, http.Header{
		"Retry-After":            {"2"},
		"Cache-Control":          {"no-store"},
		"Content-Type":           {"text/plain; charset=utf-8"},
		"Content-Length":         {"14"},
		"X-Content-Type-Options": {"nosniff"},
	}, w.Header())
}

func TestRefusalOfHeadHasNoBody(t *testing.T) {
	t.Parallel()

	w := httptest.NewRecorder()
	rw.Refuse(w, httptest.NewRequest(http.MethodHead, "/", http.NoBody), http.StatusTooManyRequests, 0, "slow down")
	assert.Equal(t, http.StatusTooManyRequests, w.Code)
	assert.Zero(t, w.Body.Len())
	assert.Equal(t, "10", w.Header().Get("Content-Length"))
}

func TestRetryAfterIsInWholeSeconds(t *testing.T) {
	t.Parallel()

	req := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	for wait, want := range map[time.Duration]string{
		math.MinInt64:                "1",
		-time.Hour:                   "1",
		0:                            "1",
		1:                            "1",
		time.Second:                  "1",
		time.Second + 1:              "2",
		2*time.Second - 1:            "2",
		time.Hour:                    "3600",
		math.MaxInt64:                "9223372037",
		math.MaxInt64 / 10 * 10:      "9223372037",
		9223372036 * time.Second:     "9223372036",
		9223372036*time.Second + 1e6: "9223372037",
	} {
		header := http.Header{}
		rw.RefusalHeader(header, req, wait)
		assert.Equal(t, want, header.Get("Retry-After"), wait)
	}
}

func TestRefusalClosesConnectionsWithTooMuchUnread(t *testing.T) {
	t.Parallel()

	for _, tt := range []struct {
		proto  int
		length int64
		want   string
	}{
		{1, 0, ""},
		{1, 256 << 10, ""},
		{1, 256<<10 + 1, "close"},
		{1, -1, "close"},
		{2, 256<<10 + 1, ""},
		{2, -1, ""},
	} {
		req := httptest.NewRequest(http.MethodPost, "/", http.NoBody)
		req.ProtoMajor, req.ContentLength = tt.proto, tt.length
		header := http.Header{}
		rw.RefusalHeader(header, req, 0)
		assert.Equal(t, tt.want, header.Get("Connection"), tt)
	}
}

// Without the Connection header, net/http would wait for the rest of the body
// before it answers.
func TestRefusalDoesNotWaitForAChunkedBody(t *testing.T) {
	t.Parallel()

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rw.Refuse(w, r, http.StatusServiceUnavailable, time.Second, "no")
	}))
	defer server.Close()

	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	require.NoError(t, err)

	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	assert.True(t, resp.Close)
}

func TestRefusalOverHTTP2SaysNothingOfConnections(t *testing.T) {
	t.Parallel()

	for proto, start := range protocols {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()

			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rw.Refuse(w, r, http.StatusServiceUnavailable, time.Second, "no")
			}))
			start(server)
			defer server.Close()

			body := strings.NewReader(strings.Repeat("x", 1<<20))
			resp, err := server.Client().Post(server.URL, "text/plain", body)
			if err != nil {
				// The client may still be writing when the connection is closed below it.
				require.Equal(t, "HTTP/1.1", proto)
				return
			}
			defer resp.Body.Close()
			assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
			assert.Equal(t, proto == "HTTP/1.1", resp.Close)
			assert.Empty(t, resp.Header.Get("Connection"))
		})
	}
}
