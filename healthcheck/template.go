package healthcheck

import (
	"fmt"
	"strings"
)

// templates returns ServeMux patterns as the URI templates of RFC 6570 that the
// draft wants.
func templates(patterns []string) []string {
	all := make([]string, 0, len(patterns))
	for _, pattern := range patterns {
		all = append(all, template(pattern))
	}
	return all
}

// template: the method goes, {p...} matches slashes as {+p} does, {$} is the end.
func template(pattern string) string {
	if i := strings.IndexAny(pattern, " \t"); i >= 0 {
		pattern = strings.TrimLeft(pattern[i:], " \t")
	}
	var b strings.Builder
	for pattern != "" {
		before, rest, found := strings.Cut(pattern, "{")
		b.WriteString(escape(before, literal))
		if !found {
			break
		}
		name, after, _ := strings.Cut(rest, "}")
		switch wild, multi := strings.CutSuffix(name, "..."); {
		case name == "$":
		case multi:
			b.WriteString("{+" + escape(wild, varname) + "}")
		default:
			b.WriteString("{" + escape(name, varname) + "}")
		}
		pattern = after
	}
	return b.String()
}

// escape writes the bytes that may not stand as they are in percent-encoding, and
// leaves what is in it.
func escape(text string, may func(byte) bool) string {
	var b strings.Builder
	for i := range len(text) {
		encoded := text[i] == '%' && i+2 < len(text) && hex(text[i+1]) && hex(text[i+2])
		if encoded || text[i] != '%' && may(text[i]) {
			b.WriteByte(text[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", text[i])
		}
	}
	return b.String()
}

func hex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// literal reports what RFC 6570, 2.1 allows outside of expressions.
func literal(c byte) bool {
	return c > ' ' && c < 0x7f && !strings.ContainsRune("\"'<>\\^`{|}", rune(c))
}

// varname reports what RFC 6570, 2.3 allows in the name of a variable.
func varname(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}
