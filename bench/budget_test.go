package bench_test

import (
	"context"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/budget"
)

// What a budget adds to each request, beside the clock that it has to read. None
// of the rivals has a budget that could be called on its own.
func TestBudget(t *testing.T) {
	ops := budgetOps()
	measured := measure(ops)
	tab := &table{name: "budget"}
	tab.row("", "ns/op", "ratio", "allocs")
	for i, c := range measured {
		assert.Zero(t, c.allocs, ops[i].name)
		tab.row(ops[i].name, fixed(c.nanos, 1), fixed(c.ratio, 2), fixed(c.allocs, 0))
	}
	tab.publish(t)
}

func BenchmarkBudget(b *testing.B) { benchmark(b, budgetOps()) }

const budgetKey = "service.example:443"

func budgetOps() []op {
	ctx, now := context.Background(), time.Now()
	earning := budget.MustNew(budget.Config{Ratio: 1})
	broke := budget.MustNew(budget.Config{Ratio: budget.NoRatio, Floor: budget.NoFloor})
	var workers atomic.Int64
	deposit := func() { earning.DepositAt(ctx, budgetKey, now) }
	withdraw := func() {
		earning.DepositAt(ctx, budgetKey, now)
		earning.Withdraw(budgetKey)
	}
	return []op{
		{name: "time.Now", run: func() { _ = time.Now() }},
		{name: "time.Since", run: func() { _ = time.Since(now) }},
		{name: "DepositAt", run: deposit},
		{name: "Deposit", run: func() { earning.Deposit(ctx, budgetKey) }},
		{name: "DepositAt and Withdraw", run: withdraw},
		{name: "Withdraw, refused", run: func() { broke.Withdraw(budgetKey) }},
		{name: "DepositAt, all cores, one key", fork: func() func() { return deposit }},
		{name: "DepositAt, all cores, a key each", fork: func() func() {
			key := budgetKey + strconv.FormatInt(workers.Add(1)%int64(runtime.GOMAXPROCS(0)), 10)
			return func() { earning.DepositAt(ctx, key, now) }
		}},
	}
}
