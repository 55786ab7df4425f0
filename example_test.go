package failsoft_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/failsoft/failsoft/retry"
)

// A client that gives each attempt 300 ms and sends up to three. While a service
// is down, it adds a tenth to that service's load, or one attempt per second.
func Example() {
	retrier := retry.MustNew(retry.Config{TryTimeout: 300 * time.Millisecond})
	client := &http.Client{
		Transport: retrier.Transport(http.DefaultTransport),
		Timeout:   2 * time.Second, // for all attempts together
	}

	server := httptest.NewServer(failOnce()) // answers 503, then 200
	defer server.Close()

	resp, err := client.Get(server.URL + "/prices")
	if err != nil {
		fmt.Println("gave up:", err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status, "after", retrier.Snapshot().Retries, "retry")
	// Output: 200 OK after 1 retry
}

// failOnce returns a handler whose first answer is a 503.
func failOnce() http.Handler {
	failed := false
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !failed {
			failed = true
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
}
