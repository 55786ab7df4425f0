// Package failsoft keeps a Go service answering while what it depends on is
// slow, failing or overloaded. It is a set of independent packages, one idea
// each, that wrap http.RoundTripper on the client and http.Handler on the
// server, and plain functions everywhere else. Take one, or nest them.
//
// This package holds no code. It is the map.
//
// # The packages
//
//	budget   how much extra load retries and hedges may add, together
//	retry    short timeout, try again, within a budget
//	hedge    a second request when the first is slow; first acceptable answer wins
//	breaker  stop calling what fails, by rule or by hand
//	stale    an old answer now beats a new answer too late: an HTTP cache
//
//	backpressure  admit what can be finished in time, refuse the rest at once
//	route         send each attempt to a healthy host, another one each while there are any
//
//	healthcheck         know your own health without asking on every request
//	healthcheck/checks  ready-made probes: databases, HTTP, certificates, disks, …
//	healthcheck/spool   take services out by files, as hacheck does
//
// To come: telemetry (OpenTelemetry for all of them).
//
// # One brain, several doors
//
// Each package has one type that holds all of its state and is safe for
// concurrent use, made by New (which reports everything that is wrong with its
// Config) or MustNew (which panics, for package variables and examples). The
// type opens doors to the places where calls are made:
//
//	              client     server            functions  by hand
//	budget                                                Deposit, Withdraw, Claim
//	retry         Transport                    Do, Run
//	hedge         Transport                    Do, Run
//	breaker       Transport  Handler           Do, Run    Allow, Admin
//	stale         Transport  Handler           Loader     PurgeURL, Purger
//	backpressure  Transport  Handler           Do, Run    Acquire, Await, Free
//	  Rate        Transport  Handler           Run        Allow, Wait
//	  Throttle    Transport                    Run        Allow
//	route         Transport  Writes.Handler               MarkDirty
//	healthcheck              Handler, Require             Override, Admin, Shutdown
//
// retry and hedge have no Handler: a handler's writes have gone to the client,
// and cannot be taken back for another attempt.
//
// The doors of one object share its state. That is meant for one side of a
// service. Share an object between client and server only to administer both at
// once: what protects you from others and what protects others from you are two
// objects.
//
// # Nesting
//
// There is no chain type; wrapping is calling:
//
//	client := &http.Client{Transport: retrier.Transport(signer.Transport(base))}
//
// The whole nest reads from the outside in, and its order is not a matter of
// taste:
//
//	http.Client             cookies and redirects; each hop is a call of its own
//	└─ stale                answers without a call, or when all below has failed
//	   └─ retry             a new attempt, after a wait
//	      └─ hedge          a parallel attempt, while the first is still out
//	         └─ breaker     counts attempts, not calls: it must see each of them
//	            └─ backpressure   a permit for what is really sent
//	               └─ route       picks a host for this very attempt
//	                  └─ your own: request signing, otelhttp (one span per attempt)
//	                     └─ base  *http.Transport
//
// stale is outermost because the cheapest call is the one not made, and because
// it must see that everything below has given up. retry is outside hedge since
// a hedge is part of one attempt. Both are outside breaker: an open breaker then
// stops the next attempt instead of counting a call's three failures as one.
// route is innermost, so that each attempt goes to a host of its own. What signs
// or dates a request goes below retry and hedge, so that each attempt is signed.
// On the server the same order holds, with the health endpoints beside the nest
// and outside of all of it.
//
// # Config
//
// A Config is a struct by value, copied and checked by New. Its zero value is
// the default and fit for production. A feature is switched off by a named
// value (retry.NoTimeout), never by a bare zero or a negative number. Fields
// have the same order everywhere: what counts, how much, how long, who watches.
//
// # Errors and events
//
// The text of an error of ours starts with its package's name, but for those that
// only add to an error what is known of it, such as route.HostError: theirs is the
// text of that error. errors.Is and errors.As find the error of the layer below,
// and no response is ever turned into an error. Each Config has one hook, Observe,
// that is told what happens in a flat Event; nil costs a nil check. A hook is never
// called under a lock, may call back in, and its panics are contained.
//
// # Time in tests
//
// All packages work in testing/synctest bubbles, in virtual time, and leave no
// goroutine behind: leaving the bubble proves it. There is no clock to inject,
// and no state at package level.
package failsoft
