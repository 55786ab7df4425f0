package bench_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/bench"
	"github.com/failsoft/failsoft/hedge"
)

const (
	fanWidth  = 100
	fanOuts   = 20_000
	fanTrials = 1_000 // fan-outs in an ordinary run
)

// leafQuantiles are those of one call of a fan-out, such that the slowest of a
// hundred has the quantiles published in 2012 for BigTable reads: 24, 52 and
// 994 ms at 95, 99 and 99.9 %. In between both latency and share are
// interpolated by their logarithms, and the last stretch goes on.
var leafQuantiles = []struct {
	outlive float64
	latency time.Duration
}{
	{1, time.Millisecond},
	{0.5, 3 * time.Millisecond},
	{0.1, 6 * time.Millisecond},
	{0.01, 11 * time.Millisecond},
	{0.007, 13 * time.Millisecond},
	{0.0005, 24 * time.Millisecond},
	{0.0001, 52 * time.Millisecond},
	{0.00001, 994 * time.Millisecond},
}

// leaf returns the latency that a share of all calls outlive.
func leaf(outlive float64) time.Duration {
	i := 1
	for i < len(leafQuantiles)-1 && outlive < leafQuantiles[i].outlive {
		i++
	}
	low, high := leafQuantiles[i-1], leafQuantiles[i]
	part := math.Log(outlive/low.outlive) / math.Log(high.outlive/low.outlive)
	return time.Duration(float64(low.latency) * math.Pow(float64(high.latency)/float64(low.latency), part))
}

// independent is luck that each attempt has anew.
func independent(_ try, luck *rand.Rand) (time.Duration, bool) {
	return leaf(1 - luck.Float64()), false
}

// correlated is luck that all attempts share in one of ten calls: what made the
// first slow (a hot row, a large answer) is waiting for the others as well.
func correlated(a try, luck *rand.Rand) (time.Duration, bool) {
	if first := rand.New(rand.NewPCG(a.call, 1)); rand.New(rand.NewPCG(a.call, 0)).Float64() < 0.1 {
		luck = first
	}
	return independent(a, luck)
}

// fanCase is a row of the table.
type fanCase struct {
	bench.Transport

	draw draw
	most time.Duration // p99.9 that ours has to reach
}

func fanCases() []fanCase {
	told := func(name string) bench.Transport {
		return bench.Hedge(name, hedge.Config{Delay: 10 * time.Millisecond})
	}
	cases := []fanCase{
		{told("failsoft, 10 ms"), independent, 25 * time.Millisecond},
		{told("failsoft, 10 ms; correlated"), correlated, 60 * time.Millisecond},
	}
	if !inFull() {
		return cases
	}
	return append(cases,
		fanCase{bench.Hedge("failsoft, defaults", hedge.Config{}), independent, 0},
		fanCase{bench.Hedge("failsoft, defaults; correlated", hedge.Config{}), correlated, 0},
		fanCase{bench.HedgeNone(), independent, 0})
}

// What hedging does to those who wait for the slowest of a hundred.
func TestHedgeFanOut(t *testing.T) {
	cases := fanCases()
	var contenders []bench.Transport
	for _, c := range cases {
		contenders = append(contenders, c.Transport)
	}
	results := each(t, contenders, func(t *testing.T, i int) fanned {
		return fanOut(t, contenders[i], cases[i].draw)
	})
	tab := &table{name: "hedge, fan-out"}
	tab.row("ms", "p95", "p99", "p99.9", "extra %")
	tab.row("published: no hedge", "24", "52", "994", "")
	tab.row("published: hedge at 10 ms", "20", "23", "50", "< 5")
	for i, r := range results {
		if c := cases[i]; c.most > 0 {
			assert.LessOrEqual(t, r.extra, 1.6, "extra attempts, %s", c.Name)
			assert.LessOrEqual(t, r.p999, c.most, "p99.9, %s", c.Name)
		}
		tab.row(contenders[i].Name, millis(r.p95), millis(r.p99), millis(r.p999), fixed(r.extra, 1))
	}
	tab.publish(t)
}

// fanned is what fan-outs come to.
type fanned struct {
	p95, p99, p999 time.Duration
	extra          float64
}

func fanOut(t *testing.T, contender bench.Transport, d draw) fanned {
	t.Helper()
	count := fanTrials
	if inFull() {
		count = fanOuts
	}
	w := workload{calls: count * fanWidth, burst: fanWidth, rate: 10, draw: d}
	calls := w.run(t, contender)
	slowest := make([]time.Duration, count)
	for i := range calls {
		slowest[i/fanWidth] = max(slowest[i/fanWidth], calls[i].took)
	}
	return fanned{
		p95: percentile(slowest, 0.95), p99: percentile(slowest, 0.99), p999: percentile(slowest, 0.999),
		extra: resultOf(t, everything(calls)).extra,
	}
}
