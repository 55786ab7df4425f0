package hedge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/failsoft/failsoft/hedge"
)

// stallFirst is a server on which first attempts hang, until they are canceled.
func stallFirst() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		if hedge.RequestAttempt(req) == 1 {
			<-req.Context().Done()
			return
		}
		fmt.Fprintf(w, "%s %s by attempt %d", req.Method, body, hedge.RequestAttempt(req))
	}))
}

// show prints what came of a call.
func show(resp *http.Response, err error) {
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(resp.StatusCode, string(body), err)
}

// The client that is meant for production: it hedges the slowest 5 % of reads,
// finds by itself which these are, and needs to be told nothing.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "1200 EUR")
	}))
	defer server.Close()

	hedger := hedge.MustNew(hedge.Config{})
	client := &http.Client{
		Transport: hedger.Transport(http.DefaultTransport),
		Timeout:   10 * time.Second,
	}
	show(client.Get(server.URL + "/prices/42"))
	// Output: 200 1200 EUR <nil>
}

// A fixed delay, for a service whose latency is known and does not change.
func ExampleHedger_Transport() {
	server := stallFirst()
	defer server.Close()

	hedger := hedge.MustNew(hedge.Config{
		Delay:         time.Millisecond,
		Percent:       100,  // this example makes one call: 5 % of that would be none
		AttemptHeader: true, // so that the server knows
	})
	client := &http.Client{Transport: hedger.Transport(nil)}
	show(client.Get(server.URL))
	// Output: 200 GET  by attempt 2 <nil>
}

// A function learns which attempt it is, and goes to another replica then. It has
// to heed its context, by which the slower one is called off.
func ExampleDo() {
	replicas := []func(context.Context) (int, error){
		func(ctx context.Context) (int, error) { // stalls
			<-ctx.Done()
			return 0, ctx.Err()
		},
		func(context.Context) (int, error) { return 1200, nil },
	}
	hedger := hedge.MustNew(hedge.Config{Delay: time.Millisecond, Percent: 100})

	price, err := hedge.Do(context.Background(), hedger, "prices-db",
		func(ctx context.Context) (int, error) {
			return replicas[hedge.Attempt(ctx)-1](ctx)
		})
	fmt.Println(price, err)
	// Output: 1200 <nil>
}

// An attempt that fails starts the next at once. If all fail, the error is that
// of the first, and tells of the others too.
func ExampleHedger_Run() {
	hedger := hedge.MustNew(hedge.Config{})
	err := hedger.Run(context.Background(), "mail", func(ctx context.Context) error {
		return fmt.Errorf("mail server %d is down", hedge.Attempt(ctx))
	})
	fmt.Println(err)

	if failed, ok := errors.AsType[*hedge.Error](err); ok {
		for _, try := range failed.Tries {
			fmt.Println(try.Attempt, try.Err)
		}
	}
	// Output:
	// hedge: 2 attempts: mail server 1 is down
	// 1 mail server 1 is down
	// 2 mail server 2 is down
}

// HTTP multicast: every call goes to all endpoints at once, and the first good
// answer counts.
func ExampleConfig_endpoints() {
	stalled := stallFirst()
	defer stalled.Close()
	broken := httptest.NewServer(http.NotFoundHandler())
	broken.Close()
	healthy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		fmt.Fprint(w, "found ", req.URL.Path)
	}))
	defer healthy.Close()

	hedger := hedge.MustNew(hedge.Config{
		Delay:     hedge.AtOnce,
		Endpoints: []string{stalled.URL, broken.URL, healthy.URL},
	})
	client := &http.Client{Transport: hedger.Transport(nil)}
	show(client.Get("http://mirrors.internal/file")) // the host is that of the endpoint
	// Output: 200 found /file <nil>
}

// The caller knows that this POST may be made twice at the same time.
func ExampleWith() {
	server := stallFirst()
	defer server.Close()
	hedger := hedge.MustNew(hedge.Config{Percent: 100, AttemptHeader: true})
	client := &http.Client{Transport: hedger.Transport(nil)}

	ctx := hedge.With(context.Background(), hedge.Override{
		Delay:      time.Millisecond,
		Repeatable: true,
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, strings.NewReader("a query"))
	if err != nil {
		fmt.Println(err)
		return
	}
	show(client.Do(req))
	// Output: 200 POST a query by attempt 2 <nil>
}

// A report that takes long and costs much is worth waiting for.
func ExampleOff() {
	hedger := hedge.MustNew(hedge.Config{Delay: hedge.AtOnce, MaxAttempts: 3})
	attempts := 0
	err := hedger.Run(hedge.Off(context.Background()), "reports", func(context.Context) error {
		attempts++
		return nil
	})
	fmt.Println(attempts, err)
	// Output: 1 <nil>
}

// An overloaded server loses least by refusing hedges first: their calls have
// another attempt under way.
func ExampleRequestAttempt() {
	overloaded := func() bool { return true }
	handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if overloaded() && hedge.RequestAttempt(req) > 1 {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		w.WriteHeader(http.StatusOK)
	})

	for _, attempt := range []string{"", "2"} {
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		if attempt != "" {
			req.Header.Set("Hedge-Attempt", attempt)
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, req)
		fmt.Println(answer.Code)
	}
	// Output:
	// 200
	// 429
}

// A limiter below a hedger lets hedges have what is free, and none of its queue.
func ExampleAttempt() {
	places := make(chan struct{}, 1)
	enter := func(ctx context.Context) error {
		if hedge.Attempt(ctx) > 1 {
			select {
			case places <- struct{}{}:
				return nil
			default:
				return errors.New("no place for a hedge")
			}
		}
		select {
		case places <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}

	hedger := hedge.MustNew(hedge.Config{Delay: time.Millisecond, Percent: 100})
	hedged := make(chan error, 1)
	err := hedger.Run(context.Background(), "pictures", func(ctx context.Context) error {
		err := enter(ctx)
		if hedge.Attempt(ctx) > 1 {
			hedged <- err
			return err
		}
		fmt.Println(<-hedged) // the first attempt is slow
		return err
	})
	fmt.Println(err)
	// Output:
	// no place for a hedge
	// <nil>
}

func ExampleHedger_Snapshot() {
	hedger := hedge.MustNew(hedge.Config{Delay: 250 * time.Millisecond})
	for range 3 {
		_ = hedger.Run(context.Background(), "search", func(ctx context.Context) error {
			if hedge.Attempt(ctx) == 1 {
				return errors.New("connection reset")
			}
			return nil
		})
	}
	for _, key := range hedger.Snapshot().Keys {
		fmt.Println(key.Key, key.Delay, "sent:", key.Sent, "won:", key.Won, "lost:", key.Lost)
	}
	// Output: search 250ms sent: 3 won: 3 lost: 0
}

// A log line for each hedge. A call whose first attempt is in time has none.
func ExampleConfig_observe() {
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "elapsed" { // which differ from run to run
				return slog.Attr{}
			}
			return a
		},
	}))
	hedger := hedge.MustNew(hedge.Config{
		Observe: func(ctx context.Context, e hedge.Event) {
			log.InfoContext(ctx, "hedge", "event", e)
		},
	})
	_ = hedger.Run(context.Background(), "search", func(ctx context.Context) error {
		if hedge.Attempt(ctx) == 1 {
			return errors.New("connection reset")
		}
		return nil
	})
	// Output:
	// level=INFO msg=hedge event.kind=sent event.key=search event.attempt=2 event.trigger=failure
	// level=INFO msg=hedge event.kind=won event.key=search event.attempt=2
}

// A good answer may look like an error, and the other way round.
func ExampleConfig_judge() {
	hedger := hedge.MustNew(hedge.Config{
		Judge: func(resp *http.Response, _ error) hedge.Outcome {
			if resp != nil && resp.Header.Get("X-Replica") == "stale" {
				return hedge.Fail // another one may be fresh
			}
			return hedge.ByRule
		},
		AttemptHeader: true,
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if hedge.RequestAttempt(req) == 1 {
			w.Header().Set("X-Replica", "stale")
			fmt.Fprint(w, "old")
			return
		}
		fmt.Fprint(w, "new")
	}))
	defer server.Close()

	client := &http.Client{Transport: hedger.Transport(nil)}
	show(client.Get(server.URL))
	// Output: 200 new <nil>
}

// A Config from a file: durations in the file are text, so that it says what
// they mean.
func ExampleConfig_json() {
	file := []byte(`{"percent": 2, "delay": "", "maxDelay": "250ms"}`)

	var settings struct {
		Percent  float64
		Delay    string // empty: it is found; or "at once"
		MaxDelay string
	}
	if err := json.Unmarshal(file, &settings); err != nil {
		fmt.Println(err)
		return
	}
	cfg := hedge.Config{Percent: settings.Percent}
	var delayErr, maxErr error
	switch settings.Delay {
	case "":
	case "at once":
		cfg.Delay = hedge.AtOnce
	default:
		cfg.Delay, delayErr = time.ParseDuration(settings.Delay)
	}
	cfg.MaxDelay, maxErr = time.ParseDuration(settings.MaxDelay)
	_, err := hedge.New(cfg)
	fmt.Println(cfg.Percent, cfg.MaxDelay, errors.Join(delayErr, maxErr, err))

	_, err = hedge.New(hedge.Config{Percent: 200, Endpoints: []string{"replica-1:8080"}})
	fmt.Println(err)
	// Output:
	// 2 250ms <nil>
	// hedge: Config.Percent is 200, not from 0.01 to 100
	// hedge: Config.Endpoints has 1, fewer than the two that hedging between them takes
	// hedge: Config.Endpoints: "replica-1:8080" is not of the form http://host or https://host:port
}
