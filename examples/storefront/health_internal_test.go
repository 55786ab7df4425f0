package main

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/breaker"
	"github.com/failsoft/failsoft/healthcheck"
)

// observed returns circuits of a catalogue with three replicas and prices with
// one, before any call.
func observed(t *testing.T) *circuits {
	t.Helper()
	c := newCircuits(map[string][]string{"catalogue": {"a", "b", "c"}, "prices": {"p"}})
	require.NoError(t, c.health.Start())
	t.Cleanup(func() { assert.NoError(t, c.health.Close(context.Background())) })
	c.begin()
	return c
}

func (c *circuits) turn(host string, to breaker.State) {
	c.observe(context.Background(), breaker.Event{Kind: breaker.Changed, Key: host, State: to})
}

func TestCircuitsAreTheHealthOfTheirUpstream(t *testing.T) {
	c := observed(t)
	assert.Equal(t, healthcheck.Pass, c.health.Status("catalogue"), "closed, as they are at first")
	for _, step := range []struct {
		host string
		to   breaker.State
		want healthcheck.Status
	}{
		{"a", breaker.Open, healthcheck.Warn},
		{"a", breaker.HalfOpen, healthcheck.Warn},
		{"b", breaker.Open, healthcheck.Warn},
		{"c", breaker.Open, healthcheck.Fail},
		{"c", breaker.HalfOpen, healthcheck.Fail},
		{"c", breaker.Open, healthcheck.Fail},
		{"b", breaker.Ramping, healthcheck.Warn},
		{"a", breaker.Closed, healthcheck.Warn},
		{"c", breaker.Closed, healthcheck.Pass},
	} {
		c.turn(step.host, step.to)
		assert.Equal(t, step.want, c.health.Status("catalogue"), "%s %v", step.host, step.to)
		assert.Equal(t, healthcheck.Pass, c.health.Status("prices"), "%s %v", step.host, step.to)
	}
	c.turn("p", breaker.Open)
	assert.Equal(t, "catalogue pass, prices fail, reviews unknown, ads unknown", statuses(c.health))
}

func TestOtherEventsSayNothingOfHealth(t *testing.T) {
	c := observed(t)
	c.turn("a stranger", breaker.Open)
	c.observe(t.Context(), breaker.Event{Kind: breaker.Rejected, Key: "p", State: breaker.Open, Err: errors.New("open")})
	assert.Equal(t, healthcheck.Pass, c.health.Status("prices"))
}

func TestTheLastToCountIsTheLastToReport(t *testing.T) {
	c := observed(t)
	for range 200 {
		for _, to := range []breaker.State{breaker.Open, breaker.Closed} {
			var turning sync.WaitGroup
			for _, host := range c.hosts["catalogue"] {
				turning.Go(func() { c.turn(host, to) })
			}
			turning.Wait()
			want := map[breaker.State]healthcheck.Status{breaker.Open: healthcheck.Fail, breaker.Closed: healthcheck.Pass}[to]
			require.Equal(t, want, c.health.Status("catalogue"))
		}
	}
}

// ask returns the code of an endpoint, and what every response says in its header.
func ask(ctx context.Context, t *testing.T, url string) (code int, told string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, errors.Join(err, resp.Body.Close()))
	return resp.StatusCode, resp.Header.Get(healthcheck.HealthHeader)
}

func TestEveryServiceHasEndpoints(t *testing.T) {
	leavesNothing(t)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	s := newScript(shortest(), 1)
	result := newRecord(s, nil)
	var up servers
	t.Cleanup(up.stop)
	hosts, err := up.startUpstreams(t.Context(), s, time.Now(), result)
	require.NoError(t, err)
	known := newCircuits(hosts)
	urls, err := up.startFronts(t.Context(), hosts, known, time.Now(), result, plenty(result))
	require.NoError(t, err)

	services := slices.Collect(maps.Values(urls))
	for _, replicas := range hosts {
		for _, host := range replicas {
			services = append(services, "http://"+host)
		}
	}
	require.Len(t, services, 2+6)
	for _, url := range services {
		for _, endpoint := range []string{"/livez", "/readyz"} {
			code, told := ask(t.Context(), t, url+endpoint)
			assert.Equal(t, http.StatusOK, code)
			assert.Equal(t, "pass", told)
		}
	}
	for _, side := range []string{naive, failsoft} {
		assert.Zero(t, result.tally(side, 0, len(s.phases)).attempts, "who asks for health is no visitor")
	}

	for host := range known.upstream {
		known.turn(host, breaker.Open)
	}
	code, told := ask(t.Context(), t, urls[failsoft]+"/readyz")
	assert.Equal(t, http.StatusOK, code, "all fronts have the same upstreams")
	assert.Equal(t, "warn", told)
	_, told = ask(t.Context(), t, urls[naive]+"/readyz")
	assert.Equal(t, "pass", told, "it does not know")
}

// TestHealthFollowsTheOutage is the drill as the line below its picture tells it.
func TestHealthFollowsTheOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(shortest(), 1)
		seen := make(map[string]string)
		rehearse(t.Context(), t, s, minVisitors, complete, func(p phase, known *circuits) {
			seen[p.name] = statuses(known.health)
		})
		well := strings.ReplaceAll("catalogue ?, prices ?, reviews ?, ads ?", "?", "pass")
		assert.Equal(t, well, seen["calm"])
		assert.Equal(t, strings.Replace(well, "pass", "warn", 1), seen["one replica stalls"])
		assert.Equal(t, strings.ReplaceAll(well, "pass", "fail"), seen["blackout"])
	})
}
