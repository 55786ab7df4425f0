package policy_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/stale/internal/policy"
)

// judge judges a response that was received at noon, some time later.
func judge(terms policy.Terms, asks string, d policy.Defaults, later time.Duration) policy.Verdict {
	req := none
	if asks != "" {
		req = policy.ReadRequest(header("Cache-Control: " + asks))
	}
	return terms.Judge(req, d, noon, noon.Add(later))
}

func TestRequirement2Judge(t *testing.T) {
	const (
		fresh    = policy.Fresh
		behind   = policy.WhileRevalidate
		validate = policy.Validate
	)
	hour := policy.Defaults{StaleIfError: time.Hour}
	both := policy.Defaults{StaleIfError: time.Hour, StaleWhileRevalidate: time.Hour}
	never := policy.Defaults{}
	for _, tt := range []struct {
		name    string
		rules   policy.Rules
		control string
		asks    string
		d       policy.Defaults
		seconds int
		use     policy.Use
		onError bool
	}{
		{"fresh", shared, "max-age=60", "", never, 59, fresh, true},
		{"stale at its lifetime", shared, "max-age=60", "", never, 60, validate, false},

		{"default for errors", shared, "max-age=60", "", hour, 60, validate, true},
		{"default for errors ends", shared, "max-age=60", "", hour, 3660, validate, false},
		{"default for errors, last moment", shared, "max-age=60", "", hour, 3659, validate, true},
		{"defaults", shared, "max-age=60", "", both, 3659, behind, true},
		{"defaults end", shared, "max-age=60", "", both, 3660, validate, false},
		{"windows that make no sense", shared, "max-age=60, stale-while-revalidate=x, stale-if-error=-1", "", both, 61, validate, false},
		{"windows that contradict themselves", shared, "max-age=60, stale-while-revalidate=1, stale-while-revalidate=10", "", both, 60, validate, true},
		{"explicit", shared, "max-age=60, stale-while-revalidate=10", "", never, 69, behind, false},
		{"explicit ends", shared, "max-age=60, stale-while-revalidate=10", "", both, 70, validate, true},
		{"explicit 0", shared, "max-age=60, stale-while-revalidate=0, stale-if-error=0", "", both, 60, validate, false},
		{"explicit for errors", shared, "max-age=60, stale-if-error=10", "", never, 69, validate, true},
		{"explicit for errors ends", shared, "max-age=60, stale-if-error=10", "", both, 70, behind, false},

		{"no-cache", shared, "max-age=60, no-cache, stale-while-revalidate=60, stale-if-error=60", "", both, 1, validate, false},
		{"must-revalidate, fresh", shared, "max-age=60, must-revalidate", "", both, 59, fresh, false},
		{"must-revalidate, stale", shared, "max-age=60, must-revalidate", "", both, 60, validate, false},
		{"must-revalidate beats windows", shared, "max-age=60, must-revalidate, stale-while-revalidate=60, stale-if-error=60", "", both, 61, validate, false},
		{"proxy-revalidate", shared, "max-age=60, proxy-revalidate, stale-while-revalidate=60", "", both, 60, validate, false},
		{"proxy-revalidate, private", private, "max-age=60, proxy-revalidate", "", both, 60, behind, true},
		{"s-maxage", shared, "s-maxage=60", "", both, 60, validate, false},
		{"s-maxage, private", private, "max-age=60, s-maxage=60", "", both, 60, behind, true},
		{"s-maxage with a window", shared, "s-maxage=60, stale-while-revalidate=10", "", both, 69, behind, false},
		{"s-maxage with a window ends", shared, "s-maxage=60, stale-while-revalidate=10", "", both, 70, validate, false},
		{"s-maxage with a window for errors", shared, "s-maxage=60, stale-if-error=10", "", both, 69, validate, true},
		{"s-maxage with a window, must-revalidate", shared, "s-maxage=60, stale-if-error=10, must-revalidate", "", both, 60, validate, false},

		{"request no-cache", shared, "max-age=60", "no-cache", both, 1, validate, false},
		{"request max-age", shared, "max-age=60", "max-age=10", both, 10, fresh, true},
		{"request max-age, older", shared, "max-age=60", "max-age=10", both, 11, validate, true},
		{"request max-age, stale", shared, "max-age=60", "max-age=100", both, 60, validate, false},
		{"request max-age, stale, its own window", shared, "max-age=60", "max-age=100, stale-if-error=10", both, 69, validate, true},
		{"request min-fresh", shared, "max-age=60", "min-fresh=20", both, 40, fresh, true},
		{"request min-fresh, older", shared, "max-age=60", "min-fresh=20", both, 41, validate, true},
		{"request min-fresh, stale", shared, "max-age=60", "min-fresh=0", both, 60, validate, false},
		{"request max-stale", shared, "max-age=60", "max-stale=10", never, 70, fresh, false},
		{"request max-stale, older", shared, "max-age=60", "max-stale=10", never, 71, validate, false},
		{"request max-stale without a value", shared, "max-age=60", "max-stale", never, 9999999, fresh, false},
		{"request max-stale, must-revalidate", shared, "max-age=60, must-revalidate", "max-stale", both, 61, validate, false},
		{"request max-stale, s-maxage", shared, "s-maxage=60", "max-stale", both, 61, validate, false},
		{"request max-stale, s-maxage with a window", shared, "s-maxage=60, stale-if-error=5", "max-stale", both, 66, validate, false},
		{"request max-stale and max-age", shared, "max-age=60", "max-stale, max-age=65", never, 65, fresh, false},
		{"request max-stale and max-age, older", shared, "max-age=60", "max-stale, max-age=65", never, 66, validate, false},
		{"request stale-if-error", shared, "max-age=60", "stale-if-error=10", never, 69, validate, true},
		{"request stale-if-error wider than the default", shared, "max-age=60", "stale-if-error=7200", hour, 7000, validate, true},
		{"request stale-if-error shorter than the response's", shared, "max-age=60, stale-if-error=100", "stale-if-error=10", never, 71, validate, false},
		{"request stale-if-error wider than the response's", shared, "max-age=60, stale-if-error=10", "stale-if-error=100", never, 71, validate, false},
		{"request stale-if-error, s-maxage", shared, "s-maxage=60, stale-while-revalidate=1", "stale-if-error=100", both, 62, validate, false},
		{"request that makes no sense", shared, "max-age=60", "max-age=x, min-fresh, max-stale=-1, stale-if-error", never, 59, fresh, true},

		{"immutable, reload", shared, "max-age=60, immutable", "max-age=0", both, 59, fresh, true},
		{"immutable, reload by force", shared, "max-age=60, immutable", "no-cache", both, 59, validate, false},
		{"immutable, stale", shared, "max-age=60, immutable", "max-age=0", never, 60, validate, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			terms := read(tt.rules, "Cache-Control: "+tt.control)
			got := judge(terms, tt.asks, tt.d, time.Duration(tt.seconds)*time.Second)
			assert.Equal(t, tt.use, got.Use, got.Use)
			assert.Equal(t, tt.onError, got.OnError, "on error")
			assert.Equal(t, time.Duration(tt.seconds)*time.Second, got.Age)
			assert.Equal(t, terms.Lifetime-got.Age, got.TTL)
		})
	}
}

func TestPitfall16AStoredErrorIsNeverAStaleCopy(t *testing.T) {
	d := policy.Defaults{StaleWhileRevalidate: time.Hour, StaleIfError: time.Hour}
	for _, status := range []int{500, 501, 502, 503, 504, 599} {
		terms := readStatus(shared, status, "Cache-Control: max-age=60, stale-while-revalidate=60, stale-if-error=60")
		assert.Equal(t, policy.Fresh, judge(terms, "", d, 59*time.Second).Use)
		assert.False(t, judge(terms, "", d, 59*time.Second).OnError)
		stale := judge(terms, "max-stale", d, 60*time.Second)
		assert.Equal(t, policy.Validate, stale.Use, status)
		assert.False(t, stale.OnError, status)
		assert.Equal(t, time.Minute, terms.Keep(d), status)
	}
	terms := readStatus(shared, 404, "Cache-Control: max-age=60")
	assert.True(t, judge(terms, "", d, 60*time.Second).OnError, "a 404 is what the origin had to say")
}

func TestPitfall23AgeGrows(t *testing.T) {
	terms := read(shared, "Cache-Control: max-age=60", "Age: 50")
	assert.Equal(t, policy.Fresh, judge(terms, "", policy.Defaults{}, 10*time.Second-1).Use)
	assert.Equal(t, policy.Validate, judge(terms, "", policy.Defaults{}, 10*time.Second).Use)
	back := judge(terms, "", policy.Defaults{}, -time.Hour)
	assert.Equal(t, 50*time.Second, back.Age, "a clock that went back makes nothing younger")

	old := read(shared, "Cache-Control: max-age=99999999999", "Age: 1000000000000")
	late := old.Judge(none, policy.Defaults{StaleIfError: math.MaxInt64}, time.Time{}, time.Unix(1<<40, 0))
	assert.Positive(t, late.Age, "no sum overflows")
	assert.Negative(t, late.TTL)
	assert.Equal(t, policy.Validate, late.Use)
}

func TestUsesHaveNames(t *testing.T) {
	assert.Equal(t, "fresh while-revalidate validate unknown",
		fmt.Sprint(policy.Fresh, policy.WhileRevalidate, policy.Validate, policy.Use(9)))
}

func TestKeep(t *testing.T) {
	hour := policy.Defaults{StaleIfError: time.Hour}
	tag := `Etag: "a"`
	for _, tt := range []struct {
		name  string
		lines []string
		d     policy.Defaults
		want  time.Duration
	}{
		{"lifetime", []string{"Cache-Control: max-age=60"}, policy.Defaults{}, time.Minute},
		{"less its age", []string{"Cache-Control: max-age=60", "Age: 20"}, policy.Defaults{}, 40 * time.Second},
		{"too old", []string{"Cache-Control: max-age=60", "Age: 100"}, policy.Defaults{}, 0},
		{"too old with a validator", []string{"Cache-Control: max-age=60", "Age: 100", tag}, policy.Defaults{}, time.Hour},
		{"default", []string{"Cache-Control: max-age=60"}, hour, time.Hour + time.Minute},
		{"explicit", []string{"Cache-Control: max-age=60, stale-if-error=10, stale-while-revalidate=20"}, hour, 80 * time.Second},
		{"validator", []string{"Cache-Control: max-age=60", tag}, hour, 2*time.Hour + time.Minute},
		{"must-revalidate", []string{"Cache-Control: max-age=60, must-revalidate"}, hour, time.Minute},
		{"must-revalidate with a validator", []string{"Cache-Control: max-age=60, must-revalidate", tag}, hour, time.Hour + time.Minute},
		{"no-cache with a validator", []string{"Cache-Control: no-cache", tag}, hour, time.Hour},
		{"negative defaults", []string{"Cache-Control: max-age=60"}, policy.Defaults{StaleIfError: -5, StaleWhileRevalidate: -1}, time.Minute},
		{"for ever", []string{"Cache-Control: max-age=99999999999, stale-if-error=99999999999", tag}, policy.Defaults{StaleWhileRevalidate: math.MaxInt64}, 366 * 24 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			terms := read(shared, tt.lines...)
			assert.Equal(t, tt.want, terms.Keep(tt.d))
		})
	}
}

func TestReadRequest(t *testing.T) {
	request := func(edit func(*policy.Request)) policy.Request {
		r := none
		edit(&r)
		return r
	}
	for text, want := range map[string]policy.Request{
		"Cache-Control: no-cache":                 request(func(r *policy.Request) { r.NoCache = true }),
		"Cache-Control: No-Cache=x":               request(func(r *policy.Request) { r.NoCache = true }),
		"Cache-Control: no-store;only-if-cached":  request(func(r *policy.Request) { r.NoStore, r.OnlyIfCached = true, true }),
		"Cache-Control: max-age=0":                request(func(r *policy.Request) { r.MaxAge = 0 }),
		"Cache-Control: max-age=9, max-age=8":     request(func(r *policy.Request) { r.MaxAge = 8 * time.Second }),
		"Cache-Control: max-age=x, max-age=8":     request(func(r *policy.Request) { r.MaxAge = 8 * time.Second }),
		"Cache-Control: min-fresh=8, min-fresh=9": request(func(r *policy.Request) { r.MinFresh = 9 * time.Second }),
		"Cache-Control: max-stale":                request(func(r *policy.Request) { r.MaxStale = math.MaxInt64 }),
		"Cache-Control: max-stale, max-stale=9":   request(func(r *policy.Request) { r.MaxStale = 9 * time.Second }),
		"Cache-Control: stale-if-error=9":         request(func(r *policy.Request) { r.StaleIfError = 9 * time.Second }),
		"Cache-Control: x":                        none,
		"Pragma: no-cache":                        request(func(r *policy.Request) { r.NoCache = true }),
		"Pragma: x, No-Cache":                     request(func(r *policy.Request) { r.NoCache = true }),
		"Pragma: x":                               none,
	} {
		assert.Equal(t, want, policy.ReadRequest(header(text)), text)
	}
	assert.Equal(t, none, policy.ReadRequest(header("Cache-Control: x", "Pragma: no-cache")),
		"Pragma only stands in for Cache-Control")
	assert.Equal(t, policy.Request{MaxAge: policy.Absent, MinFresh: policy.Absent, MaxStale: policy.Absent, StaleIfError: policy.Absent}, none)
}
