package checks_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/healthcheck/checks"
)

// An address may have passed to another service: it answers 200 all the same.
func ExampleHTTP() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Service-Name", "mail")
	}))
	defer server.Close()

	probe := checks.HTTP(checks.HTTPGet{URL: server.URL, Service: "prices"})
	res := probe(context.Background())
	fmt.Println(res.Status, res.Public)
	fmt.Println(res.Err)
	// Output:
	// fail another service answers
	// checks: X-Service-Name is "mail", not "prices"
}

// A worker of this process that stands still makes the process worth a restart.
func ExampleHeartbeat() {
	consumer := checks.NewHeartbeat(time.Minute)
	checker := healthcheck.MustNew(healthcheck.Config{})
	checker.MustAdd("consumer", healthcheck.Check{
		Probe:  consumer.Probe,
		Impact: healthcheck.Critical,
		Groups: []string{healthcheck.Live},
		Fall:   1, // its minute is patience enough
	})

	consumer.Beat() // each time around its loop
	fmt.Println(consumer.Probe(context.Background()).Status)
	// Output: pass
}

// What cannot be is told by the probe, and not by a panic when the service starts.
func ExampleGoroutines_misconfigured() {
	probe := checks.Goroutines(checks.Counts{Warn: 5000, Fail: 500})
	res := probe(context.Background())
	fmt.Println(res.Status, res.Public)
	fmt.Println(res.Err)
	fmt.Println(errors.Is(res.Err, checks.ErrMisconfigured))
	// Output:
	// fail the check is misconfigured
	// checks: misconfigured: Counts.Warn is 5000, above Fail, 500
	// true
}
