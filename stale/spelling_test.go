package stale_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale"
)

// askAs asks a handler for / as host.
func askAs(h http.Handler, host string) *httptest.ResponseRecorder {
	w, req := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://example.com/", http.NoBody)
	req.Host = host
	h.ServeHTTP(w, req)
	return w
}

func TestPitfall18HostSpelledDifferently(t *testing.T) {
	h := stale.MustNew(stale.Config{}).Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = w.Write([]byte(req.Host))
	}))
	for _, host := range []string{"example.com.", "EXAMPLE.com", "example.com:80", "example.com"} {
		for range 2 {
			assert.Equal(t, host, askAs(h, host).Body.String())
		}
	}
}

func TestPitfall02CookieUnderAnotherSpelling(t *testing.T) {
	h := stale.MustNew(stale.Config{}).Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Expires"] = []string{"Fri, 01 Jan 2100 00:00:00 GMT"}
		w.Header()["cache-control"] = []string{"private"}
		w.Header()["set-cookie"] = []string{"who=me"}
	}))
	for range 2 {
		assert.NotContains(t, askAs(h, "example.com").Header().Get("Cache-Status"), "hit")
	}
}

func TestPitfall02CookieOfARequestUnderAnotherSpelling(t *testing.T) {
	calls := 0
	rt := stale.MustNew(stale.Config{Shared: true}).Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
		calls++
		header := http.Header{"Cache-Control": {"max-age=60"}}
		return &http.Response{StatusCode: http.StatusOK, Header: header, Body: http.NoBody, Request: req}, nil
	}))
	for range 2 {
		req := httptest.NewRequest(http.MethodGet, "http://example.com/", http.NoBody)
		req.RequestURI = ""
		req.Header["cookie"] = []string{"who=me"}
		resp, err := rt.RoundTrip(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	assert.Equal(t, 2, calls)
}

func TestMountsOfOneCacheAreApart(t *testing.T) {
	cache, mux := stale.MustNew(stale.Config{}), http.NewServeMux()
	for _, mount := range []string{"/a", "/b"} {
		mux.Handle(mount+"/", http.StripPrefix(mount, cache.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			_, _ = w.Write([]byte(mount))
		}))))
	}
	for range 2 {
		for _, mount := range []string{"/a", "/b"} {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, mount+"/x?q=1", http.NoBody))
			assert.Equal(t, mount, w.Body.String())
		}
	}
}

func TestAHitWithoutATypeHasNone(t *testing.T) {
	h := stale.MustNew(stale.Config{}).Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header()["Content-Type"] = nil
		_, _ = w.Write([]byte("<html>"))
	}))
	for range 2 {
		assert.Empty(t, askAs(h, "example.com").Header().Get("Content-Type"))
	}
}

func TestPitfall03APrivateCacheForSeveralUsers(t *testing.T) {
	rt := stale.MustNew(stale.Config{}).Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
		header := http.Header{"Cache-Control": {"private, max-age=60"}, "Who": req.Header["Authorization"]}
		return &http.Response{StatusCode: http.StatusOK, Header: header, Body: http.NoBody, Request: req}, nil
	}))
	for range 2 {
		for _, who := range []string{"Bearer a", "Bearer b"} {
			req := httptest.NewRequest(http.MethodGet, "http://example.com/", http.NoBody)
			req.RequestURI = ""
			req.Header.Set("Authorization", who)
			resp, err := rt.RoundTrip(req)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			assert.Equal(t, who, resp.Header.Get("Who"))
		}
	}
}
