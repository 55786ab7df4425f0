package bench_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/bench"
)

const (
	herdCallers  = 1000
	herdProbe    = 50 * time.Millisecond
	herdAnswered = 60 * time.Millisecond // by when ours has answered all
	herdPatience = 10 * time.Second      // for those who take longer still
	herdMoment   = 200 * time.Millisecond
)

// herd is what becomes of many requests that come before the first result.
type herd struct {
	probes int64
	codes  map[int]int
	last   time.Duration // answer
}

// What happens when a balancer begins to ask a service that begins to run.
func TestHealthHerd(t *testing.T) {
	tab := &table{name: "health, herd"}
	tab.row("1,000 callers, probe 50 ms", "clock", "1 check: probes", "last, ms", "answers",
		"20 checks: probes", "last, ms", "answers")
	for _, contender := range bench.Healths() {
		for _, virtual := range clocks(contender) {
			name := map[bool]string{true: "virtual", false: "real"}[virtual]
			row := []string{contender.Name, name}
			for _, checks := range healthSizes[:2] {
				h := stampede(t, contender, checks, virtual, nil)
				if contender.OneGoroutine {
					assert.Equal(t, int64(checks), h.probes, "probes, %s", name)
					assert.Equal(t, map[int]int{http.StatusOK: herdCallers}, h.codes, name)
				}
				if contender.OneGoroutine && virtual {
					assert.LessOrEqual(t, h.last, herdAnswered)
				}
				row = append(row, strconv.FormatInt(h.probes, 10), millis(h.last), h.answers(herdWait(contender)))
			}
			tab.row(row...)
		}
	}
	tab.publish(t)
}

// Ours does not answer so fast because it says yes to everybody.
func TestHealthHerdDown(t *testing.T) {
	for _, contender := range bench.Healths()[:2] {
		h := stampede(t, contender, 20, true, errors.New("down"))
		assert.Equal(t, int64(20), h.probes)
		assert.Equal(t, map[int]int{http.StatusServiceUnavailable: herdCallers}, h.codes)
		assert.LessOrEqual(t, h.last, herdAnswered)
	}
}

// clocks returns where a contender can be measured. Ours is in both, so that there
// is something to compare the rivals with.
func clocks(contender bench.Health) (virtual []bool) {
	switch {
	case contender.OneGoroutine:
		return []bool{true, false}
	default:
		return []bool{contender.Virtual}
	}
}

// stampede sends all requests at once, when the contender has just been made.
func stampede(t *testing.T, contender bench.Health, checks int, virtual bool, finding error) (h herd) {
	t.Helper()
	if !virtual {
		return stampeding(contender, checks, finding)
	}
	synctest.Test(t, func(*testing.T) {
		h = stampeding(contender, checks, finding)
	})
	return h
}

func stampeding(contender bench.Health, checks int, finding error) herd {
	var probes atomic.Int64
	over := make(chan struct{})
	timeout := time.Second
	if contender.OneGoroutine { // whose answers are asserted, on a machine that may stop for longer than that
		timeout = herdPatience
	}
	endpoint, stop := contender.New(bench.HealthConfig{
		Checks: checks, Period: time.Hour, Timeout: timeout,
		Probe: func(ctx context.Context) error {
			probes.Add(1)
			timer := time.NewTimer(herdProbe)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-over:
			case <-ctx.Done():
				return ctx.Err()
			}
			return finding
		},
	})
	h := herd{codes: make(map[int]int)}
	var mu sync.Mutex
	var all sync.WaitGroup
	begun := time.Now()
	for range herdCallers {
		all.Go(func() {
			w := newReplies()
			endpoint.ServeHTTP(w, askingForHealth())
			took := time.Since(begun)
			mu.Lock()
			defer mu.Unlock()
			select {
			case <-over: // too late to count
			default:
				h.codes[w.code]++
				h.last = max(h.last, took)
			}
		})
	}
	patience := time.AfterFunc(herdWait(contender), func() {
		mu.Lock()
		defer mu.Unlock()
		h.probes = probes.Load()
		close(over)
	})
	all.Wait()
	if patience.Stop() {
		h.probes = probes.Load()
		close(over)
	}
	stop()
	return h
}

// herdWait is how long it is waited for answers: for ours as long as it takes.
func herdWait(contender bench.Health) time.Duration {
	if inFull() || contender.OneGoroutine {
		return herdPatience
	}
	return herdMoment
}

// answers says how many there were of which code.
func (h herd) answers(waited time.Duration) string {
	var kinds []string
	rest := herdCallers
	for _, code := range slices.Sorted(maps.Keys(h.codes)) {
		kinds = append(kinds, fmt.Sprintf("%d × %d", h.codes[code], code))
		rest -= h.codes[code]
	}
	if rest > 0 {
		kinds = append(kinds, fmt.Sprintf("%d none in %v", rest, waited))
	}
	return strings.Join(kinds, ", ")
}
