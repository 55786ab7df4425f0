// Package cachetest asks HTTP caches how they behave when it matters: in a herd, with an
// origin that is slow, down or silent, between users, and under attack. It knows a cache
// by its address only, so that ours, Varnish and nginx are asked the very same. The
// tests of stale and the tables in bench use it.
//
// A [Stand] is a cache in front of an [Origin]; [Ask] runs the probes in [Rows] on it.
// [Varnish] and [Nginx] start the real programs. One Stand is used by one goroutine at a
// time; an Origin may serve several.
package cachetest
