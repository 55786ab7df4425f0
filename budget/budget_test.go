package budget_test

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/budget"
	"github.com/failsoft/failsoft/internal/attempt"
)

// bare returns a budget that only requests pay for.
func bare(t *testing.T, cfg budget.Config) *budget.Budget {
	t.Helper()
	cfg.Floor = budget.NoFloor
	b, err := budget.New(cfg)
	require.NoError(t, err)
	return b
}

func deposit(b *budget.Budget, key string, n int) {
	for range n {
		b.Deposit(context.Background(), key)
	}
}

// spend withdraws until refused and returns how often it was not.
func spend(b *budget.Budget, key string) (n int) {
	for b.Withdraw(key) {
		n++
	}
	return n
}

func TestRatioOfDepositsIsSpent(t *testing.T) {
	b := bare(t, budget.Config{})
	deposit(b, "a", 9)
	assert.False(t, b.Withdraw("a"), "nine tenths are not one")
	deposit(b, "a", 1)
	assert.True(t, b.Withdraw("a"), "ten tenths are")
	deposit(b, "a", 100)
	assert.Equal(t, 10, spend(b, "a"))
}

func TestFloorPaysForClientsWithLittleTraffic(t *testing.T) {
	t.Run("default", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := budget.MustNew(budget.Config{})
			assert.Equal(t, 10, spend(b, "a"), "one per second, for a window of ten")
			time.Sleep(10*time.Second - time.Nanosecond)
			assert.Equal(t, 0, spend(b, "a"))
			time.Sleep(time.Nanosecond)
			assert.Equal(t, 10, spend(b, "a"))
		})
	})
}

func TestDepositsExpire(t *testing.T) {
	t.Run("a quiet hour does not pay for a storm", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := bare(t, budget.Config{})
			for range 3600 {
				deposit(b, "a", 1)
				time.Sleep(time.Second)
			}
			assert.LessOrEqual(t, spend(b, "a"), 1)
		})
	})
	t.Run("at the end of the window and not before", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := bare(t, budget.Config{TTL: time.Second})
			deposit(b, "a", 10)
			time.Sleep(time.Second - time.Nanosecond)
			assert.True(t, b.Covers("a"))
			time.Sleep(time.Nanosecond)
			assert.False(t, b.Covers("a"))
		})
	})
}

func TestWithdrawalsOfAWindowStayWithinTheRule(t *testing.T) {
	t.Run("at any time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := budget.MustNew(budget.Config{Ratio: 0.1, Floor: 1})
			const seconds, rate = 60, 20
			var granted [seconds]int
			for second := range seconds {
				for range rate {
					deposit(b, "a", 1)
					granted[second] += spend(b, "a")
				}
				time.Sleep(time.Second)
			}
			for end := 10; end <= seconds; end++ {
				sum := 0
				for _, n := range granted[end-10 : end] {
					sum += n
				}
				assert.LessOrEqual(t, sum, 10*rate/10+10, "window that ends at %d s", end)
			}
		})
	})
}

func TestKeysHaveBalancesOfTheirOwn(t *testing.T) {
	b := bare(t, budget.Config{})
	deposit(b, "dead", 10)
	deposit(b, "live", 10)
	assert.Equal(t, 1, spend(b, "dead"))
	assert.True(t, b.Withdraw("live"))
}

func TestKeysAreBounded(t *testing.T) {
	b := bare(t, budget.Config{MaxKeys: 2})
	for i := range 5 {
		deposit(b, fmt.Sprint(i), 10)
	}
	s := b.Snapshot()
	assert.Len(t, s.Keys, 2)
	assert.InDelta(t, 3.0, s.Overflow.Balance, 1e-9, "the other three share one balance")
}

func TestKeyWithAnEmptyWindowGivesWay(t *testing.T) {
	t.Run("in a bubble", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := bare(t, budget.Config{MaxKeys: 1})
			deposit(b, "old", 10)
			time.Sleep(10 * time.Second)
			deposit(b, "new", 10)
			s := b.Snapshot()
			require.Len(t, s.Keys, 1)
			assert.Equal(t, "new", s.Keys[0].Key)
			assert.Zero(t, s.Overflow)
		})
	})
}

func TestSpendOnlyDoesNotDeposit(t *testing.T) {
	b := bare(t, budget.Config{})
	inner := b.SpendOnly()
	deposit(inner, "a", 1000)
	assert.False(t, inner.Withdraw("a"))
	deposit(b, "a", 10)
	assert.True(t, inner.Withdraw("a"), "it spends what the other has")
	assert.False(t, b.Withdraw("a"))
}

func TestExtraAttemptsDoNotDeposit(t *testing.T) {
	b := bare(t, budget.Config{})
	for _, ctx := range []context.Context{
		attempt.WithRetry(context.Background(), 2, nil),
		attempt.WithHedge(context.Background(), 2, nil),
	} {
		for range 1000 {
			b.Deposit(ctx, "a")
		}
	}
	assert.False(t, b.Covers("a"))
}

func TestRefusalsAreCounted(t *testing.T) {
	b := bare(t, budget.Config{})
	deposit(b, "a", 20)
	spend(b, "a")
	b.Covers("a")
	s := b.Snapshot()
	require.Len(t, s.Keys, 1)
	assert.Equal(t, budget.KeySnapshot{Key: "a", Granted: 2, Refused: 2}, s.Keys[0])
}

func TestNothingIsPaidForWithoutRatioAndFloor(t *testing.T) {
	b := bare(t, budget.Config{Ratio: budget.NoRatio})
	deposit(b, "a", 1000)
	assert.False(t, b.Withdraw("a"))
}

func TestDepositFromBeforeTheBudget(t *testing.T) {
	b := bare(t, budget.Config{})
	for range 10 {
		b.DepositAt(context.Background(), "a", time.Now().Add(-time.Hour))
	}
	assert.True(t, b.Withdraw("a"), "it counts as made at the start")
}

func TestRacingWithdrawalsShareWhatThereIs(t *testing.T) {
	b := bare(t, budget.Config{TTL: time.Minute})
	deposit(b, "a", 1000)
	var granted atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { granted.Add(int64(spend(b, "a"))) })
	}
	wg.Wait()
	assert.EqualValues(t, 100, granted.Load())
}

func TestRacingDepositsAllCount(t *testing.T) {
	b := bare(t, budget.Config{TTL: time.Minute})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { deposit(b, "a", 1000) })
	}
	wg.Wait()
	assert.Equal(t, 800, spend(b, "a"))
}

func TestNewReportsEverythingWrong(t *testing.T) {
	_, err := budget.New(budget.Config{
		Ratio: math.NaN(), Floor: -3, TTL: time.Hour, MaxKeys: -1,
	})
	require.Error(t, err)
	for _, field := range []string{"Ratio", "Floor", "TTL", "MaxKeys"} {
		assert.ErrorContains(t, err, "budget: Config."+field)
	}
	for name, cfg := range map[string]budget.Config{
		"ratio above 1":            {Ratio: 1.1},
		"ratio below 0":            {Ratio: -0.1},
		"TTL too short":            {TTL: time.Millisecond},
		"floor never adds up to 1": {Floor: 0.05},
		"floor is infinite":        {Floor: math.Inf(1)},
		"floor is NaN":             {Floor: math.NaN()},
	} {
		_, err := budget.New(cfg)
		assert.Error(t, err, name)
	}
	assert.Panics(t, func() { budget.MustNew(budget.Config{Ratio: 2}) })
}

func TestKnownKeyAllocatesNothing(t *testing.T) {
	b := budget.MustNew(budget.Config{})
	ctx, now := context.Background(), time.Now()
	b.Deposit(ctx, "a")
	assert.Zero(t, testing.AllocsPerRun(100, func() { b.Deposit(ctx, "a") }), "Deposit")
	assert.Zero(t, testing.AllocsPerRun(100, func() { b.DepositAt(ctx, "a", now) }), "DepositAt")
	assert.Zero(t, testing.AllocsPerRun(100, func() { b.Withdraw("a") }), "Withdraw")
	assert.Zero(t, testing.AllocsPerRun(100, func() { b.Covers("a") }), "Covers")
}
