package route_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/route"
)

// bare answers at once with the same response: what is left is the Pool's.
type bare struct{ resp *http.Response }

func (b bare) RoundTrip(*http.Request) (*http.Response, error) { return b.resp, nil }

func bareRequest(tb testing.TB) (*http.Request, bare) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, "http://shop/", nil)
	assert.NoError(tb, err)
	return req, bare{&http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}}
}

func five(weight int) (hosts []route.Host) {
	for i, addr := range []string{"a:1", "b:1", "c:1", "d:1", "e:1"} {
		hosts = append(hosts, route.Host{Addr: addr, Weight: 1 + weight*i})
	}
	return hosts
}

func TestPickAndAccountingAllocateTwiceAtMost(t *testing.T) {
	for name, cfg := range map[string]route.Config{
		"equal":    {Hosts: five(0)},
		"weighted": {Hosts: five(1)},
		"zones":    {Hosts: five(0), Zone: "here"},
	} {
		cfg.Names = []string{"shop"}
		req, base := bareRequest(t)
		next := route.MustNew(cfg).Transport(base)
		allocs := testing.AllocsPerRun(1000, func() {
			resp, err := next.RoundTrip(req)
			if err != nil || resp.Body.Close() != nil {
				t.Fail()
			}
		})
		t.Logf("%s: %v", name, allocs)
		assert.LessOrEqual(t, allocs, 2.0, name)
	}
}

// opaque keeps the compiler from seeing through an interface.
//
//go:noinline
func opaque(next http.RoundTripper) http.RoundTripper { return next }

func BenchmarkTransport(b *testing.B) {
	for name, hosts := range map[string][]route.Host{"equal": five(0), "weighted": five(1)} {
		b.Run(name, func(b *testing.B) {
			req, base := bareRequest(b)
			next := route.MustNew(route.Config{Names: []string{"shop"}, Hosts: hosts}).Transport(base)
			b.ReportAllocs()
			for b.Loop() {
				resp, err := next.RoundTrip(req)
				if err != nil || resp.Body.Close() != nil {
					b.Fail()
				}
			}
		})
	}
	// What nobody can do without who sends a request to another host.
	b.Run("clone", func(b *testing.B) {
		req, base := bareRequest(b)
		next := opaque(base)
		b.ReportAllocs()
		for b.Loop() {
			own, u := *req, *req.URL
			own.URL = &u
			own.URL.Host = "a:1"
			resp, err := next.RoundTrip(&own)
			if err != nil || resp.Body.Close() != nil {
				b.Fail()
			}
		}
	})
	b.Run("bare", func(b *testing.B) {
		req, base := bareRequest(b)
		next := opaque(base)
		for b.Loop() {
			resp, err := next.RoundTrip(req)
			if err != nil || resp.Body.Close() != nil {
				b.Fail()
			}
		}
	})
}
