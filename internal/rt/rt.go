// Package rt holds what every RoundTripper of ours needs to keep the contract
// of net/http: who the caller is and when it has left, how a request is sent a
// second time, how a discarded response is drained and closed, how one learns
// that a response body has ended.
//
// It is used by the transport.go of each policy and knows none of them. All
// functions are safe for concurrent use on different requests.
package rt

import "net/http"

// Base returns the transport to call: next, or http.DefaultTransport where
// next is nil, as in http.Client.
func Base(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		return http.DefaultTransport
	}
	return next
}

// CloseIdle forwards http.Client.CloseIdleConnections to the transport below.
// The client finds the method by a type assertion, so that a wrapper without it
// silently cuts the base off.
func CloseIdle(next http.RoundTripper) {
	if closer, ok := next.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}
