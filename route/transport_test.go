package route_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/route"
)

// open sends a request for the service and leaves its body to the caller.
func open(t *testing.T, next http.RoundTripper) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://shop/", nil)
	require.NoError(t, err)
	resp, err := next.RoundTrip(req)
	require.NoError(t, err)
	return resp
}

// In flight ends with the body, latency at the headers.
func TestPitfall23BodyLifetime(t *testing.T) {
	for name, end := range map[string]func(*stream, *http.Response){
		"read to its end": func(s *stream, resp *http.Response) {
			s.end <- io.EOF
			_, _ = io.Copy(io.Discard, resp.Body)
		},
		"closed": func(_ *stream, resp *http.Response) { resp.Body.Close() },
		"both": func(s *stream, resp *http.Response) {
			s.end <- io.EOF
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			resp.Body.Close()
		},
	} {
		bubble(t, name, func(t *testing.T) {
			f, body := newFleet(10*ms, "a:1"), newStream()
			f.set("a:1", func(r *replica) { r.body = body })
			pool, next := poolOf(t, f, route.Config{})
			resp := open(t, next)
			assert.EqualValues(t, 1, shot(t, pool, "a:1").InFlight)
			assert.Equal(t, 10*ms, shot(t, pool, "a:1").Latency)
			time.Sleep(time.Second)
			assert.EqualValues(t, 1, shot(t, pool, "a:1").InFlight)
			end(body, resp)
			assert.Zero(t, shot(t, pool, "a:1").InFlight)
			assert.LessOrEqual(t, shot(t, pool, "a:1").Latency, 10*ms)
			assert.InDelta(t, 1, shot(t, pool, "a:1").Good, 0.2)
			assert.Zero(t, shot(t, pool, "a:1").Wrong)
		})
	}
	bubble(t, "a body that breaks off is a failure", func(t *testing.T) {
		f := newFleet(10*ms, "a:1", "b:1", "c:1")
		body := func(r *replica) { b := newStream(); b.end <- io.ErrUnexpectedEOF; r.body = b }
		pool, next := poolOf(t, f, route.Config{})
		f.set("a:1", body)
		for f.seen("a:1") == 0 {
			resp := open(t, next)
			_, _ = io.Copy(io.Discard, resp.Body)
		}
		assert.Zero(t, shot(t, pool, "a:1").InFlight)
		assert.Zero(t, shot(t, pool, "a:1").Good)
		assert.InDelta(t, 1, shot(t, pool, "a:1").Wrong, 0.1)
		assert.InDelta(t, 1, shot(t, pool, "a:1").Troubles, 0.1)
	})
	bubble(t, "of which the caller has ended is not", func(t *testing.T) {
		f := newFleet(10*ms, "a:1")
		body := newStream()
		f.set("a:1", func(r *replica) { r.body = body })
		pool, next := poolOf(t, f, route.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://shop/", nil)
		require.NoError(t, err)
		resp, err := next.RoundTrip(req)
		require.NoError(t, err)
		cancel()
		body.end <- context.Canceled
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		assert.Zero(t, shot(t, pool, "a:1").InFlight)
		assert.Zero(t, shot(t, pool, "a:1").Wrong)
	})
	bubble(t, "streams count for as long as they last", func(t *testing.T) {
		f := newFleet(10*ms, "a:1", "b:1")
		_, next := poolOf(t, f, route.Config{})
		gets(t, next, 20)
		f.reset()
		for _, addr := range []string{"a:1", "b:1"} {
			f.set(addr, func(r *replica) { r.body = newStream() })
		}
		for range 10 {
			resp := open(t, next)
			defer resp.Body.Close()
		}
		assert.InDelta(t, 5, f.seen("a:1"), 1)
	})
}

// duplex is the connection that a 101 hands over.
type duplex struct {
	*stream

	wrote *strings.Builder
}

func (d duplex) Write(p []byte) (int, error) { return d.wrote.Write(p) }

func TestRequirement3Upgrades(t *testing.T) {
	bubble(t, "101", func(t *testing.T) {
		conn := duplex{newStream(), new(strings.Builder)}
		pool := route.MustNew(route.Config{Names: []string{"shop"}, Hosts: hostsAt("a:1")})
		next := pool.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
			time.Sleep(5 * ms)
			return &http.Response{StatusCode: 101, Header: http.Header{}, Body: conn, Request: req}, nil
		}))
		resp := open(t, next)
		w, ok := resp.Body.(io.ReadWriteCloser)
		require.True(t, ok)
		_, err := io.WriteString(w, "hello")
		require.NoError(t, err)
		assert.Equal(t, "hello", conn.wrote.String())
		assert.EqualValues(t, 1, shot(t, pool, "a:1").InFlight)
		assert.Equal(t, 5*ms, shot(t, pool, "a:1").Latency)
		w.Close()
		assert.Zero(t, shot(t, pool, "a:1").InFlight)
	})
}

// Who leaves says nothing of the host but that it took at least that long.
func TestPitfall18CallersThatLeave(t *testing.T) {
	canceled := errors.New("the other was faster")
	for name, c := range map[string]struct {
		leave func(context.Context) (context.Context, context.CancelFunc)
		bad   bool
	}{
		"canceled": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(15*ms, cancel)
			return ctx, cancel
		}, false},
		"a hedge that lost": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(15*ms, func() { cancel(canceled) })
			return ctx, func() { cancel(nil) }
		}, false},
		"a deadline that is too short": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 15*ms)
		}, false},
		"a deadline that is not": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 21*ms)
		}, true},
	} {
		bubble(t, name, func(t *testing.T) {
			f := newFleet(10*ms, "a:1", "b:1")
			pool, next := poolOf(t, f, route.Config{Hosts: hostsAt("a:1", "b:1")})
			gets(t, next, 30)
			f.set("a:1", func(r *replica) { r.hangs = true })
			before := f.seen("a:1")
			for f.seen("a:1") == before {
				ctx, cancel := c.leave(t.Context())
				_, _ = get(ctx, next)
				cancel()
			}
			h := shot(t, pool, "a:1")
			assert.Zero(t, h.InFlight)
			if c.bad {
				assert.InDelta(t, 1, h.Wrong, 0.1)
				assert.InDelta(t, 1, h.Troubles, 0.1)
				return
			}
			assert.Zero(t, h.Wrong)
			assert.Zero(t, h.Troubles)
			assert.InDelta(t, float64(15*ms), float64(h.Latency), float64(ms/100))
		})
	}
	bubble(t, "a hundred of them eject nobody", func(t *testing.T) {
		f := newFleet(10*ms, "a:1", "b:1")
		pool, next := poolOf(t, f, route.Config{})
		gets(t, next, 30)
		for range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(5*ms, cancel)
			_, err := get(ctx, next)
			require.ErrorIs(t, err, context.Canceled)
			cancel()
		}
		for _, h := range pool.Snapshot().Hosts {
			assert.Equal(t, "well", h.Health)
			assert.Zero(t, h.Ejections)
			assert.LessOrEqual(t, h.Latency, 10*ms)
		}
	})
}

// What a host asks for by Retry-After is not heeded: 429 is trouble, 503 a failure, and
// an hour is no longer than a second.
func TestPitfall21RetryAfter(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		bubble(t, http.StatusText(status), func(t *testing.T) {
			f := newFleet(10*ms, names...)
			f.set("a:1", func(r *replica) { r.status, r.header = status, http.Header{"Retry-After": {"3600"}} })
			pool, next := poolOf(t, f, route.Config{SlowStart: route.Off})
			loads(t, next, 50, 3*time.Second)
			if status == http.StatusTooManyRequests {
				assert.Equal(t, "well", health(t, pool, "a:1"))
				assert.Less(t, f.share("a:1"), 0.05, "less for it")
			} else {
				assert.Equal(t, "ejected", health(t, pool, "a:1"))
			}
			f.set("a:1", mended)
			loads(t, next, 10, 40*time.Second)
			f.reset()
			loads(t, next, 50, 2*time.Second)
			assert.InDelta(t, 0.2, f.share("a:1"), 0.04)
		})
	}
}

// The request of an answer stays what it was while others are sent.
func TestPitfall22RequestsAreNotReused(t *testing.T) {
	_, base := bareRequest(t)
	pool := route.MustNew(route.Config{Names: []string{"shop"}, Hosts: hostsAt("a:1")})
	seen := make(map[*http.Request]string)
	next := pool.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
		seen[req] = req.URL.String()
		resp := *base.resp
		resp.Request = req
		return &resp, nil
	}))
	for i := range 100 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://shop/"+strings.Repeat("x", i), nil)
		require.NoError(t, err)
		resp, err := next.RoundTrip(req)
		require.NoError(t, err)
		resp.Body.Close()
		assert.Equal(t, "http://shop/"+strings.Repeat("x", i), req.URL.String())
	}
	assert.Len(t, seen, 100)
	for req, url := range seen {
		assert.Equal(t, url, req.URL.String())
	}
}

// All that is wrong with hosts is told, and none of it fails a request that could be
// answered: neither many that are ill, nor the last one.
func TestPitfall08FailOpen(t *testing.T) {
	bubble(t, "one host, of which everything says that it is ill", func(t *testing.T) {
		f := newFleet(10*ms, "a:1")
		f.set("a:1", func(r *replica) { drains(r); r.check = 503 })
		pool, next := poolOf(t, f, route.Config{Check: healthCheck()})
		assert.Zero(t, loads(t, next, 5, time.Minute).failures)
		assert.NotEqual(t, "well", health(t, pool, "a:1"))
	})
	bubble(t, "without a threshold", func(t *testing.T) {
		f := newFleet(10*ms, names...)
		for _, addr := range names {
			f.set(addr, func(r *replica) { r.check = 503 })
		}
		_, next := poolOf(t, f, route.Config{Check: healthCheck(), PanicThreshold: route.Off})
		assert.Zero(t, loads(t, next, 5, time.Minute).failures)
	})
	bubble(t, "some drain, the rest fails", func(t *testing.T) {
		f := newFleet(10*ms, names...)
		for _, addr := range names[:3] {
			f.set(addr, drains)
		}
		_, next := poolOf(t, f, route.Config{})
		loads(t, next, 10, 5*time.Second)
		for _, addr := range names[3:] {
			f.set(addr, func(r *replica) { r.err = errReset })
		}
		loads(t, next, 10, 5*time.Second)
		for _, addr := range names[3:] {
			f.set(addr, mended)
		}
		time.Sleep(10 * time.Second)
		assert.Zero(t, loads(t, next, 10, 5*time.Second).failures)
	})
}

// Config.Judge is asked before the rules, and a panic of it is no opinion.
func TestRequirement4Judge(t *testing.T) {
	for name, c := range map[string]struct {
		judge  func(*http.Response, error) route.Outcome
		status int
		out    bool
	}{
		"404 is a failure": {func(resp *http.Response, _ error) route.Outcome {
			if resp != nil && resp.StatusCode == 404 {
				return route.Failure
			}
			return route.ByRule
		}, 404, true},
		"500 is none":    {func(*http.Response, error) route.Outcome { return route.Success }, 500, false},
		"500 is ignored": {func(*http.Response, error) route.Outcome { return route.Ignore }, 500, false},
		"by rule":        {func(*http.Response, error) route.Outcome { return route.ByRule }, 500, true},
		"a panic":        {func(*http.Response, error) route.Outcome { panic("wild") }, 500, true},
	} {
		bubble(t, name, func(t *testing.T) {
			f := newFleet(10*ms, "a:1", "b:1")
			f.set("a:1", func(r *replica) { r.status = c.status })
			pool, next := poolOf(t, f, route.Config{Judge: c.judge})
			loads(t, next, 20, 3*time.Second)
			assert.Equal(t, c.out, shot(t, pool, "a:1").Ejections > 0)
		})
	}
}

func TestRequirement8Snapshot(t *testing.T) {
	bubble(t, "of each host", func(t *testing.T) {
		f := newFleet(10*ms, "a:1", "b:1")
		f.set("b:1", func(r *replica) { r.latency = 40 * ms })
		pool, next := poolOf(t, f, route.Config{Hosts: []route.Host{
			{Addr: "a:1", Zone: "x", Weight: 3}, {Addr: "b:1"},
		}})
		gets(t, next, 40)
		hosts := pool.Snapshot().Hosts
		require.Len(t, hosts, 2)
		a, b := hosts[0], hosts[1]
		assert.Equal(t, []any{"a:1", "x", 3.0, "well", route.Any}, []any{a.Addr, a.Zone, a.Weight, a.Health, a.Role})
		assert.EqualValues(t, f.seen("a:1"), a.Picks)
		assert.EqualValues(t, 40, a.Picks+b.Picks)
		assert.InDelta(t, 10, a.Latency.Seconds()*1000, 1)
		assert.Greater(t, b.Latency, a.Latency)
		f.set("a:1", failing)
		for health(t, pool, "a:1") == "well" {
			gets(t, next, 1)
			time.Sleep(time.Second)
		}
		a = shot(t, pool, "a:1")
		assert.EqualValues(t, 1, a.Ejections)
		assert.Equal(t, "failures in a row", a.Why)
		assert.Positive(t, a.For)
		assert.Positive(t, a.Troubles)
		assert.Positive(t, a.Wrong)
	})
	bubble(t, "events call back, and may panic", func(t *testing.T) {
		f := newFleet(10*ms, "a:1", "b:1")
		var pool *route.Pool
		var kinds []route.Kind
		pool, next := poolOf(t, f, route.Config{Hosts: hostsAt("a:1", "b:1"), Observe: func(_ context.Context, e route.Event) {
			kinds = append(kinds, e.Kind)
			if pool != nil {
				_ = pool.Snapshot()
			}
			panic("wild")
		}})
		f.set("a:1", failing)
		loads(t, next, 20, time.Second)
		f.set("a:1", mended)
		loads(t, next, 20, 10*time.Second)
		synctest.Wait()
		assert.Equal(t, []route.Kind{route.Added, route.Added, route.Ejected, route.Returned}, kinds)
	})
}
