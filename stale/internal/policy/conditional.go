package policy

import (
	"net/http"
	"strings"
	"time"
)

// entityTag is the one ETag of a response.
func entityTag(h http.Header) (string, bool) {
	lines := h["Etag"]
	if len(lines) != 1 {
		return "", false
	}
	tag := trim(lines[0])
	return tag, tag != ""
}

// Validators makes a request conditional on the stored response: it removes from
// into what the client itself was asking under conditions or in part, and sets
// If-None-Match and If-Modified-Since. It returns false, with the former removed
// all the same, where the response has nothing to ask by.
func Validators(stored, into http.Header) bool {
	Unconditional(into)
	tag, ok := entityTag(stored)
	if ok {
		into["If-None-Match"] = []string{tag}
	}
	if _, _, valid := dateOf(stored, lastModified, time.Time{}); valid {
		into["If-Modified-Since"] = stored[lastModified][:1:1]
		ok = true
	}
	return ok
}

// Unconditional removes conditions and ranges: a fetch is for the whole
// response, whoever gets what part of it.
func Unconditional(h http.Header) {
	for _, name := range [...]string{
		"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range",
	} {
		delete(h, name)
	}
}

// NotModified says whether the client's own conditions make the answer a 304
// where the stored response would be: RFC 9111, 4.3.2. The request must be a GET
// or HEAD. If-Match and If-Unmodified-Since are for origins.
func NotModified(req, stored http.Header, status int) bool {
	if status != http.StatusOK {
		return false
	}
	if lines, ok := req["If-None-Match"]; ok {
		tag, _ := entityTag(stored)
		return matches(lines, tag)
	}
	lines := req["If-Modified-Since"]
	if len(lines) != 1 {
		return false
	}
	changed, ok := lastChange(stored)
	since, valid := readDate(lines[0], changed)
	return ok && valid && !changed.After(since)
}

// lastChange is Last-Modified, or for want of it Date.
func lastChange(stored http.Header) (time.Time, bool) {
	name := lastModified
	if len(stored[name]) == 0 {
		name = "Date"
	}
	t, _, ok := dateOf(stored, name, time.Time{})
	return t, ok
}

// matches compares weakly, as RFC 9110, 13.1.2, has If-None-Match do it. A tag
// without quotes is none, but equals itself: some origins send such.
func matches(lines []string, tag string) bool {
	for _, line := range lines {
		for line != "" {
			member, rest, _ := cutTag(line)
			line = rest
			if member == "*" || tag != "" && opaque(member) == opaque(tag) {
				return true
			}
		}
	}
	return false
}

// cutTag cuts at a comma outside of quotes. A backslash is a character like any
// other in an entity tag, which is why cutMember does not do.
func cutTag(list string) (member, rest string, more bool) {
	quoted := false
	for i := range len(list) {
		switch list[i] {
		case '"':
			quoted = !quoted
		case ',':
			if !quoted {
				return trim(list[:i]), list[i+1:], true
			}
		}
	}
	return trim(list), "", false
}

func opaque(tag string) string { return strings.TrimPrefix(tag, "W/") }

func isWeak(tag string) bool { return strings.HasPrefix(tag, "W/") }

// Header304 is what a 304 to the client carries: all of the stored header but
// what describes the body that does not come.
func Header304(stored http.Header) http.Header {
	h := make(http.Header, len(stored))
	_, tagged := entityTag(stored)
	for name, lines := range stored {
		switch name {
		case "Content-Length", "Content-Type", "Content-Encoding", "Content-Language", "Content-Range",
			"Content-Md5", "Content-Digest", "Transfer-Encoding", "Trailer":
		case lastModified:
			if !tagged {
				h[name] = lines
			}
		default:
			h[name] = lines
		}
	}
	return h
}
