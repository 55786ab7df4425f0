package healthcheck_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/internal/memnet"
	"github.com/failsoft/failsoft/internal/rttest"
	"github.com/failsoft/failsoft/internal/rw"
)

// orders is a route that works as long as it is let.
func orders() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "orders") })
}

func TestRequireRefusesWhatFails(t *testing.T) {
	bubble(t, "with 503, Retry-After and no word of why", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: failing, Period: 80 * time.Second})
		ask(t, c.Handler(healthcheck.Ready), "/")
		w := ask(t, c.Require(name)(orders()), "/orders")
		assert.Equal(t, 503, w.Code)
		assert.Equal(t, "10", w.Header().Get("Retry-After"), "an eighth of the period")
		assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		assert.Empty(t, w.Header().Get("Connection"))
		assert.NotContains(t, w.Body.String(), "db")
		assert.Equal(t, 200, ask(t, c.Handler(healthcheck.Ready), "/").Code, "and only those routes that need it")
	})
	bubble(t, "and whatever the impact", func(t *testing.T) {
		for _, impact := range []healthcheck.Impact{healthcheck.Critical, healthcheck.Degrades, healthcheck.Informational} {
			c := single(t, healthcheck.Check{Probe: failing, Impact: impact})
			ask(t, c.Details(), "/")
			time.Sleep(time.Second)
			assert.Equal(t, 503, ask(t, c.Require(name)(orders()), "/orders").Code, impact)
		}
	})
	bubble(t, "at least a second later", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: failing, Period: 2 * time.Second})
		ask(t, c.Details(), "/")
		assert.Equal(t, "1", ask(t, c.Require(name)(orders()), "/orders").Header().Get("Retry-After"))
	})
	bubble(t, "any of several", func(t *testing.T) {
		c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{"a": {Probe: passing}, "b": {Probe: failing}})
		ask(t, c.Details(), "/")
		for code, names := range map[int][][]string{
			200: {{}, {"a"}, {"a", "a"}}, 503: {{"b"}, {"a", "b"}, {"b", "a"}},
		} {
			for _, needed := range names {
				assert.Equal(t, code, ask(t, c.Require(needed...)(orders()), "/orders").Code, needed)
			}
		}
	})
	bubble(t, "HEAD without a body", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: failing})
		ask(t, c.Details(), "/")
		w := httptest.NewRecorder()
		c.Require(name)(orders()).ServeHTTP(w, httptest.NewRequest(http.MethodHead, "/orders", http.NoBody))
		assert.Equal(t, 503, w.Code)
		assert.Empty(t, w.Body.String())
	})
	bubble(t, "and serves again", func(t *testing.T) {
		f := &fake{}
		f.fail(errDown)
		c := single(t, healthcheck.Check{Probe: f.probe, Period: 8 * time.Second})
		ask(t, c.Details(), "/")
		h := c.Require(name)(orders())
		assert.Equal(t, 503, ask(t, h, "/orders").Code)
		f.fail(nil)
		time.Sleep(11 * time.Second) // two probes: one by the backed-off period, one by the full one
		assert.Equal(t, 200, ask(t, h, "/orders").Code)
	})
}

func TestRequireServesWhatDoesNotFail(t *testing.T) {
	bubble(t, "a warning", func(t *testing.T) {
		c := single(t, healthcheck.Check{})
		require.NoError(t, c.Report(name, healthcheck.Result{Status: healthcheck.Warn}))
		assert.Equal(t, 200, ask(t, c.Require(name)(orders()), "/orders").Code)
	})
	bubble(t, "what is not known yet, at once", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: (&fake{takes: time.Second}).probe, Timeout: 5 * time.Second})
		begun := time.Now()
		assert.Equal(t, 200, ask(t, c.Require(name)(orders()), "/orders").Code)
		assert.Zero(t, time.Since(begun))
	})
	bubble(t, "what is not known any more", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: failing, Period: 10 * time.Second})
		ask(t, c.Handler(healthcheck.Ready), "/")
		require.NoError(t, c.Close(t.Context())) // nobody will find out any more
		h := c.Require(name)(orders())
		time.Sleep(31*time.Second - time.Nanosecond)
		assert.Equal(t, 503, ask(t, h, "/orders").Code)
		time.Sleep(time.Nanosecond)
		assert.Equal(t, 200, ask(t, h, "/orders").Code)
	})
	bubble(t, "anything before Start", func(t *testing.T) {
		c := healthcheck.MustNew(healthcheck.Config{})
		c.MustAdd(name, healthcheck.Check{Probe: failing})
		h := c.Require(name)(orders())
		assert.Equal(t, 200, ask(t, h, "/orders").Code)
		start(t, c)
		ask(t, c.Details(), "/")
		assert.Equal(t, 503, ask(t, h, "/orders").Code)
	})
	bubble(t, "while it drains", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: passing})
		c.Drain()
		assert.Equal(t, 200, ask(t, c.Require(name)(orders()), "/orders").Code)
	})
}

// A route that requires what there is not would never be refused.
func TestRequireOfNamesThatThereAreNot(t *testing.T) {
	bubble(t, "is found out by Start", func(t *testing.T) {
		c := healthcheck.MustNew(healthcheck.Config{})
		c.MustAdd(name, healthcheck.Check{Probe: failing})
		h := c.Require(name, "bd")(orders())
		require.ErrorContains(t, c.Start(), `"bd"`)
		assert.Equal(t, 200, ask(t, h, "/orders").Code)
		c.MustAdd("bd", healthcheck.Check{Probe: passing})
		start(t, c) // now that it is mended
		ask(t, c.Details(), "/")
		assert.Equal(t, 503, ask(t, h, "/orders").Code)
	})
	bubble(t, "and a group is no check", func(t *testing.T) {
		c := healthcheck.MustNew(healthcheck.Config{})
		c.Require(healthcheck.Ready)
		require.ErrorContains(t, c.Start(), `"ready"`)
	})
	bubble(t, "later it refuses nothing", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: failing})
		ask(t, c.Details(), "/")
		assert.Equal(t, 200, ask(t, c.Require("bd")(orders()), "/orders").Code)
		assert.Equal(t, 200, ask(t, c.Require(healthcheck.Ready)(orders()), "/orders").Code)
		assert.Equal(t, 503, ask(t, c.Require("bd", name)(orders()), "/orders").Code)
	})
	bubble(t, "and what the caller does with its names afterwards", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: failing})
		ask(t, c.Details(), "/")
		names := []string{name}
		h := c.Require(names...)(orders())
		names[0] = "changed"
		assert.Equal(t, 503, ask(t, h, "/orders").Code)
	})
}

// Nobody else may ask for a long time: what a route requires is probed when a request
// wants to know, which does not wait for it.
func TestRequireProbesOnDemand(t *testing.T) {
	bubble(t, "once a period", func(t *testing.T) {
		f := &fake{takes: 50 * time.Millisecond}
		f.fail(errDown)
		c := single(t, healthcheck.Check{Probe: f.probe, OnDemand: 8 * time.Second})
		h := c.Require(name)(orders())
		code := func() int {
			begun := time.Now()
			defer func() { assert.Zero(t, time.Since(begun)) }()
			return ask(t, h, "/orders").Code
		}
		for range 10 {
			assert.Equal(t, 200, code(), "nothing is known yet")
		}
		time.Sleep(100 * time.Millisecond)
		assert.Equal(t, 1, f.count())
		assert.Equal(t, 503, code())

		f.fail(nil)
		time.Sleep(time.Second) // an eighth, as it fails
		assert.Equal(t, 503, code(), "the last value, while it is probed")
		time.Sleep(9 * time.Second)
		assert.Equal(t, 503, code(), "one that is good is not enough")
		time.Sleep(100 * time.Millisecond)
		for range 10 {
			assert.Equal(t, 200, code())
		}
		assert.Equal(t, 3, f.count())
	})
	bubble(t, "and after long idleness", func(t *testing.T) {
		f := &fake{takes: 50 * time.Millisecond}
		f.fail(errDown)
		c := single(t, healthcheck.Check{Probe: f.probe, OnDemand: 10 * time.Second})
		h := c.Require(name)(orders())
		for range 3 {
			assert.Equal(t, 200, ask(t, h, "/orders").Code, "nothing is known any more")
			time.Sleep(100 * time.Millisecond)
			assert.Equal(t, 503, ask(t, h, "/orders").Code)
			time.Sleep(time.Hour)
		}
		assert.Equal(t, 3, f.count())
	})
}

func TestRequireAndOverrides(t *testing.T) {
	for title, row := range map[string]struct {
		o          healthcheck.Override
		code       int
		retryAfter string
	}{
		"down for a while":       {healthcheck.Override{Status: healthcheck.Fail, TTL: 30 * time.Second}, 503, "30"},
		"down until lifted":      {healthcheck.Override{Status: healthcheck.Fail}, 503, "80"},
		"down for very long":     {healthcheck.Override{Status: healthcheck.Fail, TTL: 1 << 62}, 503, "80"},
		"down for a moment":      {healthcheck.Override{Status: healthcheck.Fail, TTL: time.Millisecond}, 503, "1"},
		"a warning by hand":      {healthcheck.Override{Status: healthcheck.Warn}, 200, ""},
		"up whatever probes say": {healthcheck.Override{Status: healthcheck.Pass}, 200, ""},
	} {
		for _, probe := range []func(context.Context) healthcheck.Result{failing, nil} {
			bubble(t, title, func(t *testing.T) {
				c := single(t, healthcheck.Check{Probe: probe, Period: 80 * time.Second})
				require.NoError(t, c.Override(name, row.o))
				for range 3 { // there is no trial: nothing is to be found out
					w := ask(t, c.Require(name)(orders()), "/orders")
					assert.Equal(t, row.code, w.Code)
					assert.Equal(t, row.retryAfter, w.Header().Get("Retry-After"))
				}
			})
		}
	}
}

func TestRefusedHook(t *testing.T) {
	var told error
	refused := func(w http.ResponseWriter, _ *http.Request, err error) {
		told = err
		assert.Equal(t, "10", w.Header().Get("Retry-After"), "set before")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, "stale orders")
	}
	bubble(t, "writes what it likes", func(t *testing.T) {
		c := begin(t, healthcheck.Config{Refused: refused},
			map[string]healthcheck.Check{name: {Probe: failing, Period: 80 * time.Second}})
		ask(t, c.Details(), "/")
		w := ask(t, c.Require(name)(orders()), "/orders")
		assert.Equal(t, http.StatusTooManyRequests, w.Code)
		assert.Equal(t, "stale orders", w.Body.String())
		require.ErrorIs(t, told, healthcheck.ErrUnhealthy)
		require.ErrorIs(t, told, errDown)
		unhealthy, ok := errors.AsType[*healthcheck.UnhealthyError](told)
		require.True(t, ok)
		assert.Equal(t, name, unhealthy.Check)
		assert.Equal(t, 10*time.Second, unhealthy.RetryAfter())
		assert.Equal(t, `healthcheck: "db" is down: `+errDown.Error(), unhealthy.Error())
	})
	bubble(t, "of what a hand has taken down, says so", func(t *testing.T) {
		c := begin(t, healthcheck.Config{Refused: refused}, map[string]healthcheck.Check{name: {Probe: passing}})
		require.NoError(t, c.Override(name, healthcheck.Override{Status: healthcheck.Fail, Reason: "moving house"}))
		ask(t, c.Require(name)(orders()), "/orders")
		require.ErrorContains(t, told, "moving house")
	})
}

// A refusal is at once, or it is none: it does not wait for the body that nobody
// will read.
func TestRefusalDoesNotReadTheBody(t *testing.T) {
	refusing := func(t *testing.T, hook bool) http.Handler {
		cfg := healthcheck.Config{}
		if hook {
			cfg.Refused = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(503) }
		}
		c := begin(t, cfg, map[string]healthcheck.Check{name: {Probe: failing}})
		ask(t, c.Details(), "/")
		return c.Require(name)(orders())
	}
	for _, hook := range []bool{false, true} {
		for title, row := range map[string]struct {
			length int64
			closes bool
		}{
			"unknown": {-1, true}, "256 KiB and a byte": {256<<10 + 1, true}, "256 KiB": {256 << 10, false}, "none": {0, false},
		} {
			bubble(t, title, func(t *testing.T) {
				r := httptest.NewRequest(http.MethodPost, "/orders", http.NoBody)
				r.ContentLength = row.length
				w := httptest.NewRecorder()
				refusing(t, hook).ServeHTTP(w, r)
				assert.Equal(t, 503, w.Code)
				assert.Equal(t, row.closes, w.Header().Get("Connection") == "close")
			})
		}
		bubble(t, "over a network, from a slow client", func(t *testing.T) {
			client := &http.Client{Transport: memnet.Server(t, refusing(t, hook))}
			body, pipe := io.Pipe() // that nobody writes to
			defer pipe.Close()
			begun := time.Now()
			resp, err := client.Post("http://shop/orders", "text/plain", body)
			require.NoError(t, err)
			defer resp.Body.Close()
			assert.Equal(t, 503, resp.StatusCode)
			assert.True(t, resp.Close, "the connection ends")
			assert.Zero(t, time.Since(begun))
		})
		bubble(t, "over HTTP/2", func(t *testing.T) {
			client := &http.Client{Transport: memnet.ServerH2C(t, refusing(t, hook))}
			body, pipe := io.Pipe()
			defer pipe.Close()
			resp, err := client.Post("http://shop/orders", "text/plain", body)
			require.NoError(t, err)
			defer resp.Body.Close()
			assert.Equal(t, 503, resp.StatusCode)
			assert.Empty(t, resp.Header.Get("Connection"))
		})
	}
	bubble(t, "a small one keeps the connection", func(t *testing.T) {
		var remotes []string
		refuse := refusing(t, false)
		client := &http.Client{Transport: memnet.Server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			remotes = append(remotes, r.RemoteAddr)
			refuse.ServeHTTP(w, r)
		}))}
		for range 3 {
			resp, err := client.Post("http://shop/orders", "text/plain", strings.NewReader("one"))
			require.NoError(t, err)
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		require.Len(t, remotes, 3)
		assert.Equal(t, remotes[0], remotes[2])
	})
}

func TestContractOfRequire(t *testing.T) {
	c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{name: {Probe: passing}, "fed": {}})
	rttest.Server(t, func(next http.Handler) http.Handler { return c.Require(name, "fed")(next) })
}

// Each answer says how the service is; apart from that the contract holds.
func TestContractOfInBand(t *testing.T) {
	c := single(t, healthcheck.Check{Probe: passing})
	var said atomic.Int64
	takeOut := rw.Hooks{Header: func(_ int, h http.Header) {
		if h.Get(healthcheck.HealthHeader) != "" {
			said.Add(1)
		}
		h.Del(healthcheck.HealthHeader)
	}}
	rttest.Server(t, func(next http.Handler) http.Handler {
		inBand := c.InBand(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			outer, seen := rw.Wrap(w, takeOut)
			inBand.ServeHTTP(outer, r)
			if seen.Status() == 0 {
				takeOut.Header(0, w.Header())
			}
		})
	})
	assert.Greater(t, said.Load(), int64(100), "it did say so")
}

func TestRequireAllocatesNothing(t *testing.T) {
	bubble(t, "while it serves", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: passing, Period: time.Hour})
		ask(t, c.Details(), "/")
		synctest.Wait()
		h := c.Require(name)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }))
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		w := &reusedWriter{header: make(http.Header)}
		assert.Zero(t, testing.AllocsPerRun(200, func() { h.ServeHTTP(w, r) }))

		h = c.InBand(h)
		assert.LessOrEqual(t, testing.AllocsPerRun(200, func() { h.ServeHTTP(w, r) }), 1.0, "the writer, as it comes in")
		assert.Equal(t, "pass", w.header.Get(healthcheck.HealthHeader))
	})
}
