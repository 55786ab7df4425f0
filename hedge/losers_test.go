package hedge_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/hedge"
)

const overtaken = "hedge: another attempt was the answer"

func TestLosersAreCanceled(t *testing.T) {
	bubble(t, "the primary, with a cause", func(t *testing.T) {
		b := newBase(hangs, after(5*ms, answers(200)))
		got := call(t, hedge.MustNew(fixed(hedge.Config{})).Transport(b), get(t))
		assert.Equal(t, reply{200, nil, 15 * ms, 2}, got)
		lost := b.seen()[0]
		assert.Equal(t, 15*ms, lost.back())
		assert.ErrorIs(t, lost.ctx.Err(), context.Canceled)
		assert.EqualError(t, context.Cause(lost.ctx), overtaken)
	})
	bubble(t, "the hedge, with a cause", func(t *testing.T) {
		b := newBase(after(15*ms, answers(200)), hangs)
		call(t, hedge.MustNew(fixed(hedge.Config{})).Transport(b), get(t))
		synctest.Wait()
		lost := b.seen()[1]
		assert.Equal(t, 15*ms, lost.back())
		assert.EqualError(t, context.Cause(lost.ctx), overtaken)
	})
	bubble(t, "not the caller", func(t *testing.T) {
		b := newBase(hangs, answers(200))
		req := get(t)
		call(t, hedge.MustNew(fixed(hedge.Config{})).Transport(b), req)
		assert.NoError(t, req.Context().Err())
	})
}

func TestLosersAreDrainedAndClosed(t *testing.T) {
	ignoring := func(b *base) { // its answer comes though it was canceled
		b.legs[0] = onEnd(answers(200))
	}
	bubble(t, "a primary that answers too late", func(t *testing.T) {
		b := newBase(nil, answers(200))
		ignoring(b)
		call(t, hedge.MustNew(fixed(hedge.Config{})).Transport(b), get(t))
		synctest.Wait()
		lost := b.seen()[0]
		assert.True(t, lost.answer().isClosed())
		assert.Error(t, lost.ctx.Err())
	})
	bubble(t, "a hedge that answers too late", func(t *testing.T) {
		b := newBase(after(15*ms, answers(200)), deaf(30*ms, answers(200)))
		got := call(t, hedge.MustNew(fixed(hedge.Config{})).Transport(b), get(t))
		assert.Equal(t, 15*ms, got.took, "the caller does not wait for it")
		time.Sleep(25*ms - 1)
		synctest.Wait()
		assert.Nil(t, b.seen()[1].answer())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		assert.True(t, b.seen()[1].answer().isClosed())
	})
	bubble(t, "a base that ignores its context: the caller waits for it", func(t *testing.T) {
		b := newBase(deaf(time.Second, answers(200)), answers(200, "Which", "second"))
		got := call(t, hedge.MustNew(fixed(hedge.Config{})).Transport(b), get(t))
		assert.Equal(t, reply{200, nil, time.Second, 2}, got, "though the answer is the hedge's")
		synctest.Wait()
		assert.True(t, b.seen()[0].answer().isClosed())
	})
	bubble(t, "a base that ignores its context, with a grace: the caller does not wait", func(t *testing.T) {
		b := newBase(deaf(time.Second, answers(200)), answers(200))
		got := call(t, hedge.MustNew(fixed(hedge.Config{LoserGrace: ms})).Transport(b), get(t))
		assert.Equal(t, reply{200, nil, 10 * ms, 2}, got)
		time.Sleep(time.Second)
		synctest.Wait()
		assert.True(t, b.seen()[0].answer().isClosed())
	})
	bubble(t, "a failed answer, at once", func(t *testing.T) {
		b := newBase(answers(503), after(5*ms, answers(200)))
		call(t, hedge.MustNew(fixed(hedge.Config{})).Transport(b), get(t))
		synctest.Wait()
		b.seen()[0].assertDrained(t)
	})
	bubble(t, "leaving no goroutine", func(t *testing.T) {
		synctest.Wait()
		before := bubbled()
		h := hedge.MustNew(fixed(hedge.Config{}))
		for _, b := range []*base{newBase(hangs, answers(200)), newBase(after(15*ms, answers(200)), hangs), newBase(answers(503))} {
			call(t, h.Transport(b), get(t))
		}
		synctest.Wait()
		assert.LessOrEqual(t, bubbled(), before)
	})
}

func TestLosersHaveAGrace(t *testing.T) {
	const grace = 100 * ms
	hedger := func() *hedge.Hedger { return hedge.MustNew(fixed(hedge.Config{LoserGrace: grace})) }
	bubble(t, "in which one may finish", func(t *testing.T) {
		b := newBase(after(50*ms, answers(200)), after(5*ms, answers(200)))
		assert.Equal(t, reply{200, nil, 15 * ms, 2}, call(t, hedger().Transport(b), get(t)))
		time.Sleep(35*ms - 1)
		synctest.Wait()
		lost := b.seen()[0]
		assert.NoError(t, lost.ctx.Err())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		assert.Equal(t, 50*ms, lost.back())
		lost.assertDrained(t)
		assert.Error(t, lost.ctx.Err(), "released when it is done")
		assert.NotEqual(t, overtaken, context.Cause(lost.ctx).Error())
	})
	bubble(t, "a hedge too", func(t *testing.T) {
		b := newBase(after(15*ms, answers(200)), after(50*ms, answers(200)))
		assert.Equal(t, 15*ms, call(t, hedger().Transport(b), get(t)).took)
		time.Sleep(45 * ms)
		synctest.Wait()
		b.seen()[1].assertDrained(t)
	})
	bubble(t, "that ends", func(t *testing.T) {
		b := newBase(hangs, after(5*ms, answers(200)))
		call(t, hedger().Transport(b), get(t))
		time.Sleep(grace - 1)
		synctest.Wait()
		lost := b.seen()[0]
		assert.NoError(t, lost.ctx.Err())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		assert.EqualError(t, context.Cause(lost.ctx), overtaken)
		assert.Equal(t, 15*ms+grace, lost.back())
	})
	bubble(t, "but not over HTTP/2", func(t *testing.T) {
		two := func(req *http.Request) (*http.Response, error) {
			resp, err := answers(200)(req)
			resp.Proto, resp.ProtoMajor, resp.ProtoMinor = "HTTP/2.0", 2, 0
			return resp, err
		}
		b := newBase(hangs, after(5*ms, two))
		call(t, hedger().Transport(b), get(t))
		synctest.Wait()
		assert.Equal(t, 15*ms, b.seen()[0].back())
	})
	bubble(t, "which the caller does not end by leaving after the call", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := newBase(after(50*ms, answers(200)), after(5*ms, answers(200)))
		call(t, hedger().Transport(b), get(t).WithContext(ctx))
		cancel()
		synctest.Wait()
		assert.NoError(t, b.seen()[0].ctx.Err())
		time.Sleep(35 * ms)
		synctest.Wait()
		b.seen()[0].assertDrained(t)
	})
	bubble(t, "but by leaving during the call", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		b := newBase(hangs)
		time.AfterFunc(15*ms, func() { cancel(errBoom) })
		got := call(t, hedger().Transport(b), get(t).WithContext(ctx))
		assert.ErrorIs(t, got.err, context.Canceled)
		assert.Equal(t, 15*ms, got.took)
		synctest.Wait()
		for _, tr := range b.seen() {
			assert.Equal(t, 15*ms, tr.back())
			assert.ErrorIs(t, tr.ctx.Err(), context.Canceled)
		}
	})
	bubble(t, "and the caller's deadline is still told", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		b := newBase(hangs, answers(200))
		call(t, hedger().Transport(b), get(t).WithContext(ctx))
		want, _ := ctx.Deadline()
		for _, tr := range b.seen() {
			got, ok := tr.ctx.Deadline()
			assert.True(t, ok)
			assert.Equal(t, want, got)
		}
		time.Sleep(grace)
	})
}

// tells calls the hooks of its caller, as net/http does.
func tells(s script) script {
	return func(req *http.Request) (*http.Response, error) {
		if trace := httptrace.ContextClientTrace(req.Context()); trace != nil {
			trace.GetConn(req.URL.Host)
		}
		return s(req)
	}
}

func TestLosersDoNotCallTheCallersHooks(t *testing.T) {
	traced := func(t *testing.T) (*http.Request, *atomic.Int64) {
		t.Helper()
		calls := new(atomic.Int64)
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GetConn: func(string) { calls.Add(1) }})
		return get(t).WithContext(ctx), calls
	}
	for name, cfg := range map[string]hedge.Config{
		"of the first attempt only": {}, "with a grace as well": {LoserGrace: 50 * ms},
	} {
		bubble(t, name, func(t *testing.T) {
			req, calls := traced(t)
			b := newBase(tells(after(15*ms, answers(200))), tells(hangs))
			call(t, hedge.MustNew(fixed(cfg)).Transport(b), req)
			assert.Len(t, b.seen(), 2)
			assert.EqualValues(t, 1, calls.Load())
			time.Sleep(50 * ms)
		})
	}
	bubble(t, "after the call", func(t *testing.T) {
		req, calls := traced(t)
		b := newBase(after(50*ms, tells(answers(200))), answers(200))
		got := call(t, hedge.MustNew(fixed(hedge.Config{LoserGrace: time.Second})).Transport(b), req)
		assert.Equal(t, 2, got.from)
		time.Sleep(time.Second)
		b.seen()[0].assertDrained(t)
		assert.Zero(t, calls.Load())
	})
	bubble(t, "but during it they are called", func(t *testing.T) {
		req, calls := traced(t)
		b := newBase(after(5*ms, tells(answers(200))), answers(200))
		call(t, hedge.MustNew(fixed(hedge.Config{LoserGrace: time.Second})).Transport(b), req)
		assert.EqualValues(t, 1, calls.Load())
	})
}

func TestLosersLeaveTheWinnersContextAlone(t *testing.T) {
	ends := map[string]func(*http.Response){
		"is read to its end": func(resp *http.Response) { _, _ = io.Copy(io.Discard, resp.Body) },
		"is closed":          func(resp *http.Response) { _ = resp.Body.Close() },
	}
	legs := map[string][]script{
		"primary": {after(15*ms, answers(200)), hangs},
		"hedge":   {hangs, answers(200)},
	}
	for who, legs := range legs {
		for name, end := range ends {
			for policy, grace := range map[string]time.Duration{"": 0, ", with a grace": 50 * ms} {
				bubble(t, "of the "+who+" until the body "+name+policy, func(t *testing.T) {
					b := newBase(legs...)
					resp, err := hedge.MustNew(fixed(hedge.Config{LoserGrace: grace})).Transport(b).RoundTrip(get(t))
					require.NoError(t, err)
					time.Sleep(time.Minute)
					synctest.Wait()
					assert.NoError(t, resp.Request.Context().Err())
					end(resp)
					assert.Error(t, resp.Request.Context().Err())
					require.NoError(t, resp.Body.Close())
				})
			}
		}
	}
}

func TestLosersAndWinnersWithoutBodies(t *testing.T) {
	bare := func(status int, body io.ReadCloser) script {
		return func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, ProtoMajor: 1, Body: body, Request: req}, nil
		}
	}
	for name, s := range map[string]func(status int) script{
		"nil Body": func(status int) script { return bare(status, nil) },
		"NoBody":   func(status int) script { return bare(status, http.NoBody) },
	} {
		for what, legs := range map[string][]script{
			"primary wins": {s(204)},
			"hedge wins":   {hangs, s(204)},
			"late primary": {onEnd(s(200)), s(204)},
			"failed first": {s(503), s(204)},
			"all failed":   {s(503), s(502)},
		} {
			bubble(t, name+", "+what, func(t *testing.T) {
				b := newBase(legs...)
				resp, err := hedge.MustNew(fixed(hedge.Config{})).Transport(b).RoundTrip(get(t))
				require.NoError(t, err)
				assert.Equal(t, http.NoBody, resp.Body)
				assert.Error(t, resp.Request.Context().Err(), "nothing to wait for")
				require.NoError(t, resp.Body.Close())
				synctest.Wait()
				for _, tr := range b.seen() {
					assert.Error(t, tr.ctx.Err())
				}
			})
		}
	}
	bubble(t, "neither response nor error is an error", func(t *testing.T) {
		got := call(t, hedge.MustNew(fixed(hedge.Config{})).Transport(newBase(
			func(*http.Request) (*http.Response, error) { return nil, nil })), get(t))
		assert.ErrorContains(t, got.err, "neither a response nor an error")
	})
}
