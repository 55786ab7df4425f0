package healthcheck_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/failsoft/failsoft/healthcheck"
)

// show prints what a handler answers to a GET.
func show(h http.Handler, path string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
	fmt.Println(path, w.Code, strings.TrimSpace(w.Body.String()))
}

// Three endpoints, for three who ask: what restarts the process, what sends it
// requests, and who wants to know.
func Example() {
	ping := func(context.Context) error { return nil } // db.PingContext, say
	health := healthcheck.MustNew(healthcheck.Config{
		Authorize: func(r *http.Request) bool { return r.URL.Query().Has("operator") }, // be stricter than that
	})
	health.MustAdd("db", healthcheck.Check{
		Probe:     healthcheck.Errs(ping),
		Affects:   []string{"GET /orders/{id}"},
		Component: "datastore",
	})
	health.MustAdd("queue", healthcheck.Check{
		Probe: func(context.Context) healthcheck.Result {
			return healthcheck.Result{Status: healthcheck.Warn, Public: "filling up", Observed: 84, Unit: "%"}
		},
	})
	mux := http.NewServeMux()
	mux.Handle("GET /livez", health.Handler(healthcheck.Live))
	mux.Handle("GET /readyz", health.Handler(healthcheck.Ready))
	mux.Handle("GET /healthz", health.Details())
	if err := health.Start(); err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = health.Close(context.Background()) }()

	for _, path := range []string{"/livez", "/readyz", "/healthz"} {
		show(mux, path)
	}
	r := httptest.NewRequest(http.MethodGet, "/healthz?operator", http.NoBody)
	r.Header.Set("Accept", "text/plain")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Print(w.Body)
	// Output:
	// /livez 200 {"status":"pass"}
	// /readyz 200 {"status":"warn"}
	// /healthz 200 {"status":"warn"}
	// warn
	// db pass
	// queue warn 84%: filling up
}

// When the database is away, the routes that need it say so at once, and the
// others go on: the service stays ready.
func ExampleChecker_Require() {
	health := healthcheck.MustNew(healthcheck.Config{})
	health.MustAdd("db", healthcheck.Check{
		Probe: healthcheck.Errs(func(context.Context) error { return errors.New("connection refused") }),
	})
	mux := http.NewServeMux()
	page := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
	}
	mux.Handle("GET /orders", health.Require("db")(page("orders")))
	mux.Handle("GET /about", page("about us"))
	mux.Handle("GET /readyz", health.Handler(healthcheck.Ready))
	if err := health.Start(); err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = health.Close(context.Background()) }()

	show(mux, "/readyz") // which waits for the first result
	show(mux, "/orders")
	show(mux, "/about")
	// Output:
	// /readyz 200 {"status":"warn"}
	// /orders 503 temporarily unavailable
	// /about 200 about us
}

// A service that is told to end by SIGTERM ends in order; one that is told twice
// ends at once. Kubernetes grants 30 s by default: the delay, the longest request and
// a reserve must fit in.
func ExampleChecker_Shutdown() {
	health := healthcheck.MustNew(healthcheck.Config{})
	server := &http.Server{
		Addr:              "localhost:8080",
		Handler:           health.InBand(http.NewServeMux()), // around everything
		ReadHeaderTimeout: 5 * time.Second,
	}
	run := func() error {
		told, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer release()
		failed := make(chan error, 1)
		go func() { failed <- server.ListenAndServe() }()
		if err := health.Start(); err != nil {
			return err
		}
		select {
		case err := <-failed:
			return err
		case <-told.Done():
			release() // a second signal ends the process, as it does by default
		}
		ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
		defer cancel()
		closeDB := func(context.Context) error { return nil } // db.Close(), say
		return health.Shutdown(ctx, server, 10*time.Second, closeDB)
	}
	_ = run // what main does

	_ = health.Start()
	show(health.Handler(healthcheck.Ready), "/readyz")
	_ = health.Shutdown(context.Background(), nil, 0, func(context.Context) error {
		fmt.Println("database closed")
		return nil
	})
	show(health.Handler(healthcheck.Ready), "/readyz")
	show(health.Handler(healthcheck.Live), "/livez")
	// Output:
	// /readyz 200 {"status":"pass"}
	// database closed
	// /readyz 503 {"status":"fail"}
	// /livez 200 {"status":"pass"}
}

// While a service drains, each answer tells its client to go elsewhere.
func ExampleChecker_InBand() {
	health := healthcheck.MustNew(healthcheck.Config{})
	_ = health.Start()
	defer func() { _ = health.Close(context.Background()) }()
	h := health.InBand(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	ask := func() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		fmt.Printf("%d %s %q\n", w.Code, w.Header().Get(healthcheck.HealthHeader), w.Header().Get("Connection"))
	}
	ask()
	health.Drain()
	ask()
	// Output:
	// 200 pass ""
	// 200 drain "close"
}

// An operator takes an instance out of the balancer, and says why and for how long.
func ExampleChecker_Override() {
	health := healthcheck.MustNew(healthcheck.Config{})
	_ = health.Start()
	defer func() { _ = health.Close(context.Background()) }()
	if err := health.Override(healthcheck.Ready, healthcheck.Override{
		Status: healthcheck.Fail, Reason: "new disk", TTL: time.Hour,
	}); err != nil {
		fmt.Println(err)
		return
	}
	show(health.Handler(healthcheck.Ready), "/readyz")
	fmt.Println(health.Overrides()[healthcheck.Ready].Reason)
	_ = health.Lift(healthcheck.Ready)
	show(health.Handler(healthcheck.Ready), "/readyz")
	// Output:
	// /readyz 503 {"status":"fail"}
	// new disk
	// /readyz 200 {"status":"pass"}
}

// Where requests are made all the time, they know first: nothing is probed.
func ExampleChecker_Feed() {
	health := healthcheck.MustNew(healthcheck.Config{})
	health.MustAdd("mail", healthcheck.Check{Impact: healthcheck.Critical}) // no Probe
	_ = health.Start()
	defer func() { _ = health.Close(context.Background()) }()

	send := func(err error) { _ = health.Feed("mail", err) } // what the client's calls come to
	send(nil)
	fmt.Println(health.Status("mail"))
	for range 3 {
		send(errors.New("connection refused"))
	}
	fmt.Println(health.Status("mail"), health.Status(healthcheck.Ready))
	// It passes again when calls succeed for a period.

	// Output:
	// pass
	// fail fail
}

// A breaker that opens has found out that what it calls is down. Its events need
// no more than the right shape.
func ExampleObserver() {
	type event struct { // of a breaker, say
		Key  string
		Open bool
	}
	health := healthcheck.MustNew(healthcheck.Config{})
	health.MustAdd("billing", healthcheck.Check{})
	_ = health.Start()
	defer func() { _ = health.Close(context.Background()) }()

	observe := healthcheck.Observer(health, func(e event) (check string, res healthcheck.Result, ok bool) {
		if e.Open {
			res.Err = errors.New("the breaker is open")
		}
		return e.Key, res, e.Key == "billing"
	})
	observe(context.Background(), event{Key: "billing", Open: true})
	fmt.Println(health.Status("billing"), health.Status(healthcheck.Ready))
	observe(context.Background(), event{Key: "billing"})
	fmt.Println(health.Status("billing"), health.Status(healthcheck.Ready))
	// Output:
	// fail warn
	// pass pass
}

// A service that is idle most of the time probes when somebody asks, and then
// once for all who do.
func ExampleCheck_onDemand() {
	probes := 0
	health := healthcheck.MustNew(healthcheck.Config{})
	health.MustAdd("archive", healthcheck.Check{
		OnDemand: time.Minute,
		Probe: func(context.Context) healthcheck.Result {
			probes++
			return healthcheck.Result{}
		},
	})
	_ = health.Start()
	defer func() { _ = health.Close(context.Background()) }()
	fmt.Println(probes, "before anybody asks")
	for range 3 {
		show(health.Handler(healthcheck.Ready), "/readyz")
	}
	fmt.Println(probes, "afterwards")
	// Output:
	// 0 before anybody asks
	// /readyz 200 {"status":"pass"}
	// /readyz 200 {"status":"pass"}
	// /readyz 200 {"status":"pass"}
	// 1 afterwards
}

// A change of a group is told as it happens; who is slow gets the latest.
func ExampleChecker_Watch() {
	health := healthcheck.MustNew(healthcheck.Config{})
	health.MustAdd("db", healthcheck.Check{Impact: healthcheck.Critical})
	_ = health.Start()
	defer func() { _ = health.Close(context.Background()) }()
	statuses, stop, err := health.Watch(healthcheck.Ready)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()
	fmt.Println(<-statuses)
	_ = health.Report("db", healthcheck.Result{Status: healthcheck.Fail})
	fmt.Println(<-statuses)
	// Output:
	// pass
	// fail
}
