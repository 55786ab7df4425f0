package stale_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/memnet"
	"github.com/failsoft/failsoft/internal/rttest"
	"github.com/failsoft/failsoft/internal/rw"
	"github.com/failsoft/failsoft/stale"
)

// The nests with the other policies are tested in internal/rttest.

// unhurried is a Config whose fetches take their time, as some clauses have servers that do.
func unhurried() stale.Config { return stale.Config{FetchTimeout: 90 * time.Minute} }

func TestContractOfTransport(t *testing.T) {
	for name, change := range map[string]func(*stale.Config){
		"private":    func(*stale.Config) {},
		"shared":     func(cfg *stale.Config) { cfg.Shared = true },
		"unstored":   func(cfg *stale.Config) { cfg.MaxObject = 1 },
		"heuristics": func(cfg *stale.Config) { cfg.Heuristics = true },
	} {
		t.Run(name, func(t *testing.T) {
			rttest.Client(t, func(next http.RoundTripper) http.RoundTripper {
				cfg := unhurried()
				change(&cfg)
				return stale.MustNew(cfg).Transport(next)
			}, rttest.Detaches)
		})
	}
	// What passes the Cache by leaves with its caller, as it would have without.
	t.Run("closed", func(t *testing.T) {
		rttest.Client(t, func(next http.RoundTripper) http.RoundTripper {
			return closedCache(t).Transport(next)
		})
	})
	t.Run("bypassed", func(t *testing.T) {
		rttest.Client(t, func(next http.RoundTripper) http.RoundTripper {
			return stale.MustNew(stale.Config{Bypass: everything}).Transport(next)
		})
	})
}

// closedCache returns a Cache that starts no more flights.
func closedCache(t *testing.T) *stale.Cache {
	t.Helper()
	cache := stale.MustNew(stale.Config{})
	require.NoError(t, cache.Close(context.Background())) // that of the test is none of a bubble's
	return cache
}

func everything(*http.Request) bool { return true }

// unsaid is without what the Cache says about itself, which is the one thing that it changes in an
// answer.
func unsaid(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w, _ = rw.Wrap(w, rw.Hooks{Header: func(_ int, header http.Header) { header.Del("Cache-Status") }})
		next.ServeHTTP(w, req)
	})
}

func TestContractOfHandler(t *testing.T) {
	t.Run("detached", func(t *testing.T) {
		rttest.Server(t, func(next http.Handler) http.Handler {
			return unsaid(stale.MustNew(stale.Config{}).Handler(next))
		}, rttest.Detaches)
	})
	t.Run("inline", func(t *testing.T) {
		rttest.Server(t, func(next http.Handler) http.Handler {
			return unsaid(stale.MustNew(stale.Config{Bypass: everything}).Handler(next))
		})
	})
	t.Run("closed", func(t *testing.T) {
		rttest.Server(t, func(next http.Handler) http.Handler {
			return unsaid(closedCache(t).Handler(next))
		})
	})
}

// FetchTimeout is for what nobody waits for: it cuts no download that could be stored, be it small
// enough or too large in the end.
func TestLongDownloadsAreNotCut(t *testing.T) {
	for name, chunk := range map[string]int{"stored": 1 << 10, "too large": 64 << 10} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := memnet.Server(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					cacheable(w)
					for range 60 {
						flushed(w, strings.Repeat("x", chunk))
						time.Sleep(time.Minute)
					}
				}))
				transport := stale.MustNew(stale.Config{}).Transport(base)
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://shop.test/", http.NoBody)
				require.NoError(t, err)
				resp, err := transport.RoundTrip(req)
				require.NoError(t, err)
				n, err := io.Copy(io.Discard, resp.Body)
				require.NoError(t, err)
				require.EqualValues(t, 60*chunk, n)
				require.NoError(t, resp.Body.Close())
			})
		})
	}
}
