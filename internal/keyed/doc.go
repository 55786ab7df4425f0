// Package keyed holds one cell of state per key and bounds how many there
// are, because keys (hosts, mostly) can be chosen by whoever sends requests.
// breaker keeps its circuits in it; budget, hedge and backpressure their
// budgets, latency trackers and limits.
//
// At the bound a new key takes the place of the least recently used cell that
// is at rest. The owner of the cells says what rest is (Config.Retire): an
// open circuit or a limiter with calls in flight would lose what it knows, so
// a busy cell stays. While none is at rest, new keys share one overflow cell.
// To refuse them, or to grow past the bound, would let a flood of made-up keys
// do its harm.
//
// The order is that of the times given to Get, then that of insertion; exactly
// so for calls that do not overlap. A cell that is found busy counts as in use
// for a moment longer (a millisecond, or a microsecond per cell of Max if that
// is more) and is not asked again before. So a flood of new keys over a map of
// busy cells costs one round of questions per moment, not one per key.
//
// All methods are safe for concurrent use. Get of a known key takes no lock,
// allocates nothing and costs about as much as a lookup in a Go map. A new key
// takes the map's lock, for a time that, averaged over all calls, grows with
// the logarithm of Max.
//
// A cell can be retired between the Get that returned it and its use. Retire
// therefore marks the cell under the cell's own lock, and who finds the mark
// calls Get again: a Get that starts after that never returns the same cell.
package keyed
