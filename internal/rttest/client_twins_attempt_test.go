package rttest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
)

func attemptTwins() []twin {
	hedging := func(flaw hedger) func(http.RoundTripper) http.RoundTripper {
		return func(next http.RoundTripper) http.RoundTripper {
			flawed := flaw
			flawed.next = next
			return &flawed
		}
	}
	return []twin{
		{
			"an attempt left running owns its request", "shares it", "attempt 1 has the header map of the caller",
			hedging(hedger{shares: true}),
		},
		{"trace hooks are silent after the call", "keeps them", "called after the call", hedging(hedger{keepsHooks: true})},
		{
			"trace hooks are silent after the call", "has none", "were not called",
			before(func(req *http.Request) *http.Request { return req.WithContext(context.Background()) }),
		},
		{
			"a panic surfaces at the caller", "makes an error of it", "an attempt panicked",
			around(func(next http.RoundTripper, req *http.Request) (_ *http.Response, err error) {
				defer func() {
					if v := recover(); v != nil {
						err = fmt.Errorf("panic: %v", v)
					}
				}()
				return next.RoundTrip(req)
			}),
		},
		{
			"a panic surfaces at the caller", "panics with something else", "an attempt panicked",
			around(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
				defer func() {
					if v := recover(); v != nil {
						panic(fmt.Sprintf("attempt: %v", v))
					}
				}()
				return next.RoundTrip(req)
			}),
		},
		{"a late panic is contained", "rethrows it", "reached the caller", hedging(hedger{rethrows: true})},
		{
			"Goexit ends the caller", "waits for an answer", "deadlock",
			around(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
				type answer struct {
					resp *http.Response
					err  error
				}
				done := make(chan answer)
				go func() {
					resp, err := next.RoundTrip(req)
					done <- answer{resp, err}
				}()
				got := <-done
				return got.resp, got.err
			}),
		},
		{
			"Goexit ends the caller", "returns", "its caller got",
			around(func(next http.RoundTripper, req *http.Request) (resp *http.Response, err error) {
				err = errors.New("exited")
				var all sync.WaitGroup
				all.Go(func() { resp, err = next.RoundTrip(req) })
				all.Wait()
				return resp, err
			}),
		},
	}
}
