// Package storetest has the tests that every [stale.Store] must pass: what the
// Cache relies on, whether the entries live in this process or in another.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) stale.Store { return open(t) })
//	}
//
// It tests on the real clock and through the interface only, so that a Store may
// be a client of a real server. Run it with -race: some tests are about purges
// that come while something is on its way in.
//
// A Store that is a [stale.Tagger], a [stale.Sizer] or a [stale.Leaser] is tested
// as such, too. What a Store may do and need not do is not tested: it may forget
// entries when it is full, and refuse an entry when in doubt whether it has been
// purged. It must keep the few entries that a test needs, of 1 MiB at most.
//
// For every test there is a Store in this package's own tests that breaks it, and
// is found out by it.
package storetest
