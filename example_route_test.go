package failsoft_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/failsoft/failsoft/retry"
	"github.com/failsoft/failsoft/route"
)

// A client that sends each attempt to another host. Neither package knows the other:
// retry tells, and route heeds, which hosts the attempts of a call went to.
func Example_retryAndRoute() {
	var asked []string
	fails := failOnce() // whichever of the hosts is asked first
	serve := func(name string) *httptest.Server {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, name)
			fails.ServeHTTP(w, r)
		}))
	}
	one, two := serve("one"), serve("two")
	defer one.Close()
	defer two.Close()

	pool := route.MustNew(route.Config{
		Names: []string{"catalogue"},
		Hosts: []route.Host{{Addr: one.URL}, {Addr: two.URL}},
	})
	defer func() { _ = pool.Close(context.Background()) }()
	retrier := retry.MustNew(retry.Config{TryTimeout: 300 * time.Millisecond})
	client := &http.Client{Transport: retrier.Transport(pool.Transport(nil))}

	resp, err := client.Get("http://catalogue/products/17")
	if err != nil {
		fmt.Println("gave up:", err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status, "after", len(asked), "attempts; at another host:", asked[0] != asked[1])
	// Output: 200 OK after 2 attempts; at another host: true
}
