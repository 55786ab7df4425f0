package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/budget"
	"github.com/failsoft/failsoft/stale"
)

// wires are the upstreams' replicas by host, without sockets in between.
type wires map[string]*replica

func (w wires) RoundTrip(req *http.Request) (*http.Response, error) {
	answer := httptest.NewRecorder()
	w[req.URL.Host].ServeHTTP(answer, req)
	if ctx := req.Context(); ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return answer.Result(), nil
}

// nest builds the failsoft side's transport.
type nest func(m material) http.RoundTripper

// material is what there is to build it from.
type material struct {
	hosts map[string][]string
	base  http.RoundTripper
	cache *stale.Cache
	known *known
	calls meter
}

// complete is the nest of failsoftClient.
func complete(m material) http.RoundTripper {
	return m.cache.Transport(m.calls.over(resilient(m.hosts, m.base, m.known)))
}

// rehearse is the drill without a machine to disturb it: in virtual time, and in
// a bubble. It is looked at when three quarters of each phase are over.
func rehearse(
	ctx context.Context, t *testing.T, s script, perPhase int, build nest, look func(p phase, known *known),
) *record {
	t.Helper()
	visitors := newVisitors(s, perPhase)
	result, start := newRecord(s, visitors), time.Now()
	base, hosts := make(wires), make(map[string][]string)
	for _, u := range upstreams() {
		for i := range u.replicas {
			host := u.name + strconv.Itoa(i)
			hosts[u.name] = append(hosts[u.name], host)
			base[host] = &replica{upstream: u, number: i, script: s, start: start, record: result}
		}
	}
	health := newKnown(hosts)
	require.NoError(t, health.checker.Start())
	defer func() { assert.NoError(t, health.checker.Close(ctx)) }()
	health.begin()
	cache, fronts := newCache(), make(map[string]*http.ServeMux)
	calls := func(name string) meter { return meter{front: name, start: start, record: result} }
	for name, transport := range map[string]http.RoundTripper{
		naive:    calls(naive).over(&turns{hosts: hosts, next: base}),
		failsoft: build(material{hosts: hosts, base: base, cache: cache, known: health, calls: calls(failsoft)}),
	} {
		client := &http.Client{Timeout: deadline, Transport: transport}
		fronts[name] = plenty(result)(name, client)
	}
	var inside sync.WaitGroup
	inside.Go(func() {
		for i, p := range s.phases {
			time.Sleep(time.Until(start.Add(time.Duration(i)*s.length + s.length*3/4)))
			look(p, health)
		}
	})
	for number, v := range visitors {
		time.Sleep(time.Until(start.Add(v.at)))
		for name, shop := range fronts {
			inside.Go(func() {
				url := "/products/" + strconv.Itoa(v.product)
				req := httptest.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
				req.Header.Set(headerVisitor, strconv.Itoa(number))
				page := httptest.NewRecorder()
				shop.ServeHTTP(page, req)
				result.answered(name, number, page.Code == http.StatusOK, time.Since(start.Add(v.at)))
			})
		}
	}
	inside.Wait()
	assert.NoError(t, cache.Close(ctx))
	time.Sleep(deadline) // what lost to a hedge may go on for a while
	return result
}

// TestEachLayerIsMissed is the verdict on the drill without one of the layers: what
// the others do is no substitute. All is the verdict's that they do together.
func TestEachLayerIsMissed(t *testing.T) {
	for name, c := range map[string]struct {
		build  nest
		missed []string
	}{
		"nothing": {build: complete},
		"the cache": {
			build: func(m material) http.RoundTripper {
				return m.calls.over(resilient(m.hosts, m.base, m.known))
			},
			missed: []string{`row "blackout": it answered`},
		},
		"the hedges": {
			build: func(m material) http.RoundTripper {
				retrier := newRetrier(budget.MustNew(budget.Config{Ratio: ratio}))
				return m.cache.Transport(m.calls.over(retrier.Transport(
					newBreakers(m.known).Transport(routed(m.hosts, m.base, m.known)))))
			},
			missed: []string{`a hedge is to answer before an attempt times out`},
		},
		"the breaker": {
			build: func(m material) http.RoundTripper {
				extra := budget.MustNew(budget.Config{Ratio: ratio})
				return m.cache.Transport(m.calls.over(newRetrier(extra).Transport(newHedger(extra).Transport(
					routed(m.hosts, m.base, m.known)))))
			},
			missed: []string{`row "blackout": its `, `its breaker has use for`},
		},
		"the pools": {
			build: func(m material) http.RoundTripper {
				extra := budget.MustNew(budget.Config{Ratio: ratio})
				return m.cache.Transport(m.calls.over(newRetrier(extra).Transport(newHedger(extra).Transport(
					newBreakers(m.known).Transport(&turns{hosts: m.hosts, next: m.base})))))
			},
			missed: []string{`still went to the replica that stalls`},
		},
	} {
		for _, total := range []time.Duration{shortest(), 20 * time.Second} {
			t.Run(name+" in "+total.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					rehearsed(t, total, c.build, c.missed)
				})
			})
		}
	}
}

// rehearsed requires that the verdict misses what it is to. Which replica gets a call is
// chance: where a rehearsal spares the one that stalls, another one does not.
func rehearsed(t *testing.T, total time.Duration, build nest, missed []string) {
	t.Helper()
	const most = 3
	for seed := uint64(1); ; seed++ {
		s := newScript(total, seed)
		result := rehearse(t.Context(), t, s, minVisitors, build, func(phase, *known) {})
		var table strings.Builder
		require.NoError(t, report(&table, s, result, rush{}))
		err := errors.Join(judge(result.rows(s)), result.stall(s).judge(), result.darkness(s).judge())
		if missed == nil {
			require.NoError(t, err, table.String())
			return
		}
		seen := func(what string) bool { return err != nil && strings.Contains(err.Error(), what) }
		unseen := slices.DeleteFunc(slices.Clone(missed), seen)
		if len(unseen) == 0 {
			return
		}
		require.Less(t, seed, uint64(most), "%q is not seen\n%v\n%s", unseen, err, table.String())
	}
}

// TestOldPagesHideNothing is the drill with timeouts that are too short for how slow
// all is: the cache has old pages for everybody, and the verdict sees what is below.
func TestOldPagesHideNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(20*time.Second, 1)
		s.phases = s.phases[:4]
		s.phases[3].slower = 45
		rows := rehearse(t.Context(), t, s, minVisitors, complete, func(phase, *known) {}).rows(s)
		assert.Greater(t, rows[3].failsoft.availability(), rows[3].naive.availability())
		require.ErrorContains(t, judge(rows), `row "slow everywhere": the availability of its calls is`)
	})
}

// TestStallIsBridgedInTime is the drill up to its errors, which is what hedges are
// for. Later phases depend on when circuits let their probes pass, which is chance.
func TestStallIsBridgedInTime(t *testing.T) {
	for seed := range uint64(10) {
		t.Run("seed "+strconv.FormatUint(seed+1, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript(shortest(), seed+1)
				s.phases = s.phases[:3]
				result := rehearse(t.Context(), t, s, minVisitors, complete, func(phase, *known) {})
				var table strings.Builder
				require.NoError(t, report(&table, s, result, rush{}))
				require.NoError(t, errors.Join(judge(result.rows(s)), result.stall(s).judge()), table.String())
			})
		})
	}
}
