package breaker_test

import (
	"bytes"
	"context"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/breaker"
)

func TestEventsTellTheWholeOutage(t *testing.T) {
	bubble(t, "in order", func(t *testing.T) {
		seen := new(log)
		b := breaker.MustNew(breaker.Config{
			Observe: seen.observe, Rules: breaker.Rules{Consecutive: 1, Probes: 1},
		})
		require.ErrorIs(t, b.Run(t.Context(), key, func(context.Context) error { return errDown }), errDown)
		refusal := refused(t, b)
		sitOut(t, b)
		results(t, b, 1, breaker.Success)
		time.Sleep(10 * time.Second)
		require.Equal(t, breaker.Closed, b.State(key))

		change := breaker.Event{Kind: breaker.Changed, Key: key, Cause: breaker.CauseConsecutive, Err: errDown}
		step := func(seq uint64, from, to breaker.State) breaker.Event {
			e := change
			e.Seq, e.From, e.State = seq, from, to
			return e
		}
		assert.Equal(t, []breaker.Event{
			step(1, breaker.Closed, breaker.Open),
			step(2, breaker.Open, breaker.HalfOpen),
			step(3, breaker.HalfOpen, breaker.Ramping),
			step(4, breaker.Ramping, breaker.Closed),
		}, seen.of(breaker.Changed))
		assert.Equal(t, []breaker.Event{{
			Kind: breaker.Rejected, Key: key, State: breaker.Open, Cause: breaker.CauseConsecutive, Err: refusal,
		}}, seen.of(breaker.Rejected))
	})
}

func TestEventsMayCallBackAndPanic(t *testing.T) {
	bubble(t, "both", func(t *testing.T) {
		var b *breaker.Breaker
		var states []breaker.State
		observe := func(_ context.Context, e breaker.Event) {
			states = append(states, b.State(e.Key))
			_ = b.Snapshot()
			if e.State == breaker.Open && e.Kind == breaker.Changed {
				_ = b.Set(e.Key, breaker.Override{Mode: breaker.Isolated, Reason: "from the hook"})
				_ = b.Trip("another")
				_ = b.Reconfigure(only(nil))
			}
			panic("observer")
		}
		b = breaker.MustNew(breaker.Config{
			Observe: observe, Rules: only(func(r *breaker.Rules) { r.Consecutive = 1 }),
		})
		results(t, b, 1, breaker.Failure)
		assert.Equal(t, "from the hook", refused(t, b).Override.Reason)
		assert.Equal(t, breaker.Open, b.State("another"))
		// Changed, Overridden and Rejected of key, Changed and Overridden of another.
		assert.Len(t, states, 5)
		assert.NotContains(t, states, breaker.Closed)
	})
}

func TestEventsComeInOrderPerKey(t *testing.T) {
	const workers, rounds, keys = 8, 300, 3
	var mu sync.Mutex
	var telling [keys]atomic.Int32
	latest := make(map[string]breaker.Event)
	observe := func(_ context.Context, e breaker.Event) {
		if e.Kind != breaker.Changed && e.Kind != breaker.Overridden {
			return
		}
		i, err := strconv.Atoi(e.Key)
		assert.NoError(t, err)
		assert.EqualValues(t, 1, telling[i].Add(1), "one at a time per key")
		defer telling[i].Add(-1)
		mu.Lock()
		defer mu.Unlock()
		assert.Equal(t, latest[e.Key].Seq+1, e.Seq)
		assert.Equal(t, latest[e.Key].State, e.From, "it goes on where the one before ended")
		latest[e.Key] = e
	}
	b := breaker.MustNew(breaker.Config{
		Observe: observe, MaxOpenFraction: breaker.Off, Rules: breaker.Rules{Consecutive: 1, OpenTime: time.Millisecond},
	})
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := range rounds {
				k := strconv.Itoa(i % keys)
				switch (i + w) % 5 {
				case 0:
					_ = b.Trip(k)
				case 1:
					_ = b.Reset(k)
				case 2:
					_ = b.Set(k, breaker.Override{Mode: breaker.Mode(i % 4), Reason: strconv.Itoa(w)})
				default:
					_ = b.Run(context.Background(), k, func(context.Context) error { return errDown })
				}
			}
		})
	}
	all.Wait()
	circuits := b.Snapshot().Circuits // first: it tells of open times that are over by now
	for k, e := range latest {
		assert.Equal(t, circuits[k[0]-'0'].State, e.State, "all were told")
		assert.Greater(t, e.Seq, uint64(rounds/keys))
	}
	assert.Len(t, latest, keys)
}

func TestEventsLog(t *testing.T) {
	var out bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&out, nil))
	for _, e := range []breaker.Event{
		{Kind: breaker.Changed, Key: "k", From: breaker.Open, State: breaker.HalfOpen, Cause: breaker.CauseStalled, Err: errDown},
		{Kind: breaker.Overridden, Key: "k", Override: breaker.Isolated, Reason: "migration"},
		{Kind: breaker.Kind(99), Key: "k"},
	} {
		logger.Info("circuit", "breaker", e)
	}
	for _, want := range []string{
		`breaker.kind=changed breaker.key=k breaker.state=half-open breaker.from=open breaker.cause="stalled calls" breaker.error=down`,
		`breaker.kind=overridden breaker.key=k breaker.state=closed breaker.override=isolated breaker.reason=migration`,
		`breaker.kind=unknown breaker.key=k`,
	} {
		assert.Contains(t, out.String(), want)
	}
}
