package stale_test

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/failsoft/failsoft/stale"
)

// A page that many ask for is made once, and an old one answers when the
// application fails.
func ExampleCache_Handler() {
	made, down := 0, false
	app := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if down {
			http.Error(w, "database away", http.StatusInternalServerError)
			return
		}
		made++
		w.Header().Set("Cache-Control", "max-age=60, stale-if-error=86400")
		fmt.Fprint(w, "12 lamps")
	})
	cache := stale.MustNew(stale.Config{})
	front := cache.Handler(app) // what is to be served

	for range 100 {
		ask(front, "/lamps")
	}
	fmt.Println(ask(front, "/lamps"), "- made:", made)

	down = true
	_ = cache.PurgeAll(context.Background(), stale.Soft) // as if the minute were over
	fmt.Println(ask(front, "/lamps"), "- old:", cache.Snapshot().Stale[stale.Failed.String()])
	fmt.Println(ask(front, "/chairs")) // never seen before
	// Output:
	// 200 12 lamps - made: 1
	// 200 12 lamps - old: 1
	// 500 database away
}

// A client that asks every time, and goes on with the last answer when the server
// is gone. With retry, hedge and breaker it is cache.Transport(retrier.Transport(…)).
func ExampleCache_Transport() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=0, stale-if-error=86400")
		fmt.Fprint(w, "1 EUR = 1.08 USD")
	}))
	defer server.Close()

	cache := stale.MustNew(stale.Config{StaleAfter: stale.Off}) // or it would do so when the server is slow, too
	client := &http.Client{Transport: cache.Transport(nil)}

	for range 2 {
		resp, err := client.Get(server.URL + "/rates")
		if err != nil {
			fmt.Println(err)
			return
		}
		rates, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		fmt.Println(string(rates), err)

		server.Close()
	}
	fmt.Println("old:", cache.Snapshot().Stale[stale.Failed.String()])
	// Output:
	// 1 EUR = 1.08 USD <nil>
	// 1 EUR = 1.08 USD <nil>
	// old: 1
}

// What has changed is purged. Soft keeps it for when the application fails.
func ExampleCache_PurgeURL() {
	price, down := "9 EUR", false
	cache := stale.MustNew(stale.Config{})
	front := cache.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if down {
			http.Error(w, "database away", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Cache-Control", "max-age=3600")
		fmt.Fprint(w, price)
	}))
	purge := func(how stale.Purge) {
		// The host is the one that clients ask for.
		if err := cache.PurgeURL(context.Background(), "https://example.com/lamp", how); err != nil {
			fmt.Println(err)
		}
	}

	ask(front, "/lamp")
	price = "8 EUR"
	fmt.Println(ask(front, "/lamp"))
	purge(stale.Soft)
	fmt.Println(ask(front, "/lamp"))

	down = true
	purge(stale.Soft)
	fmt.Println(ask(front, "/lamp"))
	purge(stale.Hard)
	fmt.Println(ask(front, "/lamp"))
	// Output:
	// 200 9 EUR
	// 200 8 EUR
	// 200 8 EUR
	// 500 database away
}

// An operator, or the program that changes the products, purges all pages that show
// one of them: those that name it in Cache-Groups.
func ExampleCache_Purger() {
	price := "9 EUR"
	cache := stale.MustNew(stale.Config{})
	front := cache.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("Cache-Groups", `"lamp", "sale"`)
		fmt.Fprint(w, price)
	}))
	operators := http.NewServeMux() // on a port of its own
	operators.Handle("/purge", cache.Purger(func(req *http.Request) bool {
		return subtle.ConstantTimeCompare([]byte(req.Header.Get("Authorization")), []byte("Bearer secret")) == 1
	}))
	purge := func(query, token string) {
		req := httptest.NewRequest(http.MethodPost, "/purge?"+query, nil)
		req.Header.Set("Authorization", "Bearer "+token)
		answer := httptest.NewRecorder()
		operators.ServeHTTP(answer, req)
		fmt.Println(answer.Code)
	}

	ask(front, "/lamps?page=1")
	price = "8 EUR"
	purge("tag=lamp", "guess")
	purge("tag=lamp&hard=true", "secret")
	fmt.Println(ask(front, "/lamps?page=1"))
	// Output:
	// 403
	// 204
	// 200 8 EUR
}

// A Config from a file: durations in the file are text, so that it says what
// they mean.
func ExampleConfig_json() {
	file := []byte(`{"maxBytes": 268435456, "staleAfter": "200ms", "staleIfError": "12h", "ignoreCookies": ["_ga*"]}`)

	var settings struct {
		MaxBytes      int64
		StaleAfter    string // or "off"
		StaleIfError  string
		IgnoreCookies []string
	}
	if err := json.Unmarshal(file, &settings); err != nil {
		fmt.Println(err)
		return
	}
	cfg := stale.Config{MaxBytes: settings.MaxBytes, IgnoreCookies: settings.IgnoreCookies}
	var afterErr, errorErr error
	if settings.StaleAfter == "off" {
		cfg.StaleAfter = stale.Off
	} else {
		cfg.StaleAfter, afterErr = time.ParseDuration(settings.StaleAfter)
	}
	cfg.DefaultStaleIfError, errorErr = time.ParseDuration(settings.StaleIfError)
	_, err := stale.New(cfg)
	fmt.Println(cfg.MaxBytes>>20, cfg.StaleAfter, cfg.DefaultStaleIfError, errors.Join(afterErr, errorErr, err))

	_, err = stale.New(stale.Config{MaxVariants: -1, Name: "edge 1"})
	fmt.Println(err)
	// Output:
	// 256 200ms 12h0m0s <nil>
	// stale: Config.MaxVariants is -1, not at least 1
	// stale: Config.Name is "edge 1", not a token
}

// Observe tells of answers that are old. All that happens is
// logger.DebugContext(ctx, "cache", "event", e).
func ExampleConfig_observe() {
	down := false
	cache := stale.MustNew(stale.Config{
		Observe: func(_ context.Context, e stale.Event) {
			if e.Kind == stale.Hit && e.Reason.IsStale() {
				fmt.Println("an old answer:", e.Reason)
			}
		},
		StaleAfter: stale.Off, // not because the handler is slow
	})
	front := cache.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if down {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.Header().Set("Cache-Control", "max-age=0, stale-if-error=86400")
		fmt.Fprint(w, "12 lamps")
	}))

	fmt.Println(ask(front, "/lamps"))
	down = true
	fmt.Println(ask(front, "/lamps"))
	// Output:
	// 200 12 lamps
	// an old answer: failed
	// 200 12 lamps
}

// A page without the part that could not be had serves who waits for it, and is made
// again for the next one.
func ExampleMarkDegraded() {
	advice := func(context.Context) (string, error) { return "", errors.New("connection refused") }
	cache := stale.MustNew(stale.Config{})
	front := cache.Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		others, err := advice(req.Context())
		if err != nil {
			stale.MarkDegraded(req.Context())
			others = "more soon"
		}
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, "lamp, and ", others)
	}))

	fmt.Println(ask(front, "/lamp"), "- stored:", cache.Snapshot().Stored)
	advice = func(context.Context) (string, error) { return "a bulb", nil }
	fmt.Println(ask(front, "/lamp"), "- stored:", cache.Snapshot().Stored)
	// Output:
	// 200 lamp, and more soon - stored: 0
	// 200 lamp, and a bulb - stored: 1
}

// ask returns what a handler answers to GET https://example.com and a path.
func ask(handler http.Handler, path string) string {
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "https://example.com"+path, nil))
	return fmt.Sprint(answer.Code, " ", answer.Body)
}
