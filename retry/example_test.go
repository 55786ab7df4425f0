package retry_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/budget"
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
		TryTimeout:    10 * time.Second,
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

// A log line for each retry, with what it is for. Without the filter there is one
// for every attempt that went well, too.
func ExampleConfig_observe() {
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "wait" { // which differ from run to run
				return slog.Attr{}
			}
			return a
		},
	}))
	retrier := retry.MustNew(retry.Config{
		BaseDelay: time.Millisecond,
		Observe: func(ctx context.Context, e retry.Event) {
			if e.Kind != retry.Attempted {
				log.WarnContext(ctx, "retry", "event", e)
			}
		},
	})
	calls := 0
	_ = retrier.Run(context.Background(), "mail", func(context.Context) error {
		if calls++; calls == 1 {
			return errors.New("mailbox busy")
		}
		return nil
	})
	// Output: level=WARN msg=retry event.kind=waiting event.key=mail event.attempt=1 event.error="mailbox busy"
}

// Answers that look like errors are not repeated.
func ExampleConfig_judgeError() {
	retrier := retry.MustNew(retry.Config{
		JudgeError: func(err error) retry.Outcome {
			if errors.Is(err, sql.ErrNoRows) {
				return retry.Accept
			}
			return retry.ByRule
		},
	})
	calls := 0
	err := retrier.Run(context.Background(), "db", func(context.Context) error {
		calls++
		return sql.ErrNoRows
	})
	fmt.Println(calls, err)
	// Output: 1 sql: no rows in result set
}

// Two clients of the same hosts, which together may add a twentieth.
func ExampleConfig_budget() {
	shared := budget.MustNew(budget.Config{Ratio: 0.05})
	search := retry.MustNew(retry.Config{Budget: shared})
	orders := retry.MustNew(retry.Config{Budget: shared, MaxAttempts: 2})
	_, _ = search, orders
	fmt.Println(len(shared.Snapshot().Keys), "keys yet")
	// Output: 0 keys yet
}

// A Config from a file: durations in the file are text, so that it says what
// they mean.
func ExampleConfig_json() {
	file := []byte(`{"maxAttempts": 2, "tryTimeout": "250ms", "jitter": "decorrelated"}`)

	var settings struct {
		MaxAttempts int
		TryTimeout  string // or "off"
		Jitter      retry.Jitter
	}
	if err := json.Unmarshal(file, &settings); err != nil {
		fmt.Println(err)
		return
	}
	cfg := retry.Config{MaxAttempts: settings.MaxAttempts, Jitter: settings.Jitter}
	if settings.TryTimeout == "off" {
		cfg.TryTimeout = retry.NoTimeout
	} else {
		timeout, err := time.ParseDuration(settings.TryTimeout)
		if err != nil {
			fmt.Println(err)
			return
		}
		cfg.TryTimeout = timeout
	}
	_, err := retry.New(cfg)
	fmt.Println(cfg.TryTimeout, cfg.Jitter, err)

	_, err = retry.New(retry.Config{MaxAttempts: -1, MaxDelay: time.Millisecond})
	fmt.Println(err)
	// Output:
	// 250ms decorrelated <nil>
	// retry: Config.MaxAttempts is -1, not from 1 to 1000
	// retry: Config.MaxDelay of 1ms is below BaseDelay of 50ms
}
