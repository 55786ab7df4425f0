// Package healthcheck knows how a service is without asking on every request. Its
// checks run in the background, or once for all who ask; its endpoints hand out an
// answer that was made before, however many checks there are and however many
// callers.
//
//	health := healthcheck.MustNew(healthcheck.Config{})
//	health.MustAdd("db", healthcheck.Check{Probe: healthcheck.Errs(db.PingContext)})
//	mux.Handle("GET /livez", health.Handler(healthcheck.Live))
//	mux.Handle("GET /readyz", health.Handler(healthcheck.Ready))   // warns when db is down, with 200
//	mux.Handle("GET /orders/", health.Require("db")(orders))       // refuses then
//	err := health.Start()                                          // names are checked here
//	…
//	err = health.Shutdown(ctx, server, 5*time.Second)
//
// # How it works
//
//	schedule ─► probe ─► result ─► check ─► groups ─► page ◄── request
//	            traffic ─► Feed ─┘    ▲                 │
//	            breaker ─► Report     │ override        └─► 200, 503
//
// A check is unknown until its first result, and then pass, warn or fail. The first
// result counts at once; after that it takes [Check.Fall] in a row that are worse, or
// [Check.Rise] that are better. A probe has a goroutine and a context of its own, and
// Timeout to come back. One that does not is stuck: its check fails at once and stays
// failed until it returns, and no second one is started. A result that is older than
// three periods and a timeout says nothing any more: the check is unknown again,
// which is found out by who reads, so that a scheduler that died does not leave a
// service healthy for ever.
//
// # What a check means to its groups
//
//	check   | Critical | Degrades (default) | Informational
//	pass    | pass     | pass               | pass
//	warn    | warn     | warn               | pass
//	fail    | fail     | warn               | pass
//	unknown | unknown  | warn               | pass
//
// A group is as bad as the worst of these, and its endpoint answers
//
//	group    | Live  | Ready, your own | Startup               | Require
//	pass     | 200   | 200             | 200, and from then on | serves
//	warn     | 200   | 200             | 200, and from then on | serves
//	unknown  | 200   | 503             | 503                   | serves
//	fail     | 503   | 503             | 503                   | refuses (a check)
//	draining | as is | 503             | as is                 | as is
//
// Readiness is about this instance. What all instances share, a database above
// all, would make all of them unready together, and serves nobody: that is why checks
// degrade by default, and why [Checker.Require] couples them to the routes that need
// them. A check without a Probe that nobody has fed lately counts for nothing. To
// Startup an unknown check is unknown, unless it is informational.
//
// # By traffic
//
// Where requests are made all the time, they know first. [Checker.Feed] counts what
// they meet, [Checker.Report] and [Observer] what a breaker or a pool has found
// out. While traffic says that a check with a Period passes, it is not probed.
//
// # By hand
//
// [Checker.Override] sets a check or a group, with a reason and a time to live;
// [Checker.Admin] does over HTTP, and package spool by files. An override wins over
// results; draining wins over that.
//
// # Ending
//
// [Checker.Shutdown] does it in order: readiness fails and [Checker.InBand] tells
// clients, requests are served until balancers have noticed, the server is shut down,
// probes end, dependencies are closed. Liveness stays as it is.
//
// # What is shown
//
// The format is application/health+json (draft-inadarei-api-health-check). Anonymous
// callers get the status and no more. Who is authorized sees checks and values; the
// text of errors too only if [Config.ShowErrors] says so.
//
// # When not
//
// Liveness must not depend on others: put no dependency into the Live group. Health
// endpoints belong beside admission control, not behind it, or an overload becomes an
// outage.
//
// # Cost
//
// An endpoint takes the same time for 1 check as for 1,000 and allocates nothing. Idle checks
// have no goroutine. See docs/benchmarks.md.
package healthcheck
