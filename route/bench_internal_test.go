package route

import (
	"net/http"
	"testing"
	"time"
)

// What a request costs besides its copy: the pick, and the books.
func BenchmarkPick(b *testing.B) {
	cfg := defaults(b)
	hosts := newSet(members(1, 1, 1, 1, 1), cfg)
	for b.Loop() {
		hosts.pick(nil, nil, int64(time.Second), cfg)
	}
}

func BenchmarkLearn(b *testing.B) {
	cfg := defaults(b)
	m := hostWith(10*time.Millisecond, 0, 0)
	now := int64(0)
	for b.Loop() {
		now += 1000
		m.learn(int64(10*time.Millisecond), now, Success, cfg)
	}
}

func BenchmarkNow(b *testing.B) {
	pool := MustNew(Config{Names: []string{"shop"}, Hosts: []Host{{Addr: "a"}}})
	for b.Loop() {
		pool.now()
	}
}

func BenchmarkVisit(b *testing.B) {
	pool := MustNew(Config{Names: []string{"shop"}, Hosts: []Host{{Addr: "a"}}})
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://shop/", nil)
	if err != nil {
		b.Fatal(err)
	}
	next := &transport{pool: pool}
	m := pool.view.Load().members[0]
	var v *visit
	b.ReportAllocs()
	for b.Loop() {
		v = next.visit(req, m, 0)
	}
	_ = v
}
