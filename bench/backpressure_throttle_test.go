package bench_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/bench"
)

// client is a client of a server that answers 500 requests a second, and to which a
// refusal is a tenth of the work of an answer.
type client struct {
	length     time.Duration
	rate       func(at time.Duration) float64
	down       func(at time.Duration) bool // the server refuses everything
	retryAfter time.Duration               // that a refusal says, if any
	seed       uint64
}

const answersPerSecond = 500.0

// request is what became of one.
type request struct {
	at             time.Duration
	sent, accepted bool
}

func (c client) run(t *testing.T, throttle bench.Throttle) (requests []request) {
	t.Helper()
	const queue = 20 * time.Millisecond // of work, that the server has room for
	synctest.Test(t, func(*testing.T) {
		ask, luck, begun := throttle.New(), rand.New(rand.NewPCG(c.seed, 0)), time.Now()
		var last, backlog time.Duration
		for at := time.Duration(0); at < c.length; at = time.Since(begun) {
			backlog = max(backlog-(at-last), 0)
			last = at
			r := request{at: at}
			if done, ok := ask(); ok {
				r.sent = true
				r.accepted = backlog < queue && !c.down(at)
				backlog += time.Duration(float64(time.Second) / answersPerSecond * map[bool]float64{true: 1, false: 0.1}[r.accepted])
				done(r.accepted, map[bool]time.Duration{false: c.retryAfter}[r.accepted])
			}
			requests = append(requests, r)
			time.Sleep(time.Duration(luck.ExpFloat64() / c.rate(at) * float64(time.Second)))
		}
	})
	return requests
}

func count(requests []request, from, to time.Duration) (came, sent, accepted float64) {
	for _, r := range requests {
		if r.at >= from && r.at < to {
			came++
			sent += map[bool]float64{true: 1}[r.sent]
			accepted += map[bool]float64{true: 1}[r.accepted]
		}
	}
	return came, sent, accepted
}

// reaches is how long after a time a share of what has come in a second is as it should
// be.
func reaches(requests []request, from, end time.Duration, is func(came, sent, accepted float64) bool) float64 {
	for at := from; at+time.Second <= end; at += 100 * time.Millisecond {
		if is(count(requests, at, at+time.Second)) {
			return (at - from).Seconds()
		}
	}
	return (end - from).Seconds()
}

// The server has too much to do, and refusing is a part of it.
func TestBackpressureThrottleOverload(t *testing.T) {
	tab := &table{name: "backpressure, throttle, overload"}
	tab.row("of the capacity", "goodput ×2", "sent ×2", "goodput ×4", "sent ×4", "goodput ×10", "sent ×10")
	for _, throttle := range bench.Throttles() {
		cells := []string{throttle.Name}
		for _, times := range []float64{2, 4, 10} {
			const from, to = 60 * time.Second, 90 * time.Second
			figures := means(func(seed uint64) []float64 {
				c := client{length: to, rate: constantly(times * answersPerSecond), down: constantly(false), seed: seed}
				_, sent, accepted := count(c.run(t, throttle), from, to)
				capacity := answersPerSecond * (to - from).Seconds()
				return []float64{accepted / capacity, sent / capacity}
			})
			if throttle.Name == "failsoft" {
				assert.GreaterOrEqual(t, figures[0], 0.88, "goodput at %v", times)
			}
			cells = append(cells, fixed(figures[0], 2), fixed(figures[1], 2))
		}
		tab.row(cells...)
	}
	tab.publish(t)
}

// The server is away for two minutes, and then well again.
func TestBackpressureThrottleOutage(t *testing.T) {
	const down, up, end = time.Minute, 3 * time.Minute, 5 * time.Minute
	tab := &table{name: "backpressure, throttle, outage"}
	tab.row("at 0.8 of the capacity", "sent in the second minute %", "95 % answered after s", "99 % sent after s")
	for _, retryAfter := range []time.Duration{0, 5 * time.Second} {
		for _, throttle := range bench.Throttles() {
			if retryAfter > 0 && throttle.Name != "failsoft" {
				continue // the others do not look at it
			}
			name := throttle.Name
			if retryAfter > 0 {
				name = fmt.Sprintf("%s, Retry-After: %v", name, retryAfter.Seconds())
			}
			figures := means(func(seed uint64) []float64 {
				c := client{
					length: end, rate: constantly(0.8 * answersPerSecond), retryAfter: retryAfter, seed: seed,
					down: func(at time.Duration) bool { return at >= down && at < up },
				}
				requests := c.run(t, throttle)
				came, sent, _ := count(requests, down+time.Minute, up)
				return []float64{
					100 * sent / came,
					reaches(requests, up, end, func(came, _, accepted float64) bool { return accepted >= 0.95*came }),
					reaches(requests, up, end, func(came, sent, _ float64) bool { return sent >= 0.99*came }),
				}
			})
			if throttle.Name == "failsoft" {
				assert.LessOrEqual(t, figures[1], 15.0, "%v: recovery", retryAfter)
				assert.LessOrEqual(t, figures[2], 15.0, "%v: recovery", retryAfter)
				assert.LessOrEqual(t, figures[0], 6.0, "%v: in the outage", retryAfter)
			}
			tab.row(name, fixed(figures[0], 1), fixed(figures[1], 1), fixed(figures[2], 1))
		}
	}
	tab.publish(t)
}
