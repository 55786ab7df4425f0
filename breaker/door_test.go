package breaker_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/breaker"
)

// openForLong keeps a circuit open, but once in a million times, for longer than a test in
// real time takes: of an open time of a second, chance leaves too little every so often.
func openForLong() breaker.Rules {
	return breaker.Rules{OpenTime: 24 * time.Hour, MaxOpenTime: 24 * time.Hour}
}

// trigger opens at the first failure and stays open.
func trigger() *breaker.Breaker {
	rules := openForLong()
	rules.Consecutive = 1
	return breaker.MustNew(breaker.Config{Rules: rules})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func reply(req *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Header: make(http.Header), Request: req,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

func newRequest(t *testing.T, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://shop.test/cart", strings.NewReader(body))
	require.NoError(t, err)
	return req
}

func TestTransportRefusesWithoutSending(t *testing.T) {
	t.Run("and closes the body", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := trigger()
			_ = b.Trip("shop.test")
			sent := 0
			transport := b.Transport(roundTrip(func(req *http.Request) (*http.Response, error) {
				sent++
				return reply(req, 200, ""), nil
			}))
			closed := false
			req := newRequest(t, "x")
			req.Body = closing{req.Body, &closed}
			resp, err := transport.RoundTrip(req)
			assert.Nil(t, resp)
			require.ErrorIs(t, err, breaker.ErrOpen)
			refused, ok := errors.AsType[*breaker.OpenError](err)
			require.True(t, ok)
			assert.Equal(t, "shop.test", refused.Key)
			assert.Equal(t, breaker.Open, refused.State)
			assert.Equal(t, breaker.CauseManual, refused.Cause)
			assert.True(t, refused.Unsent())
			assert.Positive(t, refused.RetryAfter())
			assert.True(t, closed)
			assert.Zero(t, sent)
		})
	})
}

// Nobody else closes the body of a request that is not sent.
func TestKeyThatDoesNotReturnLeavesNoRequestBodyOpen(t *testing.T) {
	for name, key := range map[string]func(*http.Request) string{
		"panics":             func(*http.Request) string { panic("boom") },
		"ends its goroutine": func(*http.Request) string { runtime.Goexit(); return "" },
	} {
		t.Run(name, func(t *testing.T) {
			b := breaker.MustNew(breaker.Config{Key: key})
			closed := false
			req := newRequest(t, "x")
			req.Body = closing{req.Body, &closed}
			var value any
			var done sync.WaitGroup
			done.Go(func() {
				defer func() { value = recover() }()
				_, _ = b.Transport(roundTrip(func(*http.Request) (*http.Response, error) {
					t.Error("it was sent")
					return nil, nil
				})).RoundTrip(req)
			})
			done.Wait()
			assert.True(t, closed)
			if name == "panics" {
				assert.Equal(t, "boom", value, "it is the caller's to see")
			}
		})
	}
}

type closing struct {
	io.ReadCloser

	closed *bool
}

func (c closing) Close() error {
	*c.closed = true
	return c.ReadCloser.Close()
}

func TestResponseCountsWhenItsBodyHasEnded(t *testing.T) {
	endings := map[string]struct {
		end  func(t *testing.T, body io.ReadCloser)
		want breaker.Counts
	}{
		"read to the end": {func(t *testing.T, body io.ReadCloser) {
			t.Helper()
			_, err := io.ReadAll(body)
			require.NoError(t, err)
		}, breaker.Counts{Successes: 1}},
		"closed before": {func(t *testing.T, body io.ReadCloser) {
			t.Helper()
			require.NoError(t, body.Close())
		}, breaker.Counts{Successes: 1}},
	}
	for name, tt := range endings {
		t.Run(name, func(t *testing.T) {
			b := breaker.MustNew(breaker.Config{})
			transport := b.Transport(roundTrip(func(req *http.Request) (*http.Response, error) {
				return reply(req, 200, "fine"), nil
			}))
			resp, err := transport.RoundTrip(newRequest(t, "x"))
			require.NoError(t, err)
			assert.Zero(t, b.Snapshot().Circuits[0].Counts, "not yet")
			assert.Equal(t, 1, b.Snapshot().Circuits[0].InFlight)
			tt.end(t, resp.Body)
			assert.Equal(t, tt.want, b.Snapshot().Circuits[0].Counts)
			assert.Zero(t, b.Snapshot().Circuits[0].InFlight)
			require.NoError(t, resp.Body.Close())
		})
	}
}

func TestSwitchingProtocolsCountsAtOnce(t *testing.T) {
	b := breaker.MustNew(breaker.Config{})
	conn := &pipe{}
	resp, err := b.Transport(roundTrip(func(req *http.Request) (*http.Response, error) {
		resp := reply(req, http.StatusSwitchingProtocols, "")
		resp.Body = conn
		return resp, nil
	})).RoundTrip(newRequest(t, ""))
	require.NoError(t, err)
	assert.EqualValues(t, 1, b.Snapshot().Circuits[0].Counts.Successes)
	assert.Same(t, conn, resp.Body, "the connection itself")
	require.NoError(t, resp.Body.Close())
}

type pipe struct{ http.Response }

func (*pipe) Read([]byte) (int, error)    { return 0, io.EOF }
func (*pipe) Write(p []byte) (int, error) { return len(p), nil }
func (*pipe) Close() error                { return nil }

func TestHandlerAnswersRefusals(t *testing.T) {
	serve := func(b *breaker.Breaker, next http.HandlerFunc) *httptest.ResponseRecorder {
		answer := httptest.NewRecorder()
		b.Handler(next).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/", nil))
		return answer
	}
	t.Run("503 with Retry-After", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := breaker.MustNew(breaker.Config{Rules: breaker.Rules{Consecutive: 1}})
			answer := serve(b, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
			assert.Equal(t, http.StatusBadGateway, answer.Code)
			answer = serve(b, func(http.ResponseWriter, *http.Request) { t.Error("called") })
			assert.Equal(t, http.StatusServiceUnavailable, answer.Code)
			assert.Equal(t, "1", answer.Header().Get("Retry-After"))
		})
	})
	t.Run("as Refused writes them", func(t *testing.T) {
		b := breaker.MustNew(breaker.Config{
			Rules: openForLong(),
			Refused: func(w http.ResponseWriter, _ *http.Request, err error) {
				assert.ErrorIs(t, err, breaker.ErrOpen)
				w.WriteHeader(http.StatusTeapot)
			},
		})
		_ = b.Trip("")
		assert.Equal(t, http.StatusTeapot, serve(b, func(http.ResponseWriter, *http.Request) {}).Code)
	})
	t.Run("after a panic, which goes on", func(t *testing.T) {
		b := trigger()
		assert.PanicsWithValue(t, "handler", func() {
			serve(b, func(http.ResponseWriter, *http.Request) { panic("handler") })
		})
		assert.NotEqual(t, breaker.Closed, b.State(""))
	})
	t.Run("after a Goexit", func(t *testing.T) {
		b := trigger()
		done := make(chan struct{})
		go func() {
			defer close(done)
			serve(b, func(http.ResponseWriter, *http.Request) { runtime.Goexit() })
		}()
		<-done
		assert.NotEqual(t, breaker.Closed, b.State(""))
	})
	t.Run("but not for what it does on purpose, or the client does", func(t *testing.T) {
		b := trigger()
		for _, status := range []int{200, 404, 501} {
			serve(b, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		}
		serve(b, func(http.ResponseWriter, *http.Request) {}) // an implicit 200
		ctx, cancel := context.WithCancel(context.Background())
		b.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			cancel()
			w.WriteHeader(http.StatusInternalServerError)
		})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
		assert.Equal(t, breaker.Closed, b.State(""))
		assert.Equal(t, breaker.Counts{Successes: 4, Ignored: 1}, b.Snapshot().Circuits[0].Counts)
	})
}

func TestDoCountsErrorsPanicsAndGoexit(t *testing.T) {
	errBoom := errors.New("boom")
	ends := map[string]func(context.Context) (int, error){
		"error":  func(context.Context) (int, error) { return 0, errBoom },
		"panic":  func(context.Context) (int, error) { panic(errBoom) },
		"Goexit": func(context.Context) (int, error) { runtime.Goexit(); return 0, nil },
	}
	for name, fn := range ends {
		t.Run(name, func(t *testing.T) {
			b := trigger()
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer func() { _ = recover() }()
				_, _ = breaker.Do(context.Background(), b, "db", fn)
			}()
			<-done
			assert.NotEqual(t, breaker.Closed, b.State("db"))
			assert.Zero(t, b.Snapshot().Circuits[0].InFlight)
			called := false
			_, err := breaker.Do(t.Context(), b, "db", func(context.Context) (int, error) { called = true; return 1, nil })
			assert.ErrorIs(t, err, breaker.ErrOpen)
			assert.False(t, called)
		})
	}
	t.Run("value and error are the function's own", func(t *testing.T) {
		value, err := breaker.Do(t.Context(), trigger(), "db", func(context.Context) (int, error) { return 7, errBoom })
		assert.Equal(t, 7, value)
		assert.Equal(t, errBoom, err)
	})
}

func TestCallIsEndedOnce(t *testing.T) {
	b := breaker.MustNew(breaker.Config{})
	call, err := b.Allow(t.Context(), "db")
	require.NoError(t, err)
	again := call
	call.Done(nil)
	call.Done(errors.New("late"))
	again.DoneAs(breaker.Failure)
	again.Headers()
	breaker.Call{}.Done(nil) // of a refusal that was not looked at
	breaker.Call{}.Headers()
	assert.Equal(t, breaker.Counts{Successes: 1}, b.Snapshot().Circuits[0].Counts)
	next, err := b.Allow(t.Context(), "db") // which uses the same record
	require.NoError(t, err)
	call.DoneAs(breaker.Failure)
	next.Done(nil)
	assert.Equal(t, breaker.Counts{Successes: 2}, b.Snapshot().Circuits[0].Counts)
}

func TestClosedCircuitAllocatesNothing(t *testing.T) {
	b := breaker.MustNew(breaker.Config{})
	ctx := context.Background()
	assert.Zero(t, testing.AllocsPerRun(200, func() {
		call, err := b.Allow(ctx, "db")
		if err != nil {
			t.Fatal(err)
		}
		call.Headers()
		call.Done(nil)
	}))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://shop.test", nil)
	require.NoError(t, err)
	bare := &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody}
	transport := b.Transport(roundTrip(func(*http.Request) (*http.Response, error) { return bare, nil }))
	assert.LessOrEqual(t, testing.AllocsPerRun(200, func() {
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}), 2.0)
}

func TestStreamsHoldNoProbe(t *testing.T) {
	t.Run("the place is free at the headers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := breaker.MustNew(breaker.Config{Rules: breaker.Rules{Probes: 1}})
			_ = b.Trip("shop.test")
			time.Sleep(time.Second)
			transport := b.Transport(roundTrip(func(req *http.Request) (*http.Response, error) {
				return reply(req, 200, "an endless stream"), nil
			}))
			first, err := transport.RoundTrip(newRequest(t, ""))
			require.NoError(t, err)
			second, err := transport.RoundTrip(newRequest(t, ""))
			require.NoError(t, err, "the first still streams, and has shown its headers")
			require.NoError(t, first.Body.Close())
			require.NoError(t, second.Body.Close())
			assert.Equal(t, breaker.Ramping, b.State("shop.test"))
		})
	})
}
