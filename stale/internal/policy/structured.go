package policy

import "strings"

// kind is the type of a bare item of a structured field.
type kind uint8

const (
	kindFalse kind = iota
	kindTrue
	kindInteger
	kindString
	kindOther // Valid, and nothing that is asked for here.
)

// item is a member of a structured field, without its parameters.
type item struct {
	kind kind
	text string // Of a string or an integer.
}

// parser reads structured fields, RFC 9651. It keeps to the grammar where
// Cache-Control is lenient: a field with any error in it counts as absent.
type parser struct {
	text string
	at   int
}

func newParser(lines []string) parser {
	if len(lines) == 1 {
		return parser{text: strings.Trim(lines[0], " ")}
	}
	return parser{text: strings.Trim(strings.Join(lines, ", "), " ")}
}

// readTargeted reads a field as RFC 9213 wants it: a dictionary whose members
// mean what they mean in Cache-Control. An empty field counts as absent, and so
// does one that has something else than seconds where seconds belong.
func readTargeted(lines []string) (control, bool) {
	p := newParser(lines)
	if p.done() {
		return control{}, false
	}
	members := make(map[string]item)
	for {
		name, ok := p.key()
		if !ok {
			return control{}, false
		}
		member := item{kind: kindTrue}
		if p.take('=') {
			member, ok = p.member()
		} else {
			ok = p.parameters()
		}
		if !ok {
			return control{}, false
		}
		members[name] = member // The last one counts, says RFC 9651, 4.2.2.
		more, fine := p.comma()
		if !fine {
			return control{}, false
		}
		if !more {
			return controlOf(members)
		}
	}
}

func controlOf(members map[string]item) (control, bool) {
	c := newControl()
	for name, member := range members {
		switch name {
		case maxAge, "s-maxage", "stale-while-revalidate", staleIfError:
			if _, ok := deltaSeconds(member.text); !ok || member.kind != kindInteger {
				return control{}, false
			}
		}
		switch member.kind {
		case kindFalse:
		case kindTrue:
			c.add(name, argument{})
		case kindInteger, kindString:
			c.add(name, argument{text: member.text, given: true})
		case kindOther:
			c.add(name, argument{given: true, bad: true})
		}
	}
	return c, true
}

func (p *parser) done() bool { return p.at == len(p.text) }

func (p *parser) peek() byte {
	if p.done() {
		return 0
	}
	return p.text[p.at]
}

func (p *parser) take(c byte) bool {
	if p.done() || p.text[p.at] != c {
		return false
	}
	p.at++
	return true
}

func (p *parser) skip(set string) {
	for !p.done() && strings.IndexByte(set, p.text[p.at]) >= 0 {
		p.at++
	}
}

// comma goes to the next member of a list or dictionary.
func (p *parser) comma() (more, ok bool) {
	p.skip(" \t")
	if p.done() {
		return false, true
	}
	if !p.take(',') {
		return false, false
	}
	p.skip(" \t")
	return true, !p.done() // A comma at the end is an error.
}

func (p *parser) key() (string, bool) {
	start := p.at
	if c := p.peek(); !isLower(c) && c != '*' {
		return "", false
	}
	for c := p.peek(); isLower(c) || isDigit(c) || c == '_' || c == '-' || c == '.' || c == '*'; c = p.peek() {
		p.at++
	}
	return p.text[start:p.at], true
}

// member reads an item or an inner list, and the parameters behind it.
func (p *parser) member() (item, bool) {
	if !p.take('(') {
		it, ok := p.bareItem()
		return it, ok && p.parameters()
	}
	for {
		p.skip(" ")
		if p.take(')') {
			return item{kind: kindOther}, p.parameters()
		}
		if _, ok := p.bareItem(); !ok || !p.parameters() {
			return item{}, false
		}
		if c := p.peek(); c != ' ' && c != ')' {
			return item{}, false
		}
	}
}

func (p *parser) parameters() bool {
	for p.take(';') {
		p.skip(" ")
		if _, ok := p.key(); !ok {
			return false
		}
		if p.take('=') {
			if _, ok := p.bareItem(); !ok {
				return false
			}
		}
	}
	return true
}

func isLower(c byte) bool { return c >= 'a' && c <= 'z' }
func isAlpha(c byte) bool { return isLower(c | 0x20) }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
