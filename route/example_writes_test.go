package route_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/route"
)

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
	client := &http.Client{Transport: db.Transport(nil), Timeout: time.Second}

	// What the shop asks the store for, it asks for under the context of its own request:
	// there the Pool finds who has written.
	shop := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), r.Method, "http://db/colour", r.Body)
		if err != nil {
			http.Error(w, "no such request", http.StatusBadRequest)
			return
		}
		resp, err := client.Do(req)
		if err != nil { // which has addresses in it that are not for visitors
			http.Error(w, "the store does not answer", http.StatusServiceUnavailable)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode) // a write that failed is none
		_, _ = io.Copy(w, resp.Body)
	})
	writes := route.MustNewWrites(route.WritesConfig{
		Secrets:  [][]byte{secret()},
		Insecure: true, // only here, as it is plain http: elsewhere, the cookie would never come back
	})
	server := httptest.NewServer(writes.Handler(shop)) // outermost: what is inside sees the session
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

// secret returns a random one. In earnest all servers have the same one, from where
// passwords are kept: never from the source.
func secret() []byte {
	bytes := make([]byte, 32)
	_, _ = rand.Read(bytes) // it never fails
	return bytes
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
