package breaker_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/breaker"
)

func TestZeroConfigWorks(t *testing.T) {
	_, err := breaker.New(breaker.Config{})
	require.NoError(t, err)
}

func TestNewReportsEverythingWrongByName(t *testing.T) {
	_, err := breaker.New(breaker.Config{
		Window: time.Millisecond, MaxKeys: -1, MaxOpenFraction: 1.5,
		Rules: breaker.Rules{
			FailureRate: 1.1, FailureMin: -1, SlowAfter: -1, SlowRate: -1, SlowMin: -1, OverloadRate: -0.5, OverloadMin: -1,
			Consecutive: -2, StalledAfter: -2, StalledMin: -1, OpenTime: -1, MaxOpenTime: -2, MaxRetryAfter: -1,
			HealAfter: -1, Probes: -1, ProbeRate: 2, ProbeTimeout: -1, Ramp: -2,
		},
	})
	require.Error(t, err)
	for _, field := range []string{
		"Config.Window", "Config.MaxKeys", "Config.MaxOpenFraction",
		"Rules.FailureRate", "Rules.FailureMin", "Rules.SlowAfter", "Rules.SlowRate", "Rules.SlowMin",
		"Rules.OverloadRate", "Rules.OverloadMin", "Rules.Consecutive", "Rules.StalledAfter", "Rules.StalledMin",
		"Rules.OpenTime", "Rules.MaxOpenTime", "Rules.MaxRetryAfter", "Rules.HealAfter", "Rules.Probes",
		"Rules.ProbeRate", "Rules.ProbeTimeout", "Rules.Ramp",
	} {
		assert.ErrorContains(t, err, "breaker: "+field+" is ")
	}
}

func TestContradictionsAreErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg  breaker.Config
		want string
	}{
		"MaxOpenTime below OpenTime": {
			breaker.Config{Rules: breaker.Rules{OpenTime: time.Minute, MaxOpenTime: time.Second}}, "Rules.MaxOpenTime",
		},
		"SlowBody without SlowAfter": {breaker.Config{Rules: breaker.Rules{SlowBody: true}}, "Rules.SlowBody"},
		"a rate that is no number": {
			breaker.Config{Rules: breaker.Rules{FailureRate: math.NaN()}}, "Rules.FailureRate",
		},
		"a fraction that is no number": {breaker.Config{MaxOpenFraction: math.NaN()}, "Config.MaxOpenFraction"},
		"a window beyond an hour":      {breaker.Config{Window: time.Hour + 1}, "Config.Window"},
		"no slow rate":                 {breaker.Config{Rules: breaker.Rules{SlowRate: breaker.Off}}, "Rules.SlowRate"},
		"no probes":                    {breaker.Config{Rules: breaker.Rules{Probes: breaker.Off}}, "Rules.Probes"},
		"too many probes":              {breaker.Config{Rules: breaker.Rules{Probes: 1001}}, "Rules.Probes"},
		"a time beyond a day": {
			breaker.Config{Rules: breaker.Rules{ProbeTimeout: 25 * time.Hour}}, "Rules.ProbeTimeout",
		},
	} {
		_, err := breaker.New(tt.cfg)
		assert.ErrorContains(t, err, "breaker: "+tt.want, name)
	}
	_, err := breaker.New(breaker.Config{Rules: breaker.Rules{OpenTime: time.Hour}})
	require.NoError(t, err, "MaxOpenTime follows a longer OpenTime")
	assert.Panics(t, func() { breaker.MustNew(breaker.Config{MaxKeys: -1}) })
}

func TestEverythingThatCanBeOffCanBeOff(t *testing.T) {
	_, err := breaker.New(breaker.Config{MaxOpenFraction: breaker.Off, Rules: only(nil)})
	require.NoError(t, err)
}

func TestConfigCanBePrinted(t *testing.T) {
	text, err := json.Marshal(breaker.Config{MaxKeys: 7, Rules: breaker.Rules{Consecutive: 4}})
	require.NoError(t, err)
	assert.Contains(t, string(text), `"Consecutive":4`)
	assert.Contains(t, string(text), `"MaxKeys":7`)
}

func TestConfigIsCopied(t *testing.T) {
	bubble(t, "changes after New do nothing", func(t *testing.T) {
		cfg := breaker.Config{Rules: only(func(r *breaker.Rules) { r.Consecutive = 1 })}
		b := breaker.MustNew(cfg)
		cfg.Rules.Consecutive = 100
		results(t, b, 1, breaker.Failure)
		assert.Equal(t, breaker.Open, b.State(key))
	})
}
