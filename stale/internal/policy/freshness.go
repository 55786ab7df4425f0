package policy

import (
	"net/http"
	"strings"
	"time"
)

// heuristicMost bounds what is only guessed.
const heuristicMost = 24 * time.Hour

// lifetime is the freshness lifetime of RFC 9111, 4.2.1, and whether the
// response itself has named it, be it so that it makes no sense.
func lifetime(rules Rules, c *control, status int, h http.Header, received time.Time) (d time.Duration, explicit bool) {
	switch {
	case rules.Shared && c.sMaxAge != Absent:
		d, explicit = c.sMaxAge, true
	case c.maxAge != Absent:
		d, explicit = c.maxAge, true
	case c.targeted:
	default:
		d, explicit = untilExpiry(h, received)
	}
	if explicit && c.unsure {
		d = 0
	}
	if !explicit && rules.Heuristic && !c.unsure && (c.public || isHeuristic(status)) {
		d = guess(h, received)
	}
	return max(d, 0), explicit
}

func untilExpiry(h http.Header, received time.Time) (time.Duration, bool) {
	expires, given, ok := dateOf(h, "Expires", received)
	if !ok {
		return 0, given
	}
	return min(expires.Sub(dateOrReceipt(h, received)), longest), true
}

// dateOrReceipt is when the response was generated, as far as can be known.
func dateOrReceipt(h http.Header, received time.Time) time.Time {
	if date, _, ok := dateOf(h, "Date", received); ok {
		return date
	}
	return received
}

// guess takes a tenth of the time for which the response had not changed, as
// RFC 9111, 4.2.2, suggests. Pragma: no-cache has no meaning in a response, but
// who sends it does not want a guess.
func guess(h http.Header, received time.Time) time.Duration {
	modified, _, ok := dateOf(h, lastModified, received)
	if !ok || asksPragma(h["Pragma"]) {
		return 0
	}
	return min(max(dateOrReceipt(h, received).Sub(modified), 0)/10, heuristicMost)
}

// isHeuristic says which statuses RFC 9110, 15.1, calls heuristically cacheable,
// but for 206.
func isHeuristic(status int) bool {
	switch status {
	case http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusNoContent,
		http.StatusMultipleChoices, http.StatusMovedPermanently, http.StatusPermanentRedirect,
		http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone,
		http.StatusRequestURITooLong, http.StatusNotImplemented:
		return true
	default:
		return false
	}
}

// initialAge is corrected_initial_age of RFC 9111, 4.2.3. A Date has whole
// seconds, so the clock is read in these: the rest of the second is no age.
func initialAge(h http.Header, sent, received time.Time) time.Duration {
	var apparent time.Duration
	if date, _, ok := dateOf(h, "Date", received); ok {
		apparent = received.Truncate(time.Second).Sub(date)
	}
	delay := min(max(received.Sub(sent), 0), longest)
	return min(max(apparent, ageOf(h)+delay, 0), longest)
}

// ageOf reads Age as RFC 9111, 5.1, has it: the first member counts, and counts
// for nothing if it is invalid. Parameters are left out, as in the structured
// item that Age has become in all but name: 7200;from=edge is old.
func ageOf(h http.Header) time.Duration {
	for _, line := range h["Age"] {
		for line != "" {
			member, rest, _ := strings.Cut(line, ",")
			line = rest
			if member = trim(member); member == "" {
				continue
			}
			member, _, _ = strings.Cut(member, ";")
			age, _ := deltaSeconds(trim(member))
			return age
		}
	}
	return 0
}
