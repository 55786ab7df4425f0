package rt_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/rt"
)

var errTabClosed = errors.New("tab closed")

// late is a context whose deadline has passed before its timer says so.
type late struct {
	context.Context

	deadline time.Time
}

func (l late) Deadline() (time.Time, bool) { return l.deadline, true }

// bubble runs fn where time is simulated.
func bubble(t *testing.T, name string, fn func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, fn) })
}

func TestCallerOfARequest(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, 1)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://cart.test", http.NoBody)
	require.NoError(t, err)
	cancel := make(chan struct{})
	req.Cancel = cancel //nolint:staticcheck // http.Client closes it still
	caller := rt.CallerOf(req)
	assert.Equal(t, ctx, caller.Ctx)
	require.NoError(t, caller.Ended(time.Now()))
	close(cancel)
	assert.ErrorIs(t, caller.Ended(time.Now()), context.Canceled)
}

func TestCallerThatHasNotEnded(t *testing.T) {
	later, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for name, caller := range map[string]rt.Caller{
		"background":     {Ctx: t.Context()},
		"deadline ahead": {Ctx: later},
		"open channel":   {Ctx: later, Cancel: make(chan struct{})},
	} {
		assert.NoError(t, caller.Ended(time.Now()), name)
	}
}

func TestEndOfACallerIsFoundByItsErrorAndByItsCause(t *testing.T) {
	gaveUp, cancel := context.WithCancel(t.Context())
	cancel()
	forAReason, cancelCause := context.WithCancelCause(t.Context())
	cancelCause(errTabClosed)
	withBoth, cancelBoth := context.WithCancelCause(t.Context())
	both := errors.Join(errTabClosed, context.Canceled)
	cancelBoth(both)
	outOfTime, cancelTime := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancelTime()
	tooSlow := errors.New("too slow")
	withCause, cancelCaused := context.WithDeadlineCause(t.Context(), time.Unix(0, 0), tooSlow)
	defer cancelCaused()
	parentLeft, cancelChild := context.WithTimeout(forAReason, time.Hour)
	defer cancelChild()

	cases := map[string]struct {
		ctx  context.Context
		want []error
	}{
		"canceled":                       {gaveUp, []error{context.Canceled}},
		"canceled for a reason":          {forAReason, []error{context.Canceled, errTabClosed}},
		"cause that is a cancellation":   {withBoth, []error{both, context.Canceled, errTabClosed}},
		"deadline":                       {outOfTime, []error{context.DeadlineExceeded}},
		"deadline with a cause":          {withCause, []error{context.DeadlineExceeded, tooSlow}},
		"child of a caller that is gone": {parentLeft, []error{context.Canceled, errTabClosed}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			caller := rt.Caller{Ctx: c.ctx}
			for _, want := range c.want {
				require.ErrorIs(t, caller.Ended(time.Now()), want)
				require.ErrorIs(t, caller.Sleep(time.Hour), want)
			}
		})
	}
}

// Who cancels tells by the text too: "context canceled" alone would be no help at night.
func TestEndOfACallerNamesItsCause(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errTabClosed)
	assert.EqualError(t, rt.Caller{Ctx: ctx}.Ended(time.Now()), "context canceled: tab closed")
}

func TestCallerEndsAtItsDeadline(t *testing.T) {
	deadline := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	caller := rt.Caller{Ctx: late{t.Context(), deadline}}
	require.NoError(t, caller.Ended(deadline.Add(-1)))
	require.ErrorIs(t, caller.Ended(deadline), context.DeadlineExceeded)
	require.ErrorIs(t, caller.Ended(deadline.Add(time.Hour)), context.DeadlineExceeded)
}

func TestCallerEndsByChannel(t *testing.T) {
	cancel := make(chan struct{})
	caller := rt.Caller{Ctx: t.Context(), Cancel: cancel}
	require.NoError(t, caller.Ended(time.Now()))
	close(cancel)
	require.ErrorIs(t, caller.Ended(time.Now()), context.Canceled)
	require.NotErrorIs(t, caller.Ended(time.Now()), context.DeadlineExceeded)
}

func TestEndedOfALiveCallerAllocatesNothing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	caller, now := rt.Caller{Ctx: ctx, Cancel: make(chan struct{})}, time.Now()
	assert.Zero(t, testing.AllocsPerRun(100, func() { _ = caller.Ended(now) }))
}

func TestSleep(t *testing.T) {
	const d = time.Second
	type ending struct {
		caller func(t *testing.T) rt.Caller
		slept  time.Duration
		want   error
	}
	after := func(wait time.Duration, cause error) func(*testing.T) rt.Caller {
		return func(t *testing.T) rt.Caller {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(wait, func() { cancel(cause) })
			return rt.Caller{Ctx: ctx}
		}
	}
	deadline := func(in time.Duration) func(*testing.T) rt.Caller {
		return func(t *testing.T) rt.Caller {
			ctx, cancel := context.WithTimeout(t.Context(), in)
			t.Cleanup(cancel)
			return rt.Caller{Ctx: ctx}
		}
	}
	lateBy := func(in time.Duration) func(*testing.T) rt.Caller {
		return func(t *testing.T) rt.Caller { return rt.Caller{Ctx: late{t.Context(), time.Now().Add(in)}} }
	}
	channel := func(in time.Duration) func(*testing.T) rt.Caller {
		return func(t *testing.T) rt.Caller {
			cancel := make(chan struct{})
			time.AfterFunc(in, func() { close(cancel) })
			return rt.Caller{Ctx: t.Context(), Cancel: cancel}
		}
	}
	cases := map[string]ending{
		"nobody leaves":              {func(t *testing.T) rt.Caller { return rt.Caller{Ctx: t.Context()} }, d, nil},
		"leaves just before":         {after(d-1, nil), d - 1, context.Canceled},
		"leaves just after":          {after(d+1, nil), d, nil},
		"leaves with a cause":        {after(d/2, errTabClosed), d / 2, errTabClosed},
		"deadline just before":       {deadline(d - 1), d - 1, context.DeadlineExceeded},
		"deadline at that moment":    {deadline(d), d, context.DeadlineExceeded},
		"deadline just after":        {deadline(d + 1), d, nil},
		"deadline with a late timer": {lateBy(d / 2), d, context.DeadlineExceeded},
		"late, at that moment":       {lateBy(d), d, context.DeadlineExceeded},
		"late, just after":           {lateBy(d + 1), d, nil},
		"channel just before":        {channel(d - 1), d - 1, context.Canceled},
		"channel just after":         {channel(d + 1), d, nil},
	}
	for name, c := range cases {
		bubble(t, name, func(t *testing.T) {
			caller, start := c.caller(t), time.Now()
			require.ErrorIs(t, caller.Sleep(d), c.want)
			assert.Equal(t, c.slept, time.Since(start))
		})
	}
}

func TestSleepOfNoTime(t *testing.T) {
	for name, d := range map[string]time.Duration{"zero": 0, "negative": -time.Second, "least": -1 << 63} {
		bubble(t, name, func(t *testing.T) {
			start := time.Now()
			require.NoError(t, rt.Caller{Ctx: t.Context()}.Sleep(d))
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			for range 100 { // a timer that has fired and a caller that has left are chosen between by chance
				require.ErrorIs(t, rt.Caller{Ctx: ctx}.Sleep(d), context.Canceled)
			}
			assert.Zero(t, time.Since(start))
		})
	}
}

// http.Client.Timeout comes in by the context's deadline and by Request.Cancel.
func TestTimeoutOfAClientEndsTheCaller(t *testing.T) {
	bubble(t, "both ways", func(t *testing.T) {
		start := time.Now()
		client := &http.Client{Timeout: time.Second, Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			caller := rt.CallerOf(req)
			require.NoError(t, caller.Sleep(time.Second-1))
			return nil, caller.Sleep(time.Hour)
		})}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://cart.test", http.NoBody)
		require.NoError(t, err)
		resp, err := client.Do(req)
		require.Error(t, err)
		assert.Nil(t, resp)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(start))
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
