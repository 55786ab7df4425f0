package policy

import (
	"net/http"
	"net/url"
	"strings"
)

// Invalidates says whether the answer to a request makes what is stored for its
// URL doubtful, RFC 9111, 4.4: success of any method that is not known to be
// safe.
func Invalidates(method string, status int) bool {
	return !IsSafe(method) && status >= 200 && status < 400
}

// IsSafe says whether a method is known to change nothing. Methods are case
// sensitive: get is unknown.
func IsSafe(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace,
		"PROPFIND", "REPORT", "SEARCH", "QUERY":
		return true
	default:
		return false
	}
}

// SameOrigin resolves a Location or Content-Location and says whether what it
// refers to has the origin of base: an answer may invalidate there, and nowhere
// else.
func SameOrigin(base *url.URL, ref string) (*url.URL, bool) {
	target, err := base.Parse(trim(ref))
	if err != nil || ref == "" || target.Host == "" {
		return nil, false
	}
	same := strings.EqualFold(base.Scheme, target.Scheme) &&
		strings.EqualFold(Host(base.Scheme, base.Host), Host(target.Scheme, target.Host))
	if !same {
		return nil, false
	}
	target.Fragment, target.RawFragment, target.User = "", "", nil
	return target, true
}
