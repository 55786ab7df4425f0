package keyed

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
)

// The hash is random, so only a test from inside can make keys collide.
func TestKeysWithTheSameHashKeepApart(t *testing.T) {
	t.Parallel()
	const cells = 3 * initialBuckets
	var tab table[int]
	tab.init()
	inserted := make([]*cell[int], cells)
	for i := range inserted {
		inserted[i] = &cell[int]{hash: 7, key: strconv.Itoa(i)}
		tab.insert(inserted[i], i+1)
	}
	for i, c := range inserted {
		assert.Same(t, c, tab.find(7, strconv.Itoa(i)))
	}
	for i, c := range inserted {
		tab.remove(c)
		assert.Nil(t, tab.find(7, strconv.Itoa(i)))
		if next := i + 1; next < cells {
			assert.Same(t, inserted[next], tab.find(7, strconv.Itoa(next)))
		}
	}
}
