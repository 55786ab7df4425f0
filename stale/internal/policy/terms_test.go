package policy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/stale/internal/policy"
)

func TestLifetime(t *testing.T) {
	const (
		hour = time.Hour
		most = (1 << 31) * time.Second
	)
	date := "Date: " + at(0)
	for _, tt := range []struct {
		name  string
		rules policy.Rules
		lines []string
		want  time.Duration
	}{
		{"max-age", shared, []string{"Cache-Control: max-age=3600"}, hour},
		{"in any case", shared, []string{"Cache-Control: MaX-aGe=3600"}, hour},
		{"beside what is not known", shared, []string{"Cache-Control: foobar, x=y, max-age=3600"}, hour},
		{"leading zeros", shared, []string{"Cache-Control: max-age=003600"}, hour},
		{"quoted", shared, []string{`Cache-Control: max-age="3600"`}, hour},
		{"quoted with an escape", shared, []string{`Cache-Control: max-age="36\00"`}, hour},
		{"in single quotes", shared, []string{"Cache-Control: max-age='3600'"}, 0},
		{"inside of a string before", shared, []string{`Cache-Control: extension="max-age=3600", max-age=1`}, time.Second},
		{"inside of a string behind", shared, []string{`Cache-Control: max-age=1, extension="max-age=3600"`}, time.Second},
		{"behind an escaped quote", shared, []string{`Cache-Control: max-age=1, extension="a\", max-age=3600"`}, time.Second},
		{"0", shared, []string{"Cache-Control: max-age=0"}, 0},
		{"empty members", shared, []string{"Cache-Control: ,, max-age=3600 ,"}, hour},
		{"several lines", shared, []string{"Cache-Control: public", "Cache-Control: max-age=3600"}, hour},

		{"negative", shared, []string{"Cache-Control: max-age=-3600"}, 0},
		{"decimal", shared, []string{"Cache-Control: max-age=3600.0"}, 0},
		{"letters behind", shared, []string{"Cache-Control: max-age=3600a"}, 0},
		{"letters before", shared, []string{"Cache-Control: max-age=a3600"}, 0},
		{"space before =", shared, []string{"Cache-Control: max-age =3600"}, 0},
		{"space behind =", shared, []string{"Cache-Control: max-age= 3600"}, 0},
		{"nothing behind =", shared, []string{"Cache-Control: max-age="}, 0},
		{"no =", shared, []string{"Cache-Control: max-age"}, 0},
		{"half a quote", shared, []string{`Cache-Control: max-age="3600`}, 0},
		{"two strings", shared, []string{`Cache-Control: max-age="\1"x"2"`}, 0},
		{"a backslash at the end", shared, []string{`Cache-Control: max-age="1\"`}, 0},
		{"semicolon", shared, []string{"Cache-Control: max-age=3600; public"}, 0},
		{"2^31", shared, []string{"Cache-Control: max-age=2147483648"}, most},
		{"past 2^31", shared, []string{"Cache-Control: max-age=99999999999"}, most},
		{"past 2^64", shared, []string{"Cache-Control: max-age=99999999999999999999999999"}, most},

		{"twice the same", shared, []string{"Cache-Control: max-age=3600, max-age=3600"}, hour},
		{"two values", shared, []string{"Cache-Control: max-age=3600, max-age=1800"}, 0},
		{"two values on two lines", shared, []string{"Cache-Control: max-age=1800", "Cache-Control: max-age=3600"}, 0},
		{"the second makes no sense", shared, []string{"Cache-Control: max-age=1800, max-age=x"}, 0},
		{"three values", shared, []string{"Cache-Control: max-age=1800, max-age=1, max-age=1"}, 0},

		{"s-maxage when shared", shared, []string{"Cache-Control: max-age=1, s-maxage=3600"}, hour},
		{"s-maxage when shared, shorter", shared, []string{"Cache-Control: s-maxage=1, max-age=3600"}, time.Second},
		{"s-maxage when private", private, []string{"Cache-Control: max-age=1, s-maxage=3600"}, time.Second},
		{"s-maxage beats Expires", shared, []string{"Expires: " + at(-hour), "Cache-Control: max-age=0, s-maxage=3600"}, hour},
		{"invalid s-maxage falls back to nothing", shared, []string{"Cache-Control: max-age=3600, s-maxage=x"}, 0},

		{"Expires", shared, []string{date, "Expires: " + at(hour)}, hour},
		{"Expires without Date", shared, []string{"Expires: " + at(hour)}, hour},
		{"Expires with an invalid Date", shared, []string{"Date: foo", "Expires: " + at(hour)}, hour},
		{"Expires counts from Date", shared, []string{"Date: " + at(-hour), "Expires: " + at(hour)}, 2 * hour},
		{"Expires before a Date in the future", shared, []string{"Date: " + at(2*hour), "Expires: " + at(hour)}, 0},
		{"Expires now", shared, []string{date, "Expires: " + at(0)}, 0},
		{"Expires past", shared, []string{date, "Expires: " + at(-hour)}, 0},
		{"Expires 0", shared, []string{date, "Expires: 0"}, 0},
		{"Expires twice the same", shared, []string{date, "Expires: " + at(hour), "Expires: " + at(hour)}, hour},
		{"Expires twice", shared, []string{date, "Expires: " + at(hour), "Expires: " + at(2*hour)}, 0},
		{"Expires in the year 9999", shared, []string{date, "Expires: Fri, 31 Dec 9999 23:59:59 GMT"}, most},
		{"max-age beats Expires", shared, []string{date, "Expires: " + at(-hour), "Cache-Control: max-age=3600"}, hour},
		{"max-age=0 beats Expires", shared, []string{date, "Expires: " + at(hour), "Cache-Control: max-age=0"}, 0},
		{"invalid max-age beats Expires", shared, []string{date, "Expires: " + at(hour), "Cache-Control: max-age=x"}, 0},
		{"nothing", shared, nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := read(tt.rules, tt.lines...)
			assert.Equal(t, tt.want, got.Lifetime)
			assert.False(t, got.Heuristic)
		})
	}
}

func TestDates(t *testing.T) {
	for text, want := range map[string]bool{
		"Sun, 01 Mar 2026 13:00:00 GMT":     true,
		"SUN, 01 MAR 2026 13:00:00 GMT":     true,
		"Sunday, 01-Mar-26 13:00:00 GMT":    true,
		"Sun Mar  1 13:00:00 2026":          true,
		" Sun, 01 Mar 2026 13:00:00 GMT\t":  true,
		"Sun, 01 Mar 2026 13:00:00 UTC":     false,
		"Sun, 01 Mar 2026 13:00:00 gMT":     false,
		"Sunday, 01-Mar-26 13:00:00 AEST":   false,
		"Sunday, 01-Mar-26 13:00:00 PST":    false,
		"Sun, 1 Mar 2026 13:00:00 GMT":      false,
		"Sun, 01 Mar 2026 1:00:00 GMT":      false,
		"Sun 01 Mar 2026 13:00:00 GMT":      false,
		"Sun, 01-Mar-2026 13:00:00 GMT":     false,
		"Sun, 01 Mar 26 13:00:00 GMT":       false,
		"Sun, 01  Mar  2026 13:00:00 GMT":   false,
		"Sun, 01 Mar 2026 13.00.00 GMT":     false,
		"Sun, 31 Feb 2026 13:00:00 GMT":     false,
		"Sun, 01 Mar 2026 25:00:00 GMT":     false,
		"Sun, 01 Mar 2026 13:00:00 +0000":   false,
		"2026-03-01T13:00:00Z":              false,
		"3600":                              false,
		"":                                  false,
		"Sun, 01 Mar 2026 13:00:00 GMT, x":  false,
		strings.Repeat("Sun, 01 Mar", 9000): false,
	} {
		got := read(shared, "Expires: "+text, "Date: "+at(0)).Lifetime
		assert.Equal(t, want, got == time.Hour, "%.40q: %v", text, got)
	}
}

// Two digits for the year: what would be more than 50 years ahead is past.
func TestDatesOfTwoDigits(t *testing.T) {
	assert.Positive(t, read(shared, "Expires: Monday, 03-Mar-76 12:00:00 GMT").Lifetime, "2076")
	assert.Zero(t, read(shared, "Expires: Tuesday, 01-Mar-77 12:00:00 GMT").Lifetime, "1977")
	assert.Zero(t, read(shared, "Expires: Monday, 01-Mar-25 12:00:00 GMT").Lifetime, "2025")
	early := time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)
	h := header("Expires: Friday, 01-Jan-60 00:00:00 GMT")
	assert.Zero(t, policy.Read(shared, http.MethodGet, nil, 200, h, early, early).Lifetime, "1960")
}

func TestPitfall23Age(t *testing.T) {
	const most = (1 << 31) * time.Second
	for _, tt := range []struct {
		name  string
		lines []string
		want  time.Duration
	}{
		{"none", nil, 0},
		{"Age", []string{"Age: 30"}, 30 * time.Second},
		{"not a number", []string{"Age: abc"}, 0},
		{"negative", []string{"Age: -7200"}, 0},
		{"decimal", []string{"Age: 7200.0"}, 0},
		{"empty", []string{"Age: "}, 0},
		{"the first member", []string{"Age: 7200,0"}, 2 * time.Hour},
		{"the first member, 0", []string{"Age: 0, 7200"}, 0},
		{"the first line", []string{"Age: 7200", "Age: 0"}, 2 * time.Hour},
		{"the first line, 0", []string{"Age: 0", "Age: 7200"}, 0},
		{"the first member is invalid", []string{"Age: x, 7200"}, 0},
		{"the first member that is one", []string{"Age: , 7200"}, 2 * time.Hour},
		{"a parameter", []string{"Age: 7200;foo=bar"}, 2 * time.Hour},
		{"10^12", []string{"Age: 1000000000000"}, most},
		{"past 2^64", []string{"Age: 100000000000000000000000"}, most},
		{"Date", []string{"Date: " + at(-time.Hour)}, time.Hour},
		{"the larger of Date and Age", []string{"Date: " + at(-time.Hour), "Age: 7200"}, 2 * time.Hour},
		{"the larger of Age and Date", []string{"Date: " + at(-time.Hour), "Age: 1800"}, time.Hour},
		{"Date in the future", []string{"Date: " + at(time.Hour)}, 0},
		{"Date in the future and Age", []string{"Date: " + at(time.Hour), "Age: 15"}, 15 * time.Second},
		{"Date in the year 1", []string{"Date: Mon, 01 Jan 0001 00:00:00 GMT"}, most},
		{"invalid Date", []string{"Date: yesterday"}, 0},
		{"two Dates", []string{"Date: " + at(-time.Hour), "Date: " + at(-2*time.Hour)}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, read(shared, tt.lines...).Age)
		})
	}
}

func TestPitfall23AgeOfTheWay(t *testing.T) {
	read := func(sent, received time.Time, lines ...string) time.Duration {
		return policy.Read(shared, http.MethodGet, nil, http.StatusOK, header(lines...), sent, received).Age
	}
	second := time.Second
	assert.Equal(t, 5*second, read(noon, noon.Add(5*second), "Date: "+at(4*second)), "the response may be as old as the request")
	assert.Equal(t, 12*second, read(noon, noon.Add(2*second), "Age: 10"))
	assert.Zero(t, read(noon.Add(second), noon), "a clock that went back")
	assert.Zero(t, read(noon.Add(900*time.Millisecond), noon.Add(900*time.Millisecond), "Date: "+at(0)),
		"Date has no fractions: they are no age")
}

func TestHeuristicLifetime(t *testing.T) {
	guess := policy.Rules{Shared: true, Heuristic: true}
	day := 24 * time.Hour
	date, old := "Date: "+at(0), "Last-Modified: "+at(-100*time.Hour)
	for _, tt := range []struct {
		name   string
		rules  policy.Rules
		status int
		lines  []string
		want   time.Duration
	}{
		{"a tenth", guess, 200, []string{date, old}, 10 * time.Hour},
		{"counts from Date", guess, 200, []string{"Date: " + at(-50*time.Hour), old}, 5 * time.Hour},
		{"from receipt without Date", guess, 200, []string{old}, 10 * time.Hour},
		{"a day at most", guess, 200, []string{date, "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT"}, day},
		{"only by choice", shared, 200, []string{date, old}, 0},
		{"from the future", guess, 200, []string{date, "Last-Modified: " + at(time.Hour)}, 0},
		{"invalid", guess, 200, []string{date, "Last-Modified: 0"}, 0},
		{"not with max-age", guess, 200, []string{date, old, "Cache-Control: max-age=0"}, 0},
		{"not with an invalid max-age", guess, 200, []string{date, old, "Cache-Control: max-age=x"}, 0},
		{"not with Expires", guess, 200, []string{date, old, "Expires: 0"}, 0},
		{"not with a targeted max-age", policy.Rules{Heuristic: true, Targeted: []string{"Cdn-Cache-Control"}}, 200, []string{date, old, "Cdn-Cache-Control: max-age=0"}, 0},
		{"not with Pragma", guess, 200, []string{date, old, "Pragma: no-cache"}, 0},
		{"with another Pragma", guess, 200, []string{date, old, "Pragma: x"}, 10 * time.Hour},
		{"599 public", guess, 599, []string{date, old, "Cache-Control: public"}, 10 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := readStatus(tt.rules, tt.status, tt.lines...)
			assert.Equal(t, tt.want, got.Lifetime)
			assert.Equal(t, tt.want > 0, got.Heuristic)
		})
	}
	for status := 200; status < 600; status++ {
		got := readStatus(guess, status, date, old)
		switch status {
		case 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501:
			assert.Equal(t, policy.None, got.Reason, status)
		default:
			assert.NotEqual(t, policy.None, got.Reason, status)
			assert.Zero(t, got.Lifetime, status)
		}
	}
}

func TestEveryFinalStatusIsStoredWithExplicitFreshness(t *testing.T) {
	for status := range 1000 {
		for _, fresh := range []string{"Cache-Control: max-age=60", "Expires: " + at(time.Minute)} {
			want := policy.None
			switch {
			case status < 200, status > 599, status == 206, status == 304:
				want = policy.Status
			case status == 428, status == 429, status == 431, status == 511: // RFC 6585
				want = policy.Status
			}
			assert.Equal(t, want, readStatus(shared, status, fresh).Reason, status)
		}
	}
}

func TestReasons(t *testing.T) {
	const fresh = "Cache-Control: max-age=60"
	tag := `Etag: "a"`
	for _, tt := range []struct {
		name   string
		rules  policy.Rules
		asked  http.Header
		status int
		lines  []string
		want   policy.Reason
	}{
		{"no-store", shared, nil, 200, []string{"Cache-Control: max-age=60, No-StOrE", "Expires: " + at(time.Hour)}, policy.NoStore},
		{"no-store behind a semicolon", shared, nil, 200, []string{"Cache-Control: max-age=60; no-store"}, policy.NoStore},
		{"no-store with a value", shared, nil, 200, []string{"Cache-Control: max-age=60, no-store=x"}, policy.NoStore},
		{"no-store on another line", shared, nil, 200, []string{fresh, "Cache-Control: no-store"}, policy.NoStore},
		{"no-store in a string", shared, nil, 200, []string{`Cache-Control: max-age=60, x="no-store"`}, policy.None},
		{"a quote without an end", shared, nil, 200, []string{`Cache-Control: max-age=60, x="a, no-store`}, policy.Malformed},
		{"the request's no-store", shared, header("Cache-Control: no-store"), 200, []string{fresh}, policy.RequestNoStore},
		{"private", shared, nil, 200, []string{"Cache-Control: private, max-age=60"}, policy.Private},
		{"private in a private cache", private, nil, 200, []string{"Cache-Control: private, max-age=60"}, policy.None},
		{"private and public", shared, nil, 200, []string{"Cache-Control: public, private, max-age=60"}, policy.Private},

		{"must-understand, understood", shared, nil, 200, []string{"Cache-Control: must-understand, no-store, max-age=60"}, policy.None},
		{"must-understand, 599", shared, nil, 599, []string{"Cache-Control: max-age=60, must-understand"}, policy.NotUnderstood},
		{"must-understand, 299", private, nil, 299, []string{"Cache-Control: max-age=60, must-understand"}, policy.NotUnderstood},

		{"nothing at all", shared, nil, 200, nil, policy.NotFresh},
		{"a validator only", shared, nil, 200, []string{tag}, policy.NotFresh},
		{"no-cache with a validator", shared, nil, 200, []string{"Cache-Control: no-cache", tag}, policy.None},
		{"no-cache with a date", shared, nil, 200, []string{"Cache-Control: no-cache", "Last-Modified: " + at(-time.Hour)}, policy.None},
		{"no-cache without", shared, nil, 200, []string{"Cache-Control: no-cache"}, policy.NotFresh},
		{"no-cache without, however fresh", shared, nil, 200, []string{"Cache-Control: no-cache, public, max-age=60"}, policy.NotFresh},
		{"no-cache with a validator, 599", shared, nil, 599, []string{"Cache-Control: no-cache", tag}, policy.NotFresh},
		{"max-age=0 with a validator", shared, nil, 599, []string{"Cache-Control: max-age=0", tag}, policy.None},
		{"max-age=0 without", shared, nil, 200, []string{"Cache-Control: max-age=0"}, policy.NotFresh},
		{"max-age=0 with a window", shared, nil, 200, []string{"Cache-Control: max-age=0, stale-while-revalidate=5"}, policy.None},
		{"expired without a validator", shared, nil, 200, []string{"Expires: 0"}, policy.NotFresh},
		{"public", shared, nil, 200, []string{"Cache-Control: public"}, policy.None},
		{"private with a validator in a private cache", private, nil, 200, []string{"Cache-Control: private", tag}, policy.None},
		{"two entity tags are none", shared, nil, 200, []string{"Cache-Control: no-cache", tag, `Etag: "b"`}, policy.NotFresh},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := policy.Read(tt.rules, http.MethodGet, tt.asked, tt.status, header(tt.lines...), noon, noon)
			assert.Equal(t, tt.want.String(), got.Reason.String())
		})
	}
}

func TestOnlyAnswersToGETAreStored(t *testing.T) {
	for _, method := range []string{"HEAD", "POST", "PUT", "OPTIONS", "get", "QUERY"} {
		got := policy.Read(private, method, nil, 200, header("Cache-Control: max-age=60"), noon, noon)
		assert.Equal(t, policy.Method, got.Reason, method)
	}
	got := policy.Read(private, "", nil, 200, header("Cache-Control: max-age=60"), noon, noon)
	assert.Equal(t, policy.None, got.Reason, "net/http has an empty method mean GET")
}

func TestReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for r := policy.None; r <= policy.NotFresh; r++ {
		assert.False(t, seen[r.String()], r.String())
		assert.NotEqual(t, "unknown", r.String())
		seen[r.String()] = true
	}
	assert.Equal(t, "unknown", (policy.NotFresh + 1).String(), "NotFresh is the last one")
}

func TestPitfall2SetCookie(t *testing.T) {
	lines := []string{"Cache-Control: max-age=60, public", "Set-Cookie: a=b"}
	assert.Equal(t, policy.SetCookie, read(shared, lines...).Reason)
	assert.Equal(t, policy.None, read(private, lines...).Reason)
	assert.Equal(t, policy.None, read(policy.Rules{Shared: true, StoreSetCookie: true}, lines...).Reason)
	assert.Equal(t, policy.None, read(shared, "Cache-Control: max-age=60", "Set-Cookie2: a=b").Reason, "which is history")

	for _, word := range []string{"private", "no-cache"} {
		got := read(shared, fmt.Sprintf(`Cache-Control: max-age=60, %s="set-cookie"`, word), "Set-Cookie: a=b")
		assert.Equal(t, policy.None, got.Reason, word)
		assert.Equal(t, []string{"Set-Cookie"}, got.Drop, word)
	}
}

func TestPitfall3Authorization(t *testing.T) {
	for control, want := range map[string]policy.Reason{
		"max-age=60":                   policy.Authorization,
		"max-age=60, public":           policy.None,
		"max-age=60, must-revalidate":  policy.None,
		"s-maxage=60":                  policy.None,
		"s-maxage=0, max-age=60":       policy.NotFresh,
		"max-age=60, proxy-revalidate": policy.Authorization,
		"max-age=60, s-maxage=x":       policy.Authorization,
	} {
		lines := "Cache-Control: " + control
		assert.Equal(t, want, answer(shared, header("Authorization: Bearer x"), lines).Reason, control)
		private := answer(private, header("Authorization: Bearer x"), lines)
		assert.NotEqual(t, policy.Authorization, private.Reason, control)
	}
}

func TestPitfall3Cookie(t *testing.T) {
	for control, want := range map[string]policy.Reason{
		"max-age=60":                  policy.Cookie,
		"max-age=60, must-revalidate": policy.Cookie,
		"max-age=60, public":          policy.None,
		"s-maxage=60":                 policy.None,
	} {
		lines := "Cache-Control: " + control
		got := answer(shared, header("Cookie: a=b"), lines)
		assert.Equal(t, want, got.Reason, control)
		assert.Equal(t, want == policy.None, got.Public, control)
		assert.NotEqual(t, policy.Cookie, answer(private, header("Cookie: a=b"), lines).Reason, control)
	}
}

func TestPitfall1VaryAny(t *testing.T) {
	for _, vary := range [][]string{
		{"Vary: *"},
		{"Vary: *, *"},
		{"Vary: *", "Vary: *"},
		{"Vary: , *"},
		{"Vary: ", "Vary: *"},
		{"Vary: *, Foo"},
		{"Vary: Foo, *"},
		{"Vary: Foo Bar"},
		{"Vary: Foo;Bar"},
		{"Vary: \xff"},
		{"Vary: " + manyNames(33)},
		{"Vary: " + manyNames(12_000)},
	} {
		for _, rules := range []policy.Rules{shared, private} {
			got := read(rules, append(vary, "Cache-Control: max-age=60")...)
			assert.Equal(t, policy.VaryAny, got.Reason, "%.40q", vary)
			assert.Empty(t, got.Vary)
		}
	}
	got := read(shared, "Vary: foo, Accept-encoding,, Bar", "Vary: FOO", "Cache-Control: max-age=60")
	assert.Equal(t, policy.None, got.Reason)
	assert.Equal(t, []string{"Accept-Encoding", "Bar", "Foo"}, got.Vary)
	assert.Len(t, read(shared, "Vary: "+manyNames(32), "Cache-Control: max-age=60").Vary, 32)
	assert.Len(t, read(shared, "Vary: "+strings.Repeat("a, ", 40_000)+"b").Vary, 2, "100 KiB of the same")
}

func manyNames(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("X", i)
	}
	return strings.Join(names, ", ")
}

func TestFieldsThatMayNotBeStored(t *testing.T) {
	for _, tt := range []struct {
		control         string
		noCache         bool
		shared, private []string
	}{
		{`no-cache="a, B"`, false, []string{"A", "B"}, []string{"A", "B"}},
		{`private="a, b"`, false, []string{"A", "B"}, nil},
		{`no-cache="a, a", private="a,b"`, false, []string{"A", "B"}, []string{"A"}},
		{`no-cache=a`, false, []string{"A"}, []string{"A"}},
		{`no-cache=""`, true, nil, nil},
		{`no-cache=`, true, nil, nil},
		{`no-cache`, true, nil, nil},
		{`no-cache= "a"`, true, nil, nil},
		{`no-cache="content-type"`, true, nil, nil},
		{`no-cache="vary"`, true, nil, nil},
		{`no-cache="a b"`, true, nil, nil},
	} {
		t.Run(tt.control, func(t *testing.T) {
			got := read(shared, "Cache-Control: max-age=60, "+tt.control)
			assert.Equal(t, tt.noCache, got.NoCache)
			if !tt.noCache {
				assert.Equal(t, tt.shared, got.Drop)
				assert.Equal(t, tt.private, read(private, "Cache-Control: max-age=60, "+tt.control).Drop)
			}
		})
	}
	many := read(shared, `Cache-Control: max-age=60, private="`+manyNames(17)+`"`)
	assert.Equal(t, policy.Private, many.Reason, "past the bound all of it is private")
	h := header("A: 1", "B: 2", "Connection: C", "C: 3", "Date: now")
	assert.Equal(t, header("B: 2", "Date: now"), policy.Stored(h, "A"))
	assert.Len(t, h, 5, "the response itself goes on to the client")
	assert.NotNil(t, policy.Stored(nil))
}

// Where a comma is missing, the restriction behind it counts.
func TestPitfall7LostCommas(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	read := func(line string) policy.Terms {
		h := header("Cache-Control: "+line, `Etag: "a"`)
		return policy.Read(policy.Rules{Shared: true}, "GET", nil, 200, h, now, now)
	}
	for _, line := range []string{
		"max-age=60 private", "max-age=0 private", "public private", "no-cache no-store", "s-maxage=60\tno-store",
		`max-age="60" private`, "x private, max-age=60", `max-age=60, x="a\", private, y="b`, "max-age = 60 private",
	} {
		assert.NotEqual(t, policy.None, read(line).Reason, line)
	}
	for _, line := range []string{"max-age=60", "max-age=60 , public", `max-age=60, x="a b"`, `max-age=60, x="a, b"`} {
		assert.Equal(t, policy.None, read(line).Reason, line)
	}
	for _, line := range []string{"max-age =60", "max-age= 60"} {
		terms := read(line)
		assert.Equal(t, policy.None, terms.Reason, line)
		assert.Zero(t, terms.Lifetime, line)
	}
}

// A Store may return an entry without the times.
func TestBadInputAgeWithoutSent(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	h := header("Cache-Control: max-age=60", "Age: 100")
	terms := policy.Read(policy.Rules{}, "GET", nil, 200, h, time.Time{}, now)
	assert.GreaterOrEqual(t, terms.Age, 100*time.Second, "it is no younger for that")
}
