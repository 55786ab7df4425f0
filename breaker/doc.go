// Package breaker stops calling what fails: a circuit breaker per host or other
// key, for HTTP clients, servers and functions, and for an operator's hand.
//
//	client := &http.Client{Transport: breakers.Transport(nil)}
//
// # How it works
//
//	          a rule is met                open time over
//	┌────────┐            ┌────────┐                    ┌───────────┐
//	│ Closed │ ─────────► │  Open  │ ─────────────────► │ HalfOpen  │
//	└────────┘            └────────┘ ◄───────────────── └───────────┘
//	    ▲                      ▲         probes failed        │
//	    │ 10 s                 │ a rule is met                │ probes succeeded
//	    │                 ┌─────────┐                         │
//	    └──────────────── │ Ramping │ ◄───────────────────────┘
//	                      └─────────┘
//
// Closed lets calls pass and counts what becomes of them. It opens when half of
// at least 20 calls in 10 s have failed, or 10 in a row however far apart, or
// half have been answered with 429; on request when too many are slow; and when
// calls hang without an answer, before they end. Open refuses calls at once, for
// a time that is drawn from 0 to 1 s, doubles each time up to 30 s, and is
// prolonged by a Retry-After of the failed calls. HalfOpen lets three calls at a
// time find out whether it works again; each has a deadline, so that a probe that
// hangs or is lost cannot hold the circuit. Ramping then lets a tenth of the
// calls pass, growing to all of them in 10 s. All of that is in [Rules], and can
// be changed while it works by [Breaker.Reconfigure].
//
// # What counts
//
// Over HTTP a call counts when its response body has ended: errors of the
// transport, 5xx but 501, and bodies that break off are failures; 429 is
// overload, where it comes from a server; the rest are successes, or slow ones. What the caller cancels is
// ignored, hedges that lost included. A call that ran into its own deadline is a
// failure, unless it had less time than [Rules.SlowAfter]. A result counts in the
// window in which it finished, so that calls that fail slowly are seen, and only
// if the circuit is still in the state that let the call pass.
//
// # By hand
//
// An [Override] stands beside the state: a circuit can be isolated (refuses
// all), forced closed (lets all pass and counts none) or put in shadow mode
// (counts and changes state, but lets all pass), with a reason and a time to
// live. [Breaker.Trip] and [Breaker.Reset] move the state itself. [Breaker.Admin]
// shows all circuits and, where you let it, takes these commands.
//
// # Guarantees
//
// A refused call is not made, its request body closed, its error an [*OpenError]
// that is [ErrOpen] and says when to come back. Panics and runtime.Goexit in a
// call count as failures and go on. Events about a circuit come in order, never
// under a lock. Memory is bounded by [Config.MaxKeys]: a circuit that knows
// something is not dropped, unless it could have recovered long ago and nobody
// has called it since; when all know something, new keys share one. If more than
// half of the circuits are open, all let calls pass, since the fault is likely on
// this side.
//
// sony/gobreaker is the core: its rolling window, its trip rule, its closed and
// open. This package owns when results are given to it and all that has to do
// with time.
//
// # When not
//
// A breaker protects what is called, and the caller's time. It does not limit
// load before failures begin; that is the job of backpressure. One circuit for
// what can fail apart (all hosts, all tenants) turns a part's outage into a whole
// one: choose the Key.
//
// # Cost
//
// A call through a closed circuit allocates nothing by [Breaker.Allow], and once
// through [Breaker.Transport], for the end of the body. See docs/benchmarks.md.
package breaker
