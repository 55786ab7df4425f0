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

	"github.com/failsoft/failsoft/breaker"
	"github.com/failsoft/failsoft/hedge"
	"github.com/failsoft/failsoft/retry"
)

// refusing is a breaker with some hosts' circuits open, above hosts that serve.
type refusing struct {
	open map[string]bool
	sent []string // hosts that got a request
}

func (r *refusing) RoundTrip(req *http.Request) (*http.Response, error) {
	if r.open[req.URL.Host] {
		return nil, &breaker.OpenError{Key: req.URL.Host}
	}
	r.sent = append(r.sent, req.URL.Host)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: req}, nil
}

// reach sends a visitor's request for the upstream.
func reach(t *testing.T, below *refusing, visitor int) error {
	t.Helper()
	choice := replicas{hosts: map[string][]string{"catalogue": {"a", "b", "c"}}, next: below}
	req := visit(t.Context(), t, visitor)
	resp, err := choice.RoundTrip(req)
	assert.Equal(t, "catalogue", req.URL.Host, "the caller's request is left alone")
	if err == nil {
		require.NoError(t, resp.Body.Close())
	}
	return err
}

func TestReplicasTakeTurns(t *testing.T) {
	var below refusing
	for visitor := range 4 {
		require.NoError(t, reach(t, &below, visitor))
	}
	assert.Equal(t, []string{"a", "b", "c", "a"}, below.sent)
}

func TestRefusedReplicaIsPassedOver(t *testing.T) {
	below := refusing{open: map[string]bool{"a": true, "c": true}}
	for visitor := range 3 {
		require.NoError(t, reach(t, &below, visitor))
	}
	assert.Equal(t, []string{"b", "b", "b"}, below.sent)

	below.open["b"] = true
	require.ErrorIs(t, reach(t, &below, 0), breaker.ErrOpen, "if all are open")
}

// unwell is replicas of which none answers well. It is for attempts one after
// the other.
type unwell struct{ refusing }

func (u *unwell) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := u.refusing.RoundTrip(req)
	if err == nil {
		resp.StatusCode = http.StatusServiceUnavailable
	}
	return resp, err
}

func TestEachAttemptGoesElsewhere(t *testing.T) {
	for name, c := range map[string]struct {
		open string // the replica whose circuit is
		want [3][]string
	}{
		"all are there": {open: "", want: [3][]string{{"a", "c", "b"}, {"b", "a", "c"}, {"c", "b", "a"}}},
		"without one":   {open: "a", want: [3][]string{{"b", "c", "b"}, {"b", "c", "c"}, {"c", "b", "c"}}},
	} {
		t.Run(name, func(t *testing.T) {
			for visitor, want := range c.want {
				synctest.Test(t, func(t *testing.T) {
					below := unwell{refusing{open: map[string]bool{c.open: true}}}
					hedged := hedge.MustNew(hedge.Config{}).Transport(
						&replicas{hosts: map[string][]string{"catalogue": {"a", "b", "c"}}, next: &below})
					retried := retry.MustNew(retry.Config{MaxAttempts: 2}).Transport(hedged)
					resp, err := retried.RoundTrip(visit(t.Context(), t, visitor))
					require.NoError(t, err)
					require.NoError(t, resp.Body.Close())
					assert.Equal(t, want, below.sent[:3], "the first, its hedge, the retry")
				})
			}
		})
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

// TestStallIsBridgedAndSeen is what hedges and the breaker do together: hedges
// answer in time until the circuit is open, and do not keep it from opening.
func TestStallIsBridgedAndSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const each = time.Second / perSecond
		stall := time.Now().Add(3 * time.Second)
		below := &stalling{host: "a", from: stall}
		client := resilient(map[string][]string{"catalogue": {"a", "b", "c"}}, below, nil)
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
		assert.Greater(t, before, 5, "it was called")
		assert.Less(t, after, 2*perSecond/3/2, "its circuit lets probes pass, not a third of all calls")
	})
}
