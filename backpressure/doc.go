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
// Background before Sheddable before Default before Critical; and within a class by
// tenants, if Config.Tenant names them: most are served as if there was no overload,
// the others not, and it is the same ones from one moment to the next. Background
// calls get one place a second whatever happens.
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
// Before anybody is refused, the level of brownout rises: Level(ctx) says how much to
// leave out of an answer, Degrade(ctx, feature) whether to leave out one thing. What is
// made without it package stale does not keep. Other caches know nothing of that, and go
// by the Cache-Control that a handler gives its answer.
//
// # Others that hold back
//
//   - Throttle, on a client: when a server refuses most requests, most are not sent.
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
// Order, from the outside: stale, retry, hedge, breaker, backpressure, route.
package backpressure
