package rttest_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/internal/rttest"
)

func TestFailsSeesEveryWayToFail(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		clause func(rttest.TB)
		report string
	}{
		"Errorf":  {func(tb rttest.TB) { tb.Errorf("broken %d", 1) }, "broken 1"},
		"Fatalf":  {func(tb rttest.TB) { tb.Fatalf("broken"); panic("not reached") }, "broken"},
		"FailNow": {func(tb rttest.TB) { tb.FailNow() }, ""},
		"panic":   {func(rttest.TB) { panic("boom") }, "panic: boom"},
		"Goexit":  {func(rttest.TB) { runtime.Goexit() }, "runtime.Goexit"},
		"cleanup": {func(tb rttest.TB) { tb.Cleanup(func() { tb.Errorf("late") }) }, "late"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Contains(t, rttest.Fails(t, tt.clause), tt.report)
		})
		t.Run(name+" in a bubble", func(t *testing.T) {
			t.Parallel()

			report := rttest.Fails(t, func(tb rttest.TB) { rttest.Bubble(tb, tt.clause) })
			assert.Contains(t, report, tt.report)
		})
		t.Run(name+" in the bubble around it", func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				assert.Contains(t, rttest.Fails(t, tt.clause), tt.report)
			})
		})
	}
}

func TestFailsSeesGoroutinesLeftInABubble(t *testing.T) {
	t.Parallel()

	report := rttest.Fails(t, func(tb rttest.TB) {
		rttest.Bubble(tb, func(rttest.TB) { go func() { select {} }() })
	})
	assert.Contains(t, report, "deadlock")
}

func TestFailsSeesABubbleThatCannotGoOn(t *testing.T) {
	t.Parallel()

	report := rttest.Fails(t, func(tb rttest.TB) {
		rttest.Bubble(tb, func(rttest.TB) { <-make(chan int) })
	})
	assert.Contains(t, report, "deadlock")
}

func TestBubbleHasItsOwnTimeAndCleanups(t *testing.T) {
	t.Parallel()

	var slept time.Duration

	rttest.Fails(t, func(tb rttest.TB) {
		rttest.Bubble(tb, func(tb rttest.TB) {
			begin := time.Now()
			tick := make(chan struct{})

			go func() {
				<-tick
				slept = time.Since(begin)
			}()
			tb.Cleanup(func() {
				<-time.After(time.Hour)
				close(tick)
				synctest.Wait()
			})
			tb.Fatalf("as planned")
		})
		panic("a Fatalf inside the bubble ends the clause around it")
	})
	assert.Equal(t, time.Hour, slept)
}

func TestRecorderEndsItsContextBeforeTheCleanups(t *testing.T) {
	t.Parallel()

	var during, after error

	rttest.Fails(t, func(tb rttest.TB) {
		during = tb.Context().Err()

		tb.Cleanup(func() { after = tb.Context().Err() })
		tb.FailNow()
	})
	assert.NoError(t, during)
	assert.ErrorIs(t, after, context.Canceled)
}
