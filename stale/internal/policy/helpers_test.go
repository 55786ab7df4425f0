package policy_test

import (
	"net/http"
	"strings"
	"time"

	"github.com/failsoft/failsoft/stale/internal/policy"
)

// noon is when every response of these tests has been received, unless they say
// otherwise.
var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// none are the wishes of a request that has none.
var none = policy.ReadRequest(nil)

var (
	shared  = policy.Rules{Shared: true}
	private = policy.Rules{}
)

// header makes a header from lines such as "Vary: Accept".
func header(lines ...string) http.Header {
	h := make(http.Header)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		h.Add(name, strings.TrimPrefix(value, " "))
	}
	return h
}

// at is a moment some time from noon, as a header has it.
func at(d time.Duration) string { return noon.Add(d).Format(http.TimeFormat) }

// read judges a 200 to a plain GET that took no time.
func read(rules policy.Rules, lines ...string) policy.Terms {
	return readStatus(rules, http.StatusOK, lines...)
}

func readStatus(rules policy.Rules, status int, lines ...string) policy.Terms {
	return policy.Read(rules, http.MethodGet, nil, status, header(lines...), noon, noon)
}

// answer judges the answer to a GET with such a header.
func answer(rules policy.Rules, asked http.Header, lines ...string) policy.Terms {
	return policy.Read(rules, http.MethodGet, asked, http.StatusOK, header(lines...), noon, noon)
}
