package policy_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/stale/internal/policy"
)

// What is asked on every hit costs next to nothing.
func TestAllocationsOfAHit(t *testing.T) {
	browser := header("Accept: text/html", "Accept-Encoding: gzip, deflate, br, zstd", "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
		"User-Agent: x", "X-Forwarded-For: 192.0.2.1", "X-Request-Id: 1", "From: me")
	reload := header("Cache-Control: max-age=0, no-cache", "Pragma: no-cache")
	conditional := header(`If-None-Match: "b", "a"`, "If-Modified-Since: "+at(0))
	stored := header(`Etag: "a"`, "Last-Modified: "+at(-time.Hour))
	terms := read(shared, "Cache-Control: max-age=60, stale-while-revalidate=10")
	d := policy.Defaults{StaleIfError: time.Hour}
	names := []string{"Accept-Encoding", "Accept-Language"}
	u := &url.URL{Path: "/a/b/c.html", RawQuery: "d=e%2f"}
	for _, tt := range []struct {
		name string
		most float64
		do   func()
	}{
		{"ReadRequest", 0, func() { policy.ReadRequest(browser) }},
		{"ReadRequest of a reload", 0, func() { policy.ReadRequest(reload) }},
		{"Judge", 0, func() { terms.Judge(none, d, noon, noon.Add(65*time.Second)) }},
		{"Forwarded", 0, func() { policy.Forwarded(browser) }},
		{"OverridesMethod", 0, func() { policy.OverridesMethod(browser) }},
		{"Deceptive", 0, func() { policy.Deceptive(u, "/a/b/c.html?d=e%2f") }},
		{"Ask for nothing", 0, func() { policy.Ask(nil, browser) }},
		{"Ask", 1, func() { policy.Ask(names, browser) }},
		{"NotModified", 0, func() { policy.NotModified(conditional, stored, http.StatusOK) }},
		{"NotModified without conditions", 0, func() { policy.NotModified(browser, stored, http.StatusOK) }},
		{"HasValidator", 0, func() { policy.HasValidator(stored) }},
		{"Key", 1, func() { policy.Key("s", "http", "Example.com:80", u) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			assert.LessOrEqual(t, testing.AllocsPerRun(100, tt.do), tt.most)
		})
	}
}
