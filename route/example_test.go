package route_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync/atomic"

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
	client := &http.Client{Transport: pool.Transport(nil)}

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

// Visitors of a shop read from a replica, which is behind. Who has just written reads
// from the primary.
func ExampleWrites() {
	primary, replica := newStore("blue"), newStore("blue")
	defer primary.Close()
	defer replica.Close()
	db := route.MustNew(route.Config{
		Names: []string{"db"},
		Hosts: []route.Host{
			{Addr: primary.URL, Role: route.Primary},
			{Addr: replica.URL, Role: route.Replica},
		},
	})
	defer func() { _ = db.Close(context.Background()) }()
	client := &http.Client{Transport: db.Transport(nil)}

	// What the shop asks the store for, it asks for under the context of its own request.
	shop := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), r.Method, "http://db/colour", r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		resp, err := client.Do(req)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		defer resp.Body.Close()
		_, _ = io.Copy(w, resp.Body)
	})
	writes := route.MustNewWrites(route.WritesConfig{
		Secrets:  [][]byte{[]byte("32 random bytes from a safe place")},
		Insecure: true, // only here: it is plain http
	})
	server := httptest.NewServer(writes.Handler(shop))
	defer server.Close()

	writer, reader := newVisitor(), newVisitor()
	fmt.Println("before:", writer.read(server.URL))
	writer.write(server.URL, "green")
	fmt.Println("who has written:", writer.read(server.URL))
	fmt.Println("anybody else:", reader.read(server.URL))
	// Output:
	// before: blue
	// who has written: green
	// anybody else: blue
}

// newStore returns a server that keeps one value.
func newStore(value string) *httptest.Server {
	var kept atomic.Value
	kept.Store(value)
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			body, _ := io.ReadAll(r.Body)
			kept.Store(string(body))
		}
		_, _ = fmt.Fprint(w, kept.Load())
	}))
}

// visitor is a client that keeps cookies, as browsers do.
type visitor struct{ http.Client }

func newVisitor() *visitor {
	jar, _ := cookiejar.New(nil) // without options, there is no error
	return &visitor{http.Client{Jar: jar}}
}

func (v *visitor) read(url string) string { return text(v.Get(url)) }

func (v *visitor) write(url, value string) {
	text(v.Post(url, "text/plain", strings.NewReader(value)))
}

func text(resp *http.Response, err error) string {
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return string(body)
}
