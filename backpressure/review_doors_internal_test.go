package backpressure

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A consumer that had its place before the limit changed, and gets a message after that,
// works under the new one, and its latency says what that does.
func TestRequirement6WorkThatBeginsLaterIsOfItsTime(t *testing.T) {
	for name, test := range map[string]struct {
		begin func(Permit)
		want  int
	}{
		"with Begin":    {Permit.Begin, 1},
		"without Begin": {func(Permit) {}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := MustNew(Config{CPUThreshold: Off})
			p, err := l.Acquire(t.Context(), Request{})
			require.NoError(t, err)
			l.single.calc.epoch++ // a decision
			test.begin(p)
			p.Done(Success)
			assert.Equal(t, test.want, l.single.calc.window.calls)
		})
	}
}
