package checks

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
)

func TestSpace(t *testing.T) {
	const pass, warn, fail = healthcheck.Pass, healthcheck.Warn, healthcheck.Fail
	for _, row := range []struct {
		name     string
		limits   Space
		volume   volume
		status   healthcheck.Status
		observed float64
		public   string
	}{
		{"enough", Space{}, volume{101, 1000, 0, 0}, pass, 10.1, ""},
		{"a tenth", Space{}, volume{100, 1000, 0, 0}, warn, 10, "10% of the space is free"},
		{"a twentieth", Space{}, volume{50, 1000, 0, 0}, fail, 5, "5% of the space is free"},
		{"nothing", Space{}, volume{0, 1000, 0, 0}, fail, 0, "0% of the space is free"},
		{"no inodes", Space{}, volume{900, 1000, 3, 1000}, fail, 90, "0.3% of the inodes are free"},
		{"few inodes and little space", Space{}, volume{60, 1000, 60, 1000}, warn, 6, "6% of the space is free"},
		{"what has no size is not full", Space{}, volume{}, pass, 100, ""},
		{"bytes in the place of parts", Space{FailBytes: 10}, volume{11, 1e9, 0, 0}, pass, 0, ""},
		{"bytes fail", Space{FailBytes: 10}, volume{10, 1e9, 0, 0}, fail, 0, "0% of the space is free"},
		{"bytes warn", Space{WarnBytes: 10}, volume{10, 1e9, 0, 0}, warn, 0, "0% of the space is free"},
		{"bytes and a part", Space{WarnBytes: 10, Fail: 0.5}, volume{500, 1000, 0, 0}, fail, 50, "50% of the space is free"},
		{"no bytes and no part", Space{Warn: Off, Fail: Off}, volume{0, 1000, 0, 1000}, pass, 0, ""},
		{"a Fail above the default of Warn", Space{Fail: 0.3}, volume{300, 1000, 0, 0}, fail, 30, "30% of the space is free"},
		{"a Warn below the default of Fail", Space{Warn: 0.01}, volume{20, 1000, 0, 0}, pass, 2, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, err := row.limits.complete()
			require.NoError(t, err)
			res := s.judge(row.volume)
			assert.Equal(t, row.status.String(), res.Status.String())
			assert.InDelta(t, row.observed, res.Observed, 0)
			assert.Equal(t, row.public, res.Public)
		})
	}
}

// Thresholds that were completed without an error never contradict themselves, and
// what was given is kept.
func FuzzThresholds(f *testing.F) {
	f.Add(0.0, 0.0)
	f.Add(0.5, 0.2)
	f.Add(-1.0, 0.9)
	f.Add(math.NaN(), math.Inf(1))
	f.Fuzz(func(t *testing.T, warn, fail float64) {
		up, err := rising("Limits", warn, fail, 0.8, 1)
		if err == nil {
			assert.True(t, up.warn == Off || up.fail == Off || up.warn <= up.fail, "%v", up)
			kept(t, up, warn, fail)
		}
		down, err := falling("Space", warn, fail, 0.1, 0.05)
		if err == nil {
			assert.True(t, down.warn == Off || down.fail == Off || down.warn >= down.fail, "%v", down)
			kept(t, down, warn, fail)
		}
	})
}

func kept(t *testing.T, got thresholds[float64], warn, fail float64) {
	t.Helper()
	assert.True(t, warn == 0 && got.warn > 0 || warn == got.warn, "%v became %v", warn, got.warn)
	assert.True(t, fail == 0 && got.fail > 0 || fail == got.fail, "%v became %v", fail, got.fail)
}
