// Package policy decides what an HTTP cache may do: whether a response may be
// stored, for how long it is fresh, what it may be used for after that, what a
// 304 changes in it, and under which key it lies.
//
// It follows RFC 9111 (caching), RFC 5861 (stale-while-revalidate and
// stale-if-error), RFC 9213 (targeted fields), RFC 8246 (immutable) and RFC 9875
// (groups). Package stale asks it and does the rest.
//
// Everything here is a pure function of its arguments: no I/O, no clock, no
// randomness, no state. Nothing it is given is kept or changed, unless a
// function says so, so that all of it can be called concurrently.
//
// Where the RFCs leave a choice, the answer is the one that cannot show anybody
// what is not meant for them, and then the one that shows no old answer as a
// fresh one: freshness that contradicts itself is none.
package policy
