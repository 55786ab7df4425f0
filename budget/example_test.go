package budget_test

import (
	"context"
	"fmt"

	"github.com/failsoft/failsoft/budget"
)

// Ten requests pay for one extra attempt.
func Example() {
	b := budget.MustNew(budget.Config{Ratio: 0.1, Floor: budget.NoFloor})
	for range 10 {
		b.Deposit(context.Background(), "api.example.com")
	}
	fmt.Println(b.Withdraw("api.example.com"))
	fmt.Println(b.Withdraw("api.example.com"))
	fmt.Printf("%+v\n", b.Snapshot().Keys[0])
	// Output:
	// true
	// false
	// {Key:api.example.com Balance:0 Granted:1 Refused:1}
}

// Two policies bound what they add together. The inner one spends only, since
// it sees the requests that the outer has already paid for.
func ExampleBudget_SpendOnly() {
	b := budget.MustNew(budget.Config{Floor: budget.NoFloor})
	outer, inner := b, b.SpendOnly()
	for range 10 {
		outer.Deposit(context.Background(), "db")
		inner.Deposit(context.Background(), "db")
	}
	fmt.Println(inner.Withdraw("db"), outer.Withdraw("db"))
	// Output: true false
}
