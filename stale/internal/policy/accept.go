package policy

import (
	"strconv"
	"strings"
)

// accepted is a member of Accept-Encoding or Accept-Language.
type accepted struct {
	name   string
	weight int // In thousandths.
}

// mostAccepted is how many of them are put in order. More than that is nothing a
// browser sends, and stays as it is.
const mostAccepted = 24

// appendAccepted writes Accept-Encoding (codings) or Accept-Language in a form
// that does not depend on order, case, spaces and how a weight is written, and
// returns true. What is not in the grammar stays as it is.
func appendAccepted(b []byte, lines []string, codings bool) ([]byte, bool) {
	var room [mostAccepted]accepted
	list := room[:0]
	anything := false
	for _, line := range lines {
		for line != "" {
			member, rest, _ := strings.Cut(line, ",")
			line = rest
			if trim(member) == "" {
				continue
			}
			one, ok := readAccepted(member, codings)
			if !ok || len(list) == cap(list) {
				return appendField(b, lines), false
			}
			anything = anything || one.name == "*"
			list = insertAccepted(list, one)
		}
	}
	start := len(b)
	for _, one := range list {
		if codings && one.weight == 0 && !anything && !strings.EqualFold(one.name, "identity") {
			continue // What is not listed is not accepted either.
		}
		if len(b) > start {
			b = append(b, ',')
		}
		b = appendWeighted(b, one)
	}
	return b, true
}

// insertAccepted keeps the list sorted: the greater weight first, then by name.
func insertAccepted(list []accepted, one accepted) []accepted {
	list = append(list, one)
	for i := len(list) - 1; i > 0 && before(one, list[i-1]); i-- {
		list[i], list[i-1] = list[i-1], one
	}
	return list
}

func before(a, b accepted) bool {
	if a.weight != b.weight {
		return a.weight > b.weight
	}
	for i := range min(len(a.name), len(b.name)) {
		if x, y := lower(a.name[i]), lower(b.name[i]); x != y {
			return x < y
		}
	}
	return len(a.name) < len(b.name)
}

func appendWeighted(b []byte, one accepted) []byte {
	for i := range len(one.name) {
		b = append(b, lower(one.name[i]))
	}
	if one.weight == 1000 {
		return b
	}
	return strconv.AppendInt(append(b, ';'), int64(one.weight), 10)
}

// readAccepted reads name [;q=weight].
func readAccepted(member string, codings bool) (accepted, bool) {
	name, parameter, weighted := strings.Cut(member, ";")
	one := accepted{name: trim(name), weight: 1000}
	if !isTokens(one.name) {
		return one, false
	}
	if codings {
		one.name = withoutX(one.name)
	}
	if !weighted {
		return one, true
	}
	parameter = trim(parameter)
	if len(parameter) < 3 || lower(parameter[0]) != 'q' || parameter[1] != '=' {
		return one, false
	}
	weight, ok := readWeight(parameter[2:])
	one.weight = weight
	return one, ok
}

// withoutX is the coding that an old name stands for, RFC 9110, 8.4.1.
func withoutX(name string) string {
	if strings.EqualFold(name, "x-gzip") || strings.EqualFold(name, "x-compress") {
		return name[len("x-"):]
	}
	return name
}

// readWeight reads a qvalue, from 0 to 1 with three decimals at most.
func readWeight(text string) (int, bool) {
	if len(text) > len("0.000") || text[0] != '0' && text[0] != '1' || len(text) > 1 && text[1] != '.' {
		return 0, false
	}
	weight, unit := int(text[0]-'0')*1000, 100
	for i := 2; i < len(text); i++ {
		if !isDigit(text[i]) {
			return 0, false
		}
		weight += int(text[i]-'0') * unit
		unit /= 10
	}
	return weight, weight <= 1000
}

// lower is c in lower case, if it is ASCII.
func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}
