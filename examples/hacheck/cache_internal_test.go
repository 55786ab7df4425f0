package main

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bubble runs test in virtual time.
func bubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

func portOf(n int) question { return question{kind: "tcp", service: "orders", port: n} }

// slow is a probe of 50 ms that counts.
func slow(probes *atomic.Int64) func(context.Context, question) answer {
	return func(ctx context.Context, q question) answer {
		n := probes.Add(1)
		timer := time.NewTimer(50 * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
			return answer{200, strconv.Itoa(q.port) + " " + strconv.FormatInt(n, 10)}
		case <-ctx.Done():
			return answer{503, ctx.Err().Error()}
		}
	}
}

func TestCache(t *testing.T) {
	bubble(t, "one probe for a thousand", func(t *testing.T) {
		var probes atomic.Int64
		c := newCache(10*time.Second, time.Minute, 10, slow(&probes))
		begin := time.Now()
		var callers sync.WaitGroup
		for range 1000 {
			callers.Go(func() {
				a, err := c.get(t.Context(), portOf(80))
				assert.NoError(t, err)
				assert.Equal(t, answer{200, "80 1"}, a)
			})
		}
		callers.Wait()
		assert.Equal(t, 50*time.Millisecond, time.Since(begin))
		assert.Equal(t, int64(1), probes.Load())
		assert.Equal(t, map[string]int{"size": 1, "gets": 1000, "hits": 999, "misses": 1}, c.stats())
	})
	bubble(t, "good for 10 s from when it came", func(t *testing.T) {
		var probes atomic.Int64
		c := newCache(10*time.Second, time.Minute, 10, slow(&probes))
		_, err := c.get(t.Context(), portOf(80))
		require.NoError(t, err)
		time.Sleep(10*time.Second - 1)
		a, err := c.get(t.Context(), portOf(80))
		require.NoError(t, err)
		assert.Equal(t, "80 1", a.body)
		time.Sleep(time.Nanosecond)
		a, err = c.get(t.Context(), portOf(80))
		require.NoError(t, err)
		assert.Equal(t, "80 2", a.body)
	})
	bubble(t, "each question has its answer", func(t *testing.T) {
		var probes atomic.Int64
		c := newCache(10*time.Second, time.Minute, 10, slow(&probes))
		for _, q := range []question{{"tcp", "a", 1, ""}, {"http", "a", 1, ""}, {"tcp", "b", 1, ""}, {"tcp", "a", 2, ""}, {"tcp", "a", 1, "/x"}} {
			_, err := c.get(t.Context(), q)
			require.NoError(t, err)
		}
		assert.Equal(t, int64(5), probes.Load())
	})
	bubble(t, "a caller that leaves takes nothing with it", func(t *testing.T) {
		var probes atomic.Int64
		c := newCache(10*time.Second, time.Minute, 10, slow(&probes))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err := c.get(ctx, portOf(80))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		a, err := c.get(t.Context(), portOf(80))
		require.NoError(t, err)
		assert.Equal(t, answer{200, "80 1"}, a)
	})
	bubble(t, "a probe has its time", func(t *testing.T) {
		var probes atomic.Int64
		c := newCache(10*time.Second, 20*time.Millisecond, 10, slow(&probes))
		begin := time.Now()
		a, err := c.get(t.Context(), portOf(80))
		require.NoError(t, err)
		assert.Equal(t, answer{503, "context deadline exceeded"}, a)
		assert.Equal(t, 20*time.Millisecond, time.Since(begin))
	})
	bubble(t, "bounded", func(t *testing.T) {
		var probes atomic.Int64
		c := newCache(time.Hour, time.Minute, 3, slow(&probes))
		for n := range 10 {
			_, err := c.get(t.Context(), portOf(n))
			require.NoError(t, err)
		}
		assert.Equal(t, 3, c.stats()["size"])
		assert.Equal(t, 3, c.oldest.Len())
		_, err := c.get(t.Context(), portOf(7))
		require.NoError(t, err)
		assert.Equal(t, int64(10), probes.Load(), "the newest stay")
		_, err = c.get(t.Context(), portOf(0))
		require.NoError(t, err)
		assert.Equal(t, int64(11), probes.Load(), "the oldest went")
	})
	bubble(t, "full of questions under way", func(t *testing.T) {
		var probes atomic.Int64
		c := newCache(time.Hour, time.Minute, 3, slow(&probes))
		for n := range 3 {
			_, err := c.ask(portOf(n))
			require.NoError(t, err)
		}
		_, err := c.get(t.Context(), portOf(3))
		require.ErrorIs(t, err, errBusy)
		_, err = c.get(t.Context(), portOf(2))
		require.NoError(t, err, "they themselves can be waited for")
		_, err = c.get(t.Context(), portOf(3))
		require.NoError(t, err)
	})
	bubble(t, "closed", func(t *testing.T) {
		var probes atomic.Int64
		c := newCache(time.Hour, time.Minute, 3, slow(&probes))
		e, err := c.ask(portOf(80))
		require.NoError(t, err)
		begin := time.Now()
		require.NoError(t, c.close(t.Context()))
		assert.Zero(t, time.Since(begin), "probes end at once")
		assert.Equal(t, 503, e.answer.code)
		_, err = c.get(t.Context(), portOf(80))
		require.ErrorIs(t, err, errClosed)
	})
}
