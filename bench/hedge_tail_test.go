package bench_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/bench"
)

const (
	tailRate   = 1000
	tailCalls  = 200_000
	tailTrial  = 2_000 // calls in an ordinary run where nothing is asserted
	tailTarget = 1 - bench.Target
)

// rareSlow is a service of which one attempt in a hundred is slow.
func rareSlow(_ try, luck *rand.Rand) (time.Duration, bool) {
	if luck.Float64() < 0.01 {
		return time.Duration((1 + luck.ExpFloat64()) * float64(100*time.Millisecond)), false
	}
	return lognormal(luck, 5*time.Millisecond, 0.5), false
}

// twoHumps is a service of which one attempt in twenty takes ten times as long:
// just where a hedge of 5 % has its delay, there are no latencies.
func twoHumps(_ try, luck *rand.Rand) (time.Duration, bool) {
	const mean, deviation = 5.0, 2.0
	variance := math.Log(1 + deviation*deviation/mean/mean)
	median := time.Duration(mean * math.Exp(-variance/2) * float64(time.Millisecond))
	if luck.Float64() < 0.05 {
		median *= 10
	}
	return lognormal(luck, median, math.Sqrt(variance)), false
}

// fastErrors is rareSlow with attempts that fail at once.
func fastErrors(a try, luck *rand.Rand) (time.Duration, bool) {
	if luck.Float64() < 0.02 {
		return time.Millisecond, true
	}
	return rareSlow(a, luck)
}

// tailCase is a table: what latencies are like, and what ours has to reach.
type tailCase struct {
	name  string
	draw  draw
	check func(t *testing.T, oracle, ours result)
}

func tailCases() []tailCase {
	asTheOracle := func(t *testing.T, oracle, ours result) {
		assert.LessOrEqual(t, float64(ours.p999), 1.05*float64(oracle.p999), "p99.9")
		assert.LessOrEqual(t, ours.extra, 5.1, "extra attempts")
	}
	return []tailCase{
		{"1 % slow", rareSlow, asTheOracle},
		{"5 % ten times slower", twoHumps, asTheOracle},
		{"1 % slow, 2 % errors", fastErrors, func(t *testing.T, _, ours result) {
			assert.LessOrEqual(t, ours.errors, 0.05, "errors")
			assert.Less(t, ours.extra, 10.0, "extra attempts")
		}},
	}
}

// What hedging does to the tail of a service that stays as it is.
func TestHedgeTail(t *testing.T) {
	for _, c := range tailCases() {
		t.Run(c.name, func(t *testing.T) {
			truth := c.draw.truth(tailTarget)
			contenders := append([]bench.Transport{bench.HedgeOracle(truth), bench.HedgeOurs(), bench.HedgeNone()}, bench.HedgeRivals(truth)...)
			results := each(t, contenders, func(t *testing.T, i int) result {
				w := workload{calls: tailLength(i < 2), rate: tailRate, draw: c.draw}
				return resultOf(t, everything(w.run(t, contenders[i])))
			})
			c.check(t, results[0], results[1])
			tab := &table{name: "hedge, " + c.name}
			tab.row("ms", "p50", "p99", "p99.9", "extra %", "errors %")
			for i, r := range results {
				tab.row(contenders[i].Name, millis(r.p50), millis(r.p99), millis(r.p999), fixed(r.extra, 1), fixed(r.errors, 2))
			}
			tab.publish(t)
		})
	}
}

// tailLength is of how many calls p99.9 is taken.
func tailLength(asserted bool) int {
	if asserted || inFull() {
		return tailCalls
	}
	return tailTrial
}

// incidentPhases are the seconds at which a phase of the incident ends.
var incidentPhases = []struct {
	name string
	ends time.Duration
}{
	{"before", 60 * time.Second},
	{"×4", 120 * time.Second},
	{"between", 150 * time.Second},
	{"stall", 160 * time.Second},
	{"after", 180 * time.Second},
}

// incident is rareSlow that becomes four times slower for a minute and stalls
// for ten seconds later on.
func incident(a try, luck *rand.Rand) (time.Duration, bool) {
	latency, _ := rareSlow(a, luck)
	switch {
	case a.at < incidentPhases[0].ends:
	case a.at < incidentPhases[1].ends:
		latency *= 4
	case a.at < incidentPhases[2].ends:
	case a.at < incidentPhases[3].ends:
		latency += time.Second
	}
	return latency, false
}

// What becomes of load and latency when a service changes under the hedge.
func TestHedgeIncident(t *testing.T) {
	truth := draw(rareSlow).truth(tailTarget)
	contenders := []bench.Transport{bench.HedgeOurs()}
	if inFull() {
		contenders = append(append(contenders, bench.HedgeNone(), bench.HedgeOracle(truth)), bench.HedgeRivals(truth)...)
	}
	results := each(t, contenders, func(t *testing.T, i int) []result {
		w := workload{calls: int(incidentPhases[4].ends.Seconds()) * tailRate, rate: tailRate, draw: incident}
		calls, from := w.run(t, contenders[i]), time.Duration(0)
		var phases []result
		for _, phase := range incidentPhases {
			phases = append(phases, resultOf(t, between(calls, from, phase.ends)))
			from = phase.ends
		}
		return phases
	})
	for n, r := range results[0] {
		assert.LessOrEqual(t, r.extra, 5.5, "extra attempts in the phase %q", incidentPhases[n].name)
	}
	assert.LessOrEqual(t, results[0][4].p999, 30*time.Millisecond, "p99.9 after the stall")
	tab := &table{name: "hedge, incident"}
	head := []string{"extra %, and p99.9 in ms"}
	for _, phase := range incidentPhases {
		head = append(head, phase.name)
	}
	tab.row(append(head, "p99.9 ×4", "p99.9 after")...)
	for i, phases := range results {
		row := []string{contenders[i].Name}
		for _, r := range phases {
			row = append(row, fixed(r.extra, 1))
		}
		tab.row(append(row, millis(phases[1].p999), millis(phases[4].p999))...)
	}
	tab.publish(t)
}
