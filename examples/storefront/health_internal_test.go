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
	"github.com/failsoft/failsoft/route"
)

// observed returns what is known of a catalogue with three replicas and prices with
// one, before any call.
func observed(t *testing.T) *known {
	t.Helper()
	k := newKnown(map[string][]string{"catalogue": {"a", "b", "c"}, "prices": {"p"}})
	require.NoError(t, k.checker.Start())
	t.Cleanup(func() { assert.NoError(t, k.checker.Close(context.Background())) })
	k.begin()
	return k
}

func (k *known) turn(upstream string, to breaker.State) {
	k.circuit(context.Background(), breaker.Event{Kind: breaker.Changed, Key: upstream, State: to})
}

func (k *known) become(host string, what route.Kind) {
	k.replica(context.Background(), route.Event{Kind: what, Addr: host})
}

func TestCircuitsAndReplicasAreTheHealthOfTheirUpstream(t *testing.T) {
	k := observed(t)
	assert.Equal(t, healthcheck.Pass, k.checker.Status("catalogue"), "well, as all is at first")
	eject := func(host string) func() { return func() { k.become(host, route.Ejected) } }
	readmit := func(host string) func() { return func() { k.become(host, route.Returned) } }
	turn := func(to breaker.State) func() { return func() { k.turn("catalogue", to) } }
	for i, step := range []struct {
		do   func()
		want healthcheck.Status
	}{
		{eject("a"), healthcheck.Warn},
		{eject("b"), healthcheck.Warn},
		{turn(breaker.Open), healthcheck.Fail},
		{turn(breaker.HalfOpen), healthcheck.Fail},
		{readmit("a"), healthcheck.Fail},
		{turn(breaker.Closed), healthcheck.Warn},
		{readmit("b"), healthcheck.Pass},
		{turn(breaker.Open), healthcheck.Fail},
		{turn(breaker.Ramping), healthcheck.Pass},
	} {
		step.do()
		assert.Equal(t, step.want, k.checker.Status("catalogue"), "step %d", i)
		assert.Equal(t, healthcheck.Pass, k.checker.Status("prices"), "step %d", i)
	}
	k.turn("prices", breaker.Open)
	assert.Equal(t, "catalogue pass, prices fail, reviews unknown, ads unknown", statuses(k.checker))
}

func TestOtherEventsSayNothingOfHealth(t *testing.T) {
	k := observed(t)
	k.turn("a stranger", breaker.Open)
	k.become("a stranger", route.Ejected)
	k.become("p", route.Drained)
	k.replica(t.Context(), route.Event{Kind: route.PanicBegan})
	k.circuit(t.Context(), breaker.Event{Kind: breaker.Rejected, Key: "prices", State: breaker.Open, Err: errors.New("open")})
	assert.Equal(t, healthcheck.Pass, k.checker.Status("prices"))
}

func TestTheLastToLookIsTheLastToReport(t *testing.T) {
	k := observed(t)
	for range 200 {
		for _, what := range []route.Kind{route.Ejected, route.Returned} {
			var becoming sync.WaitGroup
			for _, host := range k.hosts["catalogue"] {
				becoming.Go(func() { k.become(host, what) })
			}
			becoming.Wait()
			want := map[route.Kind]healthcheck.Status{route.Ejected: healthcheck.Warn, route.Returned: healthcheck.Pass}[what]
			require.Equal(t, want, k.checker.Status("catalogue"))
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
	health := newKnown(hosts)
	urls, err := up.startFronts(t.Context(), hosts, health, time.Now(), result, plenty(result))
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

	for name := range hosts {
		health.turn(name, breaker.Open)
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
		rehearse(t.Context(), t, s, minVisitors, complete, func(p phase, health *known) {
			seen[p.name] = statuses(health.checker)
		})
		well := strings.ReplaceAll("catalogue ?, prices ?, reviews ?, ads ?", "?", "pass")
		assert.Equal(t, well, seen["calm"])
		assert.Contains(t, []string{well, strings.Replace(well, "pass", "warn", 1)}, seen["one replica stalls"],
			"two replicas serve, whether the third one is ejected or not")
		assert.Equal(t, strings.ReplaceAll(well, "pass", "fail"), seen["blackout"])
	})
}
