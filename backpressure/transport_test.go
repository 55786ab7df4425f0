package backpressure_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/backpressure"
	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/internal/outcome"
)

const host = "shop.test"

func TestTransportHoldsThePlaceUntilTheBodyEnds(t *testing.T) {
	endings := map[string]func(body io.ReadCloser){
		"read to the end": func(body io.ReadCloser) { _, _ = io.Copy(io.Discard, body) },
		"closed before":   func(body io.ReadCloser) { _ = body.Close() },
		"both": func(body io.ReadCloser) {
			_, _ = io.Copy(io.Discard, body)
			_ = body.Close()
			_ = body.Close()
		},
	}
	for name, end := range endings {
		bubble(t, name, func(t *testing.T) {
			l := backpressure.MustNew(impatient(1))
			rt := l.Transport(answers(200))
			resp, err := rt.RoundTrip(get(t, "http://"+host))
			require.NoError(t, err)
			assert.Equal(t, 1, shot(t, l, host).InFlight, "the body is still to be read")
			_, err = rt.RoundTrip(get(t, "http://"+host))
			assert.Equal(t, host, limited(t, err).Key)
			_, err = exchange(rt, get(t, "http://elsewhere.test"))
			require.NoError(t, err, "another host has a limit of its own")
			time.Sleep(7 * ms)
			end(resp.Body)
			atRest(t, l)
			assert.Zero(t, shot(t, l, host).Latency, "the caller's time is not the server's")
			_, err = exchange(rt, get(t, "http://"+host))
			require.NoError(t, err)
		})
	}
}

func TestTransportGivesThePlaceBack(t *testing.T) {
	for name, base := range map[string]roundTrip{
		"an error":       func(*http.Request) (*http.Response, error) { return nil, errDown },
		"a panic":        func(*http.Request) (*http.Response, error) { panic("boom") },
		"a Goexit":       func(*http.Request) (*http.Response, error) { runtime.Goexit(); return nil, nil },
		"nothing at all": func(*http.Request) (*http.Response, error) { return nil, nil },
		"no body": func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 204, Body: http.NoBody, Request: req}, nil
		},
	} {
		bubble(t, name, func(t *testing.T) {
			l := backpressure.MustNew(impatient(1))
			var done sync.WaitGroup
			done.Go(func() {
				defer func() { _ = recover() }()
				_, _ = l.Transport(base).RoundTrip(get(t, "http://"+host))
			})
			done.Wait()
			assert.Equal(t, uint64(1), shot(t, l, host).Counts.Admitted[backpressure.Default])
			atRest(t, l)
		})
	}
	bubble(t, "a Judge that panics", func(t *testing.T) {
		cfg := impatient(1)
		cfg.Judge = func(*http.Response, error) backpressure.Outcome { panic("boom") }
		l := backpressure.MustNew(cfg)
		status, err := exchange(l.Transport(answers(200)), get(t, "http://"+host))
		require.NoError(t, err)
		assert.Equal(t, 200, status)
		atRest(t, l)
	})
}

// A refusal is none of the server's doing, and the next layer can tell.
func TestRefusalsAreTold(t *testing.T) {
	l, _ := full(t, func() backpressure.Config {
		cfg := impatient(1)
		cfg.Key = func(*http.Request) string { return "" }
		return cfg
	}(), 1)
	_, err := l.Transport(answers(200)).RoundTrip(get(t, "http://"+host))
	assert.Equal(t, outcome.Refused, outcome.OfError(t.Context(), err))
	outer := backpressure.MustNew(impatient(10))
	_, err = outer.Transport(l.Transport(answers(200))).RoundTrip(get(t, "http://"+host))
	assert.Equal(t, outcome.Refused, outcome.OfError(t.Context(), err))
	atRest(t, outer)
	assert.Zero(t, shot(t, outer, host).Latency, "the refusal of another Limiter is no sample")
}

func TestClassTravels(t *testing.T) {
	// sent is what the class header says in what a Limiter sends.
	sent := func(t *testing.T, cfg backpressure.Config, req *http.Request) (values []string) {
		t.Helper()
		l := backpressure.MustNew(cfg)
		_, err := exchange(l.Transport(roundTrip(func(req *http.Request) (*http.Response, error) {
			values = req.Header.Values("Criticality")
			return answers(200)(req)
		})), req)
		require.NoError(t, err)
		return values
	}
	cfg := impatient(10)
	cfg.ClassHeader = "Criticality"
	classed := func(c backpressure.Class) backpressure.Config {
		own := cfg
		own.Class = func(*http.Request) backpressure.Class { return c }
		return own
	}
	t.Run("by Config.Class", func(t *testing.T) {
		req := get(t, "http://"+host)
		assert.Equal(t, []string{"critical"}, sent(t, classed(backpressure.Critical), req))
		assert.Empty(t, req.Header, "the caller's request is as it was")
		assert.Empty(t, sent(t, classed(backpressure.Default), req))
		assert.Empty(t, sent(t, classed(77), req))
	})
	t.Run("by the context", func(t *testing.T) {
		ctx := backpressure.WithClass(t.Context(), backpressure.Sheddable)
		assert.Equal(t, []string{"sheddable"}, sent(t, cfg, get(t, "http://"+host).WithContext(ctx)))
		assert.Equal(t, []string{"critical"},
			sent(t, classed(backpressure.Critical), get(t, "http://"+host).WithContext(ctx)), "Config.Class goes first")
		ctx = attempt.WithBackground(t.Context())
		assert.Equal(t, []string{"background"}, sent(t, cfg, get(t, "http://"+host).WithContext(ctx)))
	})
	t.Run("not over what the caller has set", func(t *testing.T) {
		req := get(t, "http://"+host)
		req.Header.Set("Criticality", "default")
		assert.Equal(t, []string{"default"}, sent(t, classed(backpressure.Critical), req))
	})
	t.Run("not without being told to", func(t *testing.T) {
		unnamed := classed(backpressure.Critical)
		unnamed.ClassHeader = ""
		assert.Empty(t, sent(t, unnamed, get(t, "http://"+host)))
	})
	t.Run("from server to server", func(t *testing.T) {
		client := cfg
		client.Class = func(*http.Request) backpressure.Class { return backpressure.Sheddable }
		backend, middle, edge := backpressure.MustNew(cfg), backpressure.MustNew(cfg), backpressure.MustNew(client)
		onward := middle.Transport(handled{backend.Handler(ok)})
		front := middle.Handler(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			_, err := exchange(onward, get(t, "http://backend.test").WithContext(req.Context()))
			assert.NoError(t, err)
		}))
		_, err := exchange(edge.Transport(handled{front}), get(t, "http://front.test"))
		require.NoError(t, err)
		assert.Equal(t, uint64(1), shot(t, backend, "").Counts.Admitted[backpressure.Sheddable])
	})
}

// handled is a server without a network.
type handled struct{ handler http.Handler }

func (h handled) RoundTrip(req *http.Request) (*http.Response, error) {
	return handle(h.handler, req).Result(), nil
}

func TestTransportDemotesRetries(t *testing.T) {
	cfg := impatient(10)
	cfg.DemoteRetries = true
	l := backpressure.MustNew(cfg)
	req := get(t, "http://"+host)
	for n := range 3 {
		_, err := exchange(l.Transport(answers(200)), req.WithContext(attempt.WithRetry(t.Context(), n+1, nil)))
		require.NoError(t, err)
	}
	assert.Equal(t, [4]uint64{1, 0, 2, 0}, shot(t, l, host).Counts.Admitted)
}

func TestJudgeOfTransport(t *testing.T) {
	for name, tt := range map[string]struct {
		base roundTrip
		want bool // sampled as a success
	}{
		"200":        {answers(200), true},
		"302":        {answers(302), true},
		"404":        {answers(404), false},
		"429":        {answers(429), false},
		"500":        {answers(500), false},
		"503":        {answers(503), false},
		"an error":   {func(*http.Request) (*http.Response, error) { return nil, errDown }, false},
		"a stream":   {answers(200, "Content-Type", "text/event-stream"), false},
		"half of it": {func(req *http.Request) (*http.Response, error) { return half(req), nil }, false},
	} {
		bubble(t, name, func(t *testing.T) {
			l := backpressure.MustNew(impatient(1))
			_, _ = exchange(l.Transport(roundTrip(func(req *http.Request) (*http.Response, error) {
				time.Sleep(ms)
				return tt.base(req)
			})), get(t, "http://"+host))
			assert.Equal(t, tt.want, shot(t, l, host).Latency == ms)
			atRest(t, l)
		})
	}
	bubble(t, "of the user's", func(t *testing.T) {
		cfg := impatient(1)
		cfg.Judge = func(resp *http.Response, _ error) backpressure.Outcome {
			if resp != nil && resp.StatusCode == 404 {
				return backpressure.Success
			}
			return backpressure.ByRule
		}
		l := backpressure.MustNew(cfg)
		_, _ = exchange(l.Transport(roundTrip(func(req *http.Request) (*http.Response, error) {
			time.Sleep(ms)
			return answers(404)(req)
		})), get(t, "http://"+host))
		assert.Equal(t, ms, shot(t, l, host).Latency)
	})
}

// half is a response whose body breaks off.
func half(req *http.Request) *http.Response {
	resp, _ := answers(200)(req)
	resp.Body = io.NopCloser(io.MultiReader(strings.NewReader("half"), broken{}))
	return resp
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errDown }

// 429 is the limit that a server has for this client: fewer at a time are what helps.
func TestTransportHeedsTooManyRequests(t *testing.T) {
	for status, cut := range map[int]bool{429: true, 503: true, 504: true, 500: false, 404: false} {
		bubble(t, strconv.Itoa(status), func(t *testing.T) {
			var events diary
			l := backpressure.MustNew(backpressure.Config{
				CPUThreshold: backpressure.Off, StartLimit: 20, Observe: events.observe,
			})
			rt := l.Transport(roundTrip(func(req *http.Request) (*http.Response, error) {
				time.Sleep(10 * ms)
				return answers(status)(req)
			}))
			var all sync.WaitGroup
			for range 40 {
				all.Go(func() {
					for range 50 {
						_, _ = exchange(rt, get(t, "http://"+host))
						time.Sleep(ms)
					}
				})
			}
			all.Wait()
			assert.Equal(t, cut, shot(t, l, host).Limit < 20)
			for _, e := range events.of(backpressure.LimitChanged) {
				assert.Equal(t, backpressure.Errors, e.Reason)
			}
		})
	}
}

func TestTransportWaits(t *testing.T) {
	bubble(t, "for a place", func(t *testing.T) {
		cfg := fixed(1)
		cfg.MaxWait = time.Second
		l := backpressure.MustNew(cfg)
		rt := l.Transport(answers(200))
		resp, err := rt.RoundTrip(get(t, "http://"+host))
		require.NoError(t, err)
		time.AfterFunc(10*ms, func() { _ = resp.Body.Close() })
		start := time.Now()
		_, err = exchange(rt, get(t, "http://"+host))
		require.NoError(t, err)
		assert.Equal(t, 10*ms, time.Since(start))
	})
	bubble(t, "until the caller leaves", func(t *testing.T) {
		cfg := fixed(1)
		cfg.MaxWait = time.Second
		l := backpressure.MustNew(cfg)
		rt := l.Transport(answers(200))
		resp, err := rt.RoundTrip(get(t, "http://"+host))
		require.NoError(t, err)
		reason := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(10*ms, func() { cancel(reason) })
		start := time.Now()
		_, err = exchange(rt, get(t, "http://"+host).WithContext(ctx))
		require.ErrorIs(t, err, reason)
		assert.NotErrorIs(t, err, backpressure.ErrLimited)
		assert.Equal(t, 10*ms, time.Since(start))
		_ = resp.Body.Close()
		atRest(t, l)
	})
}
