package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// mostVary is how many fields a response may vary by. More is an attack or a
// defect, and no two requests would match.
const mostVary = 32

// readVary returns the fields that the response varies by, and any if no later
// request can be known to match: for a *, wherever it stands, for what is not
// the name of a field, and for more of them than make sense.
func readVary(lines []string) (names []string, anything bool) {
	for _, line := range lines {
		for line != "" {
			name, rest, _ := strings.Cut(line, ",")
			line = rest
			if name = trim(name); name == "" {
				continue
			}
			if name == "*" || !isTokens(name) {
				return nil, true
			}
			name = textproto.CanonicalMIMEHeaderKey(name)
			at, found := slices.BinarySearch(names, name)
			if found {
				continue
			}
			if len(names) == mostVary {
				return nil, true
			}
			names = slices.Insert(names, at, name)
		}
	}
	return names, false
}

// Ask is the normal form of the fields of a request that a response varies by:
// equal for two requests if, and for all that can be known only if, the response
// suits both (RFC 9111, 4.1). It is only comparable under the same names, which
// must be canonical, and of a bounded length.
func Ask(names []string, h http.Header) string {
	if len(names) == 0 {
		return ""
	}
	var room [512]byte
	b := room[:0]
	for _, name := range names {
		b = appendAsked(b, name, h[name])
	}
	return bounded(b, 1024)
}

// appendAsked writes the field with its length behind it, so that, read from the
// end, no value can be mistaken for two; and a field that is absent is not one
// that is empty. What was put in another form ends in another mark, so that nobody
// can send that form and be taken for who has sent what it stands for.
func appendAsked(b []byte, name string, lines []string) []byte {
	if len(lines) == 0 {
		return append(b, '-')
	}
	start, changed, end := len(b), false, byte(';')
	switch name {
	case "Accept-Encoding":
		b, changed = appendAccepted(b, lines, true)
	case "Accept-Language":
		b, changed = appendAccepted(b, lines, false)
	default:
		b = appendField(b, lines)
	}
	if changed {
		end = '.'
	}
	length := len(b) - start
	b = append(b, ':')
	b = strconv.AppendInt(b, int64(length), 10)
	return append(b, end)
}

// appendField joins the lines of a field and takes the whitespace off its
// members, outside of quotes.
func appendField(b []byte, lines []string) []byte {
	for i, line := range lines {
		if i > 0 {
			b = append(b, ',')
		}
		for {
			member, rest, separator, _ := cutMember(line, ",")
			b = append(b, trim(member)...)
			if separator == 0 {
				break
			}
			b, line = append(b, ','), rest
		}
	}
	return b
}

// bounded is b, or a digest of it where it is longer than most. A digest ends in
// a letter or digit, which nothing else does that is bounded here.
func bounded(b []byte, most int) string {
	if len(b) <= most {
		return string(b)
	}
	sum := sha256.Sum256(b)
	return "#" + hex.EncodeToString(sum[:])
}
