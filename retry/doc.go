// Package retry sends a call again when another attempt may save it: with a
// short timeout per attempt, through a transport that may choose another host
// for it, and never for more extra load than its budget allows.
//
//	client := &http.Client{Transport: retrier.Transport(nil)}
//
// # How it works
//
//	request ─► attempt ──────────────► response or error
//	              ▲                         │
//	              │                     decision ── final ──► caller
//	              │                         │ worth another attempt,
//	              │                         │ safe, in time, in budget
//	              │                         ▼
//	              └── withdraw ◄── wait ◄── drain and close
//
// Each of these has to hold for another attempt; the first that does not is the
// [Reason] in events and errors:
//
//   - The outcome says that another may end better: 429, 502, 503, 504, a
//     timeout, an error of the transport. Never 500 and 501, and nothing once the
//     caller has left. Config.Judge decides otherwise.
//   - Attempts are left: 3 by default.
//   - The server may see the request twice: its method is idempotent, or it has
//     an Idempotency-Key, or Config.Repeatable says so. What provably was not
//     sent (name not resolved, connection not made, certificate not trusted,
//     refused by a policy of ours) is repeated whatever the method. Its body
//     must come from GetBody, and it must have no trailers.
//   - The wait fits: exponential backoff from 50 ms with full jitter, or what
//     Retry-After asks for if that is more, plus jitter. A Retry-After above 5 s
//     is not slept for, and no wait outlasts the caller's deadline: the last
//     response or error is returned at once instead.
//   - The budget pays: a tenth of the requests, and at least one per second for
//     each host. See package budget.
//
// # Guarantees
//
// The last response is handed over as it is, body readable, and never turned
// into an error, unless the caller has canceled the call. The last error is never
// replaced either: after more than one attempt an [*Error] wraps it and holds the
// record of all. (http.Client.Timeout may hide it behind an error of its own; the
// events have it then.) The caller's request is not
// changed. A discarded response is drained (64 KiB, 50 ms) and closed before the
// wait, so that its connection is free; what was read of it is kept, in case no
// further attempt can be made after all. When the caller cancels, the call returns as
// promptly as the transport below does, out of any wait.
//
// A timeout of one attempt is not the caller's: the first is a [*TimeoutError]
// and is tried again, the second ends the call. A TryTimeout holds until the
// headers and then lifts, so that it does not cut off long downloads. It also
// bounds what net/http repeats by itself within one RoundTrip.
//
// # When not
//
// Two layers that both retry multiply; let one of them do it, the one whose
// transport can reach another host. A Retrier makes slow failures slower: put a breaker inside
// it, and a deadline on the request. That deadline has room for several attempts
// only if TryTimeout is well below it. It is of no use against overload, other
// than by not adding to it.
//
// Inside httputil.ReverseProxy requests have no GetBody, so that those with a
// body are sent once.
//
// # Cost
//
// A call that succeeds at once allocates nothing, if no timeout per attempt is
// set or the caller's deadline comes first. With one it is 6 allocations, and 3
// more in a transport below that derives a context of its own, as net/http does.
// See docs/benchmarks.md.
package retry
