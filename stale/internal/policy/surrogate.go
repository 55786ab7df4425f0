package policy

import (
	"strings"
	"time"
)

// readSurrogate reads Surrogate-Control, a note of the W3C that never became a
// standard: max-age=60, max-age=60+30, no-store, content="ESI/1.0", each with a
// device behind a semicolon for which it is meant. What is meant for everybody
// goes before what names a device, since no device can be known to be this one.
//
// It counts only with a lifetime or no-store: alone with content it says nothing
// about storing, and must not hide a private in Cache-Control.
func readSurrogate(lines []string) (control, bool) {
	general, device := newControl(), newControl()
	for _, line := range lines {
		for line != "" {
			member, rest, _, closed := cutMember(line, ",")
			line = rest
			member, _, separator, _ := cutMember(member, ";")
			if separator == ';' {
				device.addSurrogate(readDirective(member))
			} else {
				general.addSurrogate(readDirective(member))
			}
			general.malformed = general.malformed || !closed
		}
	}
	if general.maxAge == Absent {
		general.maxAge = device.maxAge
		general.staleWhileRevalidate, general.staleIfError = device.staleWhileRevalidate, device.staleIfError
	}
	general.noStore = general.noStore || device.noStore
	return general, general.noStore || general.maxAge != Absent
}

func (c *control) addSurrogate(name string, a argument) {
	switch name {
	case noStore:
		c.noStore = true
	case maxAge:
		fresh, extra, extended := strings.Cut(a.text, "+")
		a.text = fresh
		c.maxAge = again(c.maxAge, a.seconds())
		if extended {
			a.text = extra
			c.extend(a.seconds())
		}
	}
}

// extend sets how long the response may be used while it is being revalidated,
// and when that fails.
func (c *control) extend(d time.Duration) {
	c.staleWhileRevalidate = again(c.staleWhileRevalidate, d)
	c.staleIfError = again(c.staleIfError, d)
}
