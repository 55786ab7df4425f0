package spool_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/healthcheck/spool"
)

func ExampleDir() {
	tmp, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(tmp) }()

	dir, err := spool.New(filepath.Join(tmp, "spool"))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err = dir.Down("orders", 8080, "moving house", time.Now().Add(time.Hour)); err != nil {
		fmt.Println(err)
		return
	}
	s, err := dir.Status("orders", 8080)
	fmt.Println(s.Down, s.Reason, err)
	s, err = dir.Status("orders", 8081)
	fmt.Println(s.Down, s.Reason, err)
	// Output:
	// true moving house <nil>
	// false  <nil>
}

func ExampleDir_Follow() {
	tmp, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	dir, err := spool.New(filepath.Join(tmp, "spool"))
	if err != nil {
		fmt.Println(err)
		return
	}

	checker := healthcheck.MustNew(healthcheck.Config{})
	if err = checker.Start(); err != nil {
		fmt.Println(err)
		return
	}
	defer checker.Close(context.Background())

	// Somebody has typed: hadown -r "moving house" orders
	_ = dir.Down("orders", 0, "moving house", time.Time{})

	stop, err := dir.Follow(context.Background(), checker, spool.Following{Service: "orders"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()
	fmt.Println(checker.Status(healthcheck.Ready), checker.Overrides()[healthcheck.Ready].Reason)
	// Output: fail spool file orders: moving house
}
