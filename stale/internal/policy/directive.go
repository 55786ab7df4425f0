package policy

import (
	"strings"
	"time"
)

// Absent is the value of a directive that was not there.
const Absent time.Duration = -1

// contradicted is the value of a directive that was there, and made no sense or
// two of them. RFC 9111, 4.2.1, has such freshness count as none.
const contradicted time.Duration = -2

// longest is what RFC 9111, 1.2.2, has a cache take for numbers that are too
// large for it. It also keeps every sum of a lifetime, a window and an age far
// from the end of a Duration.
const longest = (1 << 31) * time.Second

// argument is what stands behind the name of a directive.
type argument struct {
	text  string
	given bool
	bad   bool // given, and neither a token nor a quoted string
	hides bool // bad in a way that a comma may have been lost: what follows may be private
}

// seconds is the argument as RFC 9111's delta-seconds, quoted or not.
func (a argument) seconds() time.Duration {
	if d, ok := deltaSeconds(a.text); ok && a.given && !a.bad {
		return d
	}
	return contradicted
}

// deltaSeconds reads nothing but digits; whoever writes 3600.0 or -1 may mean
// anything.
func deltaSeconds(text string) (time.Duration, bool) {
	if text == "" {
		return 0, false
	}
	var n int64
	for i := range len(text) {
		digit := text[i] - '0'
		if digit > 9 {
			return 0, false
		}
		if n = n*10 + int64(digit); n > int64(longest/time.Second) {
			n = int64(longest / time.Second)
		}
	}
	return time.Duration(n) * time.Second, true
}

// again is the value of a directive that has come once more: only the same
// value twice is no contradiction.
func again(before, now time.Duration) time.Duration {
	if before == Absent || before == now {
		return now
	}
	return contradicted
}

// cutMember cuts the first member off a list whose members are separated by any
// of separators outside of quotes. It returns the separator it stopped at, or 0
// at the end, and closed false where a quote has no end.
func cutMember(list, separators string) (member, rest string, separator byte, closed bool) {
	quoted := false
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case !quoted && strings.IndexByte(separators, c) >= 0:
			return list[:i], list[i+1:], c, true
		}
	}
	return list, "", 0, !quoted
}

// readDirective takes one member of a Cache-Control field apart. The name is in
// lower case, and empty where there is none.
func readDirective(member string) (string, argument) {
	member = trim(member)
	end := 0
	for end < len(member) && isToken(member[end]) {
		end++
	}
	name, rest := strings.ToLower(member[:end]), member[end:]
	switch {
	case rest == "":
		return name, argument{}
	case rest[0] != '=':
		value, ok := strings.CutPrefix(trim(rest), "=")
		return name, argument{given: true, bad: true, hides: isSpace(rest[0]) && (!ok || hasSpace(value))}
	}
	rest = rest[1:]
	if text, ok := unquote(rest); ok {
		return name, argument{text: text, given: true}
	}
	bad := !isTokens(rest)
	return name, argument{text: rest, given: true, bad: bad, hides: bad && hasSpace(rest)}
}

// unquote returns what a quoted string says, if text is one from end to end.
func unquote(text string) (string, bool) {
	if len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' {
		return "", false
	}
	text = text[1 : len(text)-1]
	if strings.IndexByte(text, '\\') < 0 {
		return text, strings.IndexByte(text, '"') < 0
	}
	var plain strings.Builder
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			return "", false
		case '\\':
			if i++; i == len(text) {
				return "", false
			}
		}
		plain.WriteByte(text[i])
	}
	return plain.String(), true
}

func isTokens(text string) bool {
	for i := range len(text) {
		if !isToken(text[i]) {
			return false
		}
	}
	return text != ""
}

// isToken is tchar of RFC 9110, 5.6.2.
func isToken(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	default:
		return c < 0x80 && strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
	}
}

// hasSpace says whether there is whitespace within the text.
func hasSpace(text string) bool { return strings.ContainsAny(trim(text), " \t") }

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// trim takes optional whitespace off both ends: HTTP's, not Unicode's.
func trim(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}
