package stale_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/cachetest"
	"github.com/failsoft/failsoft/internal/rttest"
	"github.com/failsoft/failsoft/stale"
)

// TestTable asks the Cache, at its defaults, in all its places, on real sockets, what
// docs/benchmarks.md asks Varnish and nginx.
func TestTable(t *testing.T) {
	for place, front := range map[string]func(app http.Handler, origin *url.URL) http.Handler{
		"Handler around the application": func(app http.Handler, _ *url.URL) http.Handler {
			return stale.MustNew(stale.Config{}).Handler(app)
		},
		"Handler around a proxy": func(_ http.Handler, origin *url.URL) http.Handler {
			return stale.MustNew(stale.Config{}).Handler(proxyTo(origin, nil))
		},
		"Transport in a proxy": func(_ http.Handler, origin *url.URL) http.Handler {
			base := http.DefaultTransport.(*http.Transport).Clone()
			base.MaxIdleConnsPerHost = 100
			return proxyTo(origin, stale.MustNew(stale.Config{Shared: true}).Transport(base))
		},
	} {
		t.Run(place, func(t *testing.T) {
			app := cachetest.NewOrigin()
			origin := httptest.NewServer(app)
			t.Cleanup(origin.Close)
			t.Cleanup(app.Close)
			target, err := url.Parse(origin.URL)
			require.NoError(t, err)
			cache := httptest.NewServer(front(app, target))
			t.Cleanup(cache.Close)
			askAll(t, &cachetest.Stand{
				Origin: app, Bare: target.Host, Address: strings.TrimPrefix(cache.URL, "http://"),
				Soon:     450 * time.Millisecond, // StaleAfter is 300 ms at most, as the origin is
				Inside:   strings.HasSuffix(place, "application"),
				Patience: 30 * time.Second, // of a busy machine
			})
		})
	}
}

// askAll asks up to ten times as long as something comes late: other work on the
// machine is no news of the cache. All else has to be as it should be each time. The race
// detector is nobody's clock.
func askAll(t *testing.T, s *cachetest.Stand) {
	t.Helper()
	const runs = 10
	late := make(map[string]string)
	for run := range runs {
		s.Run = strconv.Itoa(run)
		for _, f := range cachetest.Ask(t.Context(), s) {
			_, again := late[f.Name]
			if run == 0 || again {
				t.Logf("%s: %s", f.Name, f.Found)
			}
			assert.True(t, f.Met, "%s: %s, not %s (%v)", f.Name, f.Found, f.Ideal, f.Err)
			switch {
			case !f.Late || f.Open:
				delete(late, f.Name)
			case run == 0:
				late[f.Name] = f.Found
			}
		}
		if len(late) == 0 || rttest.UnderRace() || t.Failed() {
			return
		}
	}
	for _, name := range slices.Sorted(maps.Keys(late)) {
		t.Errorf("%s: %s at first, and late %d times", name, late[name], runs)
	}
}

// proxyTo passes requests on, also what clients say was said to them: the cache has to
// cope with that.
func proxyTo(origin *url.URL, through http.RoundTripper) http.Handler {
	return &httputil.ReverseProxy{
		Transport:     through,
		FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(origin)
			r.Out.Host = r.In.Host
			if said, ok := r.In.Header["X-Forwarded-Host"]; ok {
				r.Out.Header["X-Forwarded-Host"] = said
			}
		},
	}
}
