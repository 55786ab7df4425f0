package rttest

import (
	"net/http"
	"slices"
	"testing"
	"time"
)

// Fact is something that the suite cannot find out about a policy by itself.
type Fact string

// Overlaps says that attempts of one call can run at the same time. Such a policy may hold on to a
// response while another attempt is on its way, and need not discard it before that one starts.
const Overlaps Fact = "overlaps"

// Lingers says that an attempt that lost may go on for up to a second after the call, so that its
// connection is reused.
const Lingers Fact = "lingers"

// Multicasts says that every call is several attempts at once. Each needs a connection of its own,
// which is lost with it if it is canceled, so that nothing is asked of the reuse of connections.
const Multicasts Fact = "multicasts"

// Detaches says that an attempt may go on when its caller has left, because others can use what it
// brings, and that its answer is read on, too. Give such a policy a bound between the hour that some
// bases here take and the two hours that the suite waits for it to end.
const Detaches Fact = "detaches"

// Client runs the client half of the contract. It calls wrap whenever a clause needs a policy
// without a history. Configure the policy so that it answers within a second of virtual time what
// its base answers at once: backoffs and hedging delays of milliseconds. It must refuse nothing,
// with 50 calls at a time, half of the answers a 503, and hundreds of calls to one host.
func Client(t *testing.T, wrap func(next http.RoundTripper) http.RoundTripper, facts ...Fact) {
	t.Helper()

	for _, clause := range clientClauses() {
		t.Run(clause.name, func(t *testing.T) { clause.run(t, newPolicy(wrap, facts)) })
	}
}

// policy makes the RoundTrippers under test.
type policy struct {
	over     func(next http.RoundTripper) http.RoundTripper
	overlaps bool
	lingers  bool
	multiple bool
	detaches bool
}

func newPolicy(wrap func(http.RoundTripper) http.RoundTripper, facts []Fact) policy {
	return policy{
		over: wrap, overlaps: slices.Contains(facts, Overlaps), lingers: slices.Contains(facts, Lingers),
		multiple: slices.Contains(facts, Multicasts), detaches: slices.Contains(facts, Detaches),
	}
}

// settle gives attempts that may linger the time to end.
func (p policy) settle() {
	switch {
	case p.detaches:
		time.Sleep(2 * time.Hour)
	case p.lingers:
		time.Sleep(time.Second)
	}
}

// checkSettled reports what attempts have left behind.
func (p policy) checkSettled(tb TB, b *base) {
	tb.Helper()
	p.settle()
	b.checkSettled(tb)
}

type clientClause struct {
	name  string
	check func(TB, policy)
	real  bool // It is about sockets or about the scheduler, and runs in real time.
}

func (c clientClause) run(tb TB, p policy) {
	tb.Helper()

	if c.real {
		c.check(tb, p)
		return
	}
	Bubble(tb, func(tb TB) {
		defer p.settle()
		c.check(tb, p)
	})
}

func clientClauses() []clientClause {
	return []clientClause{
		{name: "the request is not modified", check: requestIsNotModified},
		{name: "every attempt is the caller's request", check: everyAttemptIsTheRequest},
		{name: "the request body is closed on every path", check: requestBodyIsClosed},
		{name: "the request body is closed when the caller has left before", check: requestBodyIsClosedUnsent},
		{name: "a body is replayed through GetBody", check: bodyIsReplayed},
		{name: "a body without GetBody is sent once", check: bodyWithoutGetBodyIsSentOnce},
		{name: "a failing GetBody loses no answer", check: failingGetBodyLosesNoAnswer},
		{name: "a request with trailers is sent once", check: requestWithTrailersIsSentOnce},
		{name: "no body stays no body", check: noBodyStaysNoBody},
		{name: "POST and PATCH are sent once", check: unsafeMethodsAreSentOnce},
		{name: "an idempotency key is sent along", check: idempotencyKeyIsSentAlong},
		{name: "a broken request is an error", check: brokenRequestIsAnError},

		{name: "a response is no error", check: responseIsNoError},
		{name: "either a response or an error", check: eitherResponseOrError},
		{name: "the error is the base's", check: errorIsTheBases},
		{name: "discarded responses are drained and closed", check: discardedAreDrained},
		{name: "an endless discarded body holds nothing", check: endlessDiscardedBody},
		{name: "a stalled discarded body holds nothing", check: stalledDiscardedBody},
		{name: "an upgraded connection stays one", check: upgradeStaysReadWriteCloser},
		{name: "trailers arrive", check: trailersArrive},

		{name: "the body outlives the call", check: bodyOutlivesTheCall},
		{name: "contexts end with the body", check: contextsEndWithTheBody},
		{name: "contexts end with a failed call", check: contextsEndWithFailure},
		{name: "an attempt left running owns its request", check: attemptLeftRunningOwnsItsRequest},
		{name: "trace hooks are silent after the call", check: traceHooksAreSilent},
		{name: "cancel is prompt during an attempt", check: cancelDuringAttempt},
		{name: "cancel is prompt between attempts", check: cancelBetweenAttempts},
		{name: "cancel is prompt while a response is discarded", check: cancelWhileDiscarding},
		{name: "cancel is prompt behind another call", check: cancelBehindAnotherCall},
		{name: "cancel is prompt while the body is read", check: cancelWhileReading},
		{name: "no attempt starts after the end", check: noAttemptAfterTheEnd},

		{name: "a panic surfaces at the caller", check: panicSurfaces},
		{name: "a late panic is contained", check: latePanicIsContained},
		{name: "Goexit ends the caller", check: goexitEndsTheCaller},

		{name: "Expect: 100-continue waits", check: expectContinueWaits},
		{name: "CloseIdleConnections reaches the base", check: closeIdleReachesTheBase},
		{name: "events stream", check: eventsStream},
		{name: "a long download is not cut", check: longDownload},
		{name: "http.Client: cookies and redirects", check: cookiesAndRedirects},
		{name: "http.Client: timeout", check: clientTimeout},
		{name: "ReverseProxy: a body is sent once", check: proxySendsBodyOnce},
		{name: "ReverseProxy: a broken answer is aborted", check: proxyAbortsBrokenAnswer},
		{name: "ReverseProxy: an upgrade works", check: proxyUpgrades},
		{name: "connections are reused", check: connectionsAreReused},
		{name: "sockets are reused", check: socketsAreReused, real: true},
		{name: "answers belong to their requests", check: answersBelongToTheirRequests, real: true},
	}
}
