package main

import (
	"net/http"
	"time"
)

// meter notes the calls that a front makes to its upstreams: below the cache, which
// answers without a call, and above what makes several attempts of one. A tracer of
// calls would stand in the same place.
type meter struct {
	front  string
	start  time.Time // of the drill
	record *record
}

// over returns a RoundTripper that notes what next is asked for.
func (m meter) over(next http.RoundTripper) http.RoundTripper { return metered{meter: m, next: next} }

type metered struct {
	meter

	next http.RoundTripper
}

func (m metered) RoundTrip(req *http.Request) (*http.Response, error) {
	begun := time.Now()
	resp, err := m.next.RoundTrip(req)
	m.record.called(m.front, call{
		upstream: req.URL.Host, at: begun.Sub(m.start), took: time.Since(begun),
		answered: err == nil && resp.StatusCode == http.StatusOK,
	})
	return resp, err
}

// CloseIdleConnections closes those of the transport below.
func (m metered) CloseIdleConnections() {
	(&http.Client{Transport: m.next}).CloseIdleConnections()
}
