package policy

import (
	"net/http"
	"strings"
	"time"
)

// imfFixdate is the form of a date that everybody sends today. Its length is
// fixed, while time.Parse lets an hour of one digit pass.
const imfFixdate = "Mon, 02 Jan 2006 15:04:05 GMT"

// readDate reads an HTTP-date in one of the three forms of RFC 9110, 5.6.7. In
// the form with two digits for the year, a year more than 50 years after now
// lies in the past.
func readDate(text string, now time.Time) (time.Time, bool) {
	text = trim(text)
	switch {
	case len(text) == len(imfFixdate) && text[3] == ',':
		t, err := time.Parse(imfFixdate, text)
		return t, err == nil
	case strings.HasSuffix(text, " GMT"): // time.RFC850 would take any zone, and not know how far off it is.
		t, err := time.Parse("Monday, 02-Jan-06 15:04:05 GMT", text)
		if err != nil {
			return time.Time{}, false
		}
		return century(t, now), true
	default:
		t, err := time.Parse(time.ANSIC, text)
		return t, err == nil
	}
}

// century leaves the year to the standard library where there is no now.
func century(t, now time.Time) time.Time {
	if now.IsZero() {
		return t
	}
	limit := now.Year() + 50
	for t.Year()+100 <= limit {
		t = t.AddDate(100, 0, 0)
	}
	for t.Year() > limit {
		t = t.AddDate(-100, 0, 0)
	}
	return t
}

// dateOf reads a field that must have one value: lines that say the same count
// as one, others as none.
func dateOf(h http.Header, name string, now time.Time) (t time.Time, given, ok bool) {
	for i, line := range h[name] {
		one, valid := readDate(line, now)
		if !valid || i > 0 && !one.Equal(t) {
			return time.Time{}, true, false
		}
		t, given = one, true
	}
	return t, given, given
}
