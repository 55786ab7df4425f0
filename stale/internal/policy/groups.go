package policy

import (
	"net/http"
	"slices"
)

// ReadGroups reads the groups of RFC 9875 out of the field name, Cache-Groups or
// Cache-Group-Invalidation. A field with an error in it names none, and so does
// one past the bounds: part of a list would leave stale what was to be purged,
// or mark it for purges that do not concern it.
func ReadGroups(h http.Header, name string) []string {
	const (
		mostGroups = 128 // RFC 9875 asks for 32 at least,
		mostBytes  = 128 // of 32 bytes.
	)
	lines := h[name]
	if len(lines) == 0 {
		return nil
	}
	p := newParser(lines)
	if p.done() {
		return nil
	}
	var groups []string
	for {
		it, ok := p.member()
		if !ok || it.kind != kindString || len(it.text) > mostBytes || len(groups) == mostGroups {
			return nil
		}
		if !slices.Contains(groups, it.text) {
			groups = append(groups, it.text)
		}
		more, fine := p.comma()
		if !fine {
			return nil
		}
		if !more {
			return groups
		}
	}
}
