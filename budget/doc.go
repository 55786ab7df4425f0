// Package budget bounds how much extra load retries and hedges may add.
//
// A retry policy of "three attempts" triples the load on a service at the very
// moment when that service is down. A Budget ties extra attempts to demand
// instead: every original request deposits a fraction of an attempt, every
// extra attempt withdraws a whole one when it is sent. With the default ratio
// of 0.1 a total outage settles at 1.1 attempts per request, not 3, while a rare
// failure is always paid for.
//
//	request ──► Deposit +0.1 ─┐
//	                          ▼
//	                   ┌─────────────┐   the last 10 s only:
//	                   │   balance   │   a quiet hour cannot
//	                   └─────────────┘   pay for a storm
//	                          │
//	retry, hedge ─► Withdraw −1 ──► send it, or do without
//
// # The rule
//
// Per key, and as long as an outage lasts,
//
//	extra attempts per second ≤ max(Ratio × requests per second, Floor)
//
// (where the two are about equal and requests come at random, up to a twentieth
// more) beyond what was saved up before it: at most one window's worth (Config.TTL,
// 10 s by default), a tenth of the requests of the last ten seconds. A deposit
// that is not used within the window is lost. Withdrawals take the oldest first,
// so that attempts go on at an even rate once the savings are spent.
//
// Floor exists for clients with little traffic, whose tenth of a request would
// never add up to a retry: at 1 per second (the default) a client that sends one
// request a minute may still retry it, ten times in a window. A key that is new
// starts with a window's worth of the floor: ten attempts.
//
// The withdrawal is made when the attempt is sent, never while a call waits to
// send it. Budgets that count sleeping retries as retries in flight stop
// binding as soon as there is a backoff: they were measured at 3.00 attempts per
// request in an outage, the same as no budget. A call that is going to wait asks
// by a [Claim] whether it has a chance.
//
// # Whom it serves
//
// The retry and hedge packages each make a Budget of their own unless they are
// given one. Share one to bound both together. Where one runs inside the other,
// hand the inner [Budget.SpendOnly], since it sees the same requests; two side by
// side, each with requests of its own, both take the Budget itself. A Budget keeps one
// balance per key (the host, as those packages call it), so that one dead host
// cannot use up what the others need. Keys are names: a host called db and
// functions run under "db" draw from the same balance. Under a policy that already counts
// attempts, the attempts above 1 deposit nothing: they are load, not demand.
//
// # When not
//
// It does not limit first attempts; that is the job of a rate or concurrency
// limit. It does not spread attempts in time; that is the job of backoff.
//
// # Cost
//
// A deposit on a known key takes no lock and does not allocate. The measured
// time stands in docs/benchmarks.md.
package budget
