package outcome

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// RetryAfter reads the response's Retry-After (RFC 9110, section 10.2.3):
// seconds, fractions of a second (beyond the RFC, but servers send them) or an
// HTTP date. A date is measured against the response's own Date where it has
// one, so that the two clocks need not agree. What is negative, past, zero or
// malformed is no hint; what overflows is the longest duration there is, so
// that it stands above every bound.
func RetryAfter(header http.Header, now time.Time) (wait time.Duration, ok bool) {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if value == "" {
		return 0, false
	}
	if number, isNumber := seconds(value); isNumber {
		return number, number > 0
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		now = date
	}
	wait = max(at.Sub(now), 0) // Sub saturates
	return wait, wait > 0
}

// seconds reads digits with an optional fraction. It is stricter than
// strconv.ParseFloat, which would also take "1e9", "0x1p4" and "Inf".
func seconds(value string) (wait time.Duration, isNumber bool) {
	for i := range len(value) {
		if c := value[i]; (c < '0' || c > '9') && c != '.' {
			return 0, false
		}
	}
	s, err := strconv.ParseFloat(value, 64)
	if err != nil && !math.IsInf(s, 1) { // too large for a float is still a number
		return 0, false
	}
	if s >= float64(math.MaxInt64)/float64(time.Second) {
		return math.MaxInt64, true
	}
	return time.Duration(s * float64(time.Second)), true
}
