// Package route sends each attempt of a call to a healthy host: to another one each,
// while there are any.
//
//	retrier := retry.MustNew(retry.Config{TryTimeout: 300 * time.Millisecond})
//	pool := route.MustNew(route.Config{
//		Names: []string{"catalogue"},
//		Hosts: []route.Host{{Addr: "10.0.0.1:8080"}, {Addr: "10.0.0.2:8080"}, {Addr: "10.0.0.3:8080"}},
//	})
//	defer pool.Close(context.Background())
//	client := &http.Client{Transport: retrier.Transport(pool.Transport(nil))}
//	resp, err := client.Get("http://catalogue/products/17")
//
// A Pool is one service. A request for one of its Names goes to one of its hosts; any
// other, such as one that follows a redirect to somewhere else, passes unchanged.
//
// # What happens to a request
//
//	request ─► for one of the Names? ── no ──────────────────────────► unchanged
//	    │
//	    ▼
//	 which hosts may serve it ── role: writes and sessions that have just written
//	    │                        go to the primary, the rest to replicas
//	    ▼
//	 which of these can ──────── not ejected, not draining, not found ill by checks;
//	    │                        in the own zone, while enough of it is well
//	    ▼
//	 which were not tried ────── by earlier attempts of the same call
//	    │
//	    ▼
//	 two at random, the one with the lower score:
//	    latency × (requests in flight + 1) × troubles ÷ weight
//	    │
//	    ▼
//	 attempt ─► what came of it: latency, success or failure ─► score, ejection
//
// # What is learned, and from what
//
// Traffic removes hosts, and checks, where there are any, bring them back sooner. A
// host is ejected after failures in a row, or when far more of its requests fail than
// of the others'; for longer each time. Then one request at a time finds out, and its
// success brings the host back, with a share of the traffic that grows. A host that
// says that it drains (header X-Health: drain, which package healthcheck sends) gets no
// new request from its very next response on. Checks read that header too, and bring the
// host back when it says so no more. Without them, one that has been restarted meanwhile
// stays out until [Config.DrainTime] is over.
//
// When less than half of the hosts are left, all of them are used: what is wrong is
// likely not theirs, and those that are left could not carry the load. No more than a
// set part of the hosts is ever ejected, and never the last one.
//
// A host that fails fast looks like the best one to anything that counts latency or
// requests in flight alone. Here, a failure never makes a score better, and each adds
// to the host's troubles, which fade in seconds. One that hangs looks ever slower while
// requests wait for it. What was is forgotten all the same: a host that others were
// quicker than is asked once in ten seconds ([Config.Decay]), by one request.
//
// # With retry and hedge
//
// They tell, without knowing this package, which hosts the attempts of one call went
// to. Each attempt goes to one that none went to before; when there is none left, to
// the one that was tried longest ago. Order: retry, hedge, breaker, backpressure, route.
//
// # Reading what one has just written
//
// [Writes] marks sessions that have written something by a signed cookie. A Pool whose
// hosts have roles sends them to the primary for a few seconds, or until a replica has
// caught up. See the example of Writes.
//
// # Guarantees
//
//   - A request is cloned for each attempt; the caller's is not changed, and none is
//     ever reused.
//   - Picking takes no lock of the Pool, and as long among thousands of hosts as among
//     five. A change of one takes time in proportion to them: with more than a thousand,
//     let the Resolver return a part, another one in each process.
//   - All methods may be called by many goroutines at once. So are the funcs of a Config,
//     which are not to wait, but for the Resolver.
//   - A request is in flight until its body has been read to the end or closed. Who does
//     neither lets its host look ever busier, as it keeps its connection.
//   - Close ends what runs in the background. Requests go on, and may still begin.
//   - Waiting for the first answer of a Resolver ends with the request's context.
//   - Without a Resolver and Checks there are no goroutines.
//   - A response is never turned into an error.
package route
