package policy

import (
	"net/http"
	"net/textproto"
	"strings"
)

// StripHopByHop removes from h what concerns one connection only and must not be
// stored (RFC 9111, 3.1): fields known as such, and those that Connection names.
// Trailer goes too: the trailers that come with a stored response are announced
// by whoever sends them.
func StripHopByHop(h http.Header) {
	for _, line := range h["Connection"] {
		for line != "" {
			name, rest, _ := strings.Cut(line, ",")
			line = rest
			name = textproto.CanonicalMIMEHeaderKey(trim(name))
			if !isEssential(name) {
				delete(h, name)
			}
		}
	}
	for _, name := range [...]string{
		"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info",
		"Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	} {
		delete(h, name)
	}
}
