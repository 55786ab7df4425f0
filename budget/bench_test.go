package budget_test

import (
	"context"
	"testing"
	"time"

	"github.com/failsoft/failsoft/budget"
)

func BenchmarkDeposit(b *testing.B) {
	account := budget.MustNew(budget.Config{})
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		account.Deposit(ctx, "api.example.com:8080")
	}
}

func BenchmarkDepositAt(b *testing.B) {
	account := budget.MustNew(budget.Config{})
	ctx, now := context.Background(), time.Now()
	b.ReportAllocs()
	for b.Loop() {
		account.DepositAt(ctx, "api.example.com:8080", now)
	}
}
