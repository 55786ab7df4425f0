package hedge_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/failsoft/failsoft/hedge"
	"github.com/failsoft/failsoft/internal/outcome"
)

// A: 16 calls whose first attempt failed and whose second hangs.
func TestSettledFrozen(t *testing.T) {
	rvInBubble(t, "x", func(t *testing.T) {
		h := hedge.MustNew(hedge.Config{Budget: rich()})
		call := func(d time.Duration) {
			_ = h.Run(t.Context(), "k", func(ctx context.Context) error { return rvSleep(ctx, d) })
		}
		for range 500 {
			call(10 * time.Millisecond)
		}
		stop, cancel := context.WithCancel(t.Context())
		for range 16 {
			go func() {
				_ = h.Run(stop, "k", func(ctx context.Context) error {
					if hedge.Attempt(ctx) == 1 {
						return rvDialErr()
					}
					<-ctx.Done()
					return ctx.Err()
				})
			}()
		}
		synctest.Wait()
		before := h.Snapshot().Keys[0]
		for range 2000 {
			call(100 * time.Millisecond)
		}
		after := h.Snapshot().Keys[0]
		t.Logf("hung: delay %v -> %v sent %d refused %v", before.Delay, after.Delay, after.Sent, after.Refused)
		cancel()
		synctest.Wait()
		for range 2000 {
			call(100 * time.Millisecond)
		}
		t.Logf("released: %v", h.Snapshot().Keys[0].Delay)
	})
}

// B: a hedge's 503 whose Close panics while the primary runs.
func TestSettledKeepPanic(t *testing.T) {
	h := rvPrimed(hedge.Config{Delay: time.Millisecond, Percent: 100, Budget: rich()}, 5)
	base := rvRtFunc(func(r *http.Request) (*http.Response, error) {
		if hedge.Attempt(r.Context()) == 1 {
			time.Sleep(300 * time.Millisecond)
			return rvAnswerOf(r, 200, rvText("x")), nil
		}
		return rvAnswerOf(r, 503, rvPanicBody{strings.NewReader("x")}), nil
	})
	defer func() { t.Log("recovered", recover()) }()
	_, err := h.Transport(base).RoundTrip(rvGet(t, t.Context()))
	t.Log(err)
}

// C.
func TestSettledAccepted429(t *testing.T) {
	for _, primeError := range []bool{false, true} {
		rvInBubble(t, "x", func(t *testing.T) {
			h := rvPrimed(hedge.Config{
				Delay: 10 * time.Millisecond, Percent: 100, Budget: rich(), Key: func(*http.Request) string { return "a.test" },
				Judge: func(r *http.Response, _ error) hedge.Outcome {
					if r != nil && r.StatusCode == 429 {
						return hedge.Accept
					}
					return hedge.ByRule
				},
			}, 5)
			if primeError {
				_ = h.Run(t.Context(), "a.test", func(context.Context) error { return io.ErrUnexpectedEOF })
			}
			var n atomic.Int32
			base := rvRtFunc(func(r *http.Request) (*http.Response, error) {
				if r.URL.Path == "/429" {
					resp := rvAnswerOf(r, 429, rvText("x"))
					resp.Header.Set("Retry-After", "20")
					return resp, nil
				}
				n.Add(1)
				time.Sleep(50 * time.Millisecond)
				return rvAnswerOf(r, 200, rvText("x")), nil
			})
			req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://a.test/429", nil)
			_, _ = h.Transport(base).RoundTrip(req)
			_, _ = h.Transport(base).RoundTrip(rvGet(t, t.Context()))
			t.Logf("error seen before: %v: attempts after an accepted 429 with Retry-After 20: %d, refused %v", primeError, n.Load(), h.Snapshot().Keys[0].Refused)
			time.Sleep(time.Second)
		})
	}
}

// D.
func TestSettledHintPending(t *testing.T) {
	rvInBubble(t, "x", func(t *testing.T) {
		h := hedge.MustNew(hedge.Config{Budget: rich(), Endpoints: []string{"http://a", "http://b"}})
		base := rvRtFunc(func(r *http.Request) (*http.Response, error) {
			if hedge.Attempt(r.Context()) == 1 {
				return nil, busyError{}
			}
			<-r.Context().Done() // on the wire
			return nil, r.Context().Err()
		})
		for _, grace := range []bool{false, true} {
			tr := h.Transport(base)
			if grace {
				tr = hedge.MustNew(hedge.Config{LoserGrace: time.Second, Budget: rich(), Endpoints: []string{"http://a", "http://b"}}).Transport(rvRtFunc(func(r *http.Request) (*http.Response, error) {
					if hedge.Attempt(r.Context()) == 1 {
						return nil, busyError{}
					}
					time.Sleep(time.Second)
					return nil, r.Context().Err()
				}))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			_, err := tr.RoundTrip(rvGet(t, ctx))
			wait, ok := outcome.Hint(err)
			t.Logf("grace %v: hint %v %v kind %v: %v", grace, wait, ok, outcome.OfError(context.Background(), err), err)
			cancel()
			time.Sleep(3 * time.Second)
		}
	})
}

// F.
func TestSettledWhoPanicked(t *testing.T) {
	rvInBubble(t, "late", func(t *testing.T) {
		h := rvPrimed(hedge.Config{Delay: 10 * time.Millisecond, Percent: 100, MaxAttempts: 3, Budget: rich(), Observe: func(_ context.Context, e hedge.Event) {
			t.Logf("%v attempt %d %v", e.Kind, e.Attempt, e.Err)
		}}, 5)
		err := h.Run(t.Context(), "a.test", func(ctx context.Context) error {
			switch hedge.Attempt(ctx) {
			case 1:
				return errors.New("x")
			case 2:
				time.Sleep(20 * time.Millisecond)
				panic("second")
			}
			return nil
		})
		t.Log(err)
	})
	rvInBubble(t, "early", func(t *testing.T) {
		h := rvPrimed(hedge.Config{Delay: 10 * time.Millisecond, Percent: 100, MaxAttempts: 3, Budget: rich(), Observe: func(_ context.Context, e hedge.Event) {
			t.Logf("%v attempt %d %v", e.Kind, e.Attempt, e.Err)
		}}, 5)
		defer func() { t.Log("recovered", recover()) }()
		_ = h.Run(t.Context(), "a.test", func(ctx context.Context) error {
			if hedge.Attempt(ctx) == 1 {
				return errors.New("x")
			}
			panic("second")
		})
	})
}

// H.
type oddCtx struct {
	context.Context
	done chan struct{}
}

func (c *oddCtx) Done() <-chan struct{} { return c.done }
func (c *oddCtx) Err() error {
	select {
	case <-c.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestSettledOddDeadline(t *testing.T) {
	rvInBubble(t, "x", func(t *testing.T) {
		h := hedge.MustNew(hedge.Config{LoserGrace: time.Second})
		ctx := &oddCtx{Context: context.Background(), done: make(chan struct{})}
		base := rvRtFunc(func(r *http.Request) (*http.Response, error) {
			return rvAnswerOf(r, 200, io.NopCloser(rvReaderFunc(func([]byte) (int, error) {
				select {
				case <-r.Context().Done():
					return 0, r.Context().Err()
				case <-time.After(time.Hour):
					return 0, io.ErrNoProgress
				}
			}))), nil
		})
		resp, err := h.Transport(base).RoundTrip(rvGet(t, ctx))
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, func() { close(ctx.done) })
		begun := time.Now()
		_, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		t.Logf("caller's context ended after 1s, body after %v: %v", time.Since(begun), err)
	})
}

// T: httptrace hooks by the dialer.
func TestSettledTraceDial(t *testing.T) {
	for name, grace := range map[string]time.Duration{"no grace": 0, "grace": 2 * time.Second} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if hedge.RequestAttempt(r) == 1 {
					time.Sleep(200 * time.Millisecond)
				}
			}))
			defer srv.Close()
			var connectStart, connectDone, getConn, afterCall atomic.Int32
			var over atomic.Bool
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
				GetConn:      func(string) { getConn.Add(1) },
				ConnectStart: func(string, string) { connectStart.Add(1) },
				ConnectDone: func(string, string, error) {
					connectDone.Add(1)
					if over.Load() {
						afterCall.Add(1)
					}
				},
			})
			tr := &http.Transport{DialContext: func(ctx context.Context, n, a string) (net.Conn, error) {
				c, err := (&net.Dialer{}).DialContext(ctx, n, a)
				return c, err
			}}
			h := rvPrimed(hedge.Config{Delay: 10 * time.Millisecond, Percent: 100, Budget: rich(), AttemptHeader: true, LoserGrace: grace, Key: func(*http.Request) string { return "a.test" }}, 5)
			req, _ := http.NewRequestWithContext(ctx, "GET", srv.URL, nil)
			resp, err := h.Transport(tr).RoundTrip(req)
			over.Store(true)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			time.Sleep(300 * time.Millisecond)
			t.Logf("GetConn %d ConnectStart %d ConnectDone %d", getConn.Load(), connectStart.Load(), connectDone.Load())
		})
	}
	t.Run("grace, dial outlives the call", func(t *testing.T) {
		srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		defer srv.Close()
		var dials, after atomic.Int32
		var over atomic.Bool
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{ConnectStart: func(string, string) {
			if over.Load() {
				after.Add(1)
			}
		}})
		tr := &http.Transport{DialContext: func(ctx context.Context, n, a string) (net.Conn, error) {
			if dials.Add(1) == 1 {
				time.Sleep(150 * time.Millisecond)
			}
			return (&net.Dialer{}).DialContext(ctx, n, a)
		}}
		h := rvPrimed(hedge.Config{Delay: 10 * time.Millisecond, Percent: 100, Budget: rich(), LoserGrace: time.Second, Key: func(*http.Request) string { return "a.test" }}, 5)
		req, _ := http.NewRequestWithContext(ctx, "GET", srv.URL, nil)
		resp, err := h.Transport(tr).RoundTrip(req)
		over.Store(true)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		time.Sleep(300 * time.Millisecond)
		t.Logf("ConnectStart hooks after the call: %d", after.Load())
	})
}
