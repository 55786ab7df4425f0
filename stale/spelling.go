package stale

import (
	"crypto/sha256"
	"net/http"
	"net/url"
	"strings"

	"github.com/failsoft/failsoft/stale/internal/policy"
)

// isCanonical reports whether all names in a header are spelled as http.Header has
// them. A server makes them so; who fills a header by hand need not.
func isCanonical(header http.Header) bool {
	for name := range header {
		if name != http.CanonicalHeaderKey(name) {
			return false
		}
	}
	return true
}

// spelling is Host and the target as the client has them, where that is not how the
// key has them: a handler may see them as they came, and answer differently. The
// target differs where something further out, http.StripPrefix for one, has changed it.
func (r *role) spelling(req *http.Request) (text string) {
	if !r.server {
		return ""
	}
	scheme, host := r.originOf(req)
	if host != policy.Host(scheme, host) || strings.ToLower(host) != host {
		text = "\x00host=" + host
	}
	if req.RequestURI != "" && !isTarget(req.RequestURI, req.URL) {
		text += "\x00target=" + req.RequestURI
	}
	return text
}

// user stands for the credentials of a request in a private cache, which is for one
// user agent, but is all too easily put behind a service that calls for several users.
func (r *role) user(header http.Header) string {
	if r.rules.Shared || len(header["Authorization"]) == 0 {
		return ""
	}
	sum := sha256.Sum256([]byte(strings.Join(header["Authorization"], "\x00")))
	return "\x00user=" + string(sum[:])
}

// isTarget reports whether a URL says what the target of its request does.
func isTarget(target string, u *url.URL) bool {
	rest, same := strings.CutPrefix(target, u.EscapedPath())
	if rest == "" {
		return same && u.RawQuery == ""
	}
	return same && rest[0] == '?' && rest[1:] == u.RawQuery
}
