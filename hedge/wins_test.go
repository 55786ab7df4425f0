package hedge_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/budget"
	"github.com/failsoft/failsoft/hedge"
)

func TestFirstAcceptableWins(t *testing.T) {
	bad := &net.OpError{Op: "read", Err: errBoom}
	for name, tt := range map[string]struct {
		legs []script
		want reply
		sent []time.Duration
	}{
		"the primary, though the hedge is on its way": {
			[]script{after(15*ms, answers(200)), hangs},
			reply{200, nil, 15 * ms, 1},
			[]time.Duration{0, 10 * ms},
		},
		"the hedge, though the primary is still running": {
			[]script{after(time.Second, answers(200)), after(5*ms, answers(200))},
			reply{200, nil, 15 * ms, 2},
			[]time.Duration{0, 10 * ms},
		},
		"a hedge that fails never beats a live primary": {
			[]script{after(50*ms, answers(200)), answers(503)},
			reply{200, nil, 50 * ms, 1},
			[]time.Duration{0, 10 * ms},
		},
		"nor does one that breaks": {
			[]script{after(50*ms, answers(200)), fails(bad)},
			reply{200, nil, 50 * ms, 1},
			[]time.Duration{0, 10 * ms},
		},
		"a primary that fails late never beats a live hedge": {
			[]script{after(15*ms, answers(503)), after(50*ms, answers(200))},
			reply{200, nil, 60 * ms, 2},
			[]time.Duration{0, 10 * ms},
		},
		"404 is an answer": {
			[]script{after(15*ms, answers(404)), hangs},
			reply{404, nil, 15 * ms, 1},
			[]time.Duration{0, 10 * ms},
		},
		"501 is an answer": {
			[]script{answers(501)},
			reply{501, nil, 0, 1},
			[]time.Duration{0},
		},
		"after all failed, the last response": {
			[]script{after(20*ms, answers(500)), after(5*ms, answers(503))},
			reply{500, nil, 20 * ms, 1},
			[]time.Duration{0, 10 * ms},
		},
		"after all failed, a response before an error that came later": {
			[]script{after(20*ms, fails(bad)), after(5*ms, answers(503))},
			reply{503, nil, 20 * ms, 2},
			[]time.Duration{0, 10 * ms},
		},
		"after all failed, a response before an error that came sooner": {
			[]script{after(20*ms, answers(503)), after(5*ms, fails(bad))},
			reply{503, nil, 20 * ms, 1},
			[]time.Duration{0, 10 * ms},
		},
	} {
		bubble(t, name, func(t *testing.T) {
			h := hedge.MustNew(fixed(hedge.Config{}))
			b := newBase(tt.legs...)
			assert.Equal(t, tt.want, call(t, h.Transport(b), get(t)))
			synctest.Wait()
			assert.Equal(t, tt.sent, b.times())
			for _, tr := range b.seen() {
				assert.Error(t, tr.ctx.Err(), "attempt %d has ended", tr.attempt)
				if tr.answer() != nil {
					tr.assertDrained(t)
				}
			}
		})
	}
}

func TestFirstAcceptableWinsAFastFailureStartsTheNext(t *testing.T) {
	for name, tt := range map[string]struct {
		first script
		want  reply
		sent  int
	}{
		"502":                           {answers(502), reply{200, nil, 0, 2}, 2},
		"503":                           {answers(503), reply{200, nil, 0, 2}, 2},
		"504":                           {answers(504), reply{200, nil, 0, 2}, 2},
		"error of the transport":        {fails(errBoom), reply{200, nil, 0, 2}, 2},
		"dial error":                    {fails(&net.OpError{Op: "dial", Err: errBoom}), reply{200, nil, 0, 2}, 2},
		"refusal of a policy below":     {fails(refusal{}), reply{0, refusal{}, 0, 0}, 1},
		"500 would fail again":          {answers(500), reply{500, nil, 0, 1}, 1},
		"505 too":                       {answers(505), reply{505, nil, 0, 1}, 1},
		"429 asks for the opposite":     {answers(429), reply{429, nil, 0, 1}, 1},
		"503 with a Retry-After too":    {answers(503, "Retry-After", "1"), reply{503, nil, 0, 1}, 1},
		"502 with one is no such thing": {answers(502, "Retry-After", "1"), reply{200, nil, 0, 2}, 2},
	} {
		for when, cfg := range map[string]hedge.Config{"fixed delay": fixed(hedge.Config{}), "warm-up": {}} {
			bubble(t, name+", "+when, func(t *testing.T) {
				cfg.Budget = rich()
				b := newBase(tt.first, answers(200))
				assert.Equal(t, tt.want, call(t, hedge.MustNew(cfg).Transport(b), get(t)))
				synctest.Wait()
				assert.Len(t, b.seen(), tt.sent)
			})
		}
	}
	bubble(t, "at the moment of the failure", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{MaxAttempts: 3}))
		b := newBase(after(4*ms, answers(502)), after(3*ms, answers(503)), answers(200))
		assert.Equal(t, reply{200, nil, 7 * ms, 3}, call(t, h.Transport(b), get(t)))
		assert.Equal(t, []time.Duration{0, 4 * ms, 7 * ms}, b.times())
	})
	bubble(t, "and that is slow again", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{MaxAttempts: 3}))
		b := newBase(after(4*ms, answers(502)), hangs, answers(200))
		got := call(t, h.Transport(b), get(t))
		assert.Equal(t, 200, got.status)
		assert.Equal(t, 3, got.from)
		assert.Len(t, b.seen(), 3)
	})
	bubble(t, "MaxAttempts is the most", func(t *testing.T) {
		b := newBase(answers(502))
		assert.Equal(t, 502, call(t, hedge.MustNew(fixed(hedge.Config{MaxAttempts: 3})).Transport(b), get(t)).status)
		assert.Len(t, b.seen(), 3)
	})
	bubble(t, "1 is never", func(t *testing.T) {
		b := newBase(answers(502))
		call(t, hedge.MustNew(fixed(hedge.Config{MaxAttempts: 1})).Transport(b), get(t))
		assert.Len(t, b.seen(), 1)
	})
	bubble(t, "500 leaves it to the hedge that is on its way", func(t *testing.T) {
		b := newBase(after(15*ms, answers(500)), after(20*ms, answers(200)))
		got := call(t, hedge.MustNew(fixed(hedge.Config{})).Transport(b), get(t))
		assert.Equal(t, reply{200, nil, 30 * ms, 2}, got)
	})
}

func TestFirstAcceptableWinsByTheUsersJudge(t *testing.T) {
	partial := func(resp *http.Response, err error) hedge.Outcome {
		switch {
		case err != nil:
			return hedge.ByRule
		case resp.Header.Get("X-Partial") != "":
			return hedge.Fail
		case resp.StatusCode == 500:
			return hedge.Accept
		}
		return hedge.ByRule
	}
	for name, tt := range map[string]struct {
		legs []script
		want reply
	}{
		"fails a 200":     {[]script{answers(200, "X-Partial", "yes"), answers(200)}, reply{200, nil, 0, 2}},
		"accepts a 500":   {[]script{after(15*ms, answers(500)), hangs}, reply{500, nil, 15 * ms, 1}},
		"leaves the rest": {[]script{answers(502), answers(200)}, reply{200, nil, 0, 2}},
		"and the errors":  {[]script{fails(errBoom), answers(200)}, reply{200, nil, 0, 2}},
	} {
		bubble(t, name, func(t *testing.T) {
			h := hedge.MustNew(fixed(hedge.Config{Judge: partial}))
			assert.Equal(t, tt.want, call(t, h.Transport(newBase(tt.legs...)), get(t)))
		})
	}
	bubble(t, "an error that is accepted is returned as it is", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{
			Judge: func(*http.Response, error) hedge.Outcome { return hedge.Accept },
		}))
		got := call(t, h.Transport(newBase(after(15*ms, fails(errBoom)), hangs)), get(t))
		assert.Equal(t, reply{err: errBoom, took: 15 * ms}, got)
	})
	bubble(t, "a panic of it closes the response and surfaces", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{Judge: func(*http.Response, error) hedge.Outcome { panic("judge") }}))
		b := newBase(answers(200))
		assert.PanicsWithValue(t, "judge", func() { _, _ = h.Transport(b).RoundTrip(get(t)) })
		synctest.Wait()
		assert.True(t, b.seen()[0].answer().isClosed())
	})
}

func TestFirstAcceptableWinsOrTheFirstErrorIsTold(t *testing.T) {
	other := errors.New("other")
	fail := func(t *testing.T, cfg hedge.Config, legs ...script) error {
		t.Helper()
		return call(t, hedge.MustNew(fixed(cfg)).Transport(newBase(legs...)), get(t)).err
	}
	bubble(t, "with what became of the others", func(t *testing.T) {
		err := fail(t, hedge.Config{}, after(20*ms, fails(other)), fails(errBoom))
		var failed *hedge.Error
		require.ErrorAs(t, err, &failed)
		assert.ErrorIs(t, err, errBoom)
		assert.NotErrorIs(t, err, other)
		assert.Equal(t, []hedge.Try{
			{Attempt: 2, Host: "shop.test", Err: errBoom},
			{Attempt: 1, Host: "shop.test", Err: other},
		}, failed.Tries)
		assert.Equal(t, "shop.test", failed.Host())
		assert.False(t, failed.Unsent())
		assert.False(t, failed.Timeout())
		assert.EqualError(t, err, "hedge: 2 attempts: boom")
	})
	bubble(t, "as it is after a single attempt", func(t *testing.T) {
		assert.Equal(t, errBoom, fail(t, hedge.Config{MaxAttempts: 1}, fails(errBoom)))
		poor := budget.MustNew(budget.Config{Floor: budget.NoFloor})
		assert.Equal(t, errBoom, fail(t, hedge.Config{Budget: poor}, fails(errBoom)))
	})
	dial := &net.OpError{Op: "dial", Err: errBoom}
	for name, tt := range map[string]struct {
		first, second error
		unsent        bool
	}{
		"neither sent":                  {dial, dial, true},
		"one refused by a policy below": {dial, refusal{}, true},
		"the first sent":                {io.ErrUnexpectedEOF, dial, false},
		"the second sent":               {dial, io.ErrUnexpectedEOF, false},
	} {
		bubble(t, "Unsent: "+name, func(t *testing.T) {
			err := fail(t, hedge.Config{}, fails(tt.first), fails(tt.second))
			var failed *hedge.Error
			require.ErrorAs(t, err, &failed)
			assert.Equal(t, tt.unsent, failed.Unsent())
		})
	}
	bubble(t, "Timeout: of the first", func(t *testing.T) {
		err := fail(t, hedge.Config{}, fails(context.DeadlineExceeded), fails(errBoom))
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		assert.True(t, timeout.Timeout())
	})
	bubble(t, "Host: of the last", func(t *testing.T) {
		err := fail(t, hedge.Config{Endpoints: []string{"http://a.test", "http://b.test"}}, fails(errBoom))
		var failed *hedge.Error
		require.ErrorAs(t, err, &failed)
		assert.Equal(t, "a.test", failed.Tries[0].Host)
		assert.Equal(t, "b.test", failed.Host())
	})
	t.Run("of no attempts", func(t *testing.T) {
		none := &hedge.Error{Err: errBoom}
		assert.Empty(t, none.Host())
		assert.False(t, none.Unsent())
	})
}

func TestFirstAcceptableWinsUnlessTheCallerLeaves(t *testing.T) {
	leave := func(t *testing.T, after time.Duration, cause error, b *base) (reply, error) {
		t.Helper()
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(after, func() { cancel(cause) })
		got := call(t, hedge.MustNew(fixed(hedge.Config{})).Transport(b), get(t).WithContext(ctx))
		synctest.Wait()
		for _, tr := range b.seen() {
			assert.Error(t, tr.ctx.Err())
		}
		return got, got.err
	}
	bubble(t, "while both attempts run", func(t *testing.T) {
		b := newBase(hangs)
		got, err := leave(t, 30*ms, errBoom, b)
		assert.Equal(t, 30*ms, got.took)
		assert.ErrorIs(t, err, context.Canceled)
		assert.Len(t, b.seen(), 2)
	})
	bubble(t, "who cancels expects no response", func(t *testing.T) {
		b := newBase(after(15*ms, answers(500)), hangs)
		got, err := leave(t, 30*ms, nil, b)
		assert.Equal(t, 30*ms, got.took)
		assert.ErrorIs(t, err, context.Canceled)
		assert.ErrorContains(t, err, "500")
		synctest.Wait()
		b.seen()[0].assertDrained(t)
	})
	bubble(t, "whose deadline passes gets what there is", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*ms)
		defer cancel()
		b := newBase(after(15*ms, answers(500)), hangs)
		got := call(t, hedge.MustNew(fixed(hedge.Config{})).Transport(b), get(t).WithContext(ctx))
		assert.Equal(t, reply{500, nil, 30 * ms, 1}, got)
	})
	bubble(t, "by http.Client.Timeout", func(t *testing.T) {
		client := &http.Client{Timeout: 30 * ms, Transport: hedge.MustNew(fixed(hedge.Config{})).Transport(newBase(hangs))}
		start := time.Now()
		_, err := client.Do(get(t))
		assert.Equal(t, 30*ms, time.Since(start))
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		assert.True(t, timeout.Timeout())
	})
	bubble(t, "no attempt is added for who has left", func(t *testing.T) {
		b := newBase(deaf(20*ms, answers(502)))
		got, _ := leave(t, 5*ms, nil, b)
		assert.Equal(t, 20*ms, got.took)
		assert.Len(t, b.seen(), 1)
	})
}
