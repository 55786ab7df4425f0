package policy

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

func (p *parser) bareItem() (item, bool) {
	switch c := p.peek(); {
	case c == '-' || isDigit(c):
		return p.number()
	case c == '"':
		return p.quoted()
	case c == '*' || isAlpha(c):
		return p.token()
	case c == ':':
		return p.bytes()
	case c == '?':
		return p.boolean()
	case c == '@':
		p.at++
		it, ok := p.number()
		return item{kind: kindOther}, ok && it.kind == kindInteger
	case c == '%':
		return p.display()
	default:
		return item{}, false
	}
}

// number reads an integer of at most 15 digits, or a decimal of at most 12 and
// 3, of which only the form matters here.
func (p *parser) number() (item, bool) {
	start := p.at
	p.take('-')
	whole := p.digits()
	if whole == 0 || whole > 15 {
		return item{}, false
	}
	if p.take('.') {
		fraction := p.digits()
		return item{kind: kindOther}, whole <= 12 && fraction >= 1 && fraction <= 3
	}
	return item{kind: kindInteger, text: p.text[start:p.at]}, true
}

// digits skips them and returns how many they were.
func (p *parser) digits() int {
	start := p.at
	for isDigit(p.peek()) {
		p.at++
	}
	return p.at - start
}

func (p *parser) quoted() (item, bool) {
	var plain strings.Builder
	for p.at++; !p.done(); p.at++ {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			return item{kind: kindString, text: plain.String()}, true
		case c == '\\':
			if p.at++; p.peek() != '"' && p.peek() != '\\' {
				return item{}, false
			}
			plain.WriteByte(p.text[p.at])
		case c < 0x20 || c > 0x7e:
			return item{}, false
		default:
			plain.WriteByte(c)
		}
	}
	return item{}, false
}

func (p *parser) token() (item, bool) {
	for c := p.peek(); c != 0 && (isToken(c) || c == ':' || c == '/'); c = p.peek() {
		p.at++
	}
	return item{kind: kindOther}, true
}

func (p *parser) bytes() (item, bool) {
	p.at++
	end := strings.IndexByte(p.text[p.at:], ':')
	if end < 0 {
		return item{}, false
	}
	text := strings.TrimRight(p.text[p.at:p.at+end], "=")
	p.at += end + 1
	if strings.ContainsAny(text, "\r\n") { // The decoder skips these, the grammar does not.
		return item{}, false
	}
	_, err := base64.RawStdEncoding.DecodeString(text)
	return item{kind: kindOther}, err == nil
}

func (p *parser) boolean() (item, bool) {
	p.at++
	switch {
	case p.take('1'):
		return item{kind: kindTrue}, true
	case p.take('0'):
		return item{kind: kindFalse}, true
	default:
		return item{}, false
	}
}

// display reads a string of RFC 9651, 3.3.8: %"…" with what is not ASCII as
// percent-encoded UTF-8, in lower case.
func (p *parser) display() (item, bool) {
	p.at++
	if !p.take('"') {
		return item{}, false
	}
	var plain []byte
	for ; !p.done(); p.at++ {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			return item{kind: kindOther}, utf8.Valid(plain)
		case c == '%':
			if len(p.text)-p.at < 3 || !isLowerHex(p.text[p.at+1]) || !isLowerHex(p.text[p.at+2]) {
				return item{}, false
			}
			plain = append(plain, unhex(p.text[p.at+1])<<4|unhex(p.text[p.at+2]))
			p.at += 2
		case c < 0x20 || c > 0x7e:
			return item{}, false
		default:
			plain = append(plain, c)
		}
	}
	return item{}, false
}

func isLowerHex(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' }

func isHex(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }

// unhex is the value of a hexadecimal digit.
func unhex(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
