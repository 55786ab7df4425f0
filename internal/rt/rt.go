// Package rt holds what every RoundTripper of ours needs to keep the contract
// of net/http: who the caller is and when it has left, how a request is sent a
// second time, how a discarded response is drained and closed, how one learns
// that a response body has ended.
//
// It is used by the transport.go of each policy and knows none of them. All
// functions are safe for concurrent use on different requests.
package rt

import (
	"errors"
	"net/http"
)

// Base returns the transport to call: next, or http.DefaultTransport where
// next is nil, as in http.Client.
func Base(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		return http.DefaultTransport
	}
	return next
}

// errNoAnswer is a transport's fault: exactly one of response and error is due.
var errNoAnswer = errors.New("transport returned neither a response nor an error")

// RoundTrip sends req through next and mends what careless transports return,
// so that nobody above has to look out for it: no answer at all is an error, a
// response without a Body has http.NoBody.
func RoundTrip(next http.RoundTripper, req *http.Request) (*http.Response, error) {
	resp, err := next.RoundTrip(req)
	switch {
	case err != nil:
		return nil, err
	case resp == nil:
		return nil, errNoAnswer
	case resp.Body == nil:
		resp.Body = http.NoBody
	}
	return resp, nil
}

// CloseIdle forwards http.Client.CloseIdleConnections to the transport below.
// The client finds the method by a type assertion, so that a wrapper without it
// silently cuts the base off.
func CloseIdle(next http.RoundTripper) {
	if closer, ok := next.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}
