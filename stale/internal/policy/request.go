package policy

import (
	"math"
	"net/http"
	"strings"
	"time"
)

// Request is what a request asks of a cache. Its zero value asks for an age of
// 0; a request that asks for nothing is ReadRequest(nil).
type Request struct {
	NoCache, NoStore, OnlyIfCached bool

	// Each is Absent where the request does not say. MaxStale without a value is
	// the largest Duration.
	MaxAge, MinFresh, MaxStale, StaleIfError time.Duration
}

// ReadRequest reads Cache-Control, and Pragma for want of it. What makes no
// sense is left out: it was a wish.
func ReadRequest(h http.Header) Request {
	r := Request{MaxAge: Absent, MinFresh: Absent, MaxStale: Absent, StaleIfError: Absent}
	lines, ok := h["Cache-Control"]
	if !ok {
		r.NoCache = asksPragma(h["Pragma"])
		return r
	}
	for _, line := range lines {
		for line != "" {
			var member string
			member, line, _, _ = cutMember(line, ",;")
			r.add(readDirective(member))
		}
	}
	return r
}

// add takes the stricter of two values for the same wish.
func (r *Request) add(name string, a argument) {
	switch name {
	case "no-cache":
		r.NoCache = true
	case noStore:
		r.NoStore = true
	case "only-if-cached":
		r.OnlyIfCached = true
	case maxAge:
		r.MaxAge = stricter(r.MaxAge, a.seconds(), false)
	case "min-fresh":
		r.MinFresh = stricter(r.MinFresh, a.seconds(), true)
	case "max-stale":
		d := a.seconds()
		if !a.given {
			d = math.MaxInt64
		}
		r.MaxStale = stricter(r.MaxStale, d, false)
	case staleIfError:
		r.StaleIfError = stricter(r.StaleIfError, a.seconds(), false)
	}
}

func stricter(before, now time.Duration, larger bool) time.Duration {
	switch {
	case now < 0:
		return before
	case before == Absent:
		return now
	case larger:
		return max(before, now)
	default:
		return min(before, now)
	}
}

func asksPragma(lines []string) bool {
	for _, line := range lines {
		for line != "" {
			var member string
			member, line, _, _ = cutMember(line, ",")
			if strings.EqualFold(trim(member), "no-cache") {
				return true
			}
		}
	}
	return false
}
