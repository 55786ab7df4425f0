package main

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/hedge"
)

// seen is what a RoundTripper was asked for.
type seen struct{ hosts []string }

func (s *seen) RoundTrip(req *http.Request) (*http.Response, error) {
	s.hosts = append(s.hosts, req.URL.Host)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: req}, nil
}

func TestNaiveAsksReplicasInTurn(t *testing.T) {
	var below seen
	client := &turns{hosts: map[string][]string{"catalogue": {"a", "b", "c"}}, next: &below}
	for visitor := range 4 {
		req := visit(t.Context(), t, visitor)
		resp, err := client.RoundTrip(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, "catalogue", req.URL.Host, "the caller's request is left alone")
	}
	assert.Equal(t, []string{"a", "b", "c", "a"}, below.hosts)
}

// unwell is replicas of which none answers well, one after the other.
type unwell struct{ seen }

func (u *unwell) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := u.seen.RoundTrip(req)
	resp.StatusCode = http.StatusServiceUnavailable
	return resp, err
}

func TestEachAttemptGoesElsewhere(t *testing.T) {
	for range 10 {
		synctest.Test(t, func(t *testing.T) {
			var below unwell
			hosts := map[string][]string{"catalogue": {"a", "b", "c"}, "prices": {"p"}}
			client := resilient(hosts, &below, newKnown(hosts))
			resp, err := client.RoundTrip(visit(t.Context(), t, 0))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.GreaterOrEqual(t, len(below.hosts), 3)
			assert.ElementsMatch(t, []string{"a", "b", "c"}, below.hosts[:3], "the first, its hedge, the retry")
		})
	}
}

func TestEachUpstreamHasItsReplicas(t *testing.T) {
	var below seen
	hosts := map[string][]string{"catalogue": {"a", "b", "c"}, "prices": {"p"}, "ads": {"q"}}
	client := routed(hosts, &below, newKnown(hosts))
	for range 20 {
		for _, name := range []string{"prices", "catalogue", "ads", "elsewhere"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+name+"/", http.NoBody)
			require.NoError(t, err)
			resp, err := client.RoundTrip(req)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		}
		last := below.hosts[len(below.hosts)-4:]
		assert.Equal(t, "p", last[0])
		assert.Contains(t, hosts["catalogue"], last[1])
		assert.Equal(t, []string{"q", "elsewhere"}, last[2:])
	}
}

func TestAttemptsAreNumberedThrough(t *testing.T) {
	var numbers []int
	for tries := 1; tries <= 3; tries++ {
		for hedged := 1; hedged <= hedge.DefaultMaxAttempts; hedged++ {
			numbers = append(numbers, attempt(tries, hedged))
		}
	}
	assert.Equal(t, []int{1, 2, 3, 4, 5, 6}, numbers)
}

// visit returns a visitor's request for the catalogue.
func visit(ctx context.Context, t *testing.T, visitor int) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://catalogue/", http.NoBody)
	require.NoError(t, err)
	req.Header.Set(headerVisitor, strconv.Itoa(visitor))
	return req
}

// stalling is replicas that answer over HTTP/1 in 10 ms, but for one that does
// not answer any more from some time on.
type stalling struct {
	host string
	from time.Time

	mu   sync.Mutex
	hung []time.Time // when calls to host began that it did not answer
}

func (s *stalling) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	if now := time.Now(); req.URL.Host == s.host && !now.Before(s.from) {
		s.mu.Lock()
		s.hung = append(s.hung, now)
		s.mu.Unlock()
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	select {
	case <-time.After(10 * time.Millisecond):
		return &http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, Body: http.NoBody, Request: req}, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// TestStallIsBridgedAndSeen is what hedges and the pool do together: hedges answer in
// time until the replica is passed over, and do not keep that from being noticed.
func TestStallIsBridgedAndSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const each = time.Second / perSecond
		stall := time.Now().Add(3 * time.Second)
		below := &stalling{host: "a", from: stall}
		hosts := map[string][]string{"catalogue": {"a", "b", "c"}}
		client := resilient(hosts, below, newKnown(hosts))
		var inside sync.WaitGroup
		for visitor := 0; time.Since(stall) < 3*time.Second; visitor++ {
			inside.Go(func() {
				begun := time.Now()
				resp, err := client.RoundTrip(visit(t.Context(), t, visitor))
				if assert.NoError(t, err) {
					assert.NoError(t, resp.Body.Close())
				}
				assert.Less(t, time.Since(begun), deadline/sooner, "%v after the stall", begun.Sub(stall))
			})
			time.Sleep(each)
		}
		inside.Wait()
		time.Sleep(deadline) // the last losers have their grace
		before, after := 0, 0
		below.mu.Lock()
		defer below.mu.Unlock()
		for _, at := range below.hung {
			if at.Before(stall.Add(time.Second)) {
				before++
			} else {
				after++
			}
		}
		assert.Positive(t, before, "it was called")
		assert.Less(t, after, 2*perSecond/10, "not a third of all calls")
	})
}
