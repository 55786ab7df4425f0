package policy

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"
)

// control is what a response says to caches, in whichever field it said so.
type control struct {
	noStore, noCache, private, public   bool
	mustRevalidate, proxyRevalidate     bool
	mustUnderstand, immutable           bool
	malformed                           bool // A restriction may be hidden in what could not be read.
	unsure                              bool // What could be read is not what was meant: not fresh.
	targeted                            bool // It hides Cache-Control and Expires.
	maxAge, sMaxAge                     time.Duration
	staleWhileRevalidate, staleIfError  time.Duration
	withoutRevalidation, outsidePrivate []string // Fields named by no-cache= and private=.
}

func newControl() control {
	return control{maxAge: Absent, sMaxAge: Absent, staleWhileRevalidate: Absent, staleIfError: Absent}
}

// readControl reads the first targeted field that is there and valid, or else
// Cache-Control.
func readControl(rules Rules, h http.Header) control {
	for _, name := range rules.Targeted {
		lines := h[name]
		if len(lines) == 0 {
			continue
		}
		read := readTargeted
		if name == surrogateControl {
			read = readSurrogate
		}
		if c, ok := read(lines); ok {
			c.targeted = true
			return c
		}
	}
	return readCacheControl(h["Cache-Control"])
}

// readCacheControl takes a semicolon for the comma that was meant, so that no
// restriction is overlooked, but does not trust the lifetimes then.
func readCacheControl(lines []string) control {
	c := newControl()
	for _, line := range lines {
		for line != "" {
			member, rest, separator, closed := cutMember(line, ",;")
			line = rest
			c.malformed = c.malformed || !closed
			c.unsure = c.unsure || separator == ';'
			name, a := readDirective(member)
			c.malformed = c.malformed || a.hides
			c.add(name, a)
		}
	}
	return c
}

func (c *control) add(name string, a argument) {
	switch name {
	case noStore:
		c.noStore = true
	case "no-cache":
		c.withoutRevalidation = qualify(&c.noCache, c.withoutRevalidation, a)
	case "private":
		c.outsidePrivate = qualify(&c.private, c.outsidePrivate, a)
	case "public":
		c.public = true
	case "must-revalidate":
		c.mustRevalidate = true
	case "proxy-revalidate":
		c.proxyRevalidate = true
	case "must-understand":
		c.mustUnderstand = true
	case "immutable":
		c.immutable = true
	case maxAge:
		c.maxAge = again(c.maxAge, a.seconds())
	case "s-maxage":
		c.sMaxAge = again(c.sMaxAge, a.seconds())
	case "stale-while-revalidate":
		c.staleWhileRevalidate = again(c.staleWhileRevalidate, a.seconds())
	case staleIfError:
		c.staleIfError = again(c.staleIfError, a.seconds())
	}
}

// qualify reads no-cache="a, b" and private="a, b", which concern these fields
// only. Anything that it is not sure of sets whole instead, and so does naming a
// field that the response cannot do without.
func qualify(whole *bool, fields []string, a argument) []string {
	const most = 16
	text := a.text
	if a.bad || trim(text) == "" {
		*whole = true
		return fields
	}
	for text != "" {
		name, rest, _ := strings.Cut(text, ",")
		name, text = textproto.CanonicalMIMEHeaderKey(trim(name)), rest
		if !isTokens(name) || isEssential(name) || len(fields) == most {
			*whole = true
			return fields
		}
		if !slices.Contains(fields, name) {
			fields = append(fields, name)
		}
	}
	return fields
}

// isEssential says whether a stored response would mean something else without
// the field.
func isEssential(name string) bool {
	switch name {
	case "Age", "Cache-Control", "Date", "Etag", "Expires", lastModified, "Location", "Vary", surrogateControl:
		return true
	default:
		return strings.HasPrefix(name, "Content-") || strings.HasSuffix(name, "-Cache-Control")
	}
}
