package policy_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale/internal/policy"
)

func key(t *testing.T, text string) string {
	t.Helper()
	u, err := url.Parse(text)
	require.NoError(t, err)
	return policy.Key("", u.Scheme, u.Host, u)
}

func TestPitfall20KeysThatAreTheSame(t *testing.T) {
	for _, pair := range [][2]string{
		{"http://example.com", "http://EXAMPLE.com/"},
		{"http://example.com/", "http://example.com:80/"},
		{"https://example.com/", "HTTPS://example.com:443/"},
		{"http://example.com/", "http://example.com./"},
		{"http://example.com/", "http://example.com.:80/"},
		{"http://example.com/", "http://example.com:/"},
		{"http://[2001:DB8::1]/", "http://[2001:db8::1]:80/"},
		{"http://example.com/%c3%a9?x=%2f", "http://example.com/%C3%A9?x=%2F"},
		{"ftp://example.com:21/a?b=%", "FTP://example.com:21/a?b=%"},
		{"http://example.com/#a", "http://example.com/#b"},
		{"http://u:p@example.com/", "http://example.com/"},
	} {
		assert.Equal(t, key(t, pair[0]), key(t, pair[1]))
	}
	assert.Equal(t, "https://example.com:8443/a?b=C%2F", key(t, "https://Example.com.:8443/a?b=C%2f"), "a key can be read")
}

func TestPitfall18KeysThatDiffer(t *testing.T) {
	texts := []string{
		"http://example.com/", "https://example.com/", "http://example.com:443/", "https://example.com:80/",
		"http://example.org/", "http://www.example.com/", "http://example.com:8080/", "http://example.com/a",
		"http://example.com/A", "http://example.com/a/", "http://example.com/a?", "http://example.com/a?b",
		"http://example.com/a?B", "http://example.com/a?b=1&c=2", "http://example.com/a?c=2&b=1",
		"http://example.com/%61", "http://example.com/a%2Fb", "http://example.com/a/b", "http://example.com//a",
		"http://[::1]/", "http://[::1]:8080/", "http://example.com/?a%20b", "http://example.com/?a+b",
		"http://example.com/" + strings.Repeat("a", 5000), "http://example.com/" + strings.Repeat("a", 5001),
		"http://example.com/a?" + strings.Repeat("a", 5000), "http://example.com/?a" + strings.Repeat("a", 5000),
		"http://example.com/" + strings.Repeat("a", 4000) + "?" + strings.Repeat("a", 1000),
	}
	seen := map[string]string{}
	for _, text := range texts {
		k := key(t, text)
		assert.Empty(t, seen[k], text)
		assert.Less(t, len(k), 2200)
		seen[k] = text
	}
	u := &url.URL{Path: "/"}
	assert.NotEqual(t, policy.Key("client", "http", "example.com", u), policy.Key("server", "http", "example.com", u))
}

// What is sent must not be made to look like a digest of something else.
func TestPitfall21LongKeysCannotBeForged(t *testing.T) {
	long := key(t, "http://example.com/"+strings.Repeat("a", 5000))
	path := strings.TrimPrefix(long, "#http://example.com")
	forged := policy.Key("", "http", "example.com", &url.URL{Path: path[:1025], RawQuery: path[1025:]})
	assert.NotEqual(t, long, forged)
	for _, raw := range []string{path, "/#" + path} {
		assert.NotEqual(t, long, policy.Key("", "http", "example.com", &url.URL{Path: "/", RawPath: raw, RawQuery: raw}))
	}
}

func TestPitfall19Deceptive(t *testing.T) {
	for raw, want := range map[string]bool{
		"/":                      false,
		"":                       false,
		"/account/home.css":      false,
		"/a.b/c..d/...":          false,
		"/a/.well-known/x":       false,
		"/%C3%A9/100%25":         false,
		"/a%20b+c,d=e@f:g":       false,
		"/a?x=;&y=..%2f%5c":      false,
		"/a?x=/../":              false,
		"*":                      false,
		"/account;x.css":         true,
		"/account%3bx.css":       true,
		"/account%3Fx.css":       true,
		"/account%23x.css":       true,
		"/account%00x.css":       true,
		"/account%0ax.css":       true,
		"/account%7f":            true,
		"/a%2fb":                 true,
		"/a%2Fb":                 true,
		`/a\b`:                   true,
		"/a%5cb":                 true,
		"/a/../b":                true,
		"/a/..":                  true,
		"/./a":                   true,
		"/a/%2e%2E/b":            true,
		"/a/.%2e":                true,
		"/%2e":                   true,
		"/%252e%252e/":           true,
		"/%c0%ae%c0%ae/":         true,
		"/%c1%9c":                true,
		"/%":                     true,
		"/%zz":                   true,
		"/\x00":                  true,
		"account":                true,
		"/a#b":                   true,
		strings.Repeat("/a", 50): false,
	} {
		u := &url.URL{Path: "/plain"}
		if !strings.HasPrefix(raw, "/") {
			u = &url.URL{Path: raw}
		}
		assert.Equal(t, want, policy.Deceptive(u, raw), "%q", raw)
	}
	u, err := url.Parse("http://example.com/a%2fb")
	require.NoError(t, err)
	assert.True(t, policy.Deceptive(u, ""), "a client has no raw target")
	assert.True(t, policy.Deceptive(u, "http://example.com/a%2fb"), "a proxy's is a whole URL")
}

func TestPitfall18Forwarded(t *testing.T) {
	for _, lines := range [][]string{
		{"X-Forwarded-Host: evil"},
		{"X-Forwarded-Proto: http"},
		{"X-Forwarded-Scheme: http"},
		{"X-Forwarded-Port: 1"},
		{"X-Forwarded-Prefix: /evil"},
		{"X-Forwarded-Server: evil"},
		{"X-Host: evil"},
		{"X-Original-Url: /evil"},
		{"X-Rewrite-Url: /evil"},
		{"X-Original-Host: evil"},
		{"Forwarded: host=evil"},
		{"Forwarded: proto=http"},
		{"X-Http-Method-Override: POST"},
		{"X-Forwarded-Host: "},
		{"Forwarded: for=a;host"},
		{"X-Forwarded-Host: " + strings.Repeat("a", 100_000)},
	} {
		got := policy.Forwarded(header(lines...))
		assert.NotEmpty(t, got, "%.40q", lines)
		assert.Less(t, len(got), 1100)
	}
	for _, lines := range [][]string{
		nil, {"X-Forwarded-For: 192.0.2.1"}, {"X-Request-Id: 1"}, {"From: me"}, {"Accept: */*"},
	} {
		assert.Empty(t, policy.Forwarded(header(lines...)), "%q", lines)
	}
	assert.NotEmpty(t, policy.Forwarded(http.Header{"x-forwarded-host": {"evil"}}), "as it may go out over HTTP/1")

	a := policy.Forwarded(header("X-Forwarded-Host: a", "X-Forwarded-Proto: b"))
	assert.Equal(t, a, policy.Forwarded(header("X-Forwarded-Proto: b", "X-Forwarded-Host: a", "X-Forwarded-For: c")))
	assert.NotEqual(t, a, policy.Forwarded(header("X-Forwarded-Host: b", "X-Forwarded-Proto: a")))
	assert.NotEqual(t, a, policy.Forwarded(header("X-Forwarded-Host: a")))

	assert.Equal(t, policy.Forwarded(header("Forwarded: for=1;host=a")), policy.Forwarded(header("Forwarded: Host=a; for=2;by=3")))
	assert.NotEqual(t, policy.Forwarded(header("Forwarded: host=a")), policy.Forwarded(header("Forwarded: host=b")))
	assert.NotEqual(t, policy.Forwarded(header("Forwarded: host=a")), policy.Forwarded(header("Forwarded: proto=a")))
	assert.NotEqual(t, policy.Forwarded(header(`Forwarded: host="a,b`)), policy.Forwarded(header(`Forwarded: host="a,c`)))
}

func TestPitfall18OverridesMethod(t *testing.T) {
	assert.False(t, policy.OverridesMethod(header("X-Forwarded-Host: a", "Accept: x")))
	assert.False(t, policy.OverridesMethod(header("X-Http-Method-Override: get")), "which is what it is")
	for _, line := range []string{"X-Http-Method-Override: DELETE", "X-HTTP-Method: HEAD", "X-Method-Override: "} {
		assert.True(t, policy.OverridesMethod(header(line)), line)
	}
	assert.True(t, policy.OverridesMethod(http.Header{"x-method-override": {"POST"}}))
	assert.True(t, policy.OverridesMethod(header("X-Http-Method: GET", "X-Http-Method: PUT")))
}

func TestPitfall24Invalidates(t *testing.T) {
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "get", "X"} {
		for status, want := range map[int]bool{101: false, 200: true, 204: true, 303: true, 399: true, 400: false, 404: false, 500: false} {
			assert.Equal(t, want, policy.Invalidates(method, status), "%s %d", method, status)
		}
	}
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PROPFIND", ""} {
		assert.False(t, policy.Invalidates(method, 200), method)
	}
}

func TestPitfall24SameOrigin(t *testing.T) {
	base, err := url.Parse("http://Example.com/a/b?c")
	require.NoError(t, err)
	for ref, want := range map[string]string{
		"/x":                          "http://Example.com/x",
		"x?y":                         "http://Example.com/a/x?y",
		"?y":                          "http://Example.com/a/b?y",
		"\t/x\t":                      "http://Example.com/x",
		"/x#y":                        "http://Example.com/x",
		"http://example.com:80/x":     "http://example.com:80/x",
		"//example.com./x":            "http://example.com./x",
		"http://u:p@example.com/x":    "http://example.com/x",
		"":                            "",
		"https://example.com/x":       "",
		"http://example.com:8080/x":   "",
		"http://example.org/x":        "",
		"//evil/x":                    "",
		"http://example.com.evil/x":   "",
		"mailto:x":                    "",
		"http://[::1":                 "",
		"/%zz":                        "",
		"http://example.com@evil/x":   "",
		"http:x":                      "",
		"http://example.com:080/x":    "",
		"\x7f":                        "",
		"http://example.com\\@evil/x": "",
	} {
		u, ok := policy.SameOrigin(base, ref)
		assert.Equal(t, want != "", ok, "%q", ref)
		if ok && want != "" {
			assert.Equal(t, want, u.String(), "%q", ref)
		}
	}
}

// A client of HTTP/2 may send any text as the host.
func TestPitfall18HostsThatLookLikePaths(t *testing.T) {
	keyOf := func(host, path string) string { return policy.Key("", "http", host, &url.URL{Path: path}) }
	for _, c := range [][3]string{
		{"a/b", "/c", "/b/c"},
		{"a?b", "/c", "/?b/c"},
		{`a\b`, "/c", `/b/c`},
	} {
		u, err := url.Parse("http://a" + c[2])
		require.NoError(t, err)
		assert.NotEqual(t, keyOf(c[0], c[1]), policy.Key("", "http", "a", u), c[0])
	}
	assert.NotEqual(t, keyOf("a@b", "/"), keyOf("b", "/"))
}

// The path of such a URL is empty, and the request is for something else.
func TestPitfall19Opaque(t *testing.T) {
	one, err := url.Parse("http:one")
	require.NoError(t, err)
	two := &url.URL{Scheme: "http", Host: "example.com", Opaque: "//example.com/two"}
	keys := map[string]bool{key(t, "http://example.com/"): true}
	for _, u := range []*url.URL{one, two} {
		assert.True(t, policy.Deceptive(u, ""))
		assert.True(t, policy.Deceptive(u, u.String()))
		k := policy.Key("", "http", "example.com", u)
		assert.False(t, keys[k], "what it is for is in the key: a purge finds it, and nothing else")
		keys[k] = true
	}
}

func TestPitfall18ForwardedIdentities(t *testing.T) {
	for _, line := range []string{
		"X-Forwarded-User: a", "X-Forwarded-Email: a", "X-Forwarded-Access-Token: a", "X-Forwarded-Client-Cert: a",
		"X-Forwarded-Something-New: a",
	} {
		assert.NotEmpty(t, policy.Forwarded(header(line)), line)
	}
}

// What some read as another pair is not left out.
func TestPitfall18ForwardedThatIsReadTwoWays(t *testing.T) {
	for _, text := range []string{"host =%s", "for=x host=%s", "for=x;host= %s", "=;host\t=%s", "for=;host =%s"} {
		evil := policy.Forwarded(header("Forwarded: " + strings.Replace(text, "%s", "evil", 1)))
		good := policy.Forwarded(header("Forwarded: " + strings.Replace(text, "%s", "good", 1)))
		assert.NotEqual(t, good, evil, text)
	}
	plain := policy.Forwarded(header(`Forwarded: for="[2001:db8::1]:4711"; host=a`))
	assert.Equal(t, plain, policy.Forwarded(header("Forwarded: for=192.0.2.1:8080;host=a;")), "clients share")
}
