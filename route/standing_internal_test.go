package route

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// The failures that eject a host, by when they come. Nothing but the last may eject.
func TestRequirement4ConsecutiveByCount(t *testing.T) {
	const s = time.Second
	for name, c := range map[string]struct {
		consecutive int
		failures    []time.Duration // a negative one is a success at that time
		want        string
	}{
		"four at once":                {5, []time.Duration{1 * s, 1 * s, 1 * s, 1 * s}, ""},
		"five at once":                {5, []time.Duration{1 * s, 1 * s, 1 * s, 1 * s, 1 * s}, inARow},
		"five, one success":           {5, []time.Duration{1 * s, 1 * s, -1 * s, 1 * s, 1 * s, 1 * s}, ""},
		"two, long apart":             {5, []time.Duration{1 * s, 60 * s}, ""},
		"three within ten seconds":    {5, []time.Duration{1 * s, 5 * s, 10 * s}, ""},
		"three, ten seconds":          {5, []time.Duration{1 * s, 5 * s, 11 * s}, forLong},
		"three, one success":          {5, []time.Duration{1 * s, -5 * s, 6 * s, 12 * s}, ""},
		"three, the success long ago": {5, []time.Duration{-1 * s, 50 * s, 55 * s, 60 * s}, forLong},
		"two are enough":              {2, []time.Duration{1 * s, 2 * s}, inARow},
		"off":                         {Off, []time.Duration{1 * s, 1 * s, 1 * s, 1 * s, 1 * s, 1 * s, 60 * s}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := &Config{Consecutive: c.consecutive, SuccessMargin: Off}
			var h host
			for i, at := range c.failures {
				outcome := Failure
				if at < 0 {
					outcome, at = Success, -at
				}
				if why := h.count(outcome, int64(at), cfg); i == len(c.failures)-1 {
					assert.Equal(t, c.want, why)
				} else {
					assert.Empty(t, why, i)
				}
			}
		})
	}
}
