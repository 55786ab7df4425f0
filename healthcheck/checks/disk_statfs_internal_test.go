//go:build linux || darwin || freebsd

package checks

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestVolume(t *testing.T) {
	assert.Equal(t, volume{free: 40 * 4096, total: 90 * 4096, freeInodes: 3, allInodes: 7}, volumeOf(4096, 100, 50, 40, 7, 3),
		"what is reserved for root is neither free nor used")
	assert.Equal(t, int64(math.MaxInt64), volumeOf(1<<32, 1<<62, 0, 1<<62, 0, 0).free, "more than can be counted")
	assert.Equal(t, int64(0), count(int64(-5)))
	assert.Equal(t, int64(5), count(uint32(5)))
	assert.Equal(t, int64(math.MaxInt64), count(uint64(math.MaxUint64)))
}
