package policy_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale/internal/policy"
)

func TestPitfall1VariantsThatAreTheSame(t *testing.T) {
	for _, tt := range []struct {
		name string
		a, b []string
	}{
		{"Foo", []string{"Foo: 1, 2"}, []string{"Foo: 1", "Foo: 2"}},
		{"Foo", []string{"Foo: 1,2"}, []string{"Foo:  1 ,\t2 "}},
		{"Foo", []string{"Other: 1"}, []string{"Other: 2"}},
		{"Foo", nil, nil},
		{"Accept-Language", []string{"Accept-Language: en, de"}, []string{"Accept-Language: de, en"}},
		{"Accept-Language", []string{"Accept-Language: en, de"}, []string{"Accept-Language: eN", "Accept-Language: De"}},
		{"Accept-Language", []string{"Accept-Language: de;q=1.0, en;q=0.50"}, []string{"Accept-Language:  en ; Q=0.5,, de"}},
		{"Accept-Encoding", []string{"Accept-Encoding: gzip, br"}, []string{"Accept-Encoding: br,GZIP"}},
		{"Accept-Encoding", []string{"Accept-Encoding: x-gzip"}, []string{"Accept-Encoding: gzip"}},
		{"Accept-Encoding", []string{"Accept-Encoding: gzip, br;q=0"}, []string{"Accept-Encoding: gzip"}},
		{"Accept-Encoding", []string{"Accept-Encoding: gzip;q=0"}, []string{"Accept-Encoding: "}},
	} {
		names := []string{tt.name}
		assert.Equal(t, policy.Ask(names, header(tt.a...)), policy.Ask(names, header(tt.b...)), "%q %q", tt.a, tt.b)
	}
	assert.Empty(t, policy.Ask(nil, header("Foo: 1")))
}

func TestPitfall1VariantsThatDiffer(t *testing.T) {
	for _, tt := range []struct {
		names []string
		a, b  []string
	}{
		{[]string{"Foo"}, []string{"Foo: 1"}, []string{"Foo: 2"}},
		{[]string{"Foo"}, []string{"Foo: 1"}, nil},
		{[]string{"Foo"}, []string{"Foo: "}, nil},
		{[]string{"Foo"}, []string{"Foo: a"}, []string{"Foo: A"}},
		{[]string{"Foo"}, []string{"Foo: 1, 2"}, []string{"Foo: 2, 1"}},
		{[]string{"Foo"}, []string{`Foo: "1,2"`}, []string{`Foo: "1, 2"`}},
		{[]string{"Foo"}, []string{"Foo: 1 2"}, []string{"Foo: 12"}},
		{[]string{"Bar", "Foo"}, []string{"Bar: 1", "Foo: 2"}, []string{"Bar: 2", "Foo: 1"}},
		{[]string{"Bar", "Foo"}, []string{"Bar: 1"}, []string{"Foo: 1"}},
		{[]string{"Bar", "Foo"}, []string{"Bar: 1:1;2", "Foo: 3"}, []string{"Bar: 1", "Foo: 2:1;3"}},
		{[]string{"Bar", "Foo"}, []string{"Bar: -", "Foo: "}, []string{"Bar: ", "Foo: -"}},
		{[]string{"Accept-Encoding"}, []string{"Accept-Encoding: gzip"}, []string{"Accept-Encoding: br"}},
		{[]string{"Accept-Encoding"}, []string{"Accept-Encoding: gzip"}, []string{"Accept-Encoding: gzip, br"}},
		{[]string{"Accept-Encoding"}, []string{"Accept-Encoding: gzip, br;q=0.5"}, []string{"Accept-Encoding: gzip;q=0.5, br"}},
		{[]string{"Accept-Encoding"}, []string{"Accept-Encoding: *, br;q=0"}, []string{"Accept-Encoding: *"}},
		{[]string{"Accept-Encoding"}, []string{"Accept-Encoding: gzip, identity;q=0"}, []string{"Accept-Encoding: gzip"}},
		{[]string{"Accept-Encoding"}, []string{"Accept-Encoding: "}, nil},
		{[]string{"Accept-Language"}, []string{"Accept-Language: en, en-gb;q=0"}, []string{"Accept-Language: en"}},
		{[]string{"Accept-Language"}, []string{"Accept-Language: en;q=0.123"}, []string{"Accept-Language: en;q=0.124"}},
		{[]string{"Accept-Language"}, []string{"Accept-Language: en;q=1.5"}, []string{"Accept-Language: en"}},
		{[]string{"Accept-Language"}, []string{"Accept-Language: en;q=0.x"}, []string{"Accept-Language: en;q=0"}},
		{[]string{"Accept-Language"}, []string{"Accept-Language: en;q=0.1234"}, []string{"Accept-Language: en;q=0.123"}},
		{[]string{"Accept-Language"}, []string{"Accept-Language: en;level=1"}, []string{"Accept-Language: en"}},
		{[]string{"Foo"}, []string{"Foo: " + strings.Repeat("a", 100_000)}, []string{"Foo: " + strings.Repeat("a", 100_001)}},
	} {
		assert.NotEqual(t, policy.Ask(tt.names, header(tt.a...)), policy.Ask(tt.names, header(tt.b...)), "%.50q %.50q", tt.a, tt.b)
	}
}

func TestPitfall12VariantsAreBounded(t *testing.T) {
	names := []string{"Accept-Language", "Foo"}
	for _, text := range []string{strings.Repeat("a,", 50_000), strings.Repeat("a", 100_000), strings.Repeat(`"`, 100_001)} {
		assert.LessOrEqual(t, len(policy.Ask(names, header("Foo: "+text, "Accept-Language: "+text))), 1024)
	}
}

// FuzzVary compares with what the normal form is to mean: the members of each
// field, as a plain reading has them.
func FuzzVary(f *testing.F) {
	f.Add("gzip, br;q=0.5", "br;q=0.50 ,GZIP", uint8(0))
	f.Add("en, de", "de,en;q=1", uint8(1))
	f.Add(`1, "2, 3"`, `1,"2, 3"`, uint8(2))
	f.Add("identity;q=0, *", "*", uint8(0))
	f.Add("a:1;", "a:1;a:1;", uint8(2))
	f.Add("a*, gzip;q=0", "a*", uint8(0))
	f.Add("gzip, x-identity;q=0", "gzip", uint8(0))
	f.Fuzz(func(t *testing.T, a, b string, which uint8) {
		name := []string{"Accept-Encoding", "Accept-Language", "Foo"}[which%3]
		one, other := http.Header{name: {a}}, http.Header{name: {b}}
		got := policy.Ask([]string{name}, one) == policy.Ask([]string{name}, other)
		if a == b {
			require.True(t, got)
		}
		pair := []string{"Bar", "Foo"}
		if got && name == "Foo" {
			require.Equal(t, squeezed(a), squeezed(b), "nothing but whitespace is lost")
		}
		if got && name != "Foo" {
			require.Equal(t, accepts(a), accepts(b))
		}
		swapped := policy.Ask(pair, http.Header{"Bar": {a}, "Foo": {b}}) == policy.Ask(pair, http.Header{"Bar": {b}, "Foo": {a}})
		same := policy.Ask(pair[:1], http.Header{"Bar": {a}}) == policy.Ask(pair[:1], http.Header{"Bar": {b}})
		require.Equal(t, same, swapped, "no field runs into the next")
	})
}

// squeezed has no whitespace at all, which loses more than the normal form.
func squeezed(s string) string {
	return strings.NewReplacer(" ", "", "\t", "").Replace(s)
}

// accepts is a set of what is left of the members without case, spaces and the
// zeros behind a weight.
func accepts(s string) string {
	var members []string
	all := strings.Split(strings.ToLower(squeezed(s)), ",")
	anything := slices.ContainsFunc(all, func(member string) bool {
		name, _, _ := strings.Cut(member, ";q=")
		return name == "*" // a* is a name like any other
	})
	for _, member := range all {
		name, weight, weighted := strings.Cut(member, ";q=")
		weight = strings.TrimRight(weight, "0.")
		switch {
		case member == "", weighted && weight == "" && name != "identity" && !anything:
			continue // An excluded member may be left out.
		case weighted && weight != "1":
			name += ";" + weight
		}
		members = append(members, strings.TrimPrefix(name, "x-"))
	}
	slices.Sort(members)
	return strings.Join(members, ",")
}

// Who sends the normal form of something else, which is in no grammar, has asked
// for something else.
func TestPitfall18NormalFormsCannotBeSent(t *testing.T) {
	for _, c := range [][2]string{
		{"gzip;q=0.5", "gzip;500"},
		{"br, gzip;q=0", "br,gzip;0"},
		{"br;q=0.9, *;q=0", "br;900,*;0"},
	} {
		for _, name := range []string{"Accept-Encoding", "Accept-Language"} {
			good := policy.Ask([]string{name}, header(name+": "+c[0]))
			assert.NotEqual(t, good, policy.Ask([]string{name}, header(name+": "+c[1])), c[1])
			for _, end := range []string{"", ":10;", ":10."} {
				assert.NotEqual(t, good, policy.Ask([]string{"X-Other"}, header("X-Other: "+c[1]+end)))
			}
		}
	}
}
