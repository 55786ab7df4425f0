// Package stale answers with an old response where a new one would be too late, or
// none at all. It is an HTTP cache (RFC 9111) whose first aim is to keep answering.
//
//	pages := stale.MustNew(stale.Config{})
//	http.Handle("/", pages.Handler(app))                       // shared, in front of an application
//
//	answers := stale.MustNew(stale.Config{})                   // another one, with bounds of its own
//	client := &http.Client{Transport: answers.Transport(nil)}  // private, behind a client
//
// For functions there is [Loader]. Cache-Status on an answer says what became of the
// request, and Config.Observe is told why something was not stored.
//
// # What happens to a request
//
//	request ─► in the Store?  ── fresh ────────────────────────────────────────► answer
//	             │      └─ within stale-while-revalidate, or Healthy says no ──► answer, refresh behind
//	             │
//	             └─ no, or too old ─► one request to the origin for all who ask
//	                                    │
//	              headers ◄─────────────┤─ storable: all read along while it is stored
//	                                    ├─ for one user: who asked first gets it, the others ask for themselves
//	                                    ├─ 304: what is stored is fresh again
//	                                    ├─ 500, 502, 503, 504, no answer: the old response, if there is one
//	              after StaleAfter ◄────┘  nothing yet: the old response; the request goes on
//
// An old response answers within its own stale-if-error, or for an hour where it
// does not say (Config.DefaultStaleIfError); never against no-cache, must-revalidate
// or, in a shared cache, proxy-revalidate; against s-maxage only where a window
// stands beside it. A stored 5xx is no response to fall back on.
//
// Where there is no old response, the second failure in a row is remembered for two
// seconds, and answered with 503 and Retry-After (ErrFailing from Transport). With
// one, the origin is left alone after each failure, for a second at first and for
// half a minute at most.
//
// # What is stored
//
// Answers to GET with an explicit lifetime, as RFC 9111 says, once all of the body is
// there, whether or not its client has read it. One whose lifetime is zero needs a
// validator, or a stale window of its own. What says nothing is not stored, unless by
// Config.Heuristics, nor is what [MarkDegraded] was called for. A shared cache stores
// none with Set-Cookie, and answers requests with a Cookie or Authorization only by
// what is public by its own words. Range and HEAD requests are answered from whole
// responses. Requests whose path others could read differently (encoded slashes,
// semicolons, dots) are passed on, and those that carry fields like X-Forwarded-Host
// are kept apart from those that do not.
//
// After an answer that could not be stored, requests for the same resource go to
// the origin side by side for two minutes (hit-for-miss). Only before the first
// such answer do they wait for one another.
//
// The default Store is in memory and bounded in bytes. Another one implements Store,
// keeps all bytes of an Entry (encoding/gob does; encoding/json does not, as headers
// need not be UTF-8), and passes the tests of package storetest.
//
// # Guarantees
//
//   - The origin gets one request per resource and variant, however many ask, and
//     its answer is streamed to all of them while it is stored.
//   - A client that leaves cancels nothing that others wait for or that is going to
//     be stored; Config.FetchTimeout bounds what is left, MaxRefreshes how many.
//   - A slow client holds neither the origin nor other clients, up to MaxObject.
//   - What was purged while it was being fetched is not stored.
//   - A Store that fails, panics or hangs is a Store that has nothing.
//   - A panic of the handler or transport reaches the client that asked first, as it
//     would have without the Cache; http.ErrAbortHandler, too.
//   - Close waits for everything that outlives its request.
//
// Ages are counted by the monotonic clock, which stands still while a machine
// sleeps: what expires meanwhile is taken for fresh afterwards. Purge all after that.
//
// # When not to use it
//
// In front of what must never be old, say so in the response: no-cache or
// must-revalidate. Do not put it inside of a router that keeps state in the request's
// context (mount the router in the Cache), nor inside of what buffers or limits.
//
// All answers for a URL are the same to it but for what Vary names. So what an
// application takes from the context, where middleware outside of the Cache has put
// it, must not change an answer that others may get. All Handlers of a Cache have one
// space of URLs: mount it outside of http.StripPrefix, or give each its own Cache.
//
// Order, from the outside: stale, retry, hedge, breaker, backpressure, route.
//
// Early refresh is XFetch, by Vattani, Chierichetti and Lowenstein, "Optimal
// Probabilistic Cache Stampede Prevention", VLDB 2015. Cache-Status is that of RFC
// 9211. docs/conformance.md has the score of the public test suite, and what
// deviates from RFC 9111 by choice.
package stale
