package retry_test

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/retry"
)

// watch records events, without the parts that are drawn by chance.
func watch(events *[]retry.Event) func(context.Context, retry.Event) {
	return func(_ context.Context, e retry.Event) {
		e.Wait = 0
		*events = append(*events, e)
	}
}

func TestEventsTellTheWholeCall(t *testing.T) {
	bubble(t, "that recovers", func(t *testing.T) {
		var got []retry.Event
		_, _ = send(t, retry.Config{Observe: watch(&got)}, thenOK(1, 503), request(t, "GET", ""))
		common := retry.Event{Key: "shop.test", Host: "shop.test"}
		first, wait, second := common, common, common
		first.Kind, first.Attempt, first.Status = retry.Attempted, 1, 503
		wait.Kind, wait.Attempt, wait.Status = retry.Waiting, 1, 503
		second.Kind, second.Attempt, second.Status = retry.Attempted, 2, 200
		assert.Equal(t, []retry.Event{first, wait, second}, got)
	})
	bubble(t, "that does not", func(t *testing.T) {
		var got []retry.Event
		_, _ = send(t, retry.Config{Observe: watch(&got), MaxAttempts: 1}, failing(errBoom), request(t, "GET", ""))
		require.Len(t, got, 2)
		assert.Equal(t, retry.Stopped, got[1].Kind)
		assert.Equal(t, retry.OutOfAttempts, got[1].Reason)
		assert.ErrorIs(t, got[1].Err, errBoom)
	})
	bubble(t, "that is fine", func(t *testing.T) {
		var got []retry.Event
		_, _ = send(t, retry.Config{Observe: watch(&got)}, always(200), request(t, "GET", ""))
		require.Len(t, got, 1)
		assert.Equal(t, 200, got[0].Status)
	})
	bubble(t, "whose elapsed time is the attempt's", func(t *testing.T) {
		var got []retry.Event
		cfg := retry.Config{Observe: watch(&got), TryTimeout: time.Second, MaxAttempts: 2}
		_, _ = send(t, cfg, hang, request(t, "GET", ""))
		assert.Equal(t, time.Second, got[0].Elapsed)
		assert.Equal(t, time.Second, got[2].Elapsed)
	})
}

func TestObserveMayPanicAndCallBack(t *testing.T) {
	bubble(t, "both", func(t *testing.T) {
		var r *retry.Retrier
		calls := 0
		observe := func(context.Context, retry.Event) {
			calls++
			_ = r.Snapshot()
			panic("observer")
		}
		r = retry.MustNew(retry.Config{Observe: observe, Budget: rich()})
		base, _ := thenOK(1, 503).base()
		resp, err := r.Transport(base).RoundTrip(request(t, "GET", ""))
		require.NoError(t, err)
		assert.Equal(t, 200, resp.StatusCode)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, 3, calls)
	})
}

func TestEventLogs(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	for _, e := range []retry.Event{
		{Kind: retry.Attempted, Key: "k", Attempt: 1, Host: "h", Status: 503, Elapsed: time.Second},
		{Kind: retry.Waiting, Key: "k", Attempt: 1, Wait: time.Second},
		{Kind: retry.Stopped, Key: "k", Attempt: 2, Err: errBoom, Reason: retry.OutOfBudget},
	} {
		log.Info("call", "retry", e)
	}
	assert.Contains(t, out.String(), "retry.kind=attempted retry.key=k retry.attempt=1 retry.host=h retry.status=503 retry.elapsed=1s")
	assert.Contains(t, out.String(), "retry.kind=waiting retry.key=k retry.attempt=1 retry.wait=1s")
	assert.Contains(t, out.String(), `retry.kind=stopped retry.key=k retry.attempt=2 retry.error=boom retry.reason="out of budget"`)
}
