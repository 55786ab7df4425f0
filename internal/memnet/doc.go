// Package memnet is a network in memory, for tests that run in a testing/synctest bubble.
//
// A goroutine that waits for a real socket is not durably blocked, so that virtual time would stand
// still for ever; one that waits for a connection of this package is. Connections are buffered like
// those of an operating system, as an unbuffered net.Pipe would let a peer see when the other side
// reads, and honour deadlines. Two things differ from TCP: nothing is ever lost, and closing a
// connection that holds unread bytes lets the peer read what it was sent instead of resetting it.
//
// [Server] and [ServerH2C] serve a handler with a real http.Server and return a transport that
// reaches it. They close everything in the cleanup of the test, so that leaving the bubble proves
// that nothing was left behind.
//
// Tests of every package use it. Listeners and connections are safe for concurrent use; those made
// in a bubble can be used in that bubble only.
package memnet
