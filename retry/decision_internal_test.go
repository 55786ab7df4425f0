package retry

import (
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/outcome"
)

func complete(t *testing.T, cfg Config) *Config {
	t.Helper()
	require.NoError(t, cfg.complete())
	return &cfg
}

// unavailable is a first attempt that came back with 503 and may be repeated.
func unavailable() facts {
	return facts{
		attempts: 1, maxAttempts: 3, kind: outcome.ServerError, status: http.StatusServiceUnavailable,
		replayable: true, repeatable: true, now: time.Unix(1e9, 0), u: 0.5, v: 0.5,
	}
}

func TestDecide(t *testing.T) {
	cfg := complete(t, Config{BaseDelay: 100 * time.Millisecond, MaxDelay: time.Second})
	tests := map[string]struct {
		change func(*facts)
		wait   time.Duration
		stop   Reason
	}{
		"503":                        {func(*facts) {}, 50 * time.Millisecond, goOn},
		"second 503":                 {func(f *facts) { f.attempts = 2 }, 100 * time.Millisecond, goOn},
		"third 503":                  {func(f *facts) { f.attempts = 3 }, 0, OutOfAttempts},
		"502":                        {func(f *facts) { f.status = 502 }, 50 * time.Millisecond, goOn},
		"504":                        {func(f *facts) { f.status = 504 }, 50 * time.Millisecond, goOn},
		"429":                        {func(f *facts) { f.status, f.kind = 429, outcome.Throttled }, 50 * time.Millisecond, goOn},
		"500":                        {func(f *facts) { f.status = 500 }, 0, Final},
		"501":                        {func(f *facts) { f.status = 501 }, 0, Final},
		"404":                        {func(f *facts) { f.status, f.kind = 404, outcome.ClientError }, 0, Final},
		"200":                        {func(f *facts) { f.status, f.kind = 200, outcome.OK }, 0, Final},
		"timeout":                    {func(f *facts) { f.status, f.kind = 0, outcome.Timeout }, 50 * time.Millisecond, goOn},
		"broken":                     {func(f *facts) { f.status, f.kind = 0, outcome.Broken }, 50 * time.Millisecond, goOn},
		"caller canceled":            {func(f *facts) { f.status, f.kind = 0, outcome.Canceled }, 0, Final},
		"judged again":               {func(f *facts) { f.status, f.kind, f.judged = 200, outcome.OK, Again }, 50 * time.Millisecond, goOn},
		"judged acceptable":          {func(f *facts) { f.judged = Accept }, 0, Final},
		"POST":                       {func(f *facts) { f.repeatable = false }, 0, NotRepeatable},
		"POST, unsent":               {func(f *facts) { f.repeatable, f.kind = false, outcome.Unsent }, 50 * time.Millisecond, goOn},
		"POST, broken":               {func(f *facts) { f.repeatable, f.kind = false, outcome.Broken }, 0, NotRepeatable},
		"no GetBody":                 {func(f *facts) { f.replayable = false }, 0, NotRepeatable},
		"no GetBody, unsent":         {func(f *facts) { f.replayable, f.kind = false, outcome.Unsent }, 0, NotRepeatable},
		"refused without a hint":     {func(f *facts) { f.kind = outcome.Refused }, 0, Refused},
		"the same, judged again":     {func(f *facts) { f.kind, f.judged = outcome.Refused, Again }, 50 * time.Millisecond, goOn},
		"refused for 1 s":            {func(f *facts) { f.kind, f.hint = outcome.Refused, time.Second }, 1050 * time.Millisecond, goOn},
		"refused for 5 s":            {func(f *facts) { f.kind, f.hint = outcome.Refused, 5*time.Second }, 5250 * time.Millisecond, goOn},
		"refused for more than that": {func(f *facts) { f.kind, f.hint = outcome.Refused, 5*time.Second+1 }, 0, RetryAfterTooLong},
		"hint below the backoff":     {func(f *facts) { f.hint = time.Millisecond }, 100 * time.Millisecond, goOn},
		"hint beyond time":           {func(f *facts) { f.hint = math.MaxInt64 }, 0, RetryAfterTooLong},
		"deadline at the wait's end": {func(f *facts) { f.deadline = f.now.Add(50 * time.Millisecond) }, 0, DeadlineTooNear},
		"deadline just after":        {func(f *facts) { f.deadline = f.now.Add(50*time.Millisecond + 1) }, 50 * time.Millisecond, goOn},
		"deadline before the hint":   {func(f *facts) { f.hint, f.deadline = time.Second, f.now.Add(time.Second) }, 0, DeadlineTooNear},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := unavailable()
			tt.change(&f)
			wait, stop := cfg.decide(f)
			assert.Equal(t, tt.stop, stop, "got %v", stop)
			assert.Equal(t, tt.wait, wait)
		})
	}
}

func TestFullJitterDoublesItsBound(t *testing.T) {
	cfg := complete(t, Config{BaseDelay: 100 * time.Millisecond, MaxDelay: 350 * time.Millisecond})
	almost1 := math.Nextafter(1, 0)
	for n, want := range map[int]int{1: 100, 2: 200, 3: 350, 4: 350, 1000: 350} {
		assert.EqualValues(t, want, cfg.ceiling(n).Milliseconds(), "after attempt %d", n)
		assert.Zero(t, cfg.delay(n, 0, 0), "from zero")
		assert.Less(t, cfg.delay(n, 0, almost1), cfg.ceiling(n)+1, "to the bound")
	}
}

func TestDecorrelatedJitterGrowsFromTheWaitBefore(t *testing.T) {
	cfg := complete(t, Config{
		BaseDelay: 100 * time.Millisecond, MaxDelay: time.Second, Jitter: DecorrelatedJitter,
	})
	assert.Equal(t, 100*time.Millisecond, cfg.delay(1, 0, 0))
	assert.Equal(t, 200*time.Millisecond, cfg.delay(1, 0, 0.5))
	assert.Equal(t, 350*time.Millisecond, cfg.delay(2, 200*time.Millisecond, 0.5))
	assert.Equal(t, time.Second, cfg.delay(3, time.Second, 0.9))
}

func TestImmediatelyStillHonoursAHint(t *testing.T) {
	cfg := complete(t, Config{BaseDelay: Immediately})
	assert.Zero(t, cfg.delay(5, time.Second, 0.99))
	assert.Equal(t, 1050*time.Millisecond, cfg.hintedDelay(1, 0, time.Second, 0.5, 0.5))
}

func FuzzDelayStaysInBounds(f *testing.F) {
	f.Add(int64(1), int64(2), 1, int64(0), int64(0), 0.0, 0.0, false)
	f.Add(int64(longest), int64(longest), 1000, int64(math.MaxInt64), int64(0), 0.999, 0.999, true)
	f.Add(int64(1), int64(2), 1, int64(0), int64(1), math.NaN(), 0.5, false)
	f.Add(int64(1), int64(2), 1, int64(0), int64(1), 0.5, math.NaN(), true)
	f.Fuzz(func(t *testing.T, base, limit int64, n int, previous, hint int64, u, v float64, decorrelated bool) {
		jitter := FullJitter
		if decorrelated {
			jitter = DecorrelatedJitter
		}
		cfg := Config{BaseDelay: time.Duration(base), MaxDelay: time.Duration(limit), Jitter: jitter}
		if cfg.complete() != nil || n < 1 || n > 1000 || previous < 0 || !(u >= 0 && u < 1 && v >= 0 && v < 1) {
			t.Skip() // NaN is not drawn either
		}
		wait := cfg.delay(n, time.Duration(previous), u)
		require.GreaterOrEqual(t, wait, time.Duration(0))
		require.LessOrEqual(t, wait, cfg.MaxDelay)
		if decorrelated {
			require.GreaterOrEqual(t, wait, cfg.BaseDelay)
		}
		if hint > 0 && time.Duration(hint) <= cfg.MaxRetryAfter {
			hinted := cfg.hintedDelay(n, time.Duration(previous), time.Duration(hint), u, v)
			require.GreaterOrEqual(t, hinted, max(wait, time.Duration(hint)))
		}
	})
}

func TestIdempotent(t *testing.T) {
	for method, want := range map[string]bool{
		"": true, "GET": true, "HEAD": true, "OPTIONS": true, "TRACE": true, "PUT": true, "DELETE": true,
		"POST": false, "PATCH": false, "CONNECT": false, "BREW": false, "get": false,
	} {
		assert.Equal(t, want, Idempotent(&http.Request{Method: method}), method)
	}
	for _, header := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		assert.True(t, Idempotent(&http.Request{Method: "POST", Header: http.Header{header: {"1"}}}), header)
	}
}

func TestNamesAreComplete(t *testing.T) {
	for r := goOn; r <= BodyLost; r++ {
		assert.NotEqual(t, "unknown", r.String())
	}
	assert.Equal(t, "unknown", (BodyLost + 1).String())
	for k := Attempted; k <= Stopped; k++ {
		assert.NotEqual(t, "unknown", k.String())
	}
	assert.Equal(t, "again", Again.String())
	assert.Equal(t, "decorrelated", DecorrelatedJitter.String())
}
