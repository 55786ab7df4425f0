package route

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pickAll returns who gets the reads of a session, and how many of each are stale, when
// these hosts are ill.
func pickAll(t *testing.T, cfg Config, pinned *pin, ill ...string) (picked, stale map[string]int, err error) {
	t.Helper()
	cfg.Names = []string{"db"}
	p, err := New(cfg)
	require.NoError(t, err)
	p.mu.Lock()
	for _, addr := range ill {
		p.standings[addr].isIll = true
	}
	v := p.renew(0)
	p.mu.Unlock()
	picked, stale = make(map[string]int), make(map[string]int)
	for range 200 {
		m, staleRead, err := p.toRead(v, nil, pinned, 0)
		if err != nil {
			return picked, stale, err
		}
		picked[m.addr]++
		if staleRead {
			stale[m.addr]++
		}
	}
	return picked, stale, nil
}

func TestRequirement7PrimaryIll(t *testing.T) {
	hosts := []Host{{Addr: "p", Role: Primary}, {Addr: "r1", Role: Replica}, {Addr: "r2", Role: Replica}}
	picked, stale, err := pickAll(t, Config{Hosts: hosts}, &pin{}, "p")
	require.NoError(t, err)
	assert.Zero(t, picked["p"])
	assert.Equal(t, picked, stale, "all of them")

	_, _, err = pickAll(t, Config{Hosts: hosts, NoPrimary: Refuse}, &pin{}, "p")
	require.ErrorIs(t, err, ErrNoPrimary)
	picked, stale, err = pickAll(t, Config{Hosts: hosts, NoPrimary: Refuse}, nil, "p")
	require.NoError(t, err)
	assert.Zero(t, picked["p"])
	assert.Empty(t, stale, "who has not written needs no primary")
}

// When checks fail for all hosts it is likely not the hosts that are ill: they serve as
// if nothing was known.
func TestPitfall08FailOpenByRole(t *testing.T) {
	hosts := []Host{{Addr: "p", Role: Primary}, {Addr: "r1", Role: Replica}, {Addr: "r2", Role: Replica}}
	for _, policy := range []NoPrimary{ReadReplica, Refuse} {
		cfg := Config{Hosts: hosts, NoPrimary: policy}
		picked, stale, err := pickAll(t, cfg, &pin{}, "p", "r1", "r2")
		require.NoError(t, err)
		assert.Equal(t, map[string]int{"p": 200}, picked)
		assert.Empty(t, stale)
	}
	picked, stale, err := pickAll(t, Config{Hosts: hosts}, nil, "r1", "r2")
	require.NoError(t, err)
	assert.Equal(t, map[string]int{"p": 200}, picked, "no replica is well, and the primary is")
	assert.Empty(t, stale)
}

// A host for everything is asked in a panic, and what it says is not stale.
func TestRequirement7StaleReadsAreThoseOfReplicas(t *testing.T) {
	hosts := []Host{{Addr: "a"}, {Addr: "r1", Role: Replica}, {Addr: "r2", Role: Replica}}
	picked, stale, err := pickAll(t, Config{Hosts: hosts}, &pin{}, "a", "r1")
	require.NoError(t, err)
	assert.NotZero(t, picked["a"])
	assert.Zero(t, stale["a"])
	assert.NotZero(t, picked["r2"])
	assert.Equal(t, picked["r2"], stale["r2"])
}

func TestRequirement7WeightsOfReplicas(t *testing.T) {
	picked, _, err := pickAll(t, Config{Hosts: []Host{
		{Addr: "p", Role: Primary},
		{Addr: "r1", Role: Replica, Weight: 20},
		{Addr: "r2", Role: Replica},
		{Addr: "r3", Role: Replica},
	}}, nil)
	require.NoError(t, err)
	assert.Greater(t, picked["r1"], 150, "%v", picked)
}

func TestRequirement7SafeMethods(t *testing.T) {
	for _, method := range []string{"", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace} {
		assert.True(t, isSafe(method), method)
	}
	for _, method := range []string{http.MethodPost, http.MethodConnect, "get", "PROPFIND", "QUERY"} {
		assert.False(t, isSafe(method), "%s: who does not know a method does not take it for safe", method)
	}
}
