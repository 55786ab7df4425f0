package bench_test

import (
	"context"
	"math"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/bench"
)

const (
	hangPeriod  = 100 * time.Millisecond
	hangTimeout = 50 * time.Millisecond
	hangWatched = 3 * time.Second
	hangMoment  = 200 * time.Millisecond // for those in real time, in an ordinary run
)

// hung is what becomes of a service whose probe does not come back any more.
type hung struct {
	failed time.Duration // when the endpoint first says so, -1 if it never does
	answer string        // the last one
	left   int           // goroutines that there were not while all was well
}

// A probe that has been well, and then hangs without heeding its context.
func TestHealthHang(t *testing.T) {
	tab := &table{name: "health, hang"}
	tab.row("period 100 ms, timeout 50 ms", "fails after", "answer after 3 s", "goroutines more")
	contenders := slices.Insert(bench.Healths(), 3, bench.HealthCommonTimeout())
	for _, contender := range contenders {
		t.Run(contender.Name, func(t *testing.T) {
			h := hangOf(t, contender)
			if contender.OneGoroutine {
				assert.GreaterOrEqual(t, h.failed, time.Duration(0))
				assert.LessOrEqual(t, h.failed, hangPeriod+hangTimeout+hangPeriod/10, "a poll later at most")
				assert.Equal(t, "503", h.answer)
				assert.LessOrEqual(t, h.left, 3, "goroutines: one, but those of the whole process are counted")
			}
			failed := "never"
			if h.failed >= 0 {
				failed = millis(h.failed) + " ms"
			}
			tab.row(contender.Name, failed, h.answer, strconv.Itoa(h.left))
		})
	}
	tab.publish(t)
}

func hangOf(t *testing.T, contender bench.Health) (h hung) {
	t.Helper()
	if !contender.Virtual {
		return hanging(t, contender)
	}
	synctest.Test(t, func(t *testing.T) { h = hanging(t, contender) })
	return h
}

func hanging(t *testing.T, contender bench.Health) hung {
	t.Helper()
	var hangs atomic.Bool
	released := make(chan struct{})
	endpoint, stop := contender.New(bench.HealthConfig{
		Checks: 1, Period: hangPeriod, Timeout: hangTimeout,
		Probe: func(context.Context) error {
			if hangs.Load() {
				<-released
			}
			return nil
		},
	})
	defer stop()
	defer close(released)
	until(t, func() bool { return pollHealth(endpoint) == "200" })
	every, watched := hangPeriod, hangMoment
	if contender.Virtual {
		every = hangPeriod / 10
	}
	if contender.Virtual || inFull() {
		watched = hangWatched
	}
	poll := time.NewTicker(every)
	defer poll.Stop()
	before := fewestGoroutines(poll, int(hangPeriod/every))
	hangs.Store(true)
	h := afterHang(endpoint, poll, int(watched/every))
	h.left = fewestGoroutines(poll, int(2*hangPeriod/every)) - before
	return h
}

// fewestGoroutines looks several times: what is under way is not to count.
func fewestGoroutines(poll *time.Ticker, looks int) int {
	fewest := math.MaxInt
	for range looks {
		<-poll.C
		fewest = min(fewest, runtime.NumGoroutine())
	}
	return fewest
}

// afterHang polls from when the probe begins to hang.
func afterHang(endpoint http.Handler, poll *time.Ticker, polls int) hung {
	begun := time.Now()
	h := hung{failed: -1}
	for range polls {
		h.answer = pollHealth(endpoint)
		if h.failed < 0 && h.answer != "200" {
			h.failed = time.Since(begun)
		}
		<-poll.C
	}
	return h
}

// pollHealth asks once, and waits a period at most for the answer.
func pollHealth(endpoint http.Handler) string {
	code := make(chan int, 1)
	go func() {
		w := newReplies()
		endpoint.ServeHTTP(w, askingForHealth())
		code <- w.code
	}()
	timer := time.NewTimer(hangPeriod - time.Millisecond)
	defer timer.Stop()
	select {
	case c := <-code:
		return strconv.Itoa(c)
	case <-timer.C:
		return "none"
	}
}
