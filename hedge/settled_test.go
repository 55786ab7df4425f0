package hedge_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/hedge"
	"github.com/failsoft/failsoft/internal/outcome"
)

type rvRtFunc func(*http.Request) (*http.Response, error)

func (f rvRtFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func rvInBubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

func rvAnswerOf(req *http.Request, status int, body io.ReadCloser) *http.Response {
	return &http.Response{StatusCode: status, Header: make(http.Header), Body: body, Request: req, ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1}
}

func rvText(s string) io.ReadCloser { return io.NopCloser(strings.NewReader(s)) }

func rvGet(t *testing.T, ctx context.Context) *http.Request {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://a.test/", nil)
	require.NoError(t, err)
	return req
}

func rvSleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func rvDialErr() error { return &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("refused")} }

func rvPrimed(cfg hedge.Config, calls int) *hedge.Hedger { // with credit for 100 percent
	h := hedge.MustNew(cfg)
	for range calls {
		_ = h.Run(context.Background(), "a.test", func(context.Context) error { return nil })
	}
	return h
}

// rvSlowDialThen fails attempt 1 at 20 ms, before it is sent; attempt 2 reaches the server and hangs.
func rvSlowDialThen(wire *atomic.Int32, stubborn time.Duration) rvRtFunc {
	return func(r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			defer func() { _ = r.Body.Close() }()
		}
		if hedge.Attempt(r.Context()) == 1 {
			if err := rvSleep(r.Context(), 20*time.Millisecond); err != nil {
				return nil, err
			}
			return nil, rvDialErr()
		}
		wire.Add(1)
		err := rvSleep(r.Context(), time.Minute)
		time.Sleep(stubborn)
		return nil, err
	}
}

func TestSettledUnsentWithAnAttemptInFlight(t *testing.T) {
	cfg := hedge.Config{Delay: 10 * time.Millisecond, Percent: 100, Budget: rich(), Repeatable: func(*http.Request) bool { return true }}
	rvInBubble(t, "one", func(t *testing.T) {
		cfg.Budget = rich()
		h := rvPrimed(cfg, 5)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var wire atomic.Int32
		_, err := h.Transport(rvSlowDialThen(&wire, time.Millisecond)).RoundTrip(rvGet(t, ctx))
		require.EqualValues(t, 1, wire.Load())
		var e *hedge.Error
		require.ErrorAs(t, err, &e)
		assert.False(t, e.Unsent(), "attempt 2 was on the wire: %v", err)
		time.Sleep(time.Second)
	})
}

// caller leaves after two failures: no *Error, and the error proves unsent.
func TestSettledCallerLeavesAfterTwoFailures(t *testing.T) {
	rvInBubble(t, "x", func(t *testing.T) {
		h := rvPrimed(hedge.Config{Delay: 10 * time.Millisecond, Percent: 100, MaxAttempts: 3, Budget: rich()}, 5)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		base := rvRtFunc(func(r *http.Request) (*http.Response, error) {
			switch hedge.Attempt(r.Context()) {
			case 1:
				time.Sleep(25 * time.Millisecond)
			case 2:
				time.Sleep(5 * time.Millisecond)
			case 3:
				<-r.Context().Done()
				time.Sleep(time.Millisecond)
				return nil, r.Context().Err()
			}
			return nil, rvDialErr()
		})
		_, err := h.Transport(base).RoundTrip(rvGet(t, ctx))
		time.Sleep(time.Second)
		assert.NotEqual(t, outcome.Unsent, outcome.OfError(context.Background(), err), "attempt 3 was on the wire")
		var e *hedge.Error
		require.ErrorAs(t, err, &e, "%v", err)
		assert.Len(t, e.Tries, 2)
	})
}

// a straggler of the warm-up poisons the delay long after.
func TestSettledStragglerOfTheWarmUp(t *testing.T) {
	rvInBubble(t, "x", func(t *testing.T) {
		h := hedge.MustNew(hedge.Config{})
		call := func(d time.Duration) {
			_ = h.Run(t.Context(), "k", func(ctx context.Context) error { return rvSleep(ctx, d) })
		}
		done := make(chan struct{})
		go func() { call(5 * time.Minute); close(done) }()
		synctest.Wait()
		for range 5000 {
			call(10 * time.Millisecond)
		}
		before := h.Snapshot().Keys[0].Delay
		<-done
		after := h.Snapshot().Keys[0].Delay
		assert.Less(t, after, 2*before, "5000 calls after the warm-up, before %v", before)
	})
}

// panic in Close of a late response.
type rvPanicBody struct{ io.Reader }

func (rvPanicBody) Close() error { panic("close") }

func TestSettledLateCloseThatPanics(t *testing.T) {
	h := hedge.MustNew(hedge.Config{Delay: hedge.AtOnce})
	gate, two := make(chan struct{}), make(chan struct{})
	base := rvRtFunc(func(r *http.Request) (*http.Response, error) {
		if hedge.Attempt(r.Context()) == 1 {
			<-two
			return rvAnswerOf(r, 200, rvText("x")), nil
		}
		close(two)
		<-gate
		return rvAnswerOf(r, 200, rvPanicBody{strings.NewReader("x")}), nil
	})
	resp, err := h.Transport(base).RoundTrip(rvGet(t, t.Context()))
	require.NoError(t, err)
	_ = resp.Body.Close()
	close(gate)
	time.Sleep(200 * time.Millisecond)
}

// more than 16 attempts by Endpoints.
func TestSettledEndpointsPassTheBoundOfAttempts(t *testing.T) {
	var list []string
	for i := range 20 {
		list = append(list, "http://h"+string(rune('a'+i))+".test")
	}
	h, err := hedge.New(hedge.Config{Delay: hedge.AtOnce, Endpoints: list})
	if err != nil {
		return
	}
	var n atomic.Int32
	_ = h.Run(t.Context(), "k", func(context.Context) error { n.Add(1); <-time.After(50 * time.Millisecond); return nil })
	assert.LessOrEqual(t, n.Load(), int32(16))
}

// a finished multicast goes on withdrawing. Hedge 2 is over before the loop is.
// (checked by reading).

// Goexit in Observe when the caller leaves: nil lane.
func TestSettledGoexitInObserve(t *testing.T) {
	rvInBubble(t, "x", func(t *testing.T) {
		h := hedge.MustNew(hedge.Config{Delay: hedge.AtOnce, LoserGrace: time.Second, Observe: func(_ context.Context, e hedge.Event) {
			if e.Kind == hedge.Lost {
				runtime.Goexit()
			}
		}})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		base := rvRtFunc(func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return nil, errors.New("x")
		})
		end, req := make(chan any, 1), rvGet(t, ctx)
		go func() {
			defer func() { end <- recover() }()
			_, _ = h.Transport(base).RoundTrip(req)
		}()
		assert.Nil(t, <-end)
		time.Sleep(2 * time.Second)
	})
}

// grace: the context of an attempt ended by the caller's deadline says DeadlineExceeded.
func TestSettledGraceDeadline(t *testing.T) {
	rvInBubble(t, "error", func(t *testing.T) {
		h := hedge.MustNew(hedge.Config{LoserGrace: time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		base := rvRtFunc(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err() // as HTTP/2 does
		})
		for range 50 {
			_, err := h.Transport(base).RoundTrip(rvGet(t, ctx))
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
	})
	rvInBubble(t, "body", func(t *testing.T) {
		h := hedge.MustNew(hedge.Config{LoserGrace: time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		base := rvRtFunc(func(r *http.Request) (*http.Response, error) {
			return rvAnswerOf(r, 200, io.NopCloser(rvReaderFunc(func([]byte) (int, error) {
				<-r.Context().Done()
				return 0, r.Context().Err()
			}))), nil
		})
		resp, err := h.Transport(base).RoundTrip(rvGet(t, ctx))
		require.NoError(t, err)
		_, err = io.ReadAll(resp.Body)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		_ = resp.Body.Close()
	})
}

type rvReaderFunc func([]byte) (int, error)

func (f rvReaderFunc) Read(p []byte) (int, error) { return f(p) }

// grace: the request body is read after the answer was closed.
func TestSettledGraceReadsTheCallersBody(t *testing.T) {
	rvInBubble(t, "x", func(t *testing.T) {
		h := hedge.MustNew(hedge.Config{Delay: hedge.AtOnce, LoserGrace: time.Second})
		base := rvRtFunc(func(r *http.Request) (*http.Response, error) {
			defer r.Body.Close()
			if hedge.Attempt(r.Context()) == 1 {
				time.Sleep(100 * time.Millisecond)
			}
			b, err := io.ReadAll(r.Body)
			if err == nil && string(b) != "hello" {
				t.Errorf("attempt %d sent %q to the server", hedge.Attempt(r.Context()), b)
			}
			return rvAnswerOf(r, 200, rvText("x")), err
		})
		buf := []byte("hello")
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://a.test", bytes.NewReader(buf))
		req.Header.Set("Idempotency-Key", "1")
		resp, err := h.Transport(base).RoundTrip(req)
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		copy(buf, "WRONG") // allowed: the response's body has been closed
		time.Sleep(time.Second)
	})
}

// hooks that wait for the end of the call.
func TestSettledTraceGateDeadlock(t *testing.T) {
	h := hedge.MustNew(hedge.Config{LoserGrace: time.Second})
	infos := make(chan httptrace.WroteRequestInfo) // unbuffered, read after RoundTrip
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{WroteRequest: func(i httptrace.WroteRequestInfo) { infos <- i }})
	base := rvRtFunc(func(r *http.Request) (*http.Response, error) {
		started := make(chan struct{})
		go func() {
			close(started)
			httptrace.ContextClientTrace(r.Context()).WroteRequest(httptrace.WroteRequestInfo{})
		}() // like writeLoop
		<-started
		time.Sleep(10 * time.Millisecond)
		return rvAnswerOf(r, 200, rvText("x")), nil
	})
	back, req := make(chan struct{}), rvGet(t, ctx)
	go func() { _, _ = h.Transport(base).RoundTrip(req); close(back) }()
	select {
	case <-back:
	case <-time.After(30 * time.Second):
		t.Error("RoundTrip waits for the hook, which waits for RoundTrip")
		<-infos
		return
	}
	<-infos
}

// PutIdleConn of the winner.
func TestSettledPutIdleConn(t *testing.T) {
	h := hedge.MustNew(hedge.Config{LoserGrace: time.Second})
	put := false
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{PutIdleConn: func(error) { put = true }})
	base := rvRtFunc(func(r *http.Request) (*http.Response, error) {
		return rvAnswerOf(r, 200, &rvHookBody{strings.NewReader("x"), func() { httptrace.ContextClientTrace(r.Context()).PutIdleConn(nil) }}), nil
	})
	resp, err := h.Transport(base).RoundTrip(rvGet(t, ctx))
	require.NoError(t, err)
	_, _ = io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	assert.True(t, put)
}

type rvHookBody struct {
	io.Reader
	f func()
}

func (b *rvHookBody) Close() error { b.f(); return nil }

// Snapshot: won + lost <= sent.
func TestSettledSnapshotAddsUp(t *testing.T) {
	h := hedge.MustNew(hedge.Config{Delay: hedge.AtOnce})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				_ = h.Run(context.Background(), "k", func(ctx context.Context) error {
					if hedge.Attempt(ctx) == 1 {
						runtime.Gosched()
					}
					return nil
				})
			}
		})
	}
	bad := 0
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		for _, k := range h.Snapshot().Keys {
			if k.Won+k.Lost > k.Sent {
				bad++
			}
		}
	}
	close(stop)
	wg.Wait()
	assert.Zero(t, bad)
}

// What is sent after the call is over.
func TestSettledSentAfterTheCall(t *testing.T) {
	rvInBubble(t, "x", func(t *testing.T) {
		returned := make(chan struct{})
		h := rvPrimed(hedge.Config{Delay: 10 * time.Millisecond, Percent: 100, Budget: rich(), Observe: func(_ context.Context, e hedge.Event) {
			if e.Kind == hedge.Sent {
				<-returned
			}
		}}, 5)
		got := 0
		base := rvRtFunc(func(r *http.Request) (*http.Response, error) {
			if hedge.Attempt(r.Context()) == 2 {
				t.Error("sent after the call was over")
				return nil, r.Context().Err()
			}
			time.Sleep(20 * time.Millisecond)
			return rvAnswerOf(r, 200, rvText("x")), nil
		})
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://a.test", strings.NewReader("x"))
		req.Header.Set("Idempotency-Key", "1")
		gb := req.GetBody
		req.GetBody = func() (io.ReadCloser, error) { got++; return gb() }
		resp, err := h.Transport(base).RoundTrip(req)
		require.NoError(t, err)
		_ = resp.Body.Close()
		close(returned)
		synctest.Wait()
		assert.Zero(t, got, "GetBody after the call")
	})
}

// A delay of 23 ms at 10,000 calls per second is 250 calls that were begun before the tracker hears of the last step.
func TestSettledDelayIsSteadyWithManyCallsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hedge.MustNew(hedge.Config{Budget: rich()})
		random := rand.New(rand.NewPCG(1, 2))
		const calls = 40_000
		tails, saved := 0, 0
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range calls {
			first := 2*time.Millisecond + time.Duration(random.ExpFloat64()*float64(10*time.Millisecond))
			tail := random.Float64() < 0.01
			if tail {
				first = 300 * time.Millisecond
			}
			wg.Go(func() {
				begun := time.Now()
				_ = h.Run(t.Context(), "k", func(ctx context.Context) error {
					if hedge.Attempt(ctx) > 1 {
						return rvSleep(ctx, 10*time.Millisecond)
					}
					return rvSleep(ctx, first)
				})
				if tail && i > calls/4 {
					mu.Lock()
					tails++
					if time.Since(begun) < 300*time.Millisecond {
						saved++
					}
					mu.Unlock()
				}
			})
			time.Sleep(time.Duration(random.ExpFloat64() * float64(100*time.Microsecond)))
		}
		wg.Wait()
		k := h.Snapshot().Keys[0]
		t.Logf("sent %d refused %v tails %d saved %d", k.Sent, k.Refused, tails, saved)
		assert.LessOrEqual(t, k.Refused[hedge.OverPercent], uint64(calls/100))
		assert.Greater(t, float64(saved), 0.95*float64(tails))
	})
}

// Hint of the first attempt's refusal stands for a call whose other attempts were sent.
type busyError struct{}

func (busyError) Error() string             { return "busy" }
func (busyError) Unsent() bool              { return true }
func (busyError) RetryAfter() time.Duration { return time.Hour }

func TestSettledHintOfOneAttempt(t *testing.T) {
	rvInBubble(t, "x", func(t *testing.T) {
		h := hedge.MustNew(hedge.Config{Budget: rich(), Endpoints: []string{"http://a", "http://b"}})
		base := rvRtFunc(func(r *http.Request) (*http.Response, error) {
			if hedge.Attempt(r.Context()) == 1 {
				return nil, busyError{} // host A's breaker
			}
			return nil, io.ErrUnexpectedEOF // host B, broken on the way
		})
		_, err := h.Transport(base).RoundTrip(rvGet(t, t.Context()))
		_, hinted := outcome.Hint(err)
		assert.False(t, hinted, "an outer retry waits (or gives up) for host A's hour: %v", err)
	})
}

// Endpoints without a host or twice the same.
func TestSettledEndpoints(t *testing.T) {
	_, err := hedge.New(hedge.Config{Endpoints: []string{"http://:80", "http://b"}})
	assert.Error(t, err, "no host name")
	_, err = hedge.New(hedge.Config{Endpoints: []string{"http://a", "http://a/"}})
	assert.Error(t, err, "one host twice")
}
