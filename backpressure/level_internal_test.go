package backpressure

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestDimmerRisesFasterThanItFalls(t *testing.T) {
	var d dimmer
	for range 10 {
		d.move(1, true)
	}
	assert.InDelta(t, 1, d.at(), 1e-9)
	_, is := d.move(1, true)
	assert.InDelta(t, 1, is, 0, "it is bounded")
	d.move(10, false)
	assert.InDelta(t, 0.8, d.at(), 1e-9)
	d.move(1000, false)
	assert.Zero(t, d.at())
	d.move(1000, true)
	assert.InDelta(t, dimUp, d.at(), 1e-9, "who has not looked for long has seen no pressure for long")
}

func TestDimmerLooksTenTimesASecond(t *testing.T) {
	var d dimmer
	_, due := d.due(dimEvery - 1)
	assert.False(t, due)
	steps, due := d.due(dimEvery)
	assert.True(t, due)
	assert.InDelta(t, 1, steps, 0)
	_, due = d.due(2*dimEvery - 1)
	assert.False(t, due)
	steps, _ = d.due(10 * dimEvery)
	assert.InDelta(t, 9, steps, 0)
}

func TestDegradeIsStickyAndSpread(t *testing.T) {
	without := map[string]int{}
	for tenant := range uint64(2000) {
		for _, feature := range []string{"ads", "suggestions"} {
			ctx := withLevel(t.Context(), 0.3, mix(tenant), true)
			first := Degrade(ctx, feature)
			for range 3 {
				assert.Equal(t, first, Degrade(ctx, feature))
			}
			more := Degrade(withLevel(t.Context(), 0.6, mix(tenant), true), feature)
			assert.True(t, more || !first, "who goes without at 0.3 does so at 0.6")
			if first {
				without[feature]++
				without[strconv.FormatUint(tenant, 10)]++
			}
		}
	}
	assert.InDelta(t, 600, without["ads"], 80)
	assert.InDelta(t, 600, without["suggestions"], 80)
	both := 0
	for who, n := range without {
		if who != "ads" && who != "suggestions" && n == 2 {
			both++
		}
	}
	assert.InDelta(t, 0.3*0.3*2000, both, 60, "features are left out independently")
}

func TestLevelIsTheHighestOfNestedLimiters(t *testing.T) {
	assert.Zero(t, Level(t.Context()))
	assert.False(t, Degrade(t.Context(), "ads"))
	outer := withLevel(t.Context(), 0.7, 1, true)
	assert.InDelta(t, 0.7, Level(withLevel(outer, 0.2, 0, false)), 0)
	assert.InDelta(t, 0.9, Level(withLevel(outer, 0.9, 0, false)), 0)
	assert.True(t, Degrade(withLevel(t.Context(), 1, 0, false), "ads"))
}
