package bench_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/bench"
)

// The children of these tests: a server that a limiter guards, and what floods it.
var _ = [...]struct{}{
	register("guarded", guardedChild), register("flood", floodChild), register("closed", closedChild),
}

func register(mode string, run func(string) error) struct{} {
	children[mode] = run
	return struct{}{}
}

// profileEnv, if set, is how the names of files begin that the guarded servers write
// their CPU profiles to.
const profileEnv = "FAILSOFT_BENCH_PROFILE"

// guardedChild serves what takes so many turns of spin, in the mean.
func guardedChild(arg string) error {
	name, number, _ := strings.Cut(arg, "/")
	turns, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return err
	}
	work := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		spin(int(rand.ExpFloat64() * turns))
	})
	guards := append(bench.Guards(), bench.Guard{Name: "refuse all", Wrap: bench.RefuseAll})
	at := slices.IndexFunc(guards, func(g bench.Guard) bool { return g.Name == name })
	if at < 0 {
		return fmt.Errorf("no guard %q", name)
	}
	if path := os.Getenv(profileEnv); path != "" {
		file, err := os.Create(path + name + "-" + number)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	return serve(guards[at].Wrap(work))
}

// spun keeps the compiler from leaving the work out.
var spun uint64

//go:noinline
func spin(n int) {
	x := uint64(n)
	for range n {
		x = x*6364136223846793005 + 1442695040888963407
	}
	if x == 1 {
		spun++
	}
}

// spinRate is how many turns of spin a nanosecond has, undisturbed.
func spinRate() float64 {
	const turns = 500_000
	least := time.Hour
	for range 50 {
		begun := time.Now()
		spin(turns)
		least = min(least, time.Since(begun))
	}
	return turns / float64(least)
}

// flooded is what became of requests that came at random, whether or not those before
// were answered.
type flooded struct {
	Sent, Good, Late, Refused, Failed int
	P50, P99                          time.Duration // of the accepted, from when they were to be sent
	Seconds                           float64
}

// TestBackpressureCPU is overload of the processor itself: twice as much work as there
// is time for. The server has one core, what floods it the other.
func TestBackpressureCPU(t *testing.T) {
	if !inFull() {
		t.Skip("it takes real time on an idle machine; ask with -rounds=2")
	}
	tab := &table{name: "backpressure, real CPU"}
	tab.row("work", "limiter", "goodput", "bar", "p50 ms", "p99 ms", "refused %", "CPU %", "starved %", "capacity/s", "refusal µs")
	turns := spinRate() // the same work for all
	for _, tt := range []struct {
		work time.Duration
		bar  float64
	}{{4 * time.Millisecond, 0.75}, {time.Millisecond, 0.60}, {300 * time.Microsecond, 0.50}} {
		m := measureMachine(t, turns*float64(tt.work))
		for _, g := range bench.Guards() {
			var found flooded
			var busy, starved float64
			t.Run(fmt.Sprintf("%v, %s", tt.work, g.Name), func(t *testing.T) { // at whose end the server is gone
				found, busy, starved = m.flood(t, g.Name)
			})
			goodput := float64(found.Good) / found.Seconds / m.ideal()
			bar := ""
			if g.Name == "failsoft" {
				bar = fixed(tt.bar, 2)
				assert.GreaterOrEqual(t, goodput, tt.bar, "%v", tt.work)
			}
			tab.row(tt.work.String(), g.Name, fixed(goodput, 2), bar,
				fixed(found.P50.Seconds()*1e3, 1), fixed(found.P99.Seconds()*1e3, 1),
				fixed(100*float64(found.Refused)/float64(max(found.Sent, 1)), 0), fixed(100*busy, 0), fixed(100*starved, 0),
				fixed(m.capacity, 0), fixed(m.refusal*1e6, 0))
		}
	}
	tab.publish(t)
}

// machineSpeed is what the server's core can do, by the CPU time that it takes: others
// who use the core do not make it look slower.
type machineSpeed struct {
	turns    float64 // of spin, for a request
	capacity float64 // requests per second
	refusal  float64 // seconds of CPU
}

// ideal is the goodput of who knows which requests to refuse: the time that refusing
// takes, at twice the capacity, is lost to anybody.
func (m machineSpeed) ideal() float64 {
	rate := 2 * m.capacity
	return (1 - rate*m.refusal) / (1/m.capacity - m.refusal)
}

func measureMachine(t *testing.T, turns float64) machineSpeed {
	t.Helper()
	m := machineSpeed{turns: turns}
	cost := func(guard string, answers func(flooded) int) float64 {
		var costs []float64
		for range 3 { // how fast a core is depends on what its twin does
			t.Run("cost", func(t *testing.T) {
				address, pid := startServer(t, serverCore, "guarded", fmt.Sprintf("%s/%v", guard, turns))
				before := cpuOf(t, pid)
				all := tell(t, "closed", fmt.Sprintf("%s %v", address, time.Second))
				costs = append(costs, (cpuOf(t, pid)-before).Seconds()/float64(max(answers(all), 1)))
			})
		}
		return median(costs)
	}
	m.capacity = 1 / cost("no limit", func(f flooded) int { return f.Good + f.Late })
	m.refusal = cost("refuse all", func(f flooded) int { return f.Refused })
	return m
}

// flood offers twice the capacity, and returns what became of it after two seconds, in
// which whoever has to learn has learned; the part of its core that the server took, and
// the part of the time for which it had to wait for it, because of somebody else.
func (m machineSpeed) flood(t *testing.T, guard string) (found flooded, busy, starved float64) {
	t.Helper()
	address, pid := startServer(t, serverCore, "guarded", fmt.Sprintf("%s/%v", guard, m.turns))
	used, waited, begun := cpuOf(t, pid), delayOf(t, pid), time.Now()
	found = tell(t, "flood", fmt.Sprintf("%s %v %v", address, 2*m.capacity, 6*time.Second))
	took := time.Since(begun).Seconds()
	return found, (cpuOf(t, pid) - used).Seconds() / took, (delayOf(t, pid) - waited).Seconds() / took
}

// delayOf is for how long the threads of a process have waited for a core.
func delayOf(t *testing.T, pid int) (all time.Duration) {
	t.Helper()
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has just ended
		}
		nanos, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
		require.NoError(t, err)
		all += time.Duration(nanos)
	}
	return all
}

func tell(t *testing.T, mode, arg string) (found flooded) {
	t.Helper()
	out, err := child(t.Context(), loadCore, mode, arg).Output()
	require.NoError(t, err, arg)
	require.NoError(t, json.Unmarshal(out, &found))
	return found
}

// summary is what answers come to: those that were to be sent after a time of warming
// up. An answer is good if it comes within 100 ms.
func summary(answers []reply, warm, length time.Duration) (sum flooded) {
	var took []time.Duration
	for _, a := range answers {
		if a.at < warm {
			continue
		}
		switch {
		case a.status == http.StatusOK && a.took <= 100*time.Millisecond:
			sum.Good++
		case a.status == http.StatusOK:
			sum.Late++
		case a.status > 0:
			sum.Refused++
		default:
			sum.Failed++
		}
		if a.status == http.StatusOK {
			took = append(took, a.took)
		}
	}
	slices.SortFunc(took, cmp.Compare[time.Duration])
	if n := len(took); n > 0 {
		sum.P50, sum.P99 = took[n/2], took[n*99/100]
	}
	sum.Seconds = (length - warm).Seconds()
	return sum
}
