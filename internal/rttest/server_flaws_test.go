package rttest_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// writing wraps the writer.
func writing(wrap func(http.ResponseWriter) http.ResponseWriter) func(*testing.T, http.Handler) http.Handler {
	return func(_ *testing.T, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			wrapped := wrap(w)
			if ends, ok := wrapped.(interface{ end() }); ok {
				defer ends.end()
			}
			next.ServeHTTP(wrapped, r)
		})
	}
}

// answering does something to the answer before the handler does.
func answering(do func(http.ResponseWriter)) func(*testing.T, http.Handler) http.Handler {
	return writing(func(w http.ResponseWriter) http.ResponseWriter {
		do(w)
		return w
	})
}

// requesting changes the request.
func requesting(change func(*http.Request) *http.Request) func(*testing.T, http.Handler) http.Handler {
	return func(_ *testing.T, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, change(r)) })
	}
}

func buffered(r *http.Request) *http.Request {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return r
}

func bodiless(r *http.Request) *http.Request {
	inner := r.WithContext(r.Context())
	inner.Body = http.NoBody
	return inner
}

// recovering ends panics of the handler in its own way.
func recovering(end func(w http.ResponseWriter, panicked any)) func(*testing.T, http.Handler) http.Handler {
	return func(_ *testing.T, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				if v := recover(); v != nil {
					end(w, v)
				}
			}()
			next.ServeHTTP(w, r)
		})
	}
}

func detached(_ *testing.T, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithoutCancel(r.Context())))
	})
}

func elsewhere(_ *testing.T, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var handler sync.WaitGroup
		handler.Go(func() { next.ServeHTTP(w, r) })
		handler.Wait()
	})
}

// leavingEarly lets the handler run, with a writer to itself, only when it is too late.
func leavingEarly(_ *testing.T, next http.Handler) http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		go func() {
			<-r.Context().Done()
			next.ServeHTTP(httptest.NewRecorder(), r)
		}()
	})
}

func leaking(t *testing.T, next http.Handler) http.Handler {
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		go func() { <-end }()
		next.ServeHTTP(w, r)
	})
}

// lingering looks at the writer when net/http has ended the context, which it does after the handler
// if the client stays.
func lingering(_ *testing.T, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			go func() {
				<-r.Context().Done()
				w.Header()
			}()
		}
		next.ServeHTTP(w, r)
	})
}

func serial() func(*testing.T, http.Handler) http.Handler {
	return func(_ *testing.T, next http.Handler) http.Handler {
		var mu sync.Mutex
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()

			next.ServeHTTP(w, r)
		})
	}
}

func mixing() func(*testing.T, http.Handler) http.Handler {
	return func(_ *testing.T, next http.Handler) http.Handler {
		var first *http.Request
		var mu sync.Mutex
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			if first == nil {
				first = r
			}
			r.URL = first.URL
			mu.Unlock()
			next.ServeHTTP(w, r)
		})
	}
}
