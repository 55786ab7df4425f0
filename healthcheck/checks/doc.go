// Package checks has ready-made probes for package healthcheck, on the standard
// library only: any *sql.DB works, and its driver is the program's own.
//
//	checker.MustAdd("orders-db", healthcheck.Check{
//		Probe:   checks.SQL(db),
//		Affects: []string{"GET /orders/{id}"},
//	})
//
// # The probes
//
// Each tells what it has measured as Result.Observed.
//
//	function         tells                  warns (default)         fails (default)
//	SQL              ms to a ping                                   no answer
//	SQLQuery         ms to a row                                    no answer, no row
//	SQLPool          % of the pool in use   80 %, or calls waited   100 %, or no limit set
//	PostgresLag      s behind               10 s                    1 min, no WAL receiver
//	MySQLLag         s behind               10 s                    1 min, a thread is down, NULL
//	HTTP             ms to the headers                              not 2xx, another service
//	TCP              ms to a connection                             no connection
//	DNS              ms to an address                               no address
//	Certificate      days left              14 days                 0, or not trusted
//	CertificateFile  days left              14 days                 0, or not readable
//	CertificateOf    days left              14 days                 0
//	Disk             % free                 10 %                    5 %, of space or inodes
//	Goroutines       goroutines             10,000                  100,000
//	Heartbeat        s since the last beat  none yet                none for its time to live
//
// A threshold is reached when the value is equal to it. Where only one of a pair is
// given, the default of the other gives way to it. Off switches one off.
//
// # Which group
//
// Goroutines and Heartbeat are about this process, and may be in healthcheck.Live.
// All others are about what it depends on: there they would have a process restarted
// for the faults of another. Those are best left to degrade (see healthcheck.Impact)
// and coupled to the routes that cannot do without.
//
// # Bad input
//
// A contradiction, such as a Warn above its Fail, is not an error of the constructor:
// the probe that it returns fails, and its error is [ErrMisconfigured] and says all
// that is wrong. A probe stands in the literal of a Check, where there is no room for
// a second result, and a panic there would keep the service from starting for the
// sake of what watches it. The first result of a check counts at once, so that it is
// red from the first minute on. A test of the wiring can call every probe once.
//
// # Guarantees
//
// Probes are safe for concurrent use, start no goroutine that outlives them, and keep
// no connection of their own between two calls. Those that ask somebody end when their context
// does, if the driver or transport heeds it; no other timeout is set. What they read
// of an answer or a file is bounded. Result.Public names no host, user, path or
// query; Result.Err may.
package checks
