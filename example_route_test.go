package failsoft_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/retry"
	"github.com/failsoft/failsoft/route"
)

// A client that sends each attempt to another host. Neither package knows the other:
// retry tells, and route heeds, which hosts the attempts of a call went to.
func Example_retryAndRoute() {
	var failed atomic.Bool // whichever of the hosts is asked first fails, once
	shelf := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if failed.CompareAndSwap(false, true) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	one, two := httptest.NewServer(shelf), httptest.NewServer(shelf)
	defer one.Close()
	defer two.Close()

	retrier := retry.MustNew(retry.Config{TryTimeout: 300 * time.Millisecond})
	pool := route.MustNew(route.Config{
		Names: []string{"catalogue"},
		Hosts: []route.Host{{Addr: one.URL}, {Addr: two.URL}},
	})
	defer func() { _ = pool.Close(context.Background()) }()
	client := &http.Client{
		// Outermost first. The Pool is innermost, so that it picks for each attempt: the other
		// way round, all attempts of a call would go to one host.
		Transport: retrier.Transport(pool.Transport(nil)),
		Timeout:   2 * time.Second, // for all attempts together
	}

	resp, err := client.Get("http://catalogue/products/17")
	if err != nil {
		fmt.Println("gave up:", err)
		return
	}
	defer resp.Body.Close()
	hosts := pool.Snapshot().Hosts
	fmt.Println(resp.Status, "after", retrier.Snapshot().Retries, "retry;",
		hosts[0].Picks, "request to the one host,", hosts[1].Picks, "to the other")
	// Output: 200 OK after 1 retry; 1 request to the one host, 1 to the other
}
