package retry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/retry"
)

// failingTimes returns a handler that answers 503 a number of times before it works.
func failingTimes(failures int64) http.Handler {
	var requests atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if requests.Add(1) <= failures {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "attempt ", retry.RequestAttempt(req))
	})
}

func ExampleRetrier_Transport() {
	server := httptest.NewServer(failingTimes(2))
	defer server.Close()

	retrier := retry.MustNew(retry.Config{
		TryTimeout:    time.Second,
		BaseDelay:     time.Millisecond,
		AttemptHeader: true, // so that the server knows
	})
	client := &http.Client{Transport: retrier.Transport(nil)}

	resp, err := client.Get(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	var body [16]byte
	n, _ := resp.Body.Read(body[:])
	fmt.Println(resp.StatusCode, string(body[:n]))
	// Output: 200 attempt 3
}

func ExampleDo() {
	retrier := retry.MustNew(retry.Config{BaseDelay: retry.Immediately})
	calls := 0
	price, err := retry.Do(context.Background(), retrier, "prices-db",
		func(context.Context) (int, error) {
			if calls++; calls == 1 {
				return 0, errors.New("connection reset")
			}
			return 1200, nil
		})
	fmt.Println(price, err)
	// Output: 1200 <nil>
}

func ExampleRetrier_Run() {
	retrier := retry.MustNew(retry.Config{BaseDelay: retry.Immediately})
	err := retrier.Run(context.Background(), "mail", func(context.Context) error {
		return errors.New("mailbox full")
	})
	fmt.Println(err)

	if failed, ok := errors.AsType[*retry.Error](err); ok {
		fmt.Println(len(failed.Tries), failed.Reason)
	}
	// Output:
	// retry: 3 attempts, out of attempts: mailbox full
	// 3 out of attempts
}

// An error that another attempt cannot mend ends the call at once.
func ExamplePermanent() {
	retrier := retry.MustNew(retry.Config{})
	err := retrier.Run(context.Background(), "mail", func(context.Context) error {
		return retry.Permanent(errors.New("no such mailbox"))
	})
	fmt.Println(err)
	// Output: no such mailbox
}

// The caller knows that this POST may be repeated, and wants a quick answer.
func ExampleWith() {
	server := httptest.NewServer(failingTimes(1))
	defer server.Close()
	client := &http.Client{Transport: retry.MustNew(retry.Config{}).Transport(nil)}

	ctx := retry.With(context.Background(), retry.Override{
		TryTimeout: 500 * time.Millisecond,
		Repeatable: true,
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := client.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode)
	// Output: 200
}

// An overloaded server loses least by refusing retries first.
func ExampleRequestAttempt() {
	overloaded := func() bool { return true }
	handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if overloaded() && retry.RequestAttempt(req) > 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusOK)
	})

	for _, attempt := range []string{"", "2"} {
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		if attempt != "" {
			req.Header.Set("Retry-Attempt", attempt)
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, req)
		fmt.Println(answer.Code)
	}
	// Output:
	// 200
	// 503
}

// A Config from a file: durations in the file are text, so that it says what
// they mean.
func ExampleConfig_json() {
	file := []byte(`{"maxAttempts": 2, "tryTimeout": "250ms"}`)

	var settings struct {
		MaxAttempts int
		TryTimeout  string
	}
	if err := json.Unmarshal(file, &settings); err != nil {
		fmt.Println(err)
		return
	}
	timeout, err := time.ParseDuration(settings.TryTimeout)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = retry.New(retry.Config{MaxAttempts: settings.MaxAttempts, TryTimeout: timeout})
	fmt.Println(timeout, err)

	_, err = retry.New(retry.Config{MaxAttempts: -1, MaxDelay: time.Millisecond})
	fmt.Println(err)
	// Output:
	// 250ms <nil>
	// retry: Config.MaxAttempts is -1, not from 1 to 1000
	// retry: Config.MaxDelay of 1ms is below BaseDelay of 50ms
}
