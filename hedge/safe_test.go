package hedge_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/hedge"
	"github.com/failsoft/failsoft/internal/attempt"
)

func TestSafe(t *testing.T) {
	header := func(name, value string) func(*http.Request) {
		return func(req *http.Request) { req.Header[name] = []string{value} }
	}
	under := func(mark func(context.Context) context.Context) func(*http.Request) {
		return func(req *http.Request) { *req = *req.WithContext(mark(req.Context())) }
	}
	with := func(o hedge.Override) func(*http.Request) {
		return under(func(ctx context.Context) context.Context { return hedge.With(ctx, o) })
	}
	asIs := func(*http.Request) {}
	noGetBody := func(req *http.Request) { req.GetBody = nil }
	for name, tt := range map[string]struct {
		method, content string
		change          func(*http.Request)
		sent            int
	}{
		"no method is GET":              {"", "", func(req *http.Request) { req.Method = "" }, 2},
		"GET":                           {"GET", "", asIs, 2},
		"HEAD":                          {"HEAD", "", asIs, 2},
		"OPTIONS":                       {"OPTIONS", "", asIs, 2},
		"TRACE":                         {"TRACE", "", asIs, 2},
		"GET with a body":               {"GET", "x", asIs, 2},
		"POST":                          {"POST", "x", asIs, 1},
		"PUT":                           {"PUT", "x", asIs, 1},
		"DELETE":                        {"DELETE", "", asIs, 1},
		"PATCH":                         {"PATCH", "x", asIs, 1},
		"CONNECT":                       {"CONNECT", "", asIs, 1},
		"unknown method":                {"BREW", "", asIs, 1},
		"get":                           {"GET", "", func(req *http.Request) { req.Method = "get" }, 1},
		"POST, Idempotency-Key":         {"POST", "x", header("Idempotency-Key", "7"), 2},
		"POST, X-Idempotency-Key":       {"POST", "x", header("X-Idempotency-Key", "7"), 2},
		"POST, key but no GetBody":      {"POST", "x", func(req *http.Request) { noGetBody(req); req.Header.Set("Idempotency-Key", "7") }, 1},
		"GET, body without GetBody":     {"GET", "x", noGetBody, 1},
		"GET, trailers":                 {"GET", "x", func(req *http.Request) { req.Trailer = http.Header{"Sum": nil} }, 1},
		"GET, Upgrade":                  {"GET", "", header("Upgrade", "websocket"), 1},
		"GET, Expect":                   {"GET", "x", header("Expect", "100-continue"), 1},
		"POST, Override.Repeatable":     {"POST", "x", with(hedge.Override{Repeatable: true}), 2},
		"CONNECT, Override.Repeatable":  {"CONNECT", "", with(hedge.Override{Repeatable: true}), 1},
		"Upgrade, Override.Repeatable":  {"GET", "", func(req *http.Request) { header("Upgrade", "h2c")(req); with(hedge.Override{Repeatable: true})(req) }, 1},
		"no GetBody, though Repeatable": {"POST", "x", func(req *http.Request) { noGetBody(req); with(hedge.Override{Repeatable: true})(req) }, 1},
		"Off":                           {"GET", "", under(hedge.Off), 1},
		"Off, and on again":             {"GET", "", func(req *http.Request) { under(hedge.Off)(req); with(hedge.Override{})(req) }, 2},
		"nobody waits":                  {"GET", "", under(attempt.WithBackground), 1},
		"a hedge already":               {"GET", "", under(func(ctx context.Context) context.Context { return attempt.WithHedge(ctx, 2, nil) }), 1},
		"the first of another's hedges": {"GET", "", under(func(ctx context.Context) context.Context { return attempt.WithHedge(ctx, 1, nil) }), 2},
		"a retry":                       {"GET", "", under(func(ctx context.Context) context.Context { return attempt.WithRetry(ctx, 2, nil) }), 2},
	} {
		bubble(t, name, func(t *testing.T) {
			h := hedge.MustNew(fixed(hedge.Config{}))
			b := newBase(after(15*ms, answers(200)))
			req := request(t, tt.method, tt.content)
			tt.change(req)
			got := call(t, h.Transport(b), req)
			synctest.Wait()
			assert.Equal(t, 15*ms, got.took)
			require.Len(t, b.seen(), tt.sent)
			for _, tr := range b.seen() {
				assert.Equal(t, tt.content, tr.sent, "attempt %d has the body", tr.attempt)
			}
			if tt.sent == 1 {
				fast := newBase(answers(502))
				req := request(t, tt.method, tt.content)
				tt.change(req)
				assert.Equal(t, 502, call(t, h.Transport(fast), req).status)
				assert.Len(t, fast.seen(), 1, "a failure does not repeat it either")
			}
		})
	}
	bubble(t, "by the user's rule", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{Repeatable: func(req *http.Request) bool { return req.Method == "POST" }}))
		b := newBase(after(15*ms, answers(200)))
		call(t, h.Transport(b), request(t, "POST", "x"))
		call(t, h.Transport(b), request(t, "GET", ""))
		assert.Len(t, b.seen(), 3)
	})
}

func TestSafeBodyPerAttempt(t *testing.T) {
	bubble(t, "each of its own, each closed", func(t *testing.T) {
		req := request(t, "POST", "x")
		req.Header.Set("Idempotency-Key", "7")
		bodies := []*body{}
		fresh := func() (io.ReadCloser, error) {
			b := &body{under: io.NopCloser(strings.NewReader("an upload"))}
			bodies = append(bodies, b)
			return b, nil
		}
		req.Body, _ = fresh()
		req.GetBody = fresh
		b := newBase(hangs, after(ms, answers(200)))
		call(t, hedge.MustNew(fixed(hedge.Config{})).Transport(b), req)
		require.Len(t, bodies, 2)
		for n, tr := range b.seen() {
			assert.Equal(t, "an upload", tr.sent)
			assert.True(t, bodies[n].isClosed())
		}
	})
	bubble(t, "that cannot be had again", func(t *testing.T) {
		req := request(t, "GET", "x")
		req.GetBody = func() (io.ReadCloser, error) { return nil, errBoom }
		b := newBase(after(15*ms, answers(200)))
		got := call(t, hedge.MustNew(fixed(hedge.Config{})).Transport(b), req)
		assert.Equal(t, reply{200, nil, 15 * ms, 1}, got)
		assert.Len(t, b.seen(), 1)
	})
	bubble(t, "that cannot be had again, and the first failed", func(t *testing.T) {
		first := errors.New("first")
		req := request(t, "GET", "x")
		req.GetBody = func() (io.ReadCloser, error) { return nil, errBoom }
		got := call(t, hedge.MustNew(fixed(hedge.Config{})).Transport(newBase(fails(first))), req)
		assert.ErrorIs(t, got.err, first)
		var failed *hedge.Error
		require.ErrorAs(t, got.err, &failed)
		require.Len(t, failed.Tries, 2)
		assert.ErrorIs(t, failed.Tries[1].Err, errBoom)
		assert.ErrorContains(t, failed.Tries[1].Err, "get the request body again")
	})
	bubble(t, "is closed though a rule of the user's panics", func(t *testing.T) {
		for _, cfg := range []hedge.Config{
			{Repeatable: func(*http.Request) bool { panic("rule") }},
			{Key: func(*http.Request) string { panic("rule") }},
		} {
			req := request(t, "GET", "x")
			sent := &body{under: req.Body}
			req.Body = sent
			assert.PanicsWithValue(t, "rule", func() {
				_, _ = hedge.MustNew(cfg).Transport(newBase(answers(200))).RoundTrip(req)
			})
			assert.True(t, sent.isClosed())
		}
	})
}

func TestSafeForTheCallersRequest(t *testing.T) {
	bubble(t, "which is not changed, and of which hedges have a copy", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{
			AttemptHeader: true, Endpoints: []string{"http://a.test", "http://b.test"},
		}))
		b := newBase(hangs, after(5*ms, func(req *http.Request) (*http.Response, error) {
			req.Header.Set("X-Scribble", "1")
			req.URL.Path = "/scribble"
			return answers(200)(req)
		}))
		req := get(t)
		req.Header.Set("Accept", "text/plain")
		call(t, h.Transport(b), req)
		assert.Equal(t, http.Header{"Accept": {"text/plain"}}, req.Header)
		assert.Equal(t, "http://shop.test/prices", req.URL.String())
		assert.Equal(t, "shop.test", req.Host)
		for _, tr := range b.seen() {
			assert.Equal(t, "text/plain", tr.req.Header.Get("Accept"))
		}
	})
	bubble(t, "a request without a URL is the base's to refuse", func(t *testing.T) {
		refuses := fails(errBoom)
		req := get(t)
		req.URL = nil
		_, err := hedge.MustNew(hedge.Config{}).Transport(roundTrip(refuses)).RoundTrip(req)
		assert.ErrorIs(t, err, errBoom)
	})
}

func TestSafeNests(t *testing.T) {
	bubble(t, "a hedge is not hedged again, its first attempt is", func(t *testing.T) {
		inner := hedge.MustNew(fixed(hedge.Config{}))
		outer := hedge.MustNew(fixed(hedge.Config{}))
		b := newBase(after(100*ms, answers(200)))
		var numbers tally
		rt := outer.Transport(inner.Transport(roundTrip(func(req *http.Request) (*http.Response, error) {
			numbers.add(hedge.Attempt(req.Context()))
			return b.RoundTrip(req)
		})))
		assert.Equal(t, 100*ms, call(t, rt, get(t)).took)
		synctest.Wait()
		assert.ElementsMatch(t, []int{1, 2, 2}, numbers.all())
	})
}
