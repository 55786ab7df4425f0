package backpressure_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/backpressure"
)

// show prints what came of a call.
func show(resp *http.Response, err error) {
	if err != nil {
		fmt.Println(errors.Is(err, backpressure.ErrLimited), err)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Printf("%d %q\n", resp.StatusCode, body)
}

func page(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a page") }

// A server that lets in what it can finish in time. Nothing has to be set.
func ExampleLimiter_Handler() {
	limiter := backpressure.MustNew(backpressure.Config{})
	mux := http.NewServeMux()
	mux.HandleFunc("/", page)
	server := httptest.NewServer(limiter.Handler(mux))
	defer server.Close()

	show(server.Client().Get(server.URL))
	// Output: 200 "a page"
}

// A server in which some requests matter more than others, and say so to the next
// one. Its one place is taken: but it is alive, and says so.
func ExampleConfig() {
	limiter := backpressure.MustNew(backpressure.Config{
		Class: func(req *http.Request) backpressure.Class {
			switch req.URL.Path {
			case "/pay":
				return backpressure.Critical
			case "/suggestions":
				return backpressure.Sheddable
			default:
				return backpressure.Default
			}
		},
		Tenant:      func(req *http.Request) string { return req.Header.Get("Customer") },
		ClassHeader: "Criticality",
		Limit:       backpressure.Fixed(1), // for this example: what is found by itself suits better
		MaxWait:     backpressure.Off,
	})
	server := httptest.NewServer(limiter.Handler(http.HandlerFunc(page)))
	defer server.Close()

	permit, _ := limiter.Acquire(context.Background(), backpressure.Request{})
	show(server.Client().Get(server.URL + "/suggestions"))
	show(server.Client().Get(server.URL + "/healthz"))
	permit.Done(backpressure.Success)
	show(server.Client().Get(server.URL + "/pay"))
	// Output:
	// 503 "overloaded, try again later\n"
	// 200 "a page"
	// 200 "a page"
}

// The endpoints of Kubernetes' single checks are let in whatever happens, too. The path as
// it was sent tells /readyz/ping from /readyz%2Fping, which may be something else.
func ExampleConfig_bypass() {
	limiter := backpressure.MustNew(backpressure.Config{
		Bypass: func(req *http.Request) bool {
			switch req.URL.EscapedPath() {
			case "/livez", "/readyz", "/readyz/ping", "/readyz/db", "/metrics":
				return true
			default:
				return false
			}
		},
		Limit:   backpressure.Fixed(1),
		MaxWait: backpressure.Off,
	})
	server := httptest.NewServer(limiter.Handler(http.HandlerFunc(page)))
	defer server.Close()

	permit, _ := limiter.Acquire(context.Background(), backpressure.Request{}) // the only one
	defer permit.Done(backpressure.Success)
	for _, path := range []string{"/readyz/ping", "/readyz%2Fping", "/"} {
		resp, _ := server.Client().Get(server.URL + path)
		fmt.Println(path, resp.StatusCode, resp.Header["Cache-Control"])
		_ = resp.Body.Close()
	}
	// Output:
	// /readyz/ping 200 []
	// /readyz%2Fping 503 [no-store]
	// / 503 [no-store]
}

// A client that has only so many requests under way to a host. It is another Limiter
// than the one that protects the program itself, and has no use for the gate that
// watches the processors.
func ExampleLimiter_Transport() {
	server := httptest.NewServer(http.HandlerFunc(page))
	defer server.Close()

	limiter := backpressure.MustNew(backpressure.Config{
		Key:          func(*http.Request) string { return "shop" }, // it is the host if there is no Key
		CPUThreshold: backpressure.Off,
		Limit:        backpressure.Fixed(1),
		MaxWait:      backpressure.Off,
	})
	client := &http.Client{Transport: limiter.Transport(nil)}
	first, _ := client.Get(server.URL) // the place is taken until its body has been read

	_, err := client.Get(server.URL)
	fmt.Println(errors.Unwrap(err))
	show(first, nil)
	show(client.Get(server.URL))
	// Output:
	// backpressure: "shop": at limit
	// 200 "a page"
	// 200 "a page"
}

// The brain by itself, for what is neither HTTP nor a function.
func ExampleLimiter_Acquire() {
	limiter := backpressure.MustNew(backpressure.Config{Limit: backpressure.Fixed(1), MaxWait: backpressure.Off})
	ctx := context.Background()

	permit, err := limiter.Acquire(ctx, backpressure.Request{Key: "reports", Class: backpressure.Background})
	fmt.Println("first:", err)
	_, err = limiter.Acquire(ctx, backpressure.Request{Key: "reports"})
	fmt.Println("second:", err)

	permit.Done(backpressure.Success)
	permit.Done(backpressure.Success) // a mistake, without consequences
	_, err = limiter.Acquire(ctx, backpressure.Request{Key: "reports"})
	fmt.Println("third:", err)
	// Output:
	// first: <nil>
	// second: backpressure: "reports": at limit
	// third: <nil>
}

// A consumer takes a place before it takes a message: what it cannot work on stays in
// the queue, for others, and nothing is refused. Begin says that the wait for a message
// was no work, and Free how many to fetch ahead.
func ExampleLimiter_Await() {
	limiter := backpressure.MustNew(backpressure.Config{Limit: backpressure.Fixed(2)}) // or found by itself
	queue := make(chan string, 10)
	for _, message := range []string{"a", "b", "c", "d", "e"} {
		queue <- message
	}
	close(queue)

	orders := backpressure.Request{Key: "orders"} // Background, if users wanted places of it as well
	fmt.Println("fetch", limiter.Free(orders), "ahead")
	ctx := context.Background() // ends when the service does
	var workers sync.WaitGroup
	var worked atomic.Int64
	for {
		permit, err := limiter.Await(ctx, orders)
		if err != nil {
			break // what has not been taken is still in the queue
		}
		message, ok := <-queue // for which it may have to wait
		if !ok {
			permit.Done(backpressure.Ignore)
			break
		}
		permit.Begin()
		workers.Go(func() {
			err := work(message)
			permit.Release(ctx, err)
			worked.Add(1)
		})
	}
	workers.Wait()
	fmt.Println("worked on", worked.Load(), "and", limiter.Free(orders), "places are free")
	// Output:
	// fetch 2 ahead
	// worked on 5 and 2 places are free
}

func work(string) error { return nil }

// A call of a function that returns a value.
func ExampleDo() {
	limiter := backpressure.MustNew(backpressure.Config{})
	price, err := backpressure.Do(context.Background(), limiter, "prices", func(context.Context) (int, error) {
		return 1200, nil
	})
	fmt.Println(price, err)
	// Output: 1200 <nil>
}

// A call of a function. That it failed tells the Limiter nothing of load; that it
// timed out does.
func ExampleLimiter_Run() {
	limiter := backpressure.MustNew(backpressure.Config{})
	err := limiter.Run(context.Background(), "mail", func(context.Context) error {
		return errors.New("no such mailbox")
	})
	fmt.Println(err, errors.Is(err, backpressure.ErrLimited))
	// Output: no such mailbox false
}

// A client that does not send what the server would refuse.
func ExampleThrottle_Transport() {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()

	throttle := backpressure.MustNewThrottle(backpressure.ThrottleConfig{})
	client := &http.Client{Transport: throttle.Transport(nil)}
	held := 0
	for range 200 {
		resp, err := client.Get(server.URL)
		if errors.Is(err, backpressure.ErrLimited) {
			held++
			continue
		}
		_ = resp.Body.Close()
	}
	fmt.Println("asked less than half the time:", asked < 100, "and held back the rest:", asked+held == 200)
	// Output: asked less than half the time: true and held back the rest: true
}

// A quota for each customer, and how they stand with it.
func ExampleRate_Handler() {
	rate := backpressure.MustNewRate(backpressure.RateConfig{
		Key:       func(req *http.Request) string { return req.Header.Get("Customer") },
		PerSecond: 0.01,
		Burst:     2,
		Fields:    true,
	})
	server := httptest.NewServer(rate.Handler(http.HandlerFunc(page)))
	defer server.Close()

	for range 3 {
		resp, err := server.Client().Get(server.URL)
		fmt.Println(resp.Header["Ratelimit"], len(resp.Header["Retry-After"]))
		show(resp, err)
	}
	// Output:
	// ["default";r=1] 0
	// 200 "a page"
	// ["default";r=0;t=100] 0
	// 200 "a page"
	// ["default";r=0;t=100] 1
	// 429 "too many requests, try again later\n"
}

// A client that keeps to a quota: it waits for its turn, unless that would take too
// long.
func ExampleRate_Transport() {
	server := httptest.NewServer(http.HandlerFunc(page))
	defer server.Close()

	rate := backpressure.MustNewRate(backpressure.RateConfig{
		Key:       func(*http.Request) string { return "partner" }, // it is the host if there is no Key
		PerSecond: 10,
		Burst:     1,
		MaxWait:   250 * time.Millisecond,
	})
	client := &http.Client{Transport: rate.Transport(nil)}
	start := time.Now()
	show(client.Get(server.URL))
	show(client.Get(server.URL)) // 100 ms later
	fmt.Println(time.Since(start) >= 99*time.Millisecond)

	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	var err error
	for err == nil { // on a busy machine, the next turn may have come meanwhile
		err = rate.Run(ctx, "partner", func(context.Context) error { return nil })
	}
	fmt.Println(errors.Is(err, backpressure.ErrLimited))
	// Output:
	// 200 "a page"
	// 200 "a page"
	// true
	// true
}

// Brownout: under pressure a page goes without its suggestions, before anybody goes
// without the page.
func ExampleDegrade() {
	pressure := 1.9 // of 2, at which requests would be refused
	limiter := backpressure.MustNew(backpressure.Config{
		CPULoad:     func() float64 { return pressure }, // for this example; it is Go's scheduler otherwise
		LevelHeader: "Brownout",                         // so that the page's scripts can do with less as well
	})
	server := httptest.NewServer(limiter.Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.WriteString(w, "a page")
		if !backpressure.Degrade(req.Context(), "suggestions") {
			_, _ = io.WriteString(w, " with suggestions")
		}
	})))
	defer server.Close()

	show(server.Client().Get(server.URL))
	for limiter.Level() < 1 { // it rises by a tenth each 100 ms: see Level
		resp, _ := server.Client().Get(server.URL)
		_ = resp.Body.Close()
	}
	resp, err := server.Client().Get(server.URL)
	fmt.Println(resp.Header.Get("Brownout"))
	show(resp, err)
	// Output:
	// 200 "a page with suggestions"
	// 1.00
	// 200 "a page"
}

// A Config from a file: durations in the file are text, so that it says what they
// mean.
func ExampleConfig_json() {
	file := []byte(`{"limit": "Fixed(40)", "maxWait": "50ms"}`)

	var settings struct {
		Limit   backpressure.Limit
		MaxWait string
	}
	if err := json.Unmarshal(file, &settings); err != nil {
		fmt.Println(err)
		return
	}
	cfg := backpressure.Config{Limit: settings.Limit}
	var parseErr error
	cfg.MaxWait, parseErr = time.ParseDuration(settings.MaxWait)
	_, err := backpressure.New(cfg)
	fmt.Println(cfg.Limit, cfg.MaxWait, errors.Join(parseErr, err))

	_, err = backpressure.New(backpressure.Config{MinLimit: 50, MaxLimit: 20, MaxWait: -time.Second})
	fmt.Println(err)
	// Output:
	// Fixed(40) 50ms <nil>
	// backpressure: Config.MinLimit 50, StartLimit 0 and MaxLimit 20 are not in this order
	// backpressure: Config.MaxWait is -1s, not above 0 and at most 1h0m0s, nor Off
}
