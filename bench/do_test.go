package bench_test

import (
	"context"
	"testing"

	"github.com/failsoft/failsoft/bench"
)

// What a retry around a function costs where none is needed.
func TestFunctions(t *testing.T) {
	ops := functionOps()
	measured := measure(ops)
	keep(t, map[string]float64{"failsoft, no timeout": 0, "failsoft, per try (default)": 5}, ops, measured)
	costs("functions", ops, measured).publish(t)
}

func BenchmarkFunctions(b *testing.B) { benchmark(b, functionOps()) }

func functionOps() []op {
	ctx := context.Background()
	fn := func(context.Context) (int, error) { return 42, nil }
	var ops []op
	for _, contender := range bench.Functions() {
		ops = append(ops, op{name: contender.Name, run: func() {
			if got, err := contender.Call(ctx, fn); got != 42 || err != nil {
				panic("the value was lost on its way")
			}
		}})
	}
	return ops
}
