package breaker_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/breaker"
)

// key is the circuit of tests that need one only.
const key = "shop.test"

var errDown = errors.New("down")

// bubble runs test in virtual time.
func bubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

// only returns rules of which no others open a circuit than those that change
// sets. The ramp is off as well.
func only(change func(*breaker.Rules)) breaker.Rules {
	rules := breaker.Rules{
		FailureRate: breaker.Off, OverloadRate: breaker.Off, Consecutive: breaker.Off, StalledAfter: breaker.Off,
		Ramp: breaker.Off,
	}
	if change != nil {
		change(&rules)
	}
	return rules
}

// circuitOf returns a Breaker with only these rules.
func circuitOf(change func(*breaker.Rules)) *breaker.Breaker {
	return breaker.MustNew(breaker.Config{Rules: only(change)})
}

// allowed makes a call that must pass.
func allowed(t *testing.T, b *breaker.Breaker) breaker.Call {
	t.Helper()
	call, err := b.Allow(t.Context(), key)
	require.NoError(t, err)
	return call
}

// refused makes a call that must not pass.
func refused(t *testing.T, b *breaker.Breaker) *breaker.OpenError {
	t.Helper()
	_, err := b.Allow(t.Context(), key)
	require.ErrorIs(t, err, breaker.ErrOpen)
	refusal, ok := errors.AsType[*breaker.OpenError](err)
	require.True(t, ok)
	return refusal
}

// results makes n calls that end at once as o.
func results(t *testing.T, b *breaker.Breaker, n int, o breaker.Outcome) {
	t.Helper()
	for range n {
		allowed(t, b).DoneAs(o)
	}
}

// shot returns the snapshot of a circuit.
func shot(t *testing.T, b *breaker.Breaker, of string) breaker.CircuitSnapshot {
	t.Helper()
	for _, c := range b.Snapshot().Circuits {
		if c.Key == of {
			return c
		}
	}
	require.Failf(t, "no such circuit", "%q", of)
	return breaker.CircuitSnapshot{}
}

// sitOut sleeps until the open time of the circuit is over.
func sitOut(t *testing.T, b *breaker.Breaker) {
	t.Helper()
	left := shot(t, b, key).RetryAfter
	time.Sleep(left - 1)
	require.Equal(t, breaker.Open, b.State(key), "1 ns before its time is over")
	time.Sleep(time.Nanosecond)
	require.Equal(t, breaker.HalfOpen, b.State(key), "when its time is over")
}

// halfOpen trips the circuit and sits its open time out.
func halfOpen(t *testing.T, b *breaker.Breaker) {
	t.Helper()
	require.NoError(t, b.Trip(key))
	sitOut(t, b)
}

// log keeps events, and can be read while others write.
type log struct {
	mu     sync.Mutex
	events []breaker.Event
}

func (l *log) observe(_ context.Context, e breaker.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

// of returns the events of these kinds.
func (l *log) of(kinds ...breaker.Kind) (found []breaker.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		for _, kind := range kinds {
			if e.Kind == kind {
				found = append(found, e)
			}
		}
	}
	return found
}

// exchange sends a request under ctx through b to base and reads the answer.
func exchange(ctx context.Context, t *testing.T, b *breaker.Breaker, base roundTrip) error {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+key+"/cart", http.NoBody)
	require.NoError(t, err)
	resp, err := b.Transport(base).RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// answers is a base that always answers with status; header is a list of names
// and values.
func answers(status int, header ...string) roundTrip {
	return func(req *http.Request) (*http.Response, error) {
		resp := reply(req, status, "body")
		for i := 0; i+1 < len(header); i += 2 {
			resp.Header.Set(header[i], header[i+1])
		}
		return resp, nil
	}
}

// hangs is a base that waits for the end of the request and returns its cause,
// as net/http does over HTTP/1.
func hangs(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, context.Cause(req.Context())
}
