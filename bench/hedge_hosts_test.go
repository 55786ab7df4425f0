package bench_test

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/bench"
	"github.com/failsoft/failsoft/hedge"
	"github.com/failsoft/failsoft/internal/attempt"
)

const (
	replicas   = 3
	stallTime  = 200 * time.Millisecond
	stallEach  = 10 * time.Second // from one stall of a replica to its next, on average
	hostsCalls = 200_000
	hostsTrial = 60_000 // calls in an ordinary run
)

func replica(index int) string { return string(rune('a'+index)) + ".example" }

// stalling is replicas of which each stops now and then: what arrives in the
// meantime waits for the end.
func stalling(calls int) draw {
	span := time.Duration(calls)*time.Second/tailRate + time.Minute
	ends := make(map[string][]time.Duration)
	for i := range replicas {
		luck := rand.New(rand.NewPCG(uint64(i), 7))
		for at := time.Duration(0); at < span; {
			at += time.Duration((0.5 + luck.Float64()) * float64(stallEach))
			ends[replica(i)] = append(ends[replica(i)], at)
		}
	}
	return func(a try, luck *rand.Rand) (time.Duration, bool) {
		latency := lognormal(luck, 5*time.Millisecond, 0.5)
		for _, end := range ends[a.req.URL.Host] {
			if a.at >= end-stallTime && a.at < end {
				latency += end - a.at
			}
		}
		return latency, false
	}
}

// router sends an attempt to the replica that pick returns.
func router(pick func(req *http.Request, c *call) int) func(http.RoundTripper) http.RoundTripper {
	return func(base http.RoundTripper) http.RoundTripper {
		return roundTrip(func(req *http.Request) (*http.Response, error) {
			index := pick(req, req.Context().Value(callKey{}).(*call))
			there, target := *req, *req.URL
			target.Host = replica(index)
			there.URL = &target
			return base.RoundTrip(&there)
		})
	}
}

func sameHost(_ *http.Request, c *call) int { return int(c.number % replicas) }

func anyHost(_ *http.Request, c *call) int {
	return rand.New(rand.NewPCG(c.number, 1000+c.attempts.Load())).IntN(replicas)
}

// otherHost is as simple as a router can be that keeps away from where the
// other attempts of its call went.
func otherHost(req *http.Request, c *call) int {
	tried := attempt.Tried(req.Context())
	index := anyHost(req, c)
	for range replicas {
		if tried.Rank(replica(index)) < 0 {
			break
		}
		index = (index + 1) % replicas
	}
	tried.Add(replica(index))
	return index
}

// below returns the contender with a router between it and the replicas.
func below(contender bench.Transport, pick func(*http.Request, *call) int) bench.Transport {
	return bench.Transport{Name: contender.Name, Wrap: func(base http.RoundTripper) http.RoundTripper {
		return contender.Wrap(router(pick)(base))
	}}
}

// hostsContenders begins with those that go to a different host.
func hostsContenders() []bench.Transport {
	at12 := func(name string, endpoints ...string) bench.Transport {
		return bench.Hedge(name, hedge.Config{Delay: 12 * time.Millisecond, Percent: 100, Endpoints: endpoints})
	}
	contenders := []bench.Transport{
		below(at12("12 ms, different host: router"), otherHost),
		at12("12 ms, different host: Endpoints", "http://"+replica(0), "http://"+replica(1), "http://"+replica(2)),
	}
	if !inFull() {
		return contenders
	}
	return append(contenders,
		below(bench.Hedge("defaults (5 %), different host", hedge.Config{}), otherHost),
		below(at12("12 ms, random host"), anyHost),
		below(at12("12 ms, same host"), sameHost),
		below(bench.HedgeNone(), anyHost))
}

// What a hedge is worth, by where it goes.
func TestHedgeHosts(t *testing.T) {
	calls := hostsTrial
	if inFull() {
		calls = hostsCalls
	}
	contenders := hostsContenders()
	results := each(t, contenders, func(t *testing.T, i int) result {
		w := workload{calls: calls, rate: tailRate, draw: stalling(calls)}
		return resultOf(t, everything(w.run(t, contenders[i])))
	})
	tab := &table{name: "hedge, hosts"}
	tab.row("ms", "p50", "p99", "p99.9", "extra %")
	for i, r := range results {
		if i < 2 {
			assert.LessOrEqual(t, r.p999, 30*time.Millisecond, "p99.9, %s", contenders[i].Name)
		}
		tab.row(contenders[i].Name, millis(r.p50), millis(r.p99), millis(r.p999), fixed(r.extra, 1))
	}
	tab.publish(t)
}
