package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/breaker"
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
	pool  http.RoundTripper
	cache *stale.Cache
	known *circuits
	calls meter
}

// complete is the nest of failsoftClient.
func complete(m material) http.RoundTripper {
	return m.cache.Transport(m.calls.over(resilient(m.hosts, m.pool, m.known.observe)))
}

// rehearse is the drill without a machine to disturb it: in virtual time, and in
// a bubble. It is looked at when three quarters of each phase are over.
func rehearse(
	ctx context.Context, t *testing.T, s script, perPhase int, build nest, look func(p phase, known *circuits),
) *record {
	t.Helper()
	visitors := newVisitors(s, perPhase)
	result, start := newRecord(s, visitors), time.Now()
	pool, hosts := make(wires), make(map[string][]string)
	for _, u := range upstreams() {
		for i := range u.replicas {
			host := u.name + strconv.Itoa(i)
			hosts[u.name] = append(hosts[u.name], host)
			pool[host] = &replica{upstream: u, number: i, script: s, start: start, record: result}
		}
	}
	known := newCircuits(hosts)
	require.NoError(t, known.health.Start())
	defer func() { assert.NoError(t, known.health.Close(ctx)) }()
	known.begin()
	cache, fronts := newCache(), make(map[string]*http.ServeMux)
	calls := func(name string) meter { return meter{front: name, start: start, record: result} }
	for name, transport := range map[string]http.RoundTripper{
		naive:    calls(naive).over(&replicas{hosts: hosts, next: pool}),
		failsoft: build(material{hosts: hosts, pool: pool, cache: cache, known: known, calls: calls(failsoft)}),
	} {
		client := &http.Client{Timeout: deadline, Transport: transport}
		fronts[name] = plenty(result)(name, client)
	}
	var inside sync.WaitGroup
	inside.Go(func() {
		for i, p := range s.phases {
			time.Sleep(time.Until(start.Add(time.Duration(i)*s.length + s.length*3/4)))
			look(p, known)
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
	guarded := func(m material) http.RoundTripper {
		return breaker.MustNew(breaker.Config{Rules: rules(), MaxOpenFraction: breaker.Off}).Transport(m.pool)
	}
	for name, c := range map[string]struct {
		build  nest
		missed []string
	}{
		"nothing": {build: complete},
		"the cache": {
			build: func(m material) http.RoundTripper {
				return m.calls.over(resilient(m.hosts, m.pool, m.known.observe))
			},
			missed: []string{`row "blackout": it answered`},
		},
		"the hedges": {
			build: func(m material) http.RoundTripper {
				choice := &replicas{hosts: m.hosts, next: guarded(m)}
				return m.cache.Transport(m.calls.over(newRetrier(budget.MustNew(budget.Config{Ratio: ratio})).Transport(choice)))
			},
			missed: []string{`row "one replica stalls": the p99 of its calls`},
		},
		"the breaker": {
			build: func(m material) http.RoundTripper {
				extra := budget.MustNew(budget.Config{Ratio: ratio})
				choice := &replicas{hosts: m.hosts, next: m.pool}
				return m.cache.Transport(m.calls.over(newRetrier(extra).Transport(newHedger(extra).Transport(choice))))
			},
			missed: []string{`row "blackout": its `, `its breaker has use for`},
		},
	} {
		for _, total := range []time.Duration{shortest(), 20 * time.Second} {
			t.Run(name+" in "+total.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newScript(total, 1)
					result := rehearse(t.Context(), t, s, minVisitors, c.build, func(phase, *circuits) {})
					var table strings.Builder
					require.NoError(t, report(&table, s, result, rush{}))
					err := errors.Join(judge(result.rows(s)), result.darkness(s).judge())
					if c.missed == nil {
						require.NoError(t, err, table.String())
					}
					for _, missed := range c.missed {
						require.ErrorContains(t, err, missed, table.String())
					}
				})
			})
		}
	}
}

// TestOldPagesHideNothing is the drill with timeouts that are too short for how slow
// all is: the cache has old pages for everybody, and the verdict sees what is below.
func TestOldPagesHideNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(20*time.Second, 1)
		s.phases = s.phases[:4]
		s.phases[3].slower = 45
		rows := rehearse(t.Context(), t, s, minVisitors, complete, func(phase, *circuits) {}).rows(s)
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
				result := rehearse(t.Context(), t, s, minVisitors, complete, func(phase, *circuits) {})
				var table strings.Builder
				require.NoError(t, report(&table, s, result, rush{}))
				require.NoError(t, judge(result.rows(s)), table.String())
			})
		})
	}
}
