package backpressure

import (
	"fmt"
	"strings"
)

// Limit says how the number of calls at a time is found. The zero Limit is Adaptive.
type Limit struct {
	kind limitKind
	n    int
}

type limitKind uint8

const (
	isAdaptive limitKind = iota
	isAIMD
	isFixed
)

// Adaptive finds the limit by what it does to latency. It is the default.
func Adaptive() Limit { return Limit{} }

// AIMD grows the limit slowly while calls are quick, and cuts it to 0.6 when they take
// twice as long as they used to: for what never becomes slower for reasons of
// its own.
func AIMD() Limit { return Limit{kind: isAIMD} }

// Fixed lets n calls in at a time: for what has so many places, and no more.
func Fixed(n int) Limit { return Limit{kind: isFixed, n: n} }

// String is how the limit was made.
func (l Limit) String() string {
	switch l.kind {
	case isFixed:
		return fmt.Sprintf("Fixed(%d)", l.n)
	case isAIMD:
		return "AIMD"
	default:
		return "Adaptive"
	}
}

// MarshalText makes a Limit readable in JSON.
func (l Limit) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what String writes.
func (l *Limit) UnmarshalText(text []byte) error {
	switch s := string(text); {
	case strings.EqualFold(s, "adaptive"), s == "":
		*l = Adaptive()
	case strings.EqualFold(s, "aimd"):
		*l = AIMD()
	default:
		var n int
		_, err := fmt.Sscanf(strings.ToLower(s), "fixed(%d)", &n)
		if err != nil || !strings.EqualFold(s, Fixed(n).String()) { // Sscanf does not mind what follows
			return bad("limit %q is none of Adaptive, AIMD and Fixed(n)", s)
		}
		*l = Fixed(n)
	}
	return nil
}
