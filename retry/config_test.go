package retry_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/retry"
)

func TestZeroConfigWorks(t *testing.T) {
	_, err := retry.New(retry.Config{})
	require.NoError(t, err)
}

func TestNewReportsEverythingWrongByName(t *testing.T) {
	_, err := retry.New(retry.Config{
		MaxAttempts: -1, TryTimeout: -2, BodyIdleTimeout: -2, BaseDelay: -2, MaxDelay: -1,
		Jitter: 7, MaxRetryAfter: -1,
	})
	require.Error(t, err)
	for _, field := range []string{
		"MaxAttempts", "TryTimeout", "BodyIdleTimeout", "BaseDelay", "MaxDelay", "Jitter", "MaxRetryAfter",
	} {
		assert.ErrorContains(t, err, "retry: Config."+field)
	}
}

func TestContradictionsAreErrors(t *testing.T) {
	for name, cfg := range map[string]retry.Config{
		"MaxDelay below BaseDelay":        {BaseDelay: time.Second, MaxDelay: time.Millisecond},
		"jitter without a delay":          {BaseDelay: retry.Immediately, Jitter: retry.DecorrelatedJitter},
		"more attempts than make sense":   {MaxAttempts: 1001},
		"MaxDelay beyond a day":           {MaxDelay: 25 * time.Hour},
		"MaxRetryAfter beyond a day":      {MaxRetryAfter: 25 * time.Hour},
		"default MaxDelay, huge the base": {BaseDelay: 48 * time.Hour},
	} {
		_, err := retry.New(cfg)
		assert.Error(t, err, name)
	}
	_, err := retry.New(retry.Config{BaseDelay: 10 * time.Second})
	require.NoError(t, err, "MaxDelay follows a longer BaseDelay")
	assert.Panics(t, func() { retry.MustNew(retry.Config{MaxAttempts: -1}) })
}

func TestConfigCanBePrinted(t *testing.T) {
	text, err := json.Marshal(retry.Config{MaxAttempts: 4})
	require.NoError(t, err)
	assert.Contains(t, string(text), `"MaxAttempts":4`)
}

func TestConfigIsCopied(t *testing.T) {
	bubble(t, "changes after New do nothing", func(t *testing.T) {
		cfg := retry.Config{MaxAttempts: 2, Budget: rich()}
		base, seen := always(503).base()
		r := retry.MustNew(cfg)
		cfg.MaxAttempts = 9
		resp, err := r.Transport(base).RoundTrip(request(t, "GET", ""))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.EqualValues(t, 2, seen.Load())
	})
}
