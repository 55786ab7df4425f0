package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"
)

// mostKey is up to which length path and query are in the key as they are.
const mostKey = 2048

// Key is what a response is stored under, but for its variant: a prefix, which
// keeps apart what must not meet, and the URL, with everything in normal form
// that no server can take for a different one. Of u only path and query count:
// the host is the one that the request is for.
//
// It is the text and no hash of it, so that two URLs cannot share a key, and so
// that a key tells what it is for. Only the tail of what is longer than 2 KiB is
// a digest; a # before the scheme tells such keys from all others.
func Key(prefix, scheme, host string, u *url.URL) string {
	host = Host(scheme, host)
	path := u.EscapedPath()
	switch {
	case u.Opaque != "":
		path = u.Opaque // A request goes there, and not to Path.
	case path == "":
		path = "/"
	}
	if len(path)+len(u.RawQuery) > mostKey {
		return longKey(prefix, scheme, host, path, u)
	}
	var b strings.Builder
	b.Grow(len(prefix) + len(scheme) + len("://#?") + len(host) + len(path) + len(u.RawQuery))
	b.WriteString(prefix)
	writeOrigin(&b, scheme, host)
	writeTarget(&b, path, u)
	return b.String()
}

func longKey(prefix, scheme, host, path string, u *url.URL) string {
	const head = mostKey / 2
	var b, target strings.Builder
	writeTarget(&target, path, u)
	sum := sha256.Sum256([]byte(target.String()))
	b.WriteString(prefix)
	b.WriteByte('#')
	writeOrigin(&b, scheme, host)
	b.WriteString(target.String()[:head])
	b.WriteByte('#')
	b.WriteString(hex.EncodeToString(sum[:]))
	return b.String()
}

func writeOrigin(b *strings.Builder, scheme, host string) {
	writeLower(b, scheme)
	b.WriteString("://")
	writeAuthority(b, host)
}

// writeAuthority encodes what would end the host before its end: HTTP/2 lets a
// client send a/b as one, and its /c is not the /b/c of a.
func writeAuthority(b *strings.Builder, host string) {
	const digits = "0123456789ABCDEF"
	for i := range len(host) {
		switch c := host[i]; {
		case c <= ' ', strings.IndexByte("/?#\\@", c) >= 0:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&0xf])
		default:
			b.WriteByte(lower(c))
		}
	}
}

// writeTarget tells an empty query from none, as servers do. A # keeps what does not
// begin with a slash, http:a/ for one, from being taken for the host of http://a/.
func writeTarget(b *strings.Builder, path string, u *url.URL) {
	if path[0] != '/' {
		b.WriteByte('#')
	}
	writeEscapes(b, path)
	if u.RawQuery != "" || u.ForceQuery {
		b.WriteByte('?')
		writeEscapes(b, u.RawQuery)
	}
}

// Host is the authority of a URL without the port that goes without saying and
// without the dot of the root zone. Its case is left alone.
func Host(scheme, host string) string {
	name, port := splitPort(host)
	if isDefaultPort(scheme, port) {
		port = ""
	}
	plain := strings.TrimSuffix(name, ".")
	switch {
	case port != "" && plain != name:
		return plain + ":" + port
	case port != "":
		return host
	default:
		return plain
	}
}

// splitPort splits at the last colon outside of an IPv6 address.
func splitPort(host string) (name, port string) {
	colon := strings.LastIndexByte(host, ':')
	if colon < 0 || strings.IndexByte(host[colon:], ']') >= 0 {
		return host, ""
	}
	return host[:colon], host[colon+1:]
}

func isDefaultPort(scheme, port string) bool {
	switch {
	case strings.EqualFold(scheme, "http"):
		return port == "80"
	case strings.EqualFold(scheme, "https"):
		return port == "443"
	default:
		return false
	}
}

func writeLower(b *strings.Builder, s string) {
	for i := range len(s) {
		b.WriteByte(lower(s[i]))
	}
}

// writeEscapes writes s with the digits of its percent-encodings in upper case.
// Nothing is decoded: RFC 3986 calls %41 and A equivalent, servers do not always.
func writeEscapes(b *strings.Builder, s string) {
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 || len(s)-i < 3 {
			b.WriteString(s)
			return
		}
		b.WriteString(s[:i+1])
		if isHex(s[i+1]) && isHex(s[i+2]) {
			b.WriteByte(upper(s[i+1]))
			b.WriteByte(upper(s[i+2]))
			s = s[i+3:]
		} else {
			s = s[i+1:]
		}
	}
}

func upper(c byte) byte {
	if isLower(c) {
		return c &^ 0x20
	}
	return c
}
