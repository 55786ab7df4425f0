package main

import (
	"context"
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

// rehearse is the drill without a machine to disturb it: in virtual time, and in
// a bubble. It is looked at when three quarters of each phase are over.
func rehearse(
	ctx context.Context, t *testing.T, s script, perPhase int, look func(p phase, known *circuits),
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
	fronts := make(map[string]*http.ServeMux)
	for name, transport := range map[string]http.RoundTripper{
		naive:    &replicas{hosts: hosts, next: pool},
		failsoft: resilient(hosts, pool, known.observe),
	} {
		client := &http.Client{Timeout: deadline, Transport: transport}
		fronts[name] = http.NewServeMux()
		fronts[name].Handle("GET /products/{product}", &front{name: name, client: client, start: start, record: result})
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
	time.Sleep(deadline) // what lost to a hedge may go on for a while
	return result
}

// TestStallIsBridgedInTime is the drill up to its errors, which is what hedges are
// for. Later phases depend on when circuits let their probes pass, which is chance.
func TestStallIsBridgedInTime(t *testing.T) {
	for seed := range uint64(10) {
		t.Run("seed "+strconv.FormatUint(seed+1, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript(shortest(), seed+1)
				s.phases = s.phases[:3]
				result := rehearse(t.Context(), t, s, minVisitors, func(phase, *circuits) {})
				var table strings.Builder
				require.NoError(t, report(&table, s, result))
				require.NoError(t, judge(result.rows(s)), table.String())
			})
		})
	}
}
