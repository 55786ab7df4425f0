package breaker_test

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/failsoft/failsoft/breaker"
)

// An operator takes a host out of service for a quarter of an hour.
func ExampleBreaker_Admin() {
	breakers := breaker.MustNew(breaker.Config{})
	// A circuit is known from its first call on.
	_ = breakers.Run(context.Background(), "prices.test", func(context.Context) error { return nil })

	mux := http.NewServeMux()
	mux.Handle("/debug/breakers", breakers.Admin(breaker.AdminConfig{
		Authorize: func(req *http.Request) bool {
			return subtle.ConstantTimeCompare([]byte(req.Header.Get("Authorization")), []byte("Bearer secret")) == 1
		},
	}))
	server := httptest.NewServer(mux)
	defer server.Close()

	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, server.URL+"/debug/breakers",
		strings.NewReader(`{"key": "prices.test", "command": "isolate", "reason": "moving house", "ttl": "15m"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer secret")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()

	_, err = breakers.Allow(context.Background(), "prices.test")
	fmt.Println(resp.Status)
	fmt.Println(err)
	// Output:
	// 200 OK
	// breaker: "prices.test" is isolated: moving house
}
