package attempt_test

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/internal/attempt"
)

func TestAttemptNumberOfAHeader(t *testing.T) {
	cases := map[string]struct {
		values []string
		want   int
	}{
		"absent":         {nil, 1},
		"empty list":     {[]string{}, 1},
		"empty":          {[]string{""}, 1},
		"first":          {[]string{"1"}, 1},
		"second":         {[]string{"2"}, 2},
		"padded":         {[]string{"007"}, 7},
		"highest":        {[]string{"100"}, 100},
		"above":          {[]string{"101"}, attempt.MaxFromHeader},
		"largest int32":  {[]string{"2147483647"}, attempt.MaxFromHeader},
		"zero":           {[]string{"0"}, 1},
		"negative":       {[]string{"-2"}, 1},
		"signed":         {[]string{"+2"}, 1},
		"fraction":       {[]string{"2.5"}, 1},
		"exponent":       {[]string{"2e1"}, 1},
		"hexadecimal":    {[]string{"0x2"}, 1},
		"grouped":        {[]string{"1_0"}, 1},
		"spaces":         {[]string{" 2"}, 1}, // a server has trimmed what a client sent
		"list":           {[]string{"2, 3"}, 1},
		"garbage":        {[]string{"second"}, 1},
		"other digits":   {[]string{"٢"}, 1},
		"repeated":       {[]string{"2", "3"}, 1},
		"repeated alike": {[]string{"2", "2"}, 1},
	}
	for name, c := range cases {
		for _, header := range []string{attempt.RetryHeader, attempt.HedgeHeader} {
			t.Run(name+"/"+header, func(t *testing.T) {
				assert.Equal(t, c.want, attempt.FromHeader(http.Header{header: c.values}, header))
			})
		}
	}
}

func TestAttemptHeadersAreApart(t *testing.T) {
	header := http.Header{}
	header.Set(attempt.RetryHeader, "2")
	header.Set(attempt.HedgeHeader, "3")
	assert.Equal(t, 2, attempt.FromHeader(header, attempt.RetryHeader))
	assert.Equal(t, 3, attempt.FromHeader(header, attempt.HedgeHeader))
	assert.Equal(t, 1, attempt.FromHeader(nil, attempt.RetryHeader))
}

// The numbers are looked up as the constants spell them.
func TestAttemptHeadersAreCanonical(t *testing.T) {
	for _, name := range []string{attempt.RetryHeader, attempt.HedgeHeader} {
		assert.Equal(t, http.CanonicalHeaderKey(name), name)
	}
}

func FuzzFromHeader(f *testing.F) {
	for _, value := range []string{"", "0", "1", "2", "100", "101", "-1", "+1", "1e3", "x", "2147483648"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got := attempt.FromHeader(http.Header{attempt.RetryHeader: {value}}, attempt.RetryHeader)
		assert.GreaterOrEqual(t, got, 1)
		assert.LessOrEqual(t, got, attempt.MaxFromHeader)
		for n := 2; n < attempt.MaxFromHeader; n++ {
			if value == strconv.Itoa(n) {
				assert.Equal(t, n, got)
			}
		}
	})
}
