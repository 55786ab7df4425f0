package policy

import (
	"net/http"
	"slices"
	"time"
)

// isStorable says whether a response with this status can be stored if it says
// so itself. 206 and 304 are parts of something else, and RFC 6585 forbids four.
func isStorable(status int) bool {
	switch status {
	case http.StatusPartialContent, http.StatusNotModified,
		http.StatusPreconditionRequired, http.StatusTooManyRequests,
		http.StatusRequestHeaderFieldsTooLarge, http.StatusNetworkAuthenticationRequired:
		return false
	default:
		return status >= 200 && status <= 599
	}
}

// isUnderstood says for must-understand of which statuses it is known what they
// ask of a cache: those that RFC 9110 defines, and 451.
func isUnderstood(status int) bool {
	switch {
	case status >= 200 && status <= 205, status >= 300 && status <= 305, status == 307, status == 308,
		status >= 400 && status <= 417, status == 421, status == 422, status == 426, status == 451,
		status >= 500 && status <= 505:
		return true
	default:
		return false
	}
}

// dropped lists the fields that no-cache= and private= except from storing. To
// store the former until revalidation would be allowed; nobody could use them.
func dropped(rules Rules, c *control) []string {
	if !rules.Shared {
		return c.withoutRevalidation
	}
	names := c.withoutRevalidation
	for _, name := range c.outsidePrivate {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func setsCookie(h http.Header, drop []string) bool {
	const name = "Set-Cookie" // Set-Cookie2 is history: RFC 6265, and no user agent acts on it
	return len(h[name]) > 0 && !slices.Contains(drop, name)
}

// HasValidator says whether a response can be revalidated.
func HasValidator(h http.Header) bool {
	if _, ok := entityTag(h); ok {
		return true
	}
	_, _, ok := dateOf(h, lastModified, time.Time{})
	return ok
}

// Stored returns a copy of a response's header as it may be stored: without what
// belongs to the connection, and without the fields in drop, which are those of
// [Terms].Drop.
func Stored(h http.Header, drop ...string) http.Header {
	stored := h.Clone()
	if stored == nil {
		stored = make(http.Header)
	}
	StripHopByHop(stored)
	for _, name := range drop {
		delete(stored, name)
	}
	return stored
}
