package route

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRequirement2Addresses(t *testing.T) {
	addrs := func(all ...string) (parsed []netip.Addr) {
		for _, addr := range all {
			parsed = append(parsed, netip.MustParseAddr(addr))
		}
		return parsed
	}
	for _, test := range []struct {
		name  string
		addrs []netip.Addr
		port  uint16
		want  []Host
	}{
		{"in order", addrs("10.0.0.2", "::1", "10.0.0.1"), 80, []Host{{Addr: "10.0.0.1:80"}, {Addr: "10.0.0.2:80"}, {Addr: "[::1]:80"}}},
		{"no port", addrs("10.0.0.1", "::1"), 0, []Host{{Addr: "10.0.0.1"}, {Addr: "[::1]"}}},
		{"each once", addrs("10.0.0.1", "::ffff:10.0.0.1"), 80, []Host{{Addr: "10.0.0.1:80"}}},
		{"none", nil, 80, []Host{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			hosts := hostsOfAddrs(test.addrs, test.port)
			assert.Equal(t, test.want, hosts)
			if len(hosts) > 0 {
				_, err := readHosts(hosts)
				assert.NoError(t, err)
			}
		})
	}
}

func TestRequirement2Records(t *testing.T) {
	for _, test := range []struct {
		name    string
		records []net.SRV
		want    []Host
	}{
		{
			"in order, without the dot",
			[]net.SRV{{Target: "b.", Port: 2, Weight: 2}, {Target: "A.", Port: 1, Weight: 1}},
			[]Host{{Addr: "a:1", Weight: 1}, {Addr: "b:2", Weight: 2}},
		},
		{
			"lowest priority",
			[]net.SRV{{Target: "spare.", Port: 1, Priority: 20}, {Target: "a.", Port: 1, Priority: 10, Weight: 7}},
			[]Host{{Addr: "a:1", Weight: 7}},
		},
		{
			"weight 0",
			[]net.SRV{{Target: "a.", Port: 1}, {Target: "b.", Port: 1, Weight: 3}},
			[]Host{{Addr: "a:1", Weight: 1}, {Addr: "b:1", Weight: 3}},
		},
		{
			"at the limit",
			[]net.SRV{{Target: "a.", Port: 1, Weight: 1000}, {Target: "b.", Port: 1, Weight: 3}},
			[]Host{{Addr: "a:1", Weight: 1000}, {Addr: "b:1", Weight: 3}},
		},
		{
			"scaled down",
			[]net.SRV{{Target: "a.", Port: 1, Weight: 65535}, {Target: "b.", Port: 1, Weight: 32768}, {Target: "c.", Port: 1, Weight: 1}},
			[]Host{{Addr: "a:1", Weight: 1000}, {Addr: "b:1", Weight: 500}, {Addr: "c:1", Weight: 1}},
		},
		{
			"there twice",
			[]net.SRV{{Target: "a.", Port: 1, Weight: 2}, {Target: "a.", Port: 1, Weight: 3}, {Target: "a.", Port: 2, Weight: 1}},
			[]Host{{Addr: "a:1", Weight: 5}, {Addr: "a:2", Weight: 1}},
		},
		{"no such service", []net.SRV{{Target: "."}}, []Host{}},
		{"none", nil, []Host{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var records []*net.SRV
			for i := range test.records {
				records = append(records, &test.records[i])
			}
			assert.Equal(t, test.want, hostsOfRecords(records))
		})
	}
}

// looks are the lookups of one test: when they were, and what the Resolver made of them.
type looks struct {
	begun   time.Time
	at      []time.Duration
	updates []error
}

// follow runs a Resolver for d.
func (l *looks) follow(t *testing.T, cfg DNSConfig, d time.Duration, lookup func(context.Context, int) ([]Host, error)) {
	t.Helper()
	require.NoError(t, cfg.complete())
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	l.begun = time.Now()
	cfg.follow(nil, func(ctx context.Context) ([]Host, error) {
		l.at = append(l.at, time.Since(l.begun))
		return lookup(ctx, len(l.at))
	})(ctx, func(hosts []Host, err error) {
		assert.NotEqual(t, err == nil, len(hosts) == 0, "either hosts or an error")
		l.updates = append(l.updates, err)
	})
}

// pauses are how long the Resolver waited, as parts of what is expected.
func (l *looks) pauses(expected ...time.Duration) (parts []float64) {
	for i, want := range expected {
		parts = append(parts, float64(l.at[i+1]-l.at[i])/float64(want))
	}
	return parts
}

func TestRequirement2LookupsInTime(t *testing.T) {
	someHosts := []Host{{Addr: "a"}}
	errDown := errors.New("down")
	bubble := func(name string, test func(*testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
	}
	bubble("every 30 s, give or take a fifth", func(t *testing.T) {
		var l looks
		l.follow(t, DNSConfig{}, 100*30*time.Second, func(context.Context, int) ([]Host, error) { return someHosts, nil })
		require.Greater(t, len(l.at), 80)
		least, most := 2.0, 0.0
		for i := range len(l.at) - 1 {
			part := (l.at[i+1] - l.at[i]).Seconds() / 30
			least, most = min(least, part), max(most, part)
		}
		assert.GreaterOrEqual(t, least, 0.8)
		assert.LessOrEqual(t, most, 1.2)
		assert.Greater(t, most-least, 0.1, "not all at once")
	})
	bubble("sooner after a failure", func(t *testing.T) {
		var l looks
		l.follow(t, DNSConfig{}, 10*time.Minute, func(_ context.Context, n int) ([]Host, error) {
			if n == 1 || n == 9 {
				return someHosts, nil
			}
			return nil, errDown
		})
		const s = time.Second
		for i, part := range l.pauses(30*s, s, 2*s, 4*s, 8*s, 16*s, 30*s, 30*s, 30*s, s, 2*s) {
			assert.InDelta(t, 1, part, 0.2, i)
		}
		assert.NoError(t, l.updates[0])
		assert.ErrorIs(t, l.updates[1], errDown)
	})
	bubble("often", func(t *testing.T) {
		var l looks
		l.follow(t, DNSConfig{Every: 100 * time.Millisecond}, 10*time.Second,
			func(context.Context, int) ([]Host, error) { return nil, errDown })
		assert.Greater(t, len(l.at), 80, "a failure does not make it slower")
	})
	bubble("no hosts is a failure", func(t *testing.T) {
		var l looks
		l.follow(t, DNSConfig{}, 10*time.Second, func(context.Context, int) ([]Host, error) { return nil, nil })
		for i, part := range l.pauses(time.Second, 2*time.Second) {
			assert.InDelta(t, 1, part, 0.2, i)
		}
		assert.ErrorIs(t, l.updates[0], errNoRecords)
	})
	bubble("a part is a failure", func(t *testing.T) {
		var l looks
		l.follow(t, DNSConfig{}, time.Second/2, func(context.Context, int) ([]Host, error) { return someHosts, errDown })
		assert.ErrorIs(t, l.updates[0], errDown)
	})
	bubble("bounded", func(t *testing.T) {
		var l looks
		l.follow(t, DNSConfig{}, 20*time.Second, func(ctx context.Context, _ int) ([]Host, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		assert.ErrorIs(t, l.updates[0], context.DeadlineExceeded)
		assert.InDelta(t, 6, l.at[1].Seconds(), 0.2, "5 s and a pause")
	})
	bubble("over at once, and silently", func(t *testing.T) {
		var l looks
		l.follow(t, DNSConfig{}, time.Second, func(ctx context.Context, _ int) ([]Host, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		assert.Equal(t, time.Second, time.Since(l.begun))
		assert.Empty(t, l.updates)
	})
}
