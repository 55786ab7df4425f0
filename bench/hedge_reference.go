package bench

import (
	"context"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/influxdata/tdigest"
)

// reference hedges by the documented policy of hedgedhttp, which is the plain
// one: the next attempt after a delay or an error, the first response of any
// status wins. It stands in for hedgedhttp in virtual time, because that one
// keeps its goroutines and timers in package variables, so that a bubble's
// time stands still. In real time hedgedhttp itself is measured.
type reference struct {
	base http.RoundTripper
	next func() (upTo int, delay time.Duration)
}

type outcome struct {
	index int
	resp  *http.Response
	err   error
}

// static returns the reference with a fixed delay.
func static(name string, delay time.Duration) Transport {
	return Transport{name, func(base http.RoundTripper) http.RoundTripper {
		return &reference{base, func() (int, time.Duration) { return hedges, delay }}
	}}
}

// RoundTrip sends req again until there is a response or nothing left to try.
func (r *reference) RoundTrip(req *http.Request) (*http.Response, error) {
	upTo, delay := r.next()
	outcomes := make(chan outcome, upTo)
	cancels := make([]context.CancelFunc, 0, upTo)
	winner := -1
	defer func() {
		for i, cancel := range cancels {
			if i != winner {
				cancel()
			}
		}
	}()
	pending := 0
	for {
		var timer <-chan time.Time
		if index := len(cancels); index < upTo {
			ctx, cancel := context.WithCancel(req.Context())
			cancels = append(cancels, cancel)
			pending++
			go func() {
				resp, err := r.base.RoundTrip(req.WithContext(ctx))
				outcomes <- outcome{index, resp, err}
			}()
		}
		if len(cancels) < upTo {
			timer = time.After(delay)
		}
		select {
		case <-timer:
		case <-req.Context().Done():
			return nil, req.Context().Err()
		case got := <-outcomes:
			pending--
			if got.err == nil {
				winner = got.index
				return got.resp, nil
			}
			if len(cancels) == upTo && pending == 0 {
				return nil, got.err
			}
		}
	}
}

// adaptive returns the reference with a delay that a t-digest of all successful
// attempts so far tells, in whole milliseconds: what Thanos and Cortex make of
// hedgedhttp. How long the attempts would have taken that were canceled, it
// cannot know.
func adaptive(name string, of float64, upTo int) Transport {
	return Transport{name, func(base http.RoundTripper) http.RoundTripper {
		d := &digested{base: base, digest: tdigest.NewWithCompression(100)}
		return &reference{d, func() (int, time.Duration) { return upTo, d.delay(of) }}
	}}
}

type digested struct {
	base http.RoundTripper

	mu     sync.Mutex
	digest *tdigest.TDigest
}

// RoundTrip notes how long an attempt takes that succeeds.
func (d *digested) RoundTrip(req *http.Request) (*http.Response, error) {
	begun := time.Now()
	resp, err := d.base.RoundTrip(req)
	if err == nil {
		d.mu.Lock()
		d.digest.Add(float64(time.Since(begun).Milliseconds()), 1)
		d.mu.Unlock()
	}
	return resp, err
}

func (d *digested) delay(of float64) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := d.digest.Quantile(of)
	if math.IsNaN(found) {
		return time.Hour // There was no success yet.
	}
	return time.Duration(found) * time.Millisecond
}
