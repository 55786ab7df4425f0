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

var (
	cdn       = policy.Rules{Shared: true, Targeted: []string{"Cdn-Cache-Control"}}
	surrogate = policy.Rules{Shared: true, Targeted: []string{"Surrogate-Control"}}
)

func TestPitfall26Targeted(t *testing.T) {
	old := "Expires: " + at(-time.Hour)
	for _, tt := range []struct {
		name   string
		lines  []string
		want   time.Duration
		reason policy.Reason
	}{
		{"alone", []string{"Cdn-Cache-Control: max-age=60"}, time.Minute, policy.None},
		{"past 2^31", []string{"Cdn-Cache-Control: max-age=99999999999"}, (1 << 31) * time.Second, policy.None},
		{"beside what is not known", []string{`Cdn-Cache-Control: foobar, x=(1 "a" :YQ==:;p=?0), max-age=60;p, y=%"%c3%a9", z=@1, w=1.5, v=a/b:c`}, time.Minute, policy.None},
		{"beats Cache-Control", []string{"Cdn-Cache-Control: max-age=60", "Cache-Control: max-age=1"}, time.Minute, policy.None},
		{"beats a longer Cache-Control", []string{"Cdn-Cache-Control: max-age=1", "Cache-Control: max-age=60"}, time.Second, policy.None},
		{"beats Expires", []string{"Cdn-Cache-Control: max-age=60", old}, time.Minute, policy.None},
		{"beats no-store", []string{"Cdn-Cache-Control: max-age=60", "Cache-Control: no-store"}, time.Minute, policy.None},
		{"beats private", []string{"Cdn-Cache-Control: max-age=60", "Cache-Control: private"}, time.Minute, policy.None},
		{"hides Expires", []string{"Cdn-Cache-Control: public", "Expires: " + at(time.Hour)}, 0, policy.None},
		{"private", []string{"Cdn-Cache-Control: private", "Cache-Control: max-age=60"}, 0, policy.Private},
		{"no-store", []string{"Cdn-Cache-Control: no-store", "Cache-Control: max-age=60"}, 0, policy.NoStore},
		{"no-cache", []string{"Cdn-Cache-Control: no-cache", "Cache-Control: max-age=60"}, 0, policy.NotFresh},
		{"false", []string{"Cdn-Cache-Control: max-age=60, no-store=?0"}, time.Minute, policy.None},
		{"true", []string{"Cdn-Cache-Control: max-age=60, no-store=?1"}, time.Minute, policy.NoStore},
		{"another type where a flag belongs", []string{"Cdn-Cache-Control: max-age=60, no-store=1.5"}, time.Minute, policy.NoStore},
		{"the last one counts", []string{"Cdn-Cache-Control: max-age=1, max-age=60"}, time.Minute, policy.None},
		{"several lines", []string{"Cdn-Cache-Control: max-age=1", "Cdn-Cache-Control: max-age=60"}, time.Minute, policy.None},

		{"empty", []string{"Cdn-Cache-Control: ", "Cache-Control: max-age=60"}, time.Minute, policy.None},
		{"upper case", []string{"Cdn-Cache-Control: Max-Age=1", "Cache-Control: max-age=60"}, time.Minute, policy.None},
		{"string for a number", []string{`Cdn-Cache-Control: max-age="1"`, "Cache-Control: max-age=60"}, time.Minute, policy.None},
		{"decimal for a number", []string{`Cdn-Cache-Control: max-age=1.0`, "Cache-Control: max-age=60"}, time.Minute, policy.None},
		{"negative", []string{`Cdn-Cache-Control: max-age=-1`, "Cache-Control: max-age=60"}, time.Minute, policy.None},
		{"flag for a number", []string{`Cdn-Cache-Control: max-age`, "Cache-Control: max-age=60"}, time.Minute, policy.None},
		{"too many digits", []string{`Cdn-Cache-Control: max-age=1234567890123456`, "Cache-Control: max-age=60"}, time.Minute, policy.None},
		{"rubbish behind", []string{"Cdn-Cache-Control: max-age=1, &&&&&", "Cache-Control: no-store"}, 0, policy.NoStore},
		{"a comma behind", []string{"Cdn-Cache-Control: max-age=1,", "Cache-Control: no-store"}, 0, policy.NoStore},
		{"spaces around =", []string{"Cdn-Cache-Control: max-age =1", "Cache-Control: no-store"}, 0, policy.NoStore},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := read(cdn, tt.lines...)
			assert.Equal(t, tt.reason.String(), got.Reason.String())
			assert.Equal(t, tt.want, got.Lifetime)
		})
	}
}

func TestPitfall26TheGrammar(t *testing.T) {
	valid := func(text string) bool {
		lines := []string{"Cdn-Cache-Control: max-age=60, x" + text, "Cache-Control: max-age=1"}
		return read(cdn, lines...).Lifetime == time.Minute
	}
	for _, text := range []string{
		"", "=1", "=-1", "=123456789012345", "=1.5", "=123456789012.123", `="a"`, `="\"\\"`, "=a", "=*a", "=a/b:c!", "=?1", "=?0",
		"=::", "=:YQ==:", "=:YQ:", "=@1", "=@-1", `=%""`, `=%"a%c3%a9"`, "=()", "=( )", "=(1 2)", "=( 1  2 )", "=(1;a;b=2 c);d=?0",
		";a", ";a=1", "; a=1;  b", "=1;a=*", "_-.*", " ,y", "\t,\ty",
	} {
		assert.True(t, valid(text), text)
	}
	for _, text := range []string{
		"=", "= 1", " =1", "=-", "=--1", "=1234567890123456", "=1.", "=.5", "=1.2345", "=1234567890123.1", `="`, `="a`, `="\a"`, `="\`,
		"=\"\x80\"", "=?", "=?2", "=:", "=:YQ", "=:Y!:", "=:YQ\n:", "=@", "=@1.5", "=@a", "=%", `=%"`, `=%"%c3"`, `=%"%C3%A9"`,
		`=%"%c"`, `=%"%zz"`, "=%\"\x80\"", "=(", "=(1", "=(1,2)", `=("a""b")`, "=(=)", "=(1;=)", "=(1);=", ";", ";A", ";1", ";a=", ";a=;",
		"A", ",", ", ", ",,y", " y", "=1 2", "\x00", "=&", "=\xff", ",1",
	} {
		assert.False(t, valid(text), "%q", text)
	}
}

func TestPitfall26TheFirstTargetedFieldThatIsValid(t *testing.T) {
	rules := policy.Rules{Targeted: []string{"My-Cache-Control", "Cdn-Cache-Control"}}
	assert.Equal(t, time.Second, read(rules, "Cdn-Cache-Control: max-age=2", "My-Cache-Control: max-age=1").Lifetime)
	assert.Equal(t, 2*time.Second, read(rules, "Cdn-Cache-Control: max-age=2", "My-Cache-Control: =").Lifetime)
	assert.Equal(t, 3*time.Second, read(rules, "Cache-Control: max-age=3").Lifetime)
	assert.Equal(t, 3*time.Second, read(private, "Cdn-Cache-Control: max-age=2", "Cache-Control: max-age=3").Lifetime, "only by choice")
}

func TestSurrogateControl(t *testing.T) {
	for _, tt := range []struct {
		lines  []string
		want   time.Duration
		reason policy.Reason
	}{
		{[]string{"Surrogate-Control: max-age=60"}, time.Minute, policy.None},
		{[]string{"Surrogate-Control: MaX-aGe=60, foobar"}, time.Minute, policy.None},
		{[]string{"Surrogate-Control: max-age=60;me", "Cache-Control: no-store"}, time.Minute, policy.None},
		{[]string{"Surrogate-Control: max-age=1;me, max-age=60"}, time.Minute, policy.None},
		{[]string{"Surrogate-Control: max-age=60", "Expires: 0"}, time.Minute, policy.None},
		{[]string{"Surrogate-Control: max-age=60", "Cache-Control: max-age=1"}, time.Minute, policy.None},
		{[]string{"Surrogate-Control: max-age=0", "Expires: " + at(time.Hour)}, 0, policy.NotFresh},
		{[]string{"Surrogate-Control: max-age =60", "Cache-Control: max-age=1"}, 0, policy.NotFresh},
		{[]string{"Surrogate-Control: max-age= 60", "Cache-Control: max-age=1"}, 0, policy.NotFresh},
		{[]string{"Surrogate-Control: no-store", "Cache-Control: max-age=60"}, 0, policy.NoStore},
		{[]string{"Surrogate-Control: max-age=60, no-store;other"}, time.Minute, policy.NoStore},
		{[]string{`Surrogate-Control: max-age=60, content="no-store, ESI/1.0"`}, time.Minute, policy.None},
		{[]string{`Surrogate-Control: content="ESI/1.0`, "Cache-Control: max-age=60"}, time.Minute, policy.None},
		{[]string{`Surrogate-Control: content="ESI/1.0"`, "Cache-Control: private, max-age=60"}, time.Minute, policy.Private},
	} {
		t.Run(fmt.Sprint(tt.lines), func(t *testing.T) {
			got := read(surrogate, tt.lines...)
			assert.Equal(t, tt.reason.String(), got.Reason.String())
			assert.Equal(t, tt.want, got.Lifetime)
		})
	}
	got := read(surrogate, "Surrogate-Control: max-age=60+30")
	assert.Equal(t, time.Minute, got.Lifetime)
	assert.Equal(t, 30*time.Second, got.StaleWhileRevalidate)
	assert.Equal(t, 30*time.Second, got.StaleIfError)
}

func TestGroups(t *testing.T) {
	for text, want := range map[string][]string{
		`"a", "b;c"; p=1,"a"`:                 {"a", "b;c"},
		`"a\"\\"`:                             {`a"\`},
		`"a"`:                                 {"a"},
		`"` + strings.Repeat("a", 32) + `"`:   {strings.Repeat("a", 32)},
		"":                                    nil,
		`a`:                                   nil,
		`"a", b`:                              nil,
		`"a", `:                               nil,
		`"a" "b"`:                             nil,
		`("a")`:                               nil,
		`"é"`:                                 nil,
		`"a`:                                  nil,
		`"a\n"`:                               nil,
		`"` + strings.Repeat("a", 129) + `"`:  nil,
		strings.TrimSuffix(numbered(32), ","): nil,
		strings.Repeat(`"a",`, 200) + `"b"`:   {"a", "b"},
		`"a", ` + strings.Repeat(" ", 1000) + "\t\"b\"": {"a", "b"},
	} {
		got := policy.ReadGroups(header("Cache-Groups: "+text), "Cache-Groups")
		if strings.HasPrefix(text, `"g0"`) {
			assert.Len(t, got, 32)
			continue
		}
		assert.Equal(t, want, got, "%.60q", text)
	}
	assert.Len(t, policy.ReadGroups(header("G: "+strings.TrimSuffix(numbered(128), ",")), "G"), 128)
	assert.Nil(t, policy.ReadGroups(header("G: "+strings.TrimSuffix(numbered(129), ",")), "G"))
	assert.Equal(t, []string{"a", "b"}, policy.ReadGroups(http.Header{"G": {`"a"`, `"b"`}}, "G"))
	assert.Equal(t, []string{"a"}, read(shared, `Cache-Groups: "a"`).Groups)
}

func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"g%d",`, i)
	}
	return b.String()
}
