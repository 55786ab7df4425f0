package stale_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/failsoft/failsoft/stale"
)

// product is what the examples load.
type product struct{ Name string }

// A Loader stands before a function that may be slow or fail, such as a query.
func ExampleLoader() {
	queries := 0
	products := stale.MustNewLoader(stale.LoaderConfig[int, product]{
		Load: func(_ context.Context, id int) (product, error) {
			queries++
			return product{Name: fmt.Sprintf("product %d", id)}, nil
		},
		TTL: time.Minute,
	})

	for range 100 {
		_, _ = products.Get(context.Background(), 7)
	}
	p, err := products.Get(context.Background(), 7)
	fmt.Println(p.Name, err, "after", queries, "query")
	// Output: product 7 <nil> after 1 query
}

// When the load fails, the value that it had last answers.
func ExampleLoader_stale() {
	down := false
	products := stale.MustNewLoader(stale.LoaderConfig[int, product]{
		Load: func(_ context.Context, id int) (product, error) {
			if down {
				return product{}, errors.New("connection refused")
			}
			return product{Name: fmt.Sprintf("product %d", id)}, nil
		},
		TTL:          time.Nanosecond, // so that it is old at once
		StaleIfError: time.Hour,
		StaleAfter:   100 * time.Millisecond, // the same if it only takes too long
	})

	ctx := context.Background()
	_, _ = products.Get(ctx, 7)
	down = true
	p, err := products.Get(ctx, 7)
	fmt.Println(p.Name, err)

	_, err = products.Get(ctx, 8) // never seen before
	fmt.Println(err)
	// Output:
	// product 7 <nil>
	// connection refused
}

// What has changed is purged. Soft keeps it for when the next load fails.
func ExampleLoader_Purge() {
	name := "lamp"
	down := false
	products := stale.MustNewLoader(stale.LoaderConfig[int, product]{
		Load: func(context.Context, int) (product, error) {
			if down {
				return product{}, errors.New("connection refused")
			}
			return product{Name: name}, nil
		},
	})

	ctx := context.Background()
	_, _ = products.Get(ctx, 7)
	name = "better lamp"
	products.Purge(ctx, 7, stale.Soft)
	p, err := products.Get(ctx, 7)
	fmt.Println(p.Name, err)

	down = true
	products.Purge(ctx, 7, stale.Soft)
	p, err = products.Get(ctx, 7)
	fmt.Println(p.Name, err)

	products.Purge(ctx, 7, stale.Hard)
	_, err = products.Get(ctx, 7)
	fmt.Println(err)
	// Output:
	// better lamp <nil>
	// better lamp <nil>
	// connection refused
}

// An error that is the truth must not be hidden by an old value: what is not there any
// more is gone.
func ExampleLoaderConfig_JudgeError() {
	errNoRow := errors.New("no such product")
	exists := true
	products := stale.MustNewLoader(stale.LoaderConfig[int, product]{
		Load: func(context.Context, int) (product, error) {
			if !exists {
				return product{}, errNoRow
			}
			return product{Name: "lamp"}, nil
		},
		JudgeError: func(err error) stale.LoadOutcome {
			if errors.Is(err, errNoRow) {
				return stale.LoadGone
			}
			return stale.LoadByRule
		},
		TTL:        stale.Off, // ask every time,
		StaleAfter: stale.Off, // and use old values for failures only
	})

	ctx := context.Background()
	p, _ := products.Get(ctx, 7)
	fmt.Println(p.Name)
	exists = false
	_, err := products.Get(ctx, 7)
	fmt.Println(err)
	// Output:
	// lamp
	// no such product
}

// From the second failure in a row on, callers without an old value get the error at
// once, and the function is left alone for a while.
func ExampleLoadError() {
	loads := 0
	products := stale.MustNewLoader(stale.LoaderConfig[int, product]{
		Load: func(context.Context, int) (product, error) {
			loads++
			return product{}, errors.New("connection refused")
		},
	})

	var err error
	for range 20 {
		_, err = products.Get(context.Background(), 7)
	}
	fmt.Println(loads, "loads")
	if remembered, ok := errors.AsType[*stale.LoadError](err); ok {
		fmt.Println(remembered.Failures, "failures in a row, the last one was:", remembered.Err)
		fmt.Println("try again soon:", remembered.RetryAfter() < 3*time.Second)
	}
	// Output:
	// 2 loads
	// 2 failures in a row, the last one was: connection refused
	// try again soon: true
}
