package bench_test

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/failsoft/failsoft/bench"
)

// shape is a distribution of service times whose mean is 1.
type shape struct {
	name string
	draw func(luck *rand.Rand) float64
}

func shapes() []shape {
	return []shape{
		{"exponential", (*rand.Rand).ExpFloat64},
		{"constant", func(*rand.Rand) float64 { return 1 }},
		{"bimodal", func(luck *rand.Rand) float64 { // one in ten takes eleven times as long
			if luck.Float64() < 0.1 {
				return 5.5
			}
			return 0.5
		}},
		{"Pareto 2.5", func(luck *rand.Rand) float64 { return 0.6 * math.Pow(1-luck.Float64(), -1/2.5) }},
		{"lognormal 1", func(luck *rand.Rand) float64 { return math.Exp(luck.NormFloat64() - 0.5) }},
	}
}

// service is a backend with a queue of its own, such as a pool of database
// connections, in virtual time. Work that was begun is not abandoned, whoever waits
// for it: that is what makes overload lasting.
type service struct {
	shape    shape
	servers  func(at time.Duration) int
	mean     func(at time.Duration, ctx context.Context) time.Duration
	rate     func(at time.Duration) float64 // of calls, per second
	length   time.Duration
	patience time.Duration
	retries  int // by the caller of what is not answered in time
	seed     uint64

	begun   time.Time
	mu      sync.Mutex
	busy    int
	waiting []chan struct{}
	work    []work
}

// work is something that the service has begun.
type work struct{ at, took time.Duration }

// visit is what became of a call.
type visit struct {
	at, took time.Duration // of the last try that was let in
	accepted bool
	answered bool // in time
	tries    int
}

func constantly[T any](value T) func(time.Duration) T {
	return func(time.Duration) T { return value }
}

func always(d time.Duration) func(time.Duration, context.Context) time.Duration {
	return func(time.Duration, context.Context) time.Duration { return d }
}

// visits lets calls come in at random, and returns what became of them.
func (s *service) visits(t *testing.T, limiter bench.Limiter, processors int) (visits []*visit) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		s.begun = time.Now()
		limit := limiter.New(processors)
		arrivals := rand.New(rand.NewPCG(s.seed, 0))
		var all sync.WaitGroup
		for at := time.Duration(0); at < s.length; at = time.Since(s.begun) {
			v, luck := &visit{at: at}, rand.New(rand.NewPCG(s.seed, uint64(len(visits)+1)))
			visits = append(visits, v)
			all.Go(func() { s.visit(limit, v, luck, &all) })
			time.Sleep(time.Duration(arrivals.ExpFloat64() / s.rate(at) * float64(time.Second)))
		}
		all.Wait()
	})
	return visits
}

// visit is a call with its retries. The client waits no longer than its patience.
func (s *service) visit(limit bench.Limit, v *visit, luck *rand.Rand, all *sync.WaitGroup) {
	for {
		v.tries++
		answer := make(chan error, 1)
		draw := s.shape.draw(luck)
		ctx, cancel := context.WithTimeout(context.Background(), s.patience)
		begun := time.Now()
		all.Go(func() {
			err := limit(ctx, func(ctx context.Context) { s.serve(ctx, draw) })
			if took := time.Since(begun); err == nil && !v.accepted {
				v.accepted, v.took = true, took
			}
			answer <- err
		})
		select {
		case err := <-answer:
			v.answered = err == nil
		case <-ctx.Done():
		}
		cancel()
		if v.answered || v.tries > s.retries {
			return
		}
		time.Sleep(time.Duration(luck.Float64() * float64(20*time.Millisecond)))
	}
}

func (s *service) serve(ctx context.Context, draw float64) {
	s.mu.Lock()
	if s.busy >= s.servers(time.Since(s.begun)) {
		turn := make(chan struct{})
		s.waiting = append(s.waiting, turn)
		s.mu.Unlock()
		<-turn // with a server, that of whom it has waited for
		s.mu.Lock()
	} else {
		s.busy++
	}
	at := time.Since(s.begun)
	took := time.Duration(draw * float64(s.mean(at, ctx)))
	s.work = append(s.work, work{at, took})
	s.mu.Unlock()
	time.Sleep(took)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy--
	for len(s.waiting) > 0 && s.busy < s.servers(time.Since(s.begun)) {
		s.busy++
		close(s.waiting[0])
		s.waiting = s.waiting[1:]
	}
}

// capacity is how many calls the service could have answered in a span of time, going
// by what those took that it did begin.
func (s *service) capacity(from, to time.Duration) float64 {
	var n int
	var sum time.Duration
	for _, w := range s.work {
		if w.at >= from && w.at < to {
			n++
			sum += w.took
		}
	}
	servers := s.servers((from + to) / 2)
	return float64(servers) * float64(to-from) * float64(n) / float64(max(sum, 1))
}

// tally is what some visits come to.
type tally struct {
	came, answered int
	p99            time.Duration // of those that were let in
}

func tallyOf(visits []*visit, from, to time.Duration) (sum tally) {
	var latencies []time.Duration
	for _, v := range visits {
		if v.at < from || v.at >= to {
			continue
		}
		sum.came++
		if v.answered {
			sum.answered++
		}
		if v.accepted {
			latencies = append(latencies, v.took)
		}
	}
	if len(latencies) > 0 {
		sum.p99 = percentile(latencies, 0.99)
	}
	return sum
}

func (sum tally) share() float64 { return float64(sum.answered) / float64(max(sum.came, 1)) }

// recovers is how long after a point in time at least 95 % are answered, over half a
// second.
func recovers(visits []*visit, from, end time.Duration) time.Duration {
	for at := from; at < end; at += 100 * time.Millisecond {
		if tallyOf(visits, at, at+500*time.Millisecond).share() >= 0.95 {
			return at - from
		}
	}
	return end - from
}
