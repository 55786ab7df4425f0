package stale_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale"
)

// Both doors of one Cache share its Store and its numbers, and never answer for each
// other: what one user agent may keep is not for everybody.
func TestRequirement1OneEngineBehindBothDoors(t *testing.T) {
	cache := stale.MustNew(stale.Config{})
	served := cache.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, "served")
	}))
	sent := cache.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
		header := http.Header{"Cache-Control": {"private, max-age=60"}, "Who": {"sent"}}
		return &http.Response{StatusCode: http.StatusOK, Header: header, Body: http.NoBody, Request: req}, nil
	}))
	for range 2 {
		assert.Equal(t, "served", askAs(served, "example.com").Body.String())
		req := httptest.NewRequest(http.MethodGet, "http://example.com/", http.NoBody)
		req.RequestURI = ""
		resp, err := sent.RoundTrip(req)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, "sent", resp.Header.Get("Who"))
	}
	shot := cache.Snapshot()
	assert.Equal(t, []uint64{2, 2, 2}, []uint64{shot.Stored, shot.Misses, shot.Hits})
}
