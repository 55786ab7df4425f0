package outcome_test

import (
	"math"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/outcome"
)

const forever = time.Duration(math.MaxInt64)

func TestRetryAfterInSeconds(t *testing.T) {
	now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	cases := map[string]time.Duration{ // 0 is no hint
		"":                        0,
		" ":                       0,
		"0":                       0,
		"00":                      0,
		"0.0":                     0,
		"1":                       time.Second,
		"120":                     2 * time.Minute,
		"007":                     7 * time.Second,
		" 5 ":                     5 * time.Second,
		"\t5\t":                   5 * time.Second,
		"0.5":                     time.Second / 2,
		".5":                      time.Second / 2,
		"1.":                      time.Second,
		"1.25":                    time.Second + time.Second/4,
		"0.000000001":             1,
		"0.0000000001":            0,
		"86400":                   24 * time.Hour,
		"1000000000":              1_000_000_000 * time.Second,
		"1000000000000":           forever,
		"9223372036":              9_223_372_036 * time.Second,
		"9223372037":              forever,
		"9223372036.854775807":    forever,
		strings.Repeat("9", 400):  forever,
		"1" + zeros(400):          forever,
		"0." + zeros(400) + "1":   0,
		"-1":                      0,
		"-0.5":                    0,
		"+5":                      0,
		"1e9":                     0,
		"1E9":                     0,
		"0x10":                    0,
		"0x1p4":                   0,
		"1_000":                   0,
		"Inf":                     0,
		"inf":                     0,
		"Infinity":                0,
		"NaN":                     0,
		".":                       0,
		"..":                      0,
		"1.2.3":                   0,
		"1,5":                     0,
		"5 5":                     0,
		"5s":                      0,
		"5, 10":                   0,
		"٥":                       0, // a digit, but not of ours
		"soon":                    0,
		"\x00":                    0,
		"Sun, 01 Mar 2026 12:00:": 0,
	}
	for value, want := range cases {
		t.Run(value, func(t *testing.T) {
			wait, ok := outcome.RetryAfter(http.Header{"Retry-After": {value}}, now)
			assert.Equal(t, want, wait)
			assert.Equal(t, want > 0, ok)
		})
	}
}

func zeros(n int) string { return strings.Repeat("0", n) }

func TestRetryAfterIsAbsent(t *testing.T) {
	for _, header := range []http.Header{nil, {}, {"Retry-After": nil}, {"Retry-After": {}}} {
		wait, ok := outcome.RetryAfter(header, time.Now())
		assert.Zero(t, wait)
		assert.False(t, ok)
	}
}

func TestRetryAfterOfManyIsTheFirst(t *testing.T) {
	wait, ok := outcome.RetryAfter(http.Header{"Retry-After": {"3", "4"}}, time.Now())
	assert.True(t, ok)
	assert.Equal(t, 3*time.Second, wait)
}

func TestRetryAfterAsADate(t *testing.T) {
	now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	const date = "Sun, 01 Mar 2026 13:00:00 GMT" // of a server whose clock is an hour ahead
	cases := map[string]struct {
		value, date string
		want        time.Duration // 0 is no hint
	}{
		"by our clock":                 {"Sun, 01 Mar 2026 12:00:30 GMT", "", 30 * time.Second},
		"by the server's clock":        {"Sun, 01 Mar 2026 13:00:30 GMT", date, 30 * time.Second},
		"RFC 850":                      {"Sunday, 01-Mar-26 13:00:30 GMT", date, 30 * time.Second},
		"ANSI C":                       {"Sun Mar  1 13:00:30 2026", date, 30 * time.Second},
		"with spaces around":           {"  Sun, 01 Mar 2026 13:00:30 GMT ", date, 30 * time.Second},
		"Date in RFC 850":              {"Sun, 01 Mar 2026 13:00:30 GMT", "Sunday, 01-Mar-26 13:00:00 GMT", 30 * time.Second},
		"Date in ANSI C":               {"Sun, 01 Mar 2026 13:00:30 GMT", "Sun Mar  1 13:00:00 2026", 30 * time.Second},
		"Date that is garbage":         {"Sun, 01 Mar 2026 12:00:30 GMT", "yesterday", 30 * time.Second},
		"this very second":             {"Sun, 01 Mar 2026 12:00:00 GMT", "", 0},
		"this very second, their's":    {date, date, 0},
		"past by our clock":            {"Sun, 01 Mar 2026 11:59:59 GMT", "", 0},
		"past by the server's clock":   {"Sun, 01 Mar 2026 12:30:00 GMT", date, 0},
		"long past":                    {"Mon, 01 Jan 0001 00:00:00 GMT", "", 0},
		"past what a duration can say": {"Fri, 31 Dec 9999 23:59:59 GMT", "", forever},
		"not in GMT":                   {"Sun, 01 Mar 2026 12:00:30 CET", "", 0},
		"no such day":                  {"Sun, 31 Feb 2026 12:00:30 GMT", "", 0},
		"RFC 3339":                     {"2026-03-01T12:00:30Z", "", 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			header := http.Header{"Retry-After": {c.value}}
			if c.date != "" {
				header.Set("Date", c.date)
			}
			wait, ok := outcome.RetryAfter(header, now)
			assert.Equal(t, c.want, wait)
			assert.Equal(t, c.want > 0, ok)
		})
	}
}

func TestRetryAfterInSecondsIgnoresTheDate(t *testing.T) {
	header := http.Header{"Retry-After": {"30"}, "Date": {"Sun, 01 Mar 2026 13:00:00 GMT"}}
	wait, ok := outcome.RetryAfter(header, time.Unix(0, 0))
	assert.True(t, ok)
	assert.Equal(t, 30*time.Second, wait)
}

// exactly reads digits with at most one point among them as the fraction of integers that it is.
func exactly(value string) (nanoseconds *big.Rat, ok bool) {
	whole, fraction, _ := strings.Cut(value, ".")
	digits := whole + fraction
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return nil, false
	}
	n, ok := new(big.Int).SetString(digits, 10)
	if !ok {
		return nil, false
	}
	n.Mul(n, big.NewInt(int64(time.Second)))
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(len(fraction))), nil)
	return new(big.Rat).SetFrac(n, scale), true
}

func FuzzRetryAfter(f *testing.F) {
	for _, value := range []string{
		"", "0", "5", " 5 ", "+5", "-5", ".", "1.", ".5", "1.2.3", "1e9", "0x10", "Inf", "NaN", "0.3", "0.29",
		"1000000000000", "9223372036.854774", "9223372036.854775", "9223372036.8547757", "9223372036.854776",
		"1" + zeros(400), "0." + zeros(400) + "1", "Sun, 01 Mar 2026 12:00:30 GMT", "Sunday, 01-Mar-26 12:00:30 GMT",
		"Sun Mar  1 12:00:30 2026", "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT",
	} {
		f.Add(value, "", int64(1_772_366_400))
		f.Add(value, "Sun, 01 Mar 2026 12:00:00 GMT", int64(0))
	}
	f.Fuzz(func(t *testing.T, value, date string, now int64) {
		if len(value) > 1000 {
			t.Skip() // the model would be slow, not the code
		}
		header := http.Header{"Retry-After": {value}, "Date": {date}}
		wait, ok := outcome.RetryAfter(header, time.Unix(now, 0))
		require.GreaterOrEqual(t, wait, time.Duration(0))
		require.Equal(t, wait > 0, ok)
		trimmed := strings.TrimSpace(value)
		exact, isNumber := exactly(trimmed)
		if !isNumber {
			_, err := http.ParseTime(trimmed)
			require.True(t, err == nil || !ok, "a hint out of %q", value)
			return
		}
		requireClose(t, exact, wait)
	})
}

// requireClose allows for what a float loses: a tick, and one part in 2^50 of long waits.
func requireClose(t *testing.T, exact *big.Rat, wait time.Duration) {
	t.Helper()
	limit := new(big.Rat).SetInt64(math.MaxInt64)
	if exact.Cmp(limit) > 0 {
		exact = limit
	}
	off := new(big.Rat).Sub(exact, new(big.Rat).SetInt64(int64(wait)))
	tolerance := new(big.Rat).Quo(exact, new(big.Rat).SetInt64(1<<50))
	tolerance.Add(tolerance, new(big.Rat).SetInt64(1))
	require.LessOrEqual(t, off.Abs(off).Cmp(tolerance), 0, "want %s ns, got %d", exact.FloatString(3), wait)
}
