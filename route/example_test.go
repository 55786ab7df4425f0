package route_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/failsoft/failsoft/route"
)

// A client that knows a service by its name, and sends each request to one of its hosts.
func ExamplePool_Transport() {
	shelf := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%s of the %s", r.URL.Path, r.Host)
	})
	one, two := httptest.NewServer(shelf), httptest.NewServer(shelf)
	defer one.Close()
	defer two.Close()

	pool := route.MustNew(route.Config{
		Names: []string{"catalogue"},
		Hosts: []route.Host{{Addr: one.URL}, {Addr: two.URL, Weight: 2}}, // the second is twice as large
	})
	defer func() { _ = pool.Close(context.Background()) }()
	client := &http.Client{Transport: pool.Transport(nil), Timeout: time.Second}

	for i := range 3 {
		resp, err := client.Get(fmt.Sprintf("http://catalogue/products/%d", i+1))
		if err != nil {
			fmt.Println(err)
			return
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		fmt.Println(resp.StatusCode, string(body))
	}
	hosts := pool.Snapshot().Hosts
	fmt.Println(hosts[0].Picks+hosts[1].Picks, "requests to", len(hosts), "hosts")
	// Output:
	// 200 /products/1 of the catalogue
	// 200 /products/2 of the catalogue
	// 200 /products/3 of the catalogue
	// 3 requests to 2 hosts
}
