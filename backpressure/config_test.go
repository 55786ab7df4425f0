package backpressure_test

import (
	"encoding/json"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/backpressure"
)

func TestBadInputConfig(t *testing.T) {
	for field, tests := range map[string][]backpressure.Config{
		"MinLimit":   {{MinLimit: -1}, {MinLimit: math.MinInt}, {MinLimit: 2_000_000}, {MinLimit: 10, MaxLimit: 5}},
		"MaxLimit":   {{MaxLimit: -1}, {MaxLimit: math.MaxInt}, {MaxLimit: 1}, {Limit: backpressure.Fixed(1), MaxLimit: 5}},
		"StartLimit": {{StartLimit: -1}, {StartLimit: 1}, {StartLimit: 1001}, {Limit: backpressure.Fixed(1), StartLimit: 5}},
		"Limit":      {{Limit: backpressure.Fixed(0)}, {Limit: backpressure.Fixed(-1)}, {Limit: backpressure.Fixed(math.MaxInt)}},
		"MaxStreams": {{MaxStreams: -2}, {MaxStreams: math.MinInt}},
		"MaxWait": {
			{MaxWait: -2},
			{MaxWait: -time.Second},
			{MaxWait: time.Hour + 1},
			{MaxWait: math.MaxInt64},
			{MaxWait: backpressure.Off, NewestFirst: true},
		},
		"CPUThreshold": {
			{CPUThreshold: -2}, {CPUThreshold: math.NaN()}, {CPUThreshold: math.Inf(1)}, {CPUThreshold: math.Inf(-1)},
		},
		"HeapThreshold": {
			{HeapThreshold: -1}, {HeapThreshold: 1.01}, {HeapThreshold: math.NaN()}, {HeapThreshold: math.Inf(1)},
		},
		"MaxKeys":      {{MaxKeys: -1}, {MaxKeys: math.MinInt}},
		"ClassHeader":  {{ClassHeader: "two words"}, {ClassHeader: "a:b"}, {ClassHeader: "ä"}, {ClassHeader: "a\r\nb"}},
		"LevelHeader":  {{LevelHeader: " "}},
		"ClassTrusted": {{ClassTrusted: func(*http.Request) bool { return true }}},
	} {
		for _, cfg := range tests {
			l, err := backpressure.New(cfg)
			assert.Nil(t, l)
			require.Error(t, err, "%s: %+v", field, cfg)
			assert.ErrorContains(t, err, "backpressure: Config.")
			assert.ErrorContains(t, err, field)
			assert.Panics(t, func() { backpressure.MustNew(cfg) })
		}
	}
	t.Run("all of them at once", func(t *testing.T) {
		_, err := backpressure.New(backpressure.Config{MinLimit: -1, MaxStreams: -7, MaxWait: -9, MaxKeys: -3, ClassHeader: ":"})
		for _, field := range []string{"MinLimit", "MaxStreams", "MaxWait", "MaxKeys", "ClassHeader"} {
			assert.ErrorContains(t, err, field)
		}
	})
}

func TestConfigThatIsFine(t *testing.T) {
	for _, cfg := range []backpressure.Config{
		{},
		{MaxWait: backpressure.Off, MaxStreams: backpressure.Off, CPUThreshold: backpressure.Off},
		{Limit: backpressure.AIMD(), MinLimit: 1, MaxLimit: 1},
		{MinLimit: 5000},
		{MaxLimit: 2},
		{StartLimit: 1000},
		{Limit: backpressure.Fixed(1)},
		{HeapThreshold: 1},
		{ClassHeader: "X-Criticality", LevelHeader: "brownout"},
	} {
		_, err := backpressure.New(cfg)
		assert.NoError(t, err, "%+v", cfg)
	}
}

func TestBadInputThrottleConfig(t *testing.T) {
	for field, tests := range map[string][]backpressure.ThrottleConfig{
		"Ratio":    {{Ratio: 1}, {Ratio: -1}, {Ratio: 101}, {Ratio: math.NaN()}, {Ratio: math.Inf(1)}},
		"Window":   {{Window: 1}, {Window: -1}, {Window: 2 * time.Hour}},
		"MaxPause": {{MaxPause: -2}, {MaxPause: 2 * time.Hour}},
		"MaxKeys":  {{MaxKeys: -1}},
	} {
		for _, cfg := range tests {
			_, err := backpressure.NewThrottle(cfg)
			assert.ErrorContains(t, err, "backpressure: ThrottleConfig."+field)
			assert.Panics(t, func() { backpressure.MustNewThrottle(cfg) })
		}
	}
	_, err := backpressure.NewThrottle(backpressure.ThrottleConfig{Ratio: 1, Window: 1, MaxPause: -2, MaxKeys: -1})
	for _, field := range []string{"Ratio", "Window", "MaxPause", "MaxKeys"} {
		assert.ErrorContains(t, err, field)
	}
}

func TestBadInputRateConfig(t *testing.T) {
	for field, tests := range map[string][]backpressure.RateConfig{
		"PerSecond":    {{}, {PerSecond: -1}, {PerSecond: math.NaN()}, {PerSecond: math.Inf(1)}, {PerSecond: 1e10}},
		"Burst":        {{Burst: -1}},
		"MaxWait":      {{MaxWait: -2}, {MaxWait: 2 * time.Hour}},
		"MaxKeys":      {{MaxKeys: -1}},
		"StoreTimeout": {{StoreTimeout: -1}, {StoreTimeout: 2 * time.Hour}},
		"OnFailure":    {{OnFailure: 3}},
		"Instances":    {{Instances: -1}},
		"Policy":       {{Policy: `a"b`}, {Policy: "a\nb"}, {Policy: "ä"}},
	} {
		for _, cfg := range tests {
			if field != "PerSecond" {
				cfg.PerSecond = 1
			}
			_, err := backpressure.NewRate(cfg)
			assert.ErrorContains(t, err, "backpressure: RateConfig."+field)
			assert.Panics(t, func() { backpressure.MustNewRate(cfg) })
		}
	}
	for _, cfg := range []backpressure.RateConfig{{PerSecond: 1e9}, {PerSecond: 1e-9}, {PerSecond: 1, MaxWait: backpressure.Off}} {
		_, err := backpressure.NewRate(cfg)
		assert.NoError(t, err)
	}
}

func TestConfigInJSON(t *testing.T) {
	for text, limit := range map[string]backpressure.Limit{
		"Adaptive": backpressure.Adaptive(), "AIMD": backpressure.AIMD(), "Fixed(40)": backpressure.Fixed(40),
	} {
		cfg := backpressure.Config{Limit: limit, MaxWait: backpressure.Off, ClassHeader: "Criticality"}
		cfg.Class = func(*http.Request) backpressure.Class { return backpressure.Critical }
		written, err := json.Marshal(cfg)
		require.NoError(t, err)
		assert.Contains(t, string(written), `"Limit":"`+text+`"`)
		assert.Contains(t, string(written), `"MaxWait":-1`)
		var back backpressure.Config
		require.NoError(t, json.Unmarshal(written, &back))
		assert.Equal(t, limit, back.Limit)
		assert.Equal(t, "Criticality", back.ClassHeader)
		assert.Equal(t, text, limit.String())
	}
	for _, text := range []string{"fixed(7)", "FIXED(7)"} {
		var l backpressure.Limit
		require.NoError(t, l.UnmarshalText([]byte(text)))
		assert.Equal(t, backpressure.Fixed(7), l)
	}
	for _, text := range []string{"7", "fixed", "fixed()", "fixed(7", "fixed(7)x", "fixed(7) ", "fixed(x)", "fixed(99999999999999999999)", "vegas"} {
		var l backpressure.Limit
		assert.ErrorContains(t, l.UnmarshalText([]byte(text)), "limit", text)
	}
	for _, of := range []any{backpressure.ThrottleConfig{}, backpressure.RateConfig{}, backpressure.Event{}, backpressure.Snapshot{}} {
		_, err := json.Marshal(of)
		assert.NoError(t, err)
	}
}

func TestNamesInWords(t *testing.T) {
	for _, c := range []backpressure.Class{0, 1, 2, 3} {
		assert.NotContains(t, c.String(), "unknown")
	}
	for r := backpressure.AtLimit; r <= backpressure.Memory; r++ {
		assert.NotContains(t, r.String(), "unknown", "%d", r)
	}
	for r := backpressure.Unchanged; r <= backpressure.Errors; r++ {
		assert.NotContains(t, r.String(), "unknown", "%d", r)
	}
	for k := backpressure.Refused; k <= backpressure.StoreFailed; k++ {
		assert.NotContains(t, k.String(), "unknown", "%d", k)
	}
	assert.Equal(t, "unknown (9)", backpressure.Class(9).String())
}
