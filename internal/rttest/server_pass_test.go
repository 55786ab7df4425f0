package rttest_test

import (
	"net/http"
	"testing"

	"github.com/failsoft/failsoft/internal/rttest"
	"github.com/failsoft/failsoft/internal/rw"
)

func TestServerPasses(t *testing.T) {
	for name, wrap := range map[string]func(http.Handler) http.Handler{
		"a bare pass-through": func(next http.Handler) http.Handler { return next },
		"a handler that wraps": func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				wrapped, _ := rw.Wrap(w, rw.Hooks{})
				next.ServeHTTP(wrapped, r)
			})
		},
		"hooks": wrapWithHooks,
		"two layers": func(next http.Handler) http.Handler {
			return wrapWithHooks(wrapWithHooks(next))
		},
	} {
		t.Run(name, func(t *testing.T) { rttest.Server(t, wrap) })
	}
}

// wrapWithHooks uses everything that internal/rw has.
func wrapWithHooks(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wrapped, _ := rw.Wrap(w, rw.Hooks{
			Header: func(int, http.Header) {},
			Body:   func([]byte) {},
			Flush:  func() {},
			Hijack: func() {},
		})
		next.ServeHTTP(wrapped, r)
	})
}
