package hedge_test

import (
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/hedge"
	"github.com/failsoft/failsoft/internal/attempt"
)

func three() []string { return []string{"http://a.test", "https://b.test:8443", "http://c.test/"} }

func TestSomewhereElseByEndpoints(t *testing.T) {
	bubble(t, "first attempts go to each in turn, a second one to another", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{Endpoints: three()}))
		b := newBase(after(15*ms, answers(200)), hangs)
		for range 4 {
			call(t, h.Transport(b), get(t))
		}
		assert.Equal(t, []string{
			"a.test", "b.test:8443", "b.test:8443", "c.test", "c.test", "a.test", "a.test", "b.test:8443",
		}, b.hosts())
		for _, tr := range b.seen() {
			assert.Equal(t, tr.req.URL.Host, tr.req.Host)
			assert.Equal(t, "/prices", tr.req.URL.Path)
			if tr.req.URL.Host == "b.test:8443" {
				assert.Equal(t, "https", tr.req.URL.Scheme)
			}
		}
	})
	bubble(t, "so do attempts that a failure starts", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{Endpoints: three(), MaxAttempts: 4}))
		b := newBase(answers(502))
		call(t, h.Transport(b), get(t))
		assert.Equal(t, []string{"a.test", "b.test:8443", "c.test", "a.test"}, b.hosts(), "the last to the one longest ago")
	})
	bubble(t, "multicast goes to all", func(t *testing.T) {
		h := hedge.MustNew(hedge.Config{Delay: hedge.AtOnce, Endpoints: three()})
		b := newBase(after(ms, answers(200)))
		call(t, h.Transport(b), get(t))
		assert.ElementsMatch(t, []string{"a.test", "b.test:8443", "c.test"}, b.hosts())
	})
	bubble(t, "what is sent once goes to each in turn too", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{Endpoints: three()}))
		b := newBase(after(15*ms, answers(200)))
		for range 3 {
			req := request(t, "POST", "x")
			call(t, h.Transport(b), req)
			assert.Equal(t, "http://shop.test/prices", req.URL.String())
		}
		assert.Equal(t, []string{"a.test", "b.test:8443", "c.test"}, b.hosts())
	})
	bubble(t, "the key is what the caller asked for", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{Endpoints: three()}))
		call(t, h.Transport(newBase(answers(200))), get(t))
		assert.Equal(t, "shop.test", shot(t, h).Key)
	})
	for name, host := range map[string]string{"is kept if the caller has set it": "virtual.test", "follows if not": ""} {
		bubble(t, "Host header "+name, func(t *testing.T) {
			h := hedge.MustNew(fixed(hedge.Config{Endpoints: three()}))
			b := newBase(hangs, answers(200))
			req := get(t)
			if host != "" {
				req.Host = host
			}
			call(t, h.Transport(b), req)
			for n, to := range []string{"a.test", "b.test:8443"} {
				want := host
				if host == "" {
					want = to
				}
				assert.Equal(t, want, b.seen()[n].req.Host)
				assert.Equal(t, to, b.seen()[n].req.URL.Host)
			}
		})
	}
}

func TestSomewhereElseByTheHostsTried(t *testing.T) {
	bubble(t, "attempts share a set", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{}))
		b := newBase(hangs, answers(200))
		call(t, h.Transport(b), get(t))
		tried := attempt.Tried(b.seen()[0].ctx)
		assert.NotNil(t, tried)
		assert.Same(t, tried, attempt.Tried(b.seen()[1].ctx))
		b = newBase(answers(200))
		call(t, h.Transport(b), get(t))
		assert.NotSame(t, tried, attempt.Tried(b.seen()[0].ctx), "calls do not")
	})
	bubble(t, "with the policy around them", func(t *testing.T) {
		hosts := new(attempt.Hosts)
		hosts.Add("a.test")
		h := hedge.MustNew(fixed(hedge.Config{Endpoints: three()}))
		b := newBase(hangs, answers(200))
		req := get(t)
		call(t, h.Transport(b), req.WithContext(attempt.WithRetry(req.Context(), 2, hosts)))
		assert.Equal(t, []string{"b.test:8443", "c.test"}, b.hosts(), "a.test was tried before")
		for _, tr := range b.seen() {
			assert.Same(t, hosts, attempt.Tried(tr.ctx))
			assert.Equal(t, 2, attempt.Retry(tr.ctx))
		}
		assert.Equal(t, 0, hosts.Rank("a.test"))
		assert.Equal(t, 1, hosts.Rank("b.test:8443"))
		assert.Equal(t, 2, hosts.Rank("c.test"))
	})
	bubble(t, "what is sent once looks there too", func(t *testing.T) {
		hosts := new(attempt.Hosts)
		hosts.Add("a.test")
		h := hedge.MustNew(fixed(hedge.Config{Endpoints: three(), MaxAttempts: 1}))
		b := newBase(answers(200))
		req := get(t)
		call(t, h.Transport(b), req.WithContext(attempt.WithRetry(req.Context(), 2, hosts)))
		assert.Equal(t, []string{"b.test:8443"}, b.hosts())
		assert.Equal(t, 1, hosts.Rank("b.test:8443"))
	})
	bubble(t, "a router below that says where it went", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{MaxAttempts: 2}))
		routes := func(host string) script { return fails(routedError{host}) }
		got := call(t, h.Transport(newBase(routes("r1.test"), routes("r2.test"))), get(t))
		var failed *hedge.Error
		assert.ErrorAs(t, got.err, &failed)
		assert.Equal(t, "r1.test", failed.Tries[0].Host)
		assert.Equal(t, "r2.test", failed.Host())
	})
}

type routedError struct{ host string }

func (routedError) Error() string  { return "lost" }
func (e routedError) Host() string { return e.host }

func TestSomewhereElseIsToldToTheServer(t *testing.T) {
	for name, on := range map[string]bool{"on request": true, "not by default": false} {
		bubble(t, name, func(t *testing.T) {
			h := hedge.MustNew(fixed(hedge.Config{AttemptHeader: on, MaxAttempts: 3}))
			b := newBase(answers(502))
			req := get(t)
			req.Header = nil
			call(t, h.Transport(b), req)
			synctest.Wait()
			for n, tr := range b.seen() {
				want := 1
				if on {
					want = n + 1
				}
				assert.Equal(t, want, hedge.RequestAttempt(tr.req))
				_, set := tr.req.Header["Hedge-Attempt"]
				assert.Equal(t, on && n > 0, set)
			}
		})
	}
	t.Run("and read there with care", func(t *testing.T) {
		for value, want := range map[string]int{"": 1, "0": 1, "-3": 1, "x": 1, "3": 3, "1000000": 100} {
			req := &http.Request{Header: http.Header{"Hedge-Attempt": {value}}}
			assert.Equal(t, want, hedge.RequestAttempt(req), value)
		}
		assert.Equal(t, 1, hedge.RequestAttempt(&http.Request{}))
	})
}
