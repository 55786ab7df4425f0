package policy

import (
	"net/url"
	"strings"
)

// Deceptive says whether the path could be read differently by what is behind
// the cache than by those before it: then /account;x.css may be stored as a
// style sheet and be somebody's account. Raw is the target of the request as it
// came, if it did. Such requests are passed, and nothing is normalised: to guess
// how others read a path is how one gets it wrong.
func Deceptive(u *url.URL, raw string) bool {
	if u.Opaque != "" {
		return true // GET a:b, which some take for a path and others for nothing at all.
	}
	path := u.EscapedPath()
	if strings.HasPrefix(raw, "/") {
		path, _, _ = strings.Cut(raw, "?")
	}
	if path != "" && path[0] != '/' && path != "*" {
		return true
	}
	for i := range len(path) {
		switch c := path[i]; {
		case c == ';', c == '\\', c == '#', c < ' ', c == 0x7f:
			return true
		case c == '%':
			if deceptiveEscape(path[i:]) {
				return true
			}
		case c == '/':
			if isDots(path[i+1:]) {
				return true
			}
		}
	}
	return false
}

// deceptiveEscape says whether an encoding at the start of s hides what would
// end, split or climb a path where it is decoded once more or once less: the
// delimiters and control characters, an escape of an escape, and the bytes C0
// and C1, which are in no UTF-8 but in overlong forms of the above.
func deceptiveEscape(s string) bool {
	if len(s) < 3 || !isHex(s[1]) || !isHex(s[2]) {
		return true
	}
	switch c := unhex(s[1])<<4 | unhex(s[2]); c {
	case '/', '\\', ';', '#', '?', 0x7f, 0xc0, 0xc1:
		return true
	case '%':
		return len(s) >= 5 && isHex(s[3]) && isHex(s[4])
	default:
		return c < ' '
	}
}

// isDots says whether the segment at the start of s is . or .., encoded or not.
func isDots(s string) bool {
	for n := range 3 {
		switch {
		case s == "" || s[0] == '/':
			return n > 0
		case s[0] == '.':
			s = s[1:]
		case len(s) >= 3 && s[0] == '%' && s[1] == '2' && lower(s[2]) == 'e':
			s = s[3:]
		default:
			return false
		}
	}
	return false
}
