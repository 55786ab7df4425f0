package bench_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bohde/codel"
	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/backpressure"
	"github.com/failsoft/failsoft/bench"
)

// row is who is measured, and as what machine.
type row struct {
	bench.Limiter

	processors int
}

// limiterRows are ours at their defaults, on a small machine and on a large one, then
// the others, if the tables are wanted.
func limiterRows(others ...bench.Limiter) []row {
	ours := bench.LimiterOurs("failsoft", backpressure.Config{})
	rows := []row{{ours, 2}, {ours, 96}}
	rows[1].Name = "failsoft, 96 processors"
	if inFull() {
		for _, l := range append(others, bench.LimiterRivals()...) {
			rows = append(rows, row{l, 2})
		}
	}
	return rows
}

// means runs an experiment a few times, once in an ordinary run, and returns the means
// of its figures.
func means(run func(seed uint64) []float64) (sums []float64) {
	seeds := 1
	if inFull() {
		seeds = 3
	}
	for seed := range seeds {
		figures := run(uint64(seed + 1))
		if sums == nil {
			sums = make([]float64, len(figures))
		}
		for i, figure := range figures {
			sums[i] += figure / float64(seeds)
		}
	}
	return sums
}

// figure is a column of an experiment's table. One that is chief is in the table of
// service times, too.
type figure struct {
	name  string
	chief bool
}

func plain(names ...string) (figures []figure) {
	for _, name := range names {
		bare, chief := strings.CutSuffix(name, "*")
		figures = append(figures, figure{bare, chief})
	}
	return figures
}

// experiment makes two tables: a row for each limiter, where service times are
// exponential, and the chief figures of ours and of the rival's at its defaults for
// each shape of service times.
func experiment(t *testing.T, name string, head []figure, rows []row,
	run func(t *testing.T, s *service, r row) []float64, check func(t *testing.T, r row, sh shape, figures []float64),
) {
	t.Helper()
	first, others := &table{name: name}, &table{name: name + ", service times"}
	first.row(cellsOf("limiter", head, func(f figure) string { return f.name })...)
	others.row(cellsOf("service times, limiter", head, func(f figure) string { return map[bool]string{true: f.name}[f.chief] })...)
	for i, sh := range shapes() {
		if i > 0 && !inFull() {
			break
		}
		for _, r := range rows {
			isChief := isOurs(r) || r.Name == "failsafe, defaults"
			if i > 0 && !isChief {
				continue
			}
			figures := means(func(seed uint64) []float64 {
				return run(t, &service{
					shape: sh, seed: seed, patience: 100 * time.Millisecond,
					servers: constantly(8), mean: always(10 * time.Millisecond),
				}, r)
			})
			check(t, r, sh, figures)
			n := -1
			show := func(only bool) func(figure) string {
				n = -1
				return func(f figure) string {
					if n++; only && !f.chief {
						return ""
					}
					return fixed(figures[n], map[bool]int{true: 1, false: 3}[figures[n] >= 2])
				}
			}
			if i == 0 {
				first.row(cellsOf(r.Name, head, show(false))...)
			}
			if isChief {
				others.row(cellsOf(sh.name+", "+r.Name, head, show(true))...)
			}
		}
	}
	first.publish(t)
	if inFull() {
		others.publish(t)
	}
}

// cellsOf is a row, without what is empty.
func cellsOf(name string, head []figure, show func(figure) string) []string {
	cells := []string{name}
	for _, f := range head {
		if cell := show(f); cell != "" {
			cells = append(cells, cell)
		}
	}
	return cells
}

// told8 knows how many servers there are.
func told8() bench.Limiter {
	return bench.LimiterCoDel("codel, told 8", codel.Options{MaxPending: 100, MaxOutstanding: 8, TargetLatency: 5 * time.Millisecond})
}

func isOurs(r row) bool { return r.Name == "failsoft" || r.Name == "failsoft, 96 processors" }

// heavy reports whether single calls take so long that the latency of all is theirs,
// and places stay empty when several of them meet.
func heavy(sh shape) bool { return sh.name == "bimodal" || sh.name == "lognormal 1" }

// More calls come than the service has capacity for.
func TestBackpressureOverload(t *testing.T) {
	const begins, ends, after = 5 * time.Second, 25 * time.Second, 30 * time.Second
	for _, times := range []float64{1.2, 2, 4} {
		t.Run(fmt.Sprint(times), func(t *testing.T) {
			run := func(t *testing.T, s *service, r row) []float64 {
				s.length = after
				s.rate = func(at time.Duration) float64 {
					switch {
					case at < begins:
						return 400
					case at < ends:
						return times * 800
					default:
						return 640
					}
				}
				visits := s.visits(t, r.Limiter, r.processors)
				first, rest := tallyOf(visits, begins, begins+2*time.Second), tallyOf(visits, begins+5*time.Second, ends)
				return []float64{
					float64(first.answered) / s.capacity(begins, begins+2*time.Second),
					float64(rest.answered) / s.capacity(begins+5*time.Second, ends),
					rest.p99.Seconds() * 1000,
					recovers(visits, ends, after).Seconds(),
				}
			}
			experiment(t, fmt.Sprintf("backpressure, overload ×%v", times),
				plain("first 2 s", "goodput*", "p99 ms*", "recovery s"),
				limiterRows(bench.LimiterStrict(), bench.LimiterFixed("semaphore 200", 200), told8()), run,
				func(t *testing.T, r row, sh shape, figures []float64) {
					if isOurs(r) {
						assert.GreaterOrEqual(t, figures[1], map[bool]float64{false: 0.98, true: 0.95}[heavy(sh)], "goodput, %s", sh.name)
						assert.LessOrEqual(t, figures[2], map[bool]float64{false: 80, true: 95}[heavy(sh)], "p99, %s", sh.name)
						assert.Less(t, figures[3], 1.0, "recovery, %s", sh.name)
					}
					if r.Name == bench.LimiterStrict().Name && !heavy(sh) {
						assert.LessOrEqual(t, figures[2], 70.0, "p99, %s", sh.name)
					}
				})
		})
	}
}

// Calls take three times as long, and not because there are too many of them.
func TestBackpressureDrift(t *testing.T) {
	const drifts = 15 * time.Second
	run := func(t *testing.T, s *service, r row) []float64 {
		s.length = drifts + 30*time.Second
		s.servers = constantly(1 << 30)
		s.rate = constantly(1600.0)
		s.mean = func(at time.Duration, _ context.Context) time.Duration {
			if at < drifts {
				return 10 * time.Millisecond
			}
			return 30 * time.Millisecond
		}
		visits := s.visits(t, r.Limiter, r.processors)
		return []float64{
			inTime(s, drifts, s.length),
			tallyOf(visits, 5*time.Second, drifts).share(),
			tallyOf(visits, drifts, drifts+10*time.Second).share(),
			tallyOf(visits, drifts+20*time.Second, s.length).share(),
		}
	}
	experiment(t, "backpressure, drift", plain("best*", "before", "first 10 s*", "after 20 s*"),
		limiterRows(bench.LimiterFixed("semaphore 32", 32)), run, func(t *testing.T, r row, sh shape, figures []float64) {
			if isOurs(r) {
				// A single run is at the mercy of when the first probe comes.
				behind := map[bool]float64{true: 0.065, false: 0.1}[inFull()]
				assert.GreaterOrEqual(t, figures[2], figures[0]-behind, "first 10 s, %s", sh.name)
				assert.GreaterOrEqual(t, figures[3], figures[0]-0.006, "after 20 s, %s", sh.name)
			}
		})
}

// inTime is the part of the work that takes no longer than the patience of clients:
// nobody can answer more.
func inTime(s *service, from, to time.Duration) float64 {
	var n, quick float64
	for _, w := range s.work {
		if w.at >= from && w.at < to {
			if n++; w.took <= s.patience {
				quick++
			}
		}
	}
	return quick / max(n, 1)
}

// Half of the capacity is lost.
func TestBackpressureLoss(t *testing.T) {
	const lost, back = 15 * time.Second, 35 * time.Second
	run := func(t *testing.T, s *service, r row) []float64 {
		s.length = back + 5*time.Second
		s.rate = constantly(640.0)
		s.servers = func(at time.Duration) int {
			if at >= lost && at < back {
				return 4
			}
			return 8
		}
		visits := s.visits(t, r.Limiter, r.processors)
		first, rest := tallyOf(visits, lost, lost+2*time.Second), tallyOf(visits, lost+10*time.Second, back)
		return []float64{
			float64(first.answered) / s.capacity(lost, lost+2*time.Second),
			float64(rest.answered) / s.capacity(lost+10*time.Second, back),
			rest.p99.Seconds() * 1000,
			recovers(visits, back, s.length).Seconds(),
		}
	}
	experiment(t, "backpressure, half lost", plain("first 2 s", "after 10 s*", "p99 ms*", "recovery s"),
		limiterRows(bench.LimiterFixed("semaphore 32", 32), told8()), run, func(t *testing.T, r row, sh shape, figures []float64) {
			if isOurs(r) {
				assert.GreaterOrEqual(t, figures[1], map[bool]float64{false: 0.95, true: 0.92}[heavy(sh)], "after 10 s, %s", sh.name)
			}
		})
}

// A burst, of which every call that is not answered comes again, twice.
func TestBackpressureRetryStorm(t *testing.T) {
	const begins, ends = 10 * time.Second, 15 * time.Second
	run := func(t *testing.T, s *service, r row) []float64 {
		s.length, s.retries = ends+15*time.Second, 2
		s.rate = func(at time.Duration) float64 {
			if at >= begins && at < ends {
				return 2400
			}
			return 640
		}
		visits := s.visits(t, r.Limiter, r.processors)
		return []float64{
			tallyOf(visits, ends, ends+5*time.Second).share(),
			tallyOf(visits, s.length-5*time.Second, s.length).share(),
			recovers(visits, ends, s.length).Seconds(),
		}
	}
	experiment(t, "backpressure, retry storm", plain("after 0-5 s", "after 10-15 s*", "recovery s*"),
		limiterRows(bench.LimiterFixed("semaphore 200", 200)), run, func(t *testing.T, r row, sh shape, figures []float64) {
			if isOurs(r) {
				assert.Less(t, figures[2], 1.0, "recovery, %s", sh.name)
			}
		})
}

// Answers may be simpler than usual, and cost three tenths then.
func TestBackpressureBrownout(t *testing.T) {
	const begins = 5 * time.Second
	for _, times := range []float64{1.2, 2, 3} {
		t.Run(fmt.Sprint(times), func(t *testing.T) {
			run := func(t *testing.T, s *service, r row) []float64 {
				s.length = begins + 20*time.Second
				s.rate = func(at time.Duration) float64 {
					if at < begins {
						return 400
					}
					return times * 800
				}
				s.mean = func(_ time.Duration, ctx context.Context) time.Duration {
					if backpressure.Degrade(ctx, "suggestions") {
						return 3 * time.Millisecond
					}
					return 10 * time.Millisecond
				}
				visits := s.visits(t, r.Limiter, r.processors)
				return []float64{
					tallyOf(visits, begins, begins+2*time.Second).share(),
					tallyOf(visits, begins+5*time.Second, s.length).share(),
					tallyOf(visits, begins+5*time.Second, s.length).p99.Seconds() * 1000,
				}
			}
			experiment(t, fmt.Sprintf("backpressure, brownout ×%v", times), plain("first 2 s", "answered in time*", "p99 ms*"),
				limiterRows(), run, func(t *testing.T, r row, sh shape, figures []float64) {
					if isOurs(r) && times <= 2 {
						assert.GreaterOrEqual(t, figures[1], 0.95, "answered in time, %s", sh.name)
					}
				})
		})
	}
}

// A slow service: twenty calls a second are its capacity, and clients wait two
// seconds. The default MaxWait is shorter than the time between two free places, so
// that there is no queue at all.
func TestBackpressureLowRate(t *testing.T) {
	const begins, ends = 30 * time.Second, 330 * time.Second
	slow := bench.LimiterOurs("failsoft, MaxWait: 200 ms", backpressure.Config{MaxWait: 200 * time.Millisecond})
	for _, times := range []float64{1.2, 2, 4} {
		t.Run(fmt.Sprint(times), func(t *testing.T) {
			run := func(t *testing.T, s *service, r row) []float64 {
				s.length, s.patience = ends, 2*time.Second
				s.servers, s.mean = constantly(4), always(200*time.Millisecond)
				s.rate = func(at time.Duration) float64 {
					if at < begins {
						return 10
					}
					return times * 20
				}
				visits := s.visits(t, r.Limiter, r.processors)
				rest := tallyOf(visits, begins+60*time.Second, ends)
				return []float64{float64(rest.answered) / s.capacity(begins+60*time.Second, ends), rest.p99.Seconds() * 1000}
			}
			experiment(t, fmt.Sprintf("backpressure, low rate ×%v", times), plain("goodput*", "p99 ms*"),
				limiterRows(slow, bench.LimiterFixed("semaphore 8", 8), bench.LimiterFixed("semaphore 16", 16)), run, func(t *testing.T, r row, sh shape, figures []float64) {
					if isOurs(r) {
						assert.GreaterOrEqual(t, figures[0], 0.80, "goodput, %s", sh.name)
					}
				})
		})
	}
}
