package rttest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/breaker"
	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/internal/rttest"
	"github.com/failsoft/failsoft/internal/rw"
	"github.com/failsoft/failsoft/retry"
	"github.com/failsoft/failsoft/stale"
)

func TestNestOfHandlersKeepsTheContract(t *testing.T) {
	rttest.Server(t, func(next http.Handler) http.Handler {
		cache := stale.MustNew(stale.Config{}).Handler(unmoved().Handler(next))
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			// What a cache says about itself is the one thing that it changes.
			w, _ = rw.Wrap(w, rw.Hooks{Header: func(_ int, header http.Header) { header.Del("Cache-Status") }})
			cache.ServeHTTP(w, req)
		})
	}, rttest.Detaches)
}

// fresh answers once, in a way that can be stored for a second, and then with status.
func fresh(status int) (base, *int) {
	sent := new(int)
	return func(req *http.Request) (*http.Response, error) {
		*sent++
		if *sent > 1 {
			return replyWith(req, status), nil
		}
		resp := replyWith(req, http.StatusOK)
		resp.Header.Set("Cache-Control", "max-age=1")
		return resp, nil
	}, sent
}

// An open circuit is a reason to answer with what is old, and to ask nobody.
func TestCacheAnswersForAnOpenCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, sent := fresh(http.StatusServiceUnavailable)
		// The time is drawn from zero on: a long bound makes less than six seconds unlikely.
		breakers := breaker.MustNew(breaker.Config{Rules: breaker.Rules{
			Consecutive: 1, OpenTime: 24 * time.Hour, MaxOpenTime: 24 * time.Hour,
		}})
		transport := cached(false).Transport(breakers.Transport(server))
		for second, asked := range []int{1, 2, 2, 2} {
			resp, err := fetch(t, transport)
			require.NoError(t, err, second)
			assert.Equal(t, 200, resp.StatusCode)
			assert.Equal(t, asked, *sent, second)
			time.Sleep(2 * time.Second)
		}
	})
}

// A cache that stands outside sees one answer, whatever it took to get it.
func TestCacheStoresWhatARetryHasWon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		server := base(func(req *http.Request) (*http.Response, error) {
			sent++
			if sent == 1 {
				return replyWith(req, http.StatusServiceUnavailable), nil
			}
			resp := replyWith(req, http.StatusOK)
			resp.Header.Set("Cache-Control", "max-age=60")
			return resp, nil
		})
		retrier := retry.MustNew(retry.Config{BaseDelay: time.Millisecond, Budget: rich()})
		transport := cached(false).Transport(retrier.Transport(server))
		for range 3 {
			resp, err := fetch(t, transport)
			require.NoError(t, err)
			assert.Equal(t, 200, resp.StatusCode)
		}
		assert.Equal(t, 2, sent)
	})
}

// What a policy further in leaves out of an answer is told through all the others.
func TestDegradedAnswersOfANestAreNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		server := base(func(req *http.Request) (*http.Response, error) {
			sent++
			attempt.MarkDegraded(req.Context())
			resp := replyWith(req, http.StatusOK)
			resp.Header.Set("Cache-Control", "max-age=60")
			return resp, nil
		})
		transport := cached(false).Transport(patient(rich()).Transport(unmoved().Transport(server)))
		for range 2 {
			_, err := fetch(t, transport)
			require.NoError(t, err)
			synctest.Wait()
		}
		assert.Equal(t, 2, sent)
	})
}

// The refusal of a Handler inside of the Cache says nothing of the next request.
func TestRefusalsOfHandlersAreNotRemembered(t *testing.T) {
	breakers := breaker.MustNew(breaker.Config{Key: func(*http.Request) string { return "" }})
	handler := stale.MustNew(stale.Config{}).Handler(breakers.Handler(http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") },
	)))
	get := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody))
		return w
	}
	require.NoError(t, breakers.Trip(""))
	for range 3 {
		assert.Equal(t, http.StatusServiceUnavailable, get().Code)
	}
	require.NoError(t, breakers.Reset(""))
	assert.Equal(t, "here", get().Body.String())
}
