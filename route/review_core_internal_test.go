package route

import (
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/attempt"
)

// Many is how many hosts a large service has.
const many = 10_000

func manyHosts(weights int) []Host {
	hosts := make([]Host, many)
	for i := range hosts {
		hosts[i] = Host{Addr: fmt.Sprintf("10.0.%d.%d:80", i/250, i%250), Weight: 1 + i%weights}
	}
	return hosts
}

// A pick among many costs about what it costs among few, and a host some hundred bytes.
func TestReviewManyHosts(t *testing.T) {
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	hosts := manyHosts(1)
	before := heap()
	pool := MustNew(Config{Names: []string{"shop"}, Hosts: hosts})
	perHost := (heap() - before) / many
	t.Logf("%d bytes per host", perHost)
	assert.Less(t, perHost, int64(1500))
	v := pool.view.Load()
	begun := time.Now()
	for range 1000 {
		require.NotNil(t, v.all.pick(nil, nil, pool.now(), &pool.cfg))
	}
	t.Logf("%v per pick", time.Since(begun)/1000)
	tried := new(attempt.Hosts)
	tried.Add(hosts[0].Addr)
	begun = time.Now()
	for range 1000 {
		require.NotNil(t, v.all.pick(tried, nil, pool.now(), &pool.cfg))
	}
	t.Logf("%v per pick of a second attempt", time.Since(begun)/1000)
	assert.Zero(t, testing.AllocsPerRun(100, func() { v.all.pick(nil, nil, pool.now(), &pool.cfg) }))
}

// That some requests fail is no reason to compare a host with all others, each time.
func TestReviewFewFailuresAreNotCompared(t *testing.T) {
	cfg := defaults(t)
	m := hostWith(10*time.Millisecond, 0, 0)
	for i := range 200 {
		o := Success
		if i%10 == 9 {
			o = Failure
		}
		require.Empty(t, m.learn(1e6, int64(i), o, cfg))
	}
}

func TestReviewPatience(t *testing.T) {
	const ms = float64(time.Millisecond)
	cfg := defaults(t)
	for name, c := range map[string]struct {
		own, peers float64
		silent     time.Duration // since its last success
		want       float64
	}{
		"as all":                     {10, 10, 0, 20},
		"nothing is known":           {0, 0, 0, 200},
		"nothing is known of it":     {0, 50, 0, 100},
		"it is alone":                {10, 0, time.Hour, 20},
		"slower than others":         {100, 10, 0, 200},
		"slow once":                  {100, 10, 10 * time.Second, 2 * (10 + 90/math.E)},
		"slow long ago":              {100, 10, time.Hour, 20},
		"quicker than others":        {10, 15, 0, 20},
		"much quicker than others":   {10, 100, 0, 100},
		"much quicker, and long ago": {10, 100, time.Hour, 100},
		"quicker, and it is idle":    {10, 15, time.Hour, 20},
		"slow two minutes ago":       {20_000, 10, 2 * time.Minute, 20.25},
	} {
		h := &host{usual: c.own * ms}
		assert.InEpsilon(t, c.want*ms, h.patience(int64(c.silent), c.peers*ms, cfg), 0.01, name)
	}
}

// What some of the peers take is the median of those that have answered.
func TestReviewPeers(t *testing.T) {
	all := members(1, 1, 1, 1, 1)
	for i, usual := range []float64{7, 0, 10, 12, 5000} {
		all[i].usual = usual
	}
	v := &view{members: all}
	for range 20 {
		assert.InDelta(t, 12, v.usual(all[0].host), 0)
		assert.InDelta(t, 12, v.usual(all[1].host), 0)
		assert.InDelta(t, 10, v.usual(all[4].host), 0)
	}
	assert.Zero(t, (&view{members: all[:1]}).usual(all[0].host))
}

// What a host has not answered yet has taken at least that long.
func TestReviewWhoHangsLooksEverSlower(t *testing.T) {
	cfg := defaults(t)
	m := hostWith(10*time.Millisecond, 0, 0)
	now := int64(time.Minute)
	idle := m.score(now, true, cfg)
	m.begin(now)
	assert.Less(t, m.score(now, true, cfg), 1.01*2*idle, "that it was idle for a minute does not count")
	last := 0.0
	for range 100 {
		now += int64(time.Second)
		score := m.score(now, true, cfg)
		assert.Greater(t, score, last)
		last = score
	}
	m.begin(now)
	assert.GreaterOrEqual(t, m.score(now, true, cfg), 100e9*3, "a second one does not begin anew")
	m.learn(int64(time.Millisecond), now, Success, cfg)
	assert.Less(t, m.score(now, true, cfg), 100e6, "it answers")
	m.learn(int64(time.Millisecond), now, Success, cfg)
	m.inFlight.Add(-2)
	assert.InEpsilon(t, 1e6, m.score(now+1e9, true, cfg), 0.2, "and nobody waits")
}

// What changes a large set is not free, but far from what a request takes.
func BenchmarkReviewManyHosts(b *testing.B) {
	pool := MustNew(Config{Names: []string{"shop"}, Hosts: manyHosts(3)})
	b.Run("pick", func(b *testing.B) {
		v := pool.view.Load()
		for b.Loop() {
			v.all.pick(nil, nil, pool.now(), &pool.cfg)
		}
	})
	b.Run("renew", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			pool.mu.Lock()
			pool.renew(pool.now())
			pool.mu.Unlock()
		}
	})
	b.Run("compare", func(b *testing.B) {
		s := pool.standings[pool.order[0]]
		for b.Loop() {
			pool.mu.Lock()
			pool.isBehind(s, pool.now())
			pool.mu.Unlock()
		}
	})
}
