package policy_test

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale/internal/policy"
)

// members splits a field the slow way: first the strings are taken out, so that
// what is left can be split at commas. It returns nil where a string has no end.
func members(line string) []string {
	var plain strings.Builder
	var texts []string
	for line != "" {
		before, rest, quoted := strings.Cut(line, `"`)
		plain.WriteString(before)
		if !quoted {
			break
		}
		var text strings.Builder
		ended := false
		for i := 0; i < len(rest) && !ended; i++ {
			switch {
			case rest[i] == '"':
				line, ended = rest[i+1:], true
			case rest[i] == '\\' && i+1 < len(rest):
				i++
				text.WriteByte(rest[i])
			default:
				text.WriteByte(rest[i])
			}
		}
		if !ended {
			return nil
		}
		plain.WriteByte(0)
		texts = append(texts, text.String())
	}
	list := strings.Split(strings.ReplaceAll(plain.String(), ";", ","), ",")
	for i, member := range list {
		parts := strings.Split(member, "\x00")
		var whole strings.Builder
		whole.WriteString(parts[0])
		for _, part := range parts[1:] {
			whole.WriteString(`"` + texts[0] + `"` + part)
			texts = texts[1:]
		}
		list[i] = strings.Trim(whole.String(), " \t")
	}
	return list
}

// isTwoWords reports whether a member is two names with nothing but space in between,
// where a comma must have been lost.
func isTwoWords(member string) bool {
	words := strings.FieldsFunc(member, func(r rune) bool { return r == ' ' || r == '\t' })
	return len(words) == 2 && len(nameOf(words[0])) == len(words[0]) && len(nameOf(words[1])) == len(words[1])
}

// names are the names of the directives in a field.
func names(line string) []string {
	var found []string
	for _, member := range members(line) {
		found = append(found, nameOf(member))
	}
	return found
}

// nameOf is the token that a member begins with, in lower case.
func nameOf(member string) string {
	end := strings.IndexFunc(member, func(r rune) bool {
		return !strings.ContainsRune("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", r)
	})
	if end < 0 {
		end = len(member)
	}
	return strings.ToLower(member[:end])
}

func FuzzCacheControl(f *testing.F) {
	for _, seed := range []string{
		"max-age=60", `public, max-age="60"`, `a="max-age=60", no-store`, "no-store; private", "s-maxage=1,, must-revalidate",
		`x="a\", no-store", public`, `no-cache="a, b", private=c`, `max-age=60, x="`, "0 0", "max-age=\x00", "no-store =x", `no-store"x"`,
		"max-age=5, max-age =6", "max-age=5,max-age@", "max-age=5,s-maxage@",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Contains(line, "\x00") {
			t.Skip("no header holds it, and the model uses it")
		}
		got := read(shared, "Cache-Control: "+line)
		found := names(line)
		restricted := map[policy.Reason]bool{policy.NoStore: true, policy.Malformed: true, policy.NotUnderstood: true}
		switch {
		case members(line) == nil && line != "", slices.ContainsFunc(members(line), isTwoWords):
			require.Equal(t, policy.Malformed, got.Reason)
			return
		case got.Reason == policy.Malformed: // a comma may have been lost in less plain ways
			require.True(t, slices.ContainsFunc(members(line), func(member string) bool {
				return strings.ContainsAny(member, " \t")
			}))
			return
		case slices.Contains(found, "no-store") && !slices.Contains(found, "must-understand"):
			require.Equal(t, policy.NoStore, got.Reason)
		case slices.Contains(found, "private"):
			require.True(t, got.Reason == policy.Private || len(got.Drop) > 0)
		default:
			require.False(t, restricted[got.Reason], got.Reason)
		}
		if !slices.Contains(found, "s-maxage") { // Which can stand for either.
			require.Equal(t, slices.Contains(found, "public"), got.Public)
			require.Equal(t, slices.Contains(found, "must-revalidate") || slices.Contains(found, "proxy-revalidate"), got.MustRevalidate)
		}
		require.Equal(t, slices.Contains(found, "immutable"), got.Immutable)
		if slices.Contains(found, "no-cache") {
			require.True(t, got.NoCache || len(got.Drop) > 0)
		}
		if !slices.Contains(found, "max-age") && !slices.Contains(found, "s-maxage") {
			require.Zero(t, got.Lifetime)
		}
		if seconds, ok := onlyMaxAge(line); ok {
			require.Equal(t, seconds, got.Lifetime)
		}
		asked := policy.ReadRequest(header("Cache-Control: " + line))
		require.Equal(t, slices.Contains(found, "no-store"), asked.NoStore)
		require.Equal(t, slices.Contains(found, "no-cache"), asked.NoCache)
	})
}

// onlyMaxAge reads what has one max-age, no s-maxage, no string and no
// semicolon. What makes no sense behind a name does not make it another name.
func onlyMaxAge(line string) (time.Duration, bool) {
	if strings.ContainsAny(line, `";`) {
		return 0, false
	}
	var value *string
	for member := range strings.SplitSeq(line, ",") {
		member = strings.Trim(member, " \t")
		name := nameOf(member)
		switch {
		case name == "s-maxage", name == "max-age" && value != nil:
			return 0, false
		case name == "max-age":
			value = new(strings.TrimPrefix(member[len(name):], "="))
		}
	}
	if value == nil {
		return 0, false
	}
	return seconds(*value), true
}

// seconds reads a number of any size.
func seconds(text string) time.Duration {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0
	}
	text = strings.TrimLeft(text, "0")
	if len(text) > len("2147483648") { // math/big would take seconds for a million digits
		return (1 << 31) * time.Second
	}
	n, _ := strconv.ParseInt("0"+text, 10, 64)
	return time.Duration(min(n, 1<<31)) * time.Second
}

func FuzzAge(f *testing.F) {
	for _, seed := range []string{"0", "7200,0", ", 5", "7200;foo=1", "-1", "1.0", "99999999999999999999", " 7 ", ";", ""} {
		f.Add(seed, int64(0))
	}
	f.Add("5", int64(-3600))
	f.Add("02147483648", int64(0))
	f.Fuzz(func(t *testing.T, text string, date int64) {
		first := ""
		for member := range strings.SplitSeq(text, ",") {
			if first = strings.Trim(member, " \t"); first != "" {
				break
			}
		}
		first, _, _ = strings.Cut(first, ";")
		want := seconds(strings.Trim(first, " \t"))
		h := header("Age: " + text)
		h["Age"] = []string{text}
		date %= 1 << 31
		h.Set("Date", noon.Add(time.Duration(date)*time.Second).Format(http.TimeFormat))
		if date < 0 {
			want = max(want, time.Duration(-date)*time.Second)
		}
		require.Equal(t, want, policy.Read(shared, http.MethodGet, nil, 200, h, noon, noon).Age)
	})
}

// FuzzDate takes a date apart with nothing but string functions.
func FuzzDate(f *testing.F) {
	for _, seed := range []string{
		"Sun, 01 Mar 2026 13:00:00 GMT", "Sunday, 01-Mar-26 13:00:00 GMT", "Sun Mar  1 13:00:00 2026",
		"Sun, 01 Mar 2026 1:00:00 GMT", "Mon, 29 Feb 2100 00:00:00 GMT", "Sunday, 01-Mar-77 13:00:00 PST", "0", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := read(shared, "Expires: "+text, "Date: "+at(0)).Lifetime
		when, err := http.ParseTime(strings.Trim(text, " \t"))
		if err != nil {
			require.Zero(t, got, "what the standard library does not read is no date")
			return
		}
		if got == 0 || got == (1<<31)*time.Second {
			return
		}
		want := when.Sub(noon)
		for want > 0 && want < got {
			want = when.AddDate(100, 0, 0).Sub(noon)
			when = when.AddDate(100, 0, 0)
		}
		if when.Before(noon) { // Two digits that the standard library takes for the last century.
			want = when.AddDate(100, 0, 0).Sub(noon)
		}
		require.Equal(t, want, got, text)
		require.Positive(t, got)
	})
}

// FuzzStructured builds what is valid from parts that are, and mistrusts
// whatever the parser accepts: it must then accept the same thing twice.
func FuzzStructured(f *testing.F) {
	for _, seed := range []string{
		`a`, `a=1, b`, `a=(1 "x" :YQ==:);p=?0`, `a;p=1.5, b=%"%c3%a9"`, `a="\"\\"`, `a=@1, c=*x/y`, `max-age=60,`, `a=1.0000`, `A`, "a=:\n:",
	} {
		f.Add(seed, "x")
	}
	f.Fuzz(func(t *testing.T, text, word string) {
		control := func(lines ...string) policy.Terms {
			h := http.Header{"Cdn-Cache-Control": lines, "Cache-Control": {"max-age=7"}}
			return policy.Read(cdn, http.MethodGet, nil, 200, h, noon, noon)
		}
		valid := control(text).Lifetime != 7*time.Second
		if valid {
			assert.NotEmpty(t, strings.TrimSpace(text))
			twice := control(text + ", " + text)
			require.NotEqual(t, 7*time.Second, twice.Lifetime, "what can stand once can stand twice")
			require.Equal(t, control(text, text), twice, "lines are joined by commas")
			require.Equal(t, 5*time.Second, control(text+", max-age=5, no-store=?0, private=?0, s-maxage=5").Lifetime)
			require.Equal(t, 7*time.Second, control(text+",").Lifetime)
			require.Equal(t, 7*time.Second, control(text+", &").Lifetime)
		}
		if strings.Trim(word, "abcdefghijklmnopqrstuvwxyz ") == "" {
			groups := policy.ReadGroups(http.Header{"G": {`"` + word + `"; a=1, "` + word + `x"`}}, "G")
			if len(word) > 100 {
				return
			}
			require.Equal(t, []string{word, word + "x"}, groups)
		}
		policy.ReadGroups(http.Header{"G": {text, word}}, "G")
	})
}

// FuzzKey knows that a key is never longer than its bounds, and that two URLs
// have one key only if a server could not tell them apart.
func FuzzKey(f *testing.F) {
	f.Add("http://example.com/a?b", "http://EXAMPLE.com:80/a?b")
	f.Add("http://example.com/%2f", "http://example.com/%2F")
	f.Add("http:foo/", "http://foo/")
	f.Add("foo/", "//foo/")
	f.Add("http://[fe80::1%25"+strings.Repeat("%20", 3300)+"]/", "http://[::1]/")
	f.Fuzz(func(t *testing.T, a, b string) {
		one, err := http.NewRequest(http.MethodGet, a, nil)
		if err != nil {
			t.Skip()
		}
		other, err := http.NewRequest(http.MethodGet, b, nil)
		if err != nil {
			t.Skip()
		}
		policy.Deceptive(one.URL, a)
		k := policy.Key("", one.URL.Scheme, one.URL.Host, one.URL)
		if k == policy.Key("", other.URL.Scheme, other.URL.Host, other.URL) {
			require.True(t, strings.EqualFold(one.URL.RequestURI(), other.URL.RequestURI()), "%q %q", a, b)
			require.True(t, strings.EqualFold(one.URL.Scheme, other.URL.Scheme))
		}
		require.Less(t, len(k), 2200+len(one.URL.Scheme)+len("%20")*len(one.URL.Host)+4100)
	})
}
