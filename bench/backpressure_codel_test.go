package bench_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bohde/codel"
	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/backpressure"
	"github.com/failsoft/failsoft/bench"
)

// The experiment in the README of bohde/codel, in virtual time: for ten seconds 1,000
// requests a second come at random, and one after the other takes a random time of 2 ms
// in the mean. At most ten are let in at a time, or as many as the limiter finds; who
// waits gives up after a second.
func TestBackpressureCoDel(t *testing.T) {
	tab := &table{name: "backpressure, CoDel"}
	tab.row("1,000 in, 500 out", "out per second", "p50 ms", "p95 ms", "p99 ms")
	tab.row("published: queue", "507.4", "963.6", "1024.6", "1041.5")
	tab.row("published: codel", "513.2", "27.7", "44.1", "62.8")
	for _, limiter := range []bench.Limiter{
		bench.LimiterQueue("queue, here", 10, 1000),
		bench.LimiterCoDel("codel, here", codel.Options{MaxPending: 1000, MaxOutstanding: 10, TargetLatency: 5 * time.Millisecond}),
		bench.LimiterOurs("failsoft", backpressure.Config{}),
		bench.LimiterOurs("failsoft, Fixed(10)", backpressure.Config{Limit: backpressure.Fixed(10)}),
		bench.LimiterOurs("failsoft, MaxWait: Off", backpressure.Config{MaxWait: backpressure.Off}),
		bench.LimiterRivals()[0],
	} {
		figures := means(func(seed uint64) []float64 { return published(t, limiter, seed) })
		if limiter.Name == "failsoft" {
			assert.GreaterOrEqual(t, figures[0], 485.0, "out per second")
			assert.LessOrEqual(t, figures[3], 62.8, "p99")
		}
		tab.row(limiter.Name, fixed(figures[0], 1), fixed(figures[1], 1), fixed(figures[2], 1), fixed(figures[3], 1))
	}
	tab.publish(t)
}

func published(t *testing.T, limiter bench.Limiter, seed uint64) []float64 {
	t.Helper()
	const length = 10 * time.Second
	var mu sync.Mutex
	var took []time.Duration
	came := 0
	synctest.Test(t, func(*testing.T) {
		luck, begun := rand.New(rand.NewPCG(seed, 0)), time.Now()
		limit, one := limiter.New(2), make(chan struct{}, 1)
		var all sync.WaitGroup
		for {
			time.Sleep(time.Duration(luck.ExpFloat64() * float64(time.Millisecond)))
			if time.Since(begun) > length {
				break
			}
			came++
			work := time.Duration(luck.ExpFloat64() * float64(2*time.Millisecond))
			all.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				asked := time.Now()
				_ = limit(ctx, func(context.Context) {
					one <- struct{}{}
					time.Sleep(work)
					<-one
					mu.Lock()
					defer mu.Unlock()
					took = append(took, time.Since(asked))
				})
			})
		}
		all.Wait()
	})
	return []float64{
		1000 * float64(len(took)) / float64(came), // as published
		percentile(took, 0.5).Seconds() * 1000, percentile(took, 0.95).Seconds() * 1000, percentile(took, 0.99).Seconds() * 1000,
	}
}
