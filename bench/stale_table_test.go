package bench_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/cachetest"
	"github.com/failsoft/failsoft/stale"
)

// cacheContender is a cache in front of an origin.
type cacheContender struct {
	name  string
	ours  bool
	start func(t *testing.T, origin string) (address string)
}

func cacheContenders() []cacheContender {
	return []cacheContender{
		{"failsoft, Handler", true, func(t *testing.T, origin string) string {
			address, _ := startServer(t, "", "handler", origin)
			return address
		}},
		{"failsoft, Transport", true, func(t *testing.T, origin string) string {
			address, _ := startServer(t, "", "transport", origin)
			return address
		}},
		{"Varnish, stock", false, func(t *testing.T, origin string) string {
			return cachetest.Varnish(t, origin, nil, nil).Address
		}},
		{"nginx, tuned", false, func(t *testing.T, origin string) string {
			return cachetest.Nginx(t, origin, cachetest.NginxTuned, nil).Address
		}},
		{"nginx, stock", false, func(t *testing.T, origin string) string {
			return cachetest.Nginx(t, origin, "", nil).Address
		}},
	}
}

// handlerChild and transportChild are processes of their own, as the others are.
func handlerChild(origin string) error {
	return serve(stale.MustNew(stale.Config{}).Handler(proxyTo(origin, nil)))
}

func transportChild(origin string) error {
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.MaxIdleConnsPerHost = 100
	return serve(proxyTo(origin, stale.MustNew(stale.Config{Shared: true}).Transport(base)))
}

// proxyTo passes requests on with what the client says its host was, as Varnish does.
func proxyTo(origin string, through http.RoundTripper) http.Handler {
	return &httputil.ReverseProxy{
		Transport:     through,
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0), // that the origin fails is what is asked
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: origin})
			r.Out.Host = r.In.Host
			if said, ok := r.In.Header["X-Forwarded-Host"]; ok {
				r.Out.Header["X-Forwarded-Host"] = said
			}
		},
	}
}

// TestStaleTable asks caches how they behave when it matters. What is by the clock is
// taken from the best of some runs, and asserted in stale's own tests.
func TestStaleTable(t *testing.T) {
	contenders := cacheContenders()
	tab := &table{name: "stale, behavior"}
	head, cells := []string{"", "ideal"}, [][]string(nil)
	for _, row := range cachetest.Rows() {
		cells = append(cells, []string{row.Name, row.Ideal})
	}
	for _, c := range contenders {
		head = append(head, c.name)
		for i, f := range askBest(t, c) {
			if c.ours {
				assert.True(t, f.Met, "%s: %s: %s (%v)", c.name, f.Name, f.Found, f.Err)
			}
			cells[i] = append(cells[i], f.Found)
		}
	}
	tab.row(head...)
	for _, row := range cells {
		tab.row(row...)
	}
	tab.publish(t)
}

// askBest asks until nothing was late, or so often.
func askBest(t *testing.T, c cacheContender) []cachetest.Finding {
	t.Helper()
	app := cachetest.NewOrigin()
	origin := httptest.NewServer(app)
	t.Cleanup(origin.Close)
	t.Cleanup(app.Close)
	bare := strings.TrimPrefix(origin.URL, "http://")
	stand := &cachetest.Stand{Origin: app, Bare: bare, Address: c.start(t, bare), Soon: 450 * time.Millisecond}
	var best []cachetest.Finding
	runs := min(max(*rounds, 1), 5)
	if !c.ours { // what is late by seconds is so each time
		runs = min(runs, 2)
	}
	for run := range runs {
		stand.Run = strconv.Itoa(run)
		found := cachetest.Ask(t.Context(), stand)
		late := false
		if best == nil {
			best = found
		}
		require.Len(t, found, len(best))
		for i, f := range found {
			if best[i].Late && f.Met == best[i].Met {
				best[i] = f
			}
			late = late || best[i].Late
		}
		if !late {
			break
		}
	}
	return best
}
