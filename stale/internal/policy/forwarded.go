package policy

import (
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// Forwarded is the normal form of the fields that are in no key and no Vary, and
// yet change what many applications answer: those in which a proxy says what the
// client had asked for, and those that name another method. Where one of them is
// present its answer must not be given to those who did not send it, so they are
// a part of the variant. It is "", without an allocation, where there is none.
//
// All of X-Forwarded-* belongs to it: what a proxy has found out about the client,
// X-Forwarded-User or X-Forwarded-Client-Cert, is as telling as a cookie. Only
// X-Forwarded-For is left out: it names the client, and with it nobody would ever
// share a response.
func Forwarded(h http.Header) string {
	var room [8]string
	names := room[:0]
	for name := range h {
		if c := lower(firstOf(name)); (c == 'x' || c == 'f') && isForwarding(textproto.CanonicalMIMEHeaderKey(name)) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	var b []byte
	for _, name := range names {
		start := len(b)
		b = append(b, textproto.CanonicalMIMEHeaderKey(name)...)
		b = append(b, '=')
		if lower(name[0]) == 'f' && strings.EqualFold(name, "Forwarded") {
			b = appendForwarded(b, h[name])
		} else {
			b = appendField(b, h[name])
		}
		length := len(b) - start
		b = append(b, ':')
		b = strconv.AppendInt(b, int64(length), 10)
		b = append(b, ';')
	}
	return bounded(b, 1024)
}

func firstOf(name string) byte {
	if name == "" {
		return 0
	}
	return name[0]
}

func isForwarding(name string) bool {
	switch name {
	case "Forwarded", "Front-End-Https",
		"X-Host", "X-Http-Host-Override", "X-Original-Host", "X-Original-Url", "X-Original-Uri",
		"X-Rewrite-Url", "X-Script-Name", "X-Scheme", "X-Url-Scheme":
		return true
	default:
		return isOverride(name) || strings.HasPrefix(name, "X-Forwarded-") && name != "X-Forwarded-For"
	}
}

func isOverride(name string) bool {
	switch name {
	case "X-Http-Method-Override", "X-Http-Method", "X-Method-Override":
		return true
	default:
		return false
	}
}

// OverridesMethod says whether the request asks for being taken for one with
// another method than it has.
func OverridesMethod(h http.Header) bool {
	for name, lines := range h {
		if lower(firstOf(name)) != 'x' || !isOverride(textproto.CanonicalMIMEHeaderKey(name)) {
			continue
		}
		if len(lines) != 1 || !strings.EqualFold(trim(lines[0]), http.MethodGet) {
			return true
		}
	}
	return false
}

// isPair reports whether nobody can read another pair in this one. Host =evil is no
// pair, and yet some take it for one.
func isPair(name, value string) bool {
	return isTokens(name) && value != "" && (value[0] == '"' || !strings.ContainsAny(value, " \t"))
}

// appendForwarded writes what RFC 7239's field says about host and proto, and
// leaves out who the client was. What is not in the grammar stays whole.
func appendForwarded(b []byte, lines []string) []byte {
	start := len(b)
	for _, line := range lines {
		for line != "" {
			element, rest, _, closed := cutMember(line, ",")
			line = rest
			for element != "" {
				pair, more, _, _ := cutMember(element, ";")
				element = more
				name, value, _ := strings.Cut(trim(pair), "=")
				if !closed || trim(pair) != "" && !isPair(name, value) {
					return appendField(b[:start], lines)
				}
				if strings.EqualFold(name, "host") || strings.EqualFold(name, "proto") {
					b = append(b, lower(name[0]), '=')
					b = append(b, value...)
					b = append(b, ';')
				}
			}
			b = append(b, ',')
		}
	}
	return b
}
