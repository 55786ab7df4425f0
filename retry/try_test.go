package retry_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/outcome"
	"github.com/failsoft/failsoft/retry"
)

func TestTryTimeoutIsFiveSecondsByDefault(t *testing.T) {
	bubble(t, "each attempt has its own", func(t *testing.T) {
		got, seen := send(t, retry.Config{BaseDelay: retry.Immediately}, hang, request(t, "GET", ""))
		assert.EqualValues(t, 3, seen)
		assert.Equal(t, 15*time.Second, got.took)
		var timeout *retry.TimeoutError
		require.ErrorAs(t, got.err, &timeout)
		assert.Equal(t, 5*time.Second, timeout.After)
		assert.ErrorIs(t, got.err, context.DeadlineExceeded)
		assert.NotErrorIs(t, got.err, context.Canceled, "nobody canceled the call")
		assert.True(t, outcome.IsTimeout(got.err))
	})
	bubble(t, "a slow first attempt is overtaken", func(t *testing.T) {
		got, _ := send(t, retry.Config{TryTimeout: 10 * time.Millisecond, BaseDelay: retry.Immediately},
			func(n int, req *http.Request) (*http.Response, error) {
				if n == 1 {
					return hang(n, req)
				}
				return answer(req, 200, "fine"), nil
			}, request(t, "GET", ""))
		assert.Equal(t, reply{status: 200, body: "fine", took: 10 * time.Millisecond}, got)
	})
	bubble(t, "NoTimeout waits for ever", func(t *testing.T) {
		got, _ := send(t, retry.Config{TryTimeout: retry.NoTimeout},
			func(_ int, req *http.Request) (*http.Response, error) {
				_, limited := req.Context().Deadline()
				assert.False(t, limited)
				time.Sleep(time.Hour)
				return answer(req, 200, "fine"), nil
			}, request(t, "GET", ""))
		assert.Equal(t, 200, got.status)
	})
}

func TestTryTimeoutIsADeadlineUntilTheHeaders(t *testing.T) {
	bubble(t, "visible, then lifted", func(t *testing.T) {
		var below context.Context
		base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
			below = req.Context()
			deadline, ok := below.Deadline()
			assert.True(t, ok)
			assert.Equal(t, 5*time.Second, time.Until(deadline))
			return answer(req, 200, "fine"), nil
		})
		resp, err := retry.MustNew(retry.Config{}).Transport(base).RoundTrip(request(t, "GET", ""))
		require.NoError(t, err)
		_, ok := below.Deadline()
		assert.False(t, ok, "lifted when the headers are there")
		time.Sleep(time.Hour)
		synctest.Wait()
		require.NoError(t, below.Err(), "a long download is not cut off")
		_, err = io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.ErrorIs(t, below.Err(), context.Canceled, "released at the end of the body")
		require.NoError(t, resp.Body.Close())
	})
	bubble(t, "a caller with less time shortens it", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		got, seen := send(t, retry.Config{}, hang, request(t, "GET", "").WithContext(ctx))
		assert.EqualValues(t, 1, seen, "the caller's deadline is not retried")
		assert.Equal(t, time.Second, got.took)
		assert.ErrorIs(t, got.err, context.DeadlineExceeded)
	})
	bubble(t, "the cause says timeout to those below", func(t *testing.T) {
		_, _ = send(t, retry.Config{MaxAttempts: 1}, func(n int, req *http.Request) (*http.Response, error) {
			_, err := hang(n, req)
			assert.Equal(t, outcome.Timeout, outcome.OfError(req.Context(), err))
			return nil, err
		}, request(t, "GET", ""))
	})
	bubble(t, "contexts derived below end with it", func(t *testing.T) {
		_, _ = send(t, retry.Config{MaxAttempts: 1}, func(_ int, req *http.Request) (*http.Response, error) {
			derived, cancel := context.WithCancel(req.Context())
			defer cancel()
			<-derived.Done()
			assert.True(t, outcome.IsTimeout(context.Cause(derived)))
			return nil, derived.Err()
		}, request(t, "GET", ""))
	})
}

func TestHeadersAtTheDeadline(t *testing.T) {
	late := func(d time.Duration) script {
		return func(_ int, req *http.Request) (*http.Response, error) {
			time.Sleep(d) // a transport that ignores its context
			return answer(req, 200, "fine"), nil
		}
	}
	bubble(t, "a nanosecond before", func(t *testing.T) {
		got, _ := send(t, retry.Config{MaxAttempts: 1}, late(5*time.Second-1), request(t, "GET", ""))
		assert.Equal(t, 200, got.status)
	})
	bubble(t, "after it, the response is closed and counts as a timeout", func(t *testing.T) {
		closed := false
		got, _ := send(t, retry.Config{MaxAttempts: 1}, func(n int, req *http.Request) (*http.Response, error) {
			resp, err := late(5*time.Second+1)(n, req)
			resp.Body = closeFunc{resp.Body, func() { closed = true }}
			return resp, err
		}, request(t, "GET", ""))
		assert.ErrorIs(t, got.err, context.DeadlineExceeded)
		assert.True(t, closed)
	})
}

func TestAttemptsEndingReleasesTheirContexts(t *testing.T) {
	ends := map[string]script{
		"error":             failing(errBoom),
		"no body":           func(_ int, req *http.Request) (*http.Response, error) { return bodiless(req), nil },
		"retried, then 200": thenOK(2, 503),
	}
	for name, end := range ends {
		bubble(t, name, func(t *testing.T) {
			var below []context.Context
			_, _ = send(t, retry.Config{}, func(n int, req *http.Request) (*http.Response, error) {
				below = append(below, req.Context())
				return end(n, req)
			}, request(t, "GET", ""))
			for _, ctx := range below {
				assert.ErrorIs(t, ctx.Err(), context.Canceled)
			}
		})
	}
	bubble(t, "panic", func(t *testing.T) {
		var below context.Context
		base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
			below = req.Context()
			panic(http.ErrAbortHandler)
		})
		assert.PanicsWithValue(t, http.ErrAbortHandler, func() {
			_, _ = retry.MustNew(retry.Config{}).Transport(base).RoundTrip(request(t, "GET", ""))
		})
		assert.ErrorIs(t, below.Err(), context.Canceled)
	})
}

func bodiless(req *http.Request) *http.Response {
	resp := answer(req, http.StatusNoContent, "")
	resp.Body = http.NoBody
	return resp
}

func TestBodyIdleTimeout(t *testing.T) {
	// serve answers with a body that sends a chunk every pause.
	serve := func(pause time.Duration) script {
		return func(_ int, req *http.Request) (*http.Response, error) {
			reader, writer := io.Pipe()
			go func() {
				for range 3 {
					select {
					case <-time.After(pause):
						_, _ = writer.Write([]byte("x"))
					case <-req.Context().Done():
						writer.CloseWithError(req.Context().Err())
					}
				}
				_ = writer.Close()
			}()
			resp := answer(req, 200, "")
			resp.Body, resp.ContentLength = reader, -1
			return resp, nil
		}
	}
	cfg := retry.Config{BodyIdleTimeout: time.Second}
	bubble(t, "a body that keeps coming is read to its end", func(t *testing.T) {
		got, _ := send(t, cfg, serve(time.Second-1), request(t, "GET", ""))
		require.NoError(t, got.readErr)
		assert.Equal(t, "xxx", got.body)
	})
	bubble(t, "one that stops ends in a TimeoutError", func(t *testing.T) {
		start := time.Now()
		got, seen := send(t, cfg, serve(time.Second+1), request(t, "GET", ""))
		assert.Equal(t, 200, got.status)
		assert.Equal(t, time.Second, time.Since(start))
		assert.EqualValues(t, 1, seen)
		var timeout *retry.TimeoutError
		require.ErrorAs(t, got.readErr, &timeout)
		assert.Equal(t, retry.TimeoutError{After: time.Second, Body: true}, *timeout)
	})
	bubble(t, "a slow reader is not the server's fault", func(t *testing.T) {
		base, _ := serve(time.Millisecond).base()
		resp, err := retry.MustNew(cfg).Transport(base).RoundTrip(request(t, "GET", ""))
		require.NoError(t, err)
		defer resp.Body.Close()
		time.Sleep(time.Hour)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, "xxx", string(body))
	})
	bubble(t, "each Read has its own time, and the end is remembered", func(t *testing.T) {
		base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
			resp := answer(req, 200, "")
			reads := 0
			resp.Body = readFunc(func(p []byte) (int, error) {
				if reads++; reads < 5 {
					time.Sleep(900 * time.Millisecond)
					return copy(p, "x"), nil
				}
				<-req.Context().Done()
				return 0, req.Context().Err() // as over HTTP/2
			})
			return resp, nil
		})
		resp, err := retry.MustNew(cfg).Transport(base).RoundTrip(request(t, "GET", ""))
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		assert.Equal(t, "xxxx", string(body))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = resp.Body.Read(make([]byte, 1))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
	bubble(t, "with NoTimeout too", func(t *testing.T) {
		cfg := retry.Config{BodyIdleTimeout: time.Second, TryTimeout: retry.NoTimeout}
		got, _ := send(t, cfg, serve(time.Hour), request(t, "GET", ""))
		assert.ErrorIs(t, got.readErr, context.DeadlineExceeded)
	})
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }
func (readFunc) Close() error                 { return nil }

func TestTimeoutErrorKeepsWhatTheAttemptSaid(t *testing.T) {
	bubble(t, "wrapped", func(t *testing.T) {
		_, err := retry.Do(t.Context(), retry.MustNew(retry.Config{MaxAttempts: 1}), "",
			func(ctx context.Context) (int, error) {
				<-ctx.Done()
				return 0, errors.Join(errBoom)
			})
		assert.ErrorIs(t, err, errBoom)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.EqualError(t, err, "retry: no answer for 5s: boom")
	})
}
