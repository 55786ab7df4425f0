package stale

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// trailerOf collects what a handler has set for after the body: what it announced in
// Trailer, and what it marked by http.TrailerPrefix.
func trailerOf(sent, after http.Header) http.Header {
	var trailer http.Header
	add := func(name string, values []string) {
		if trailer == nil {
			trailer = make(http.Header)
		}
		trailer[name] = slices.Clone(values)
	}
	for _, line := range sent["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if values := after[name]; values != nil {
				add(name, values)
			}
		}
	}
	for name := range maps.Keys(after) {
		if rest, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			add(http.CanonicalHeaderKey(rest), after[name])
		}
	}
	return trailer
}

func announce(header, trailer http.Header) {
	header["Trailer"] = []string{strings.Join(slices.Sorted(maps.Keys(trailer)), ", ")}
}

// setTrailer sets the fields that come after the body.
func setTrailer(header, trailer http.Header) {
	for name, values := range trailer {
		header[http.TrailerPrefix+name] = values
	}
}
