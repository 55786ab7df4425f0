package bench_test

import (
	"bytes"
	"context"
	"net/http"
	"testing"

	"github.com/failsoft/failsoft/bench"
)

func hedgeHappyCases() []happyCase {
	get, err := http.NewRequestWithContext(context.Background(), http.MethodGet, where, nil)
	reused := func() (*http.Request, error) { return get, err }
	payload := bytes.Repeat([]byte("x"), 1024)
	post := func() (*http.Request, error) {
		return http.NewRequestWithContext(context.Background(), http.MethodPost, where, bytes.NewReader(payload))
	}
	promised := func(reads, posts float64) map[string]float64 {
		return map[string]float64{"failsoft, defaults": reads, "failsoft, 1 s": reads, "failsoft, 1 s, any method": posts}
	}
	return []happyCase{
		{"GET", stub{}, reused, promised(6, 6)},
		{"GET, base derives a context", stub{derives: true}, reused, promised(9, 9)},
		{"POST 1 KiB", stub{}, post, promised(0, 9)},
	}
}

// What readiness to hedge costs where nothing is slow.
func TestHedgeHappyPath(t *testing.T) {
	for _, c := range hedgeHappyCases() {
		t.Run(c.name, func(t *testing.T) {
			ops := hedgeHappyOps(c)
			measured := measure(ops)
			keep(t, c.promises, ops, measured)
			costs("hedge, happy path, "+c.name, ops, measured).publish(t)
		})
	}
}

func BenchmarkHedgeHappyPath(b *testing.B) {
	for _, c := range hedgeHappyCases() {
		b.Run(c.name, func(b *testing.B) { benchmark(b, hedgeHappyOps(c)) })
	}
}

func hedgeHappyOps(c happyCase) []op {
	var ops []op
	for _, contender := range bench.HedgeHappyPath() {
		client := &http.Client{Transport: contender.Wrap(c.base)}
		buf := make([]byte, 512)
		ops = append(ops, op{name: contender.Name, run: func() {
			req, err := c.request()
			if err != nil {
				panic(err)
			}
			if got := exchange(client, req, buf); got != len(answer) {
				panic("the answer was lost on its way")
			}
		}})
	}
	return ops
}
