// Package backpressure fails early instead of backing up: it lets in what can be
// finished in time, and refuses the rest at once.
//
//	limiter := backpressure.MustNew(backpressure.Config{})
//	http.Handle("/", limiter.Handler(app))                                        // protects this service
//	client := &http.Client{Transport: backpressure.MustNew(backpressure.Config{
//		CPUThreshold: backpressure.Off,
//	}).Transport(nil)}                                                            // and this one the next
//
// A second Limiter is needed on the client: it counts something else.
//
// # What happens to a call
//
//	call ─► vital? ── health, metrics ──────────────────────────────► let in, counted
//	          │
//	          ▼
//	       CPU gate: do requests wait for a processor? ── the least important first ──► refused
//	       heap gate, if HeapThreshold is set: does memory run out? ── likewise ──────► refused
//	          │
//	          ▼
//	       limit of its key: is there a place? ── yes ──────────────► let in
//	          │
//	          └─ no: how long until there is one? ── longer than MaxWait,
//	             or half of what is left until the deadline ────────────────────────► refused
//	                  │
//	                  └─ a place becomes free, by Class ────────────► let in
//
// The limit is found (Adaptive) by what it does to latency: calls that take twice as
// long as they used to may be too many, or slower for reasons of their own. To tell,
// the limit is cut for a moment; if calls become quicker the cut stands, and if two
// cuts change nothing, calls take longer now, and the limit follows.
//
// A queue is bounded by time and not by number: what it would take for a place to
// become free is known from how often one does. Who would wait too long hears so at
// once, with a Retry-After, instead of after a timeout. (With Config.NewestFirst only who
// comes can be told, not who is overtaken.)
//
// # Who is refused first
//
// Background before Sheddable before Default before Critical. Default can have all places
// of a limit, Sheddable 0.9 of them, Background 0.8, and Critical 1.1, or all where it is
// Fixed, rounded up: of an adaptive 45 that is 45, 41, 36 and 50. Who only makes
// Background calls leaves a fifth unused.
//
// If a Background call was not let in for a second, the next one is: by each gate, and in
// the limit of its key past 0.8, before all who wait, but never past the limit. Where
// that is always full, it is who waits that gets it: not TryAcquire, nor with MaxWait Off.
//
// Within a class tenants, if Config.Tenant names them, take turns in the queue (fair
// queueing: one flow for each that waits). At the gates, and where nobody waits, most of
// them are served as if there was no overload, the others not, and it is the same ones
// from one moment to the next.
//
// The class of a request is what Config.Class says, or WithClass. It travels to the next
// service only in Config.ClassHeader, if that is set, and lowers a request there, as
// anybody can write a header. With DemoteRetries, what is tried again is one class
// lower.
//
// # What is not a sign of load
//
// Streams (101, Hijack, text/event-stream, gRPC, and what Config.Stream names) hold a
// place of MaxStreams instead of one of the limit. All of gRPC is among them, because
// nothing in its headers tells a call with one answer from a stream.
//
// The time in which a handler waits for a slow client, to send the body or to take the
// answer, is taken out of its latency, and ReleaseEarly gives the place back before a
// long answer is written. On a client latency ends with the headers, and the place is
// held until the body does. Failures that are quick for reasons of their own, a 404 or a
// refusal of ours, are not looked at.
//
// # Leaving things out
//
// Before users are refused, the level of brownout rises: Level(ctx) says how much to
// leave out of an answer, Degrade(ctx, feature) whether to leave out one thing. What is
// made without it package stale does not keep. Other caches know nothing of that, and go
// by the Cache-Control that a handler gives its answer.
//
// # Others that hold back
//
//   - Throttle, on a client: when a server refuses most requests, most are not sent. Where
//     the server has classes, give it the same, or it holds back what would be let in.
//   - Rate: so many calls in so much time, for quotas. It is no protection against
//     overload.
//   - Consumers of queues take a Permit before they take a message: see Limiter.Await,
//     Permit.Begin, and Limiter.Free for how many to fetch ahead. There is one to copy in
//     examples/consumer, with a broker, delayed retries and dead letters.
//
// # Guarantees
//
//   - A place is given back however a call ends: panics, runtime.Goexit and clients that
//     leave included. A Permit released twice changes nothing.
//   - Nobody but who calls Await waits longer than MaxWait, or than half of the time until
//     its deadline. Who leaves while waiting leaves at once, and who has left before is
//     neither let in nor counted.
//   - There are never more calls than the limit, plus a tenth, rounded up, for Critical
//     where it is found and not Fixed. Where a limit has fallen, those who were let in
//     before may finish.
//   - A request that is refused has not been read; on a client, nothing was sent.
//   - There is nothing to close, and there are no goroutines but one for each question to
//     the Store of a Rate, so that nobody waits for one that hangs.
//
// # Order
//
// From the outside: stale, retry, hedge, breaker, backpressure, route; and of these on one
// client: Throttle, Rate, Limiter. What the Throttle holds back has spent no token. Who
// waits for a token holds no place, and the Limiter does not take that wait for latency.
// All are inside of retry and hedge, as servers and quotas count attempts. Whatever is
// outside of the Rate takes its wait for part of the attempt: keep RateConfig.MaxWait well
// below retry's TryTimeout, or Off, which leaves the waiting to retry.
package backpressure
