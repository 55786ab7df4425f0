package main

import (
	"io"
	"net/http"
	"time"

	"github.com/failsoft/failsoft/hedge"
	"github.com/failsoft/failsoft/retry"
)

// upstream is a service that the shop front asks for a part of its page.
type upstream struct {
	name     string
	replicas int
	median   time.Duration // of its answers, on a calm day
	needed   bool          // there is no page without it
}

func upstreams() []upstream {
	return []upstream{
		{name: "catalogue", replicas: 3, median: 12 * time.Millisecond, needed: true},
		{name: "prices", replicas: 1, median: 8 * time.Millisecond, needed: true},
		{name: "reviews", replicas: 1, median: 15 * time.Millisecond},
		{name: "ads", replicas: 1, median: 10 * time.Millisecond},
	}
}

// replica is one server of an upstream. It does as the script says.
type replica struct {
	upstream

	number int
	script script
	start  time.Time
	record *record
}

func (u *replica) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	visitor := visitorOf(r)
	elapsed := time.Since(u.start)
	u.record.attempted(r.Header.Get(headerFront), visitor, elapsed)
	n := attempt(retry.RequestAttempt(r), hedge.RequestAttempt(r))
	e := u.script.effect(elapsed, u.upstream, u.number, visitor, n)
	timer := time.NewTimer(e.delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done(): // the caller has left
		return
	}
	w.WriteHeader(e.status)
	_, _ = io.WriteString(w, "A word from "+u.name+".") // a caller who has left reads no errors
}
