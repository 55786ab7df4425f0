package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/failsoft/failsoft/breaker"
)

func ExampleBreaker_Transport() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()

	breakers := breaker.MustNew(breaker.Config{Rules: breaker.Rules{
		Consecutive: 3,
		OpenTime:    time.Minute,
		MaxOpenTime: time.Hour,
	}})
	client := &http.Client{Transport: breakers.Transport(nil)}

	for range 5 {
		resp, err := client.Get(server.URL)
		if errors.Is(err, breaker.ErrOpen) {
			fmt.Println("refused, not sent")
			continue
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = resp.Body.Close()
		fmt.Println(resp.StatusCode)
	}
	// Output:
	// 503
	// 503
	// 503
	// refused, not sent
	// refused, not sent
}

// A route that fails answers at once, instead of failing slowly.
func ExampleBreaker_Handler() {
	breakers := breaker.MustNew(breaker.Config{
		Key:   func(req *http.Request) string { return req.Pattern },
		Rules: breaker.Rules{Consecutive: 1, OpenTime: time.Hour},
	})
	mux := http.NewServeMux()
	mux.Handle("GET /report", breakers.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "database away", http.StatusInternalServerError)
	})))

	for range 2 {
		answer := httptest.NewRecorder()
		mux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/report", nil))
		fmt.Println(answer.Code, "Retry-After:", answer.Header().Get("Retry-After") != "")
	}
	// Output:
	// 500 Retry-After: false
	// 503 Retry-After: true
}

func ExampleDo() {
	breakers := breaker.MustNew(breaker.Config{})
	price, err := breaker.Do(context.Background(), breakers, "prices-db",
		func(context.Context) (int, error) { return 1200, nil })
	fmt.Println(price, err)
	// Output: 1200 <nil>
}

func ExampleBreaker_Run() {
	breakers := breaker.MustNew(breaker.Config{Rules: breaker.Rules{OpenTime: time.Hour}})
	if err := breakers.Trip("mail"); err != nil {
		fmt.Println(err)
		return
	}
	err := breakers.Run(context.Background(), "mail", func(context.Context) error { return nil })
	refused, ok := errors.AsType[*breaker.OpenError](err)
	fmt.Println(ok, refused.State, refused.Cause)
	// Output: true open by hand
}

// What is neither HTTP nor a function asks, makes the call, and says what became
// of it.
func ExampleBreaker_Allow() {
	breakers := breaker.MustNew(breaker.Config{})
	call, err := breakers.Allow(context.Background(), "queue")
	if err != nil {
		fmt.Println(err)
		return
	}
	call.Headers() // the answer begins; it may take its time from here on
	call.Done(nil)
	fmt.Println(breakers.Snapshot().Circuits[0].Counts.Successes)
	// Output: 1
}

// An operator takes a service out of use, and says why.
func ExampleBreaker_Set() {
	breakers := breaker.MustNew(breaker.Config{})
	if err := breakers.Set("billing", breaker.Override{
		Mode:   breaker.Isolated,
		Reason: "migration until 14:00",
	}); err != nil {
		fmt.Println(err)
		return
	}
	bill := func(context.Context) error { return nil }
	fmt.Println(breakers.Run(context.Background(), "billing", bill))

	if err := breakers.Set("billing", breaker.Override{}); err != nil { // lifted
		fmt.Println(err)
		return
	}
	fmt.Println(breakers.Run(context.Background(), "billing", bill))
	// Output:
	// breaker: "billing" is isolated: migration until 14:00
	// <nil>
}
