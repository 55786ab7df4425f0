package main

import (
	"net/http"
	"strings"
	"time"

	"github.com/failsoft/failsoft/backpressure"
)

// newLimiter returns what stands at the door of the front that has failsoft. Nobody
// tells it how many visitors that can serve.
func newLimiter() *backpressure.Limiter { return backpressure.MustNew(limiterConfig()) }

func limiterConfig() backpressure.Config {
	return backpressure.Config{
		Class: classOf,
		// A visitor waits for a second, and a page is built in a tenth of that. The
		// default, 20 ms, is for services that others wait for in their turn. The more
		// time there is, the simpler pages are before any of them has to be refused.
		MaxWait: 300 * time.Millisecond,
		// Four per processor is the default. But those of this machine are shared with the
		// visitors and with naive: what counts as processors of the front are its desks.
		// Leave both out where a front has a machine to itself.
		StartLimit:   4 * desks,
		CPUThreshold: backpressure.Off,
	}
}

// classOf says how much it matters that a request is served: ads are not what visitors
// have come for.
func classOf(r *http.Request) backpressure.Class {
	if strings.HasPrefix(r.URL.Path, pathAds) {
		return backpressure.Sheddable
	}
	return backpressure.Default
}
