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
			time.Sleep(time.Second - time.Nanosecond)
			assert.Equal(t, 0, spend(b, "a"))
			time.Sleep(time.Nanosecond)
			assert.Equal(t, 1, spend(b, "a"))
			time.Sleep(time.Hour)
			assert.Equal(t, 10, spend(b, "a"), "no more than a window's worth")
		})
	})
}

func TestFloorIsAMinimumAndNotAnExtra(t *testing.T) {
	for rate, want := range map[int]float64{1: 1, 5: 1, 8: 1, 9: 1, 10: 1, 12: 1.2, 20: 2, 200: 20} {
		t.Run(fmt.Sprint(rate, " requests per second"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := budget.MustNew(budget.Config{})
				spend(b, "a")
				const seconds = 60
				granted := 0
				for range seconds * rate {
					time.Sleep(time.Second / time.Duration(rate))
					deposit(b, "a", 1)
					granted += spend(b, "a")
				}
				assert.InDelta(t, want, float64(granted)/seconds, 0.05)
			})
		})
	}
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
			assert.InDelta(t, 1, b.Snapshot().Keys[0].Balance, 0)
			time.Sleep(time.Nanosecond)
			assert.False(t, b.Withdraw("a"))
		})
	})
}

func TestAttemptsGoOnAtAnEvenRateAfterTheSavings(t *testing.T) {
	t.Run("no bursts in the rhythm of the window", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := bare(t, budget.Config{})
			const rate = 200
			second := func(outage bool) (granted int) {
				for range rate {
					deposit(b, "a", 1)
					if outage {
						granted += spend(b, "a")
					}
					time.Sleep(time.Second / rate)
				}
				return granted
			}
			for range 20 {
				second(false)
			}
			assert.InDelta(t, 200, second(true), 20, "what the last ten seconds have saved")
			for n := range 30 {
				assert.InDelta(t, 20, second(true), 1, "second %d", n)
			}
		})
	})
}

func TestOldestDepositsAreTakenFirst(t *testing.T) {
	t.Run("what is left is the youngest", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := bare(t, budget.Config{})
			deposit(b, "a", 20)
			time.Sleep(5 * time.Second)
			deposit(b, "a", 10)
			assert.True(t, b.Withdraw("a"))
			assert.True(t, b.Withdraw("a"))
			time.Sleep(5 * time.Second)
			assert.True(t, b.Withdraw("a"), "the first twenty would have expired")
			assert.False(t, b.Withdraw("a"))
		})
	})
}

func TestClaimsDoNotCountOnTheSameAttempt(t *testing.T) {
	t.Run("in a bubble", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := bare(t, budget.Config{})
			deposit(b, "a", 20)
			first, ok := b.Claim("a")
			require.True(t, ok)
			second, ok := b.Claim("a")
			require.True(t, ok)
			_, ok = b.Claim("a")
			assert.False(t, ok, "two attempts, two claims")
			second.Drop()
			_, ok = b.Claim("a")
			assert.True(t, ok, "one gave its place up")
			assert.True(t, first.Withdraw())
			assert.True(t, b.Withdraw("a"), "a claim withdraws nothing by itself")
			assert.False(t, b.Withdraw("a"))
		})
	})
	t.Run("may be refused in the end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := bare(t, budget.Config{})
			deposit(b, "a", 10)
			claim, ok := b.Claim("a")
			require.True(t, ok)
			time.Sleep(10 * time.Second)
			assert.False(t, claim.Withdraw())
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
	assert.False(t, b.Withdraw("a"))
}

func TestRefusalsAreCounted(t *testing.T) {
	b := bare(t, budget.Config{})
	deposit(b, "a", 20)
	spend(b, "a")
	b.Claim("a")
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
		"ratio too fine":           {Ratio: 1e-7},
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
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		if claim, ok := b.Claim("a"); ok {
			claim.Drop()
		}
	}), "Claim")
}
