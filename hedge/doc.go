// Package hedge sends a second request when the first is slow, and takes the
// first acceptable answer: hedged requests, as "The Tail at Scale" (Dean and
// Barroso, 2013) describes them, with a delay that finds itself and a bound on the
// load that they add.
//
//	client := &http.Client{Transport: hedger.Transport(nil)}
//
// # How it works
//
//	request ─► attempt 1 ────────────────► answer ─► acceptable? ─► caller
//	              │ delay is over             ▲           │ no
//	              ▼                           │           ▼
//	          gate, Percent, Budget ─► attempt 2 ◄── gate, Budget
//
// There is one knob, [Config.Percent]: hedge at most 5 % of the calls. The delay
// follows from it, per key. A tracker learns of each first attempt only whether it
// outlived the present delay: if so the delay grows, if not it shrinks, by steps
// such that both balance where 5 % outlive it. That is known of canceled attempts
// too, whose latency is not, so that the delay has no bias; and there is no window
// that a stall could poison for as long as it is. The first answers (20 at 5 %) of a key
// are its warm-up, in which only a failure starts another attempt.
//
// A failed attempt (see Config.Judge) starts the next at once, when its response has
// been drained (64 KiB, 50 ms at most), and never beats one that is still running.
// When all fail, the last response is the answer, or else the first error.
//
// # What bounds the load
//
//   - Percent, exactly over time: calls pay for it, and at most 60 hedges are saved
//     up per key. A server that slows down by four, or hangs, gets 5 % more requests
//     and not twice as many, which is what a fixed delay comes to.
//   - Budget, a tenth of the calls, for hedges and attempts after a failure
//     together. Share one with package retry: the outer takes it, the inner its
//     SpendOnly view.
//   - A gate: nothing is added while more than 20 % of the latest attempts failed,
//     for as long as a 429 or a 503 with Retry-After asks (a second if it does not
//     say, 30 s at most), or, but for one in 20, after 100 hedges in a row that did
//     not win.
//
// [AtOnce] is multicast: all attempts at once, bounded by a Budget if there is one
// and by what the server asks for.
//
// # Somewhere else
//
// A hedge to the same host helps against lost packets, not against a host that
// is slow. The attempts of a call share a set of the hosts that they went to, which
// package route reads; [Config.Endpoints] does the same for a fixed list. One
// HTTP/2 connection through a balancer that counts connections is the same host.
//
// # Guarantees
//
// Only what is safe to have twice at the same time is hedged: GET, HEAD, OPTIONS,
// TRACE, or with an Idempotency-Key ([Safe]). Bodies come from GetBody, one for
// each attempt. The caller's request is not changed. Attempts that lost are canceled
// and their answers closed, in a LoserGrace drained before; the context of the winner lives
// until its body has been read or closed. A panic in an attempt is the caller's as long as the
// caller waits for it, and an [Event] after that. No goroutine, timer or context is left.
//
// # When not
//
// Hedging trades load for latency: it needs an upstream that has some to spare,
// and slowness that another attempt may escape. If everything is slow it does
// nothing, by design. It starts at the response headers; a body that trickles is
// not covered. What a first attempt ignores (a transport or a function that does not
// heed its context) the caller has to wait for, though a hedge has won.
//
// On HTTP/1 each canceled attempt costs its connection. [Config.LoserGrace] lets it
// finish instead.
//
// # Cost
//
// A call that is answered in time costs 6 allocations, and 3 more in a transport
// below that derives a context of its own, as net/http does; no goroutine and no
// channel. See docs/benchmarks.md.
package hedge
