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
	caching  string        // what its answers say in Cache-Control
	work     time.Duration // that it takes a front to make a part of the page of them
}

// What answers say of how long they hold, to whoever asks. Nothing is said of
// failures: for how long an old answer is better than none is for the front's cache
// to say, here. An upstream of which an old answer is worse than none says
// must-revalidate.
const (
	aMoment = "max-age=1" // the least there is, so that there are calls to look at
	noTime  = "no-store"  // ads are drawn anew for each visitor
)

const ms = time.Millisecond

func upstreams() []upstream {
	return []upstream{
		{name: "catalogue", replicas: 3, median: 12 * ms, needed: true, caching: aMoment, work: 16 * ms},
		{name: "prices", replicas: 1, median: 8 * ms, needed: true, caching: aMoment, work: 8 * ms},
		{name: "reviews", replicas: 1, median: 15 * ms, caching: aMoment, work: 36 * ms},
		{name: "ads", replicas: 1, median: 10 * ms, caching: noTime, work: 20 * ms},
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
	n := attempt(retry.RequestAttempt(r), hedge.RequestAttempt(r))
	u.record.attempted(r.Header.Get(headerFront), visitor, n, arrival{at: elapsed, upstream: u.name, replica: u.number})
	e := u.script.effect(elapsed, u.upstream, u.number, visitor, n)
	timer := time.NewTimer(e.delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done(): // the caller has left
		return
	}
	if e.status == http.StatusOK {
		w.Header().Set("Cache-Control", u.caching)
	}
	w.WriteHeader(e.status)
	_, _ = io.WriteString(w, "A word from "+u.name+".") // a caller who has left reads no errors
}

// attempt counts the attempts of a call from 1: each retry is hedged in its turn.
func attempt(tries, hedged int) int { return (tries-1)*hedge.DefaultMaxAttempts + hedged }
