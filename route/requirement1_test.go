package route_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/route"
)

// recorded keeps what arrives below a Pool.
type recorded struct{ got *http.Request }

func (r *recorded) RoundTrip(req *http.Request) (*http.Response, error) {
	r.got = req
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

func sent(t *testing.T, cfg route.Config, url string, change func(*http.Request)) (req, got *http.Request) {
	t.Helper()
	if cfg.Hosts == nil {
		cfg.Hosts = hostsAt("10.0.0.1:8080")
	}
	base := new(recorded)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	if change != nil {
		change(req)
	}
	resp, err := route.MustNew(cfg).Transport(base).RoundTrip(req)
	require.NoError(t, err)
	resp.Body.Close()
	return req, base.got
}

func TestRequirement1Names(t *testing.T) {
	for _, c := range []struct {
		name, url string
		routed    bool
	}{
		{"shop", "http://shop/", true},
		{"shop", "http://SHOP/", true},
		{"Shop", "http://shop/", true},
		{"Shop.Example", "http://shop.EXAMPLE/", true},
		{"shop", "http://shop:8080/", false},
		{"shop:8080", "http://shop:8080/", true},
		{"shop:8080", "http://Shop:8080/", true},
		{"shop:8080", "http://shop:8081/", false},
		{"shop:8080", "http://shop/", false},
		{"[::1]:80", "http://[::1]:80/", true},
		{"shop", "http://shop.example/", false},
		{"shop", "http://my.shop/", false},
	} {
		req, got := sent(t, route.Config{Names: []string{c.name}}, c.url, nil)
		if c.routed {
			assert.Equal(t, "10.0.0.1:8080", got.URL.Host, c.url)
			assert.NotSame(t, req, got)
		} else {
			assert.Same(t, req, got, c.url)
		}
	}
}

func TestRequirement1Host(t *testing.T) {
	own := func(req *http.Request) { req.Host = "www.shop.example" }
	plain := route.Config{Names: []string{"Shop"}}
	address := route.Config{Names: []string{"shop"}, AddressAsHost: true}
	for name, c := range map[string]struct {
		cfg    route.Config
		change func(*http.Request)
		want   string
	}{
		"the service's name":         {plain, nil, "Shop"},
		"none is given":              {plain, func(req *http.Request) { req.Host = "" }, "Shop"},
		"one of its own":             {plain, own, "www.shop.example"},
		"the address":                {address, nil, ""},
		"the address, and one given": {address, own, ""},
	} {
		req, got := sent(t, c.cfg, "http://Shop/a?b=c", c.change)
		assert.Equal(t, c.want, got.Host, name)
		assert.Equal(t, "http://10.0.0.1:8080/a?b=c", got.URL.String(), name)
		assert.Equal(t, "http://Shop/a?b=c", req.URL.String(), name)
		assert.NotSame(t, req.URL, got.URL)
	}
}

func TestRequirement1Schemes(t *testing.T) {
	for _, c := range []struct{ addr, url, want string }{
		{"h:1", "http://shop/", "http://h:1/"},
		{"h:1", "https://shop/", "https://h:1/"},
		{"http://h:1", "https://shop/", "http://h:1/"},
		{"https://h", "http://shop/", "https://h/"},
	} {
		_, got := sent(t, route.Config{
			Names: []string{"shop"}, Hosts: hostsAt(c.addr), TLSNameHandled: true,
		}, c.url, nil)
		assert.Equal(t, c.want, got.URL.String())
	}
}

// Over a transport that looks for addresses in certificates, https is an error, and the
// request has not been sent.
func TestRequirement1TLSNameHandled(t *testing.T) {
	for _, c := range []struct{ addr, url string }{
		{"h:1", "https://shop/"}, {"https://h:1", "http://shop/"}, {"h:1", "HTTPS://shop/"},
	} {
		base, closed := new(recorded), false
		next := route.MustNew(route.Config{Names: []string{"shop"}, Hosts: hostsAt(c.addr)}).Transport(base)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url, io.NopCloser(strings.NewReader("x")))
		require.NoError(t, err)
		req.Body = closeHook{req.Body, func() { closed = true }}
		_, err = next.RoundTrip(req)
		require.ErrorIs(t, err, route.ErrTLSName)
		var unsent *route.NotSentError
		require.ErrorAs(t, err, &unsent)
		assert.True(t, unsent.Unsent())
		assert.True(t, closed)
		assert.Nil(t, base.got)
	}
	base := new(recorded)
	next := route.MustNew(route.Config{Names: []string{"shop"}, Hosts: hostsAt("h:1")}).Transport(base)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://elsewhere/", nil)
	require.NoError(t, err)
	resp, err := next.RoundTrip(req)
	require.NoError(t, err, "what is for others is theirs")
	resp.Body.Close()
	assert.Same(t, req, base.got)
}

type closeHook struct {
	io.Reader
	hook func()
}

func (c closeHook) Close() error { c.hook(); return nil }

// A redirect to somewhere else is followed there, its signed query unchanged byte for
// byte; one to the own name is routed, and one to a replica's address goes to that.
func TestRequirement1Redirects(t *testing.T) {
	const signed = "/o%2Fbject?X-Sig=a%2Bb%2f+c==&b=2&a=1&&z"
	var uri, host string
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uri, host = r.RequestURI, r.Host
		_, _ = io.WriteString(w, "foreign")
	}))
	defer foreign.Close()
	replicas := make([]*httptest.Server, 3)
	for i := range replicas {
		replicas[i] = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/foreign":
				w.Header().Set("Location", foreign.URL+signed)
				w.WriteHeader(http.StatusFound)
			case "/own":
				http.SetCookie(w, &http.Cookie{Name: "seen", Value: "1"})
				http.Redirect(w, r, "/here", http.StatusFound)
			case "/replica":
				http.Redirect(w, r, replicas[2].URL+"/here", http.StatusFound)
			default:
				_, err := r.Cookie("seen")
				_, _ = io.WriteString(w, r.Host+" "+map[bool]string{true: "with", false: "without"}[err == nil]+" cookie")
			}
		}))
		t.Cleanup(replicas[i].Close)
	}
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	pool := route.MustNew(route.Config{Names: []string{"shop.example"}, Hosts: hostsAt(
		strings.TrimPrefix(replicas[0].URL, "http://"), strings.TrimPrefix(replicas[1].URL, "http://"),
		strings.TrimPrefix(replicas[2].URL, "http://"),
	)})
	defer pool.Close(t.Context())
	client := &http.Client{Transport: pool.Transport(patient(t)), Jar: jar}
	defer client.CloseIdleConnections()
	fetch := func(path string) string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://shop.example"+path, nil)
		require.NoError(t, err)
		resp, err := client.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		content, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(content)
	}
	for range 10 {
		assert.Equal(t, "foreign", fetch("/foreign"))
		assert.Equal(t, signed, uri)
		assert.Equal(t, strings.TrimPrefix(foreign.URL, "http://"), host)
	}
	third := strings.TrimPrefix(replicas[2].URL, "http://")
	assert.Equal(t, third+" without cookie", fetch("/replica"))
	assert.Equal(t, "shop.example with cookie", fetch("/own"), "cookies are those of the service")
	assert.Equal(t, "shop.example with cookie", fetch("/here"))
	for _, h := range pool.Snapshot().Hosts {
		assert.Zero(t, h.InFlight)
	}
}
