package rttest

import (
	"net/http"
	"testing"
	"time"
)

// ServerCase is a clause over one protocol.
type ServerCase struct {
	Clause   string
	Protocol string

	check func(*stage)
	proto protocol
}

// ServerCases returns all of them.
func ServerCases() []ServerCase {
	var cases []ServerCase
	for _, clause := range serverClauses() {
		for _, proto := range clause.protocols {
			cases = append(cases, ServerCase{clause.name, proto.name, clause.check, proto})
		}
	}
	return cases
}

// Fails is Fails for a broken middleware.
func (c ServerCase) Fails(t *testing.T, wrap func(http.Handler) http.Handler, patience time.Duration) string {
	t.Helper()

	return Fails(t, func(tb TB) {
		c.check(&stage{TB: tb, protocol: c.proto, wrap: wrap, patience: patience})
	})
}
