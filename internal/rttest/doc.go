// Package rttest is the net/http contract as a test suite: what a caller of an http.RoundTripper, a
// handler behind an http.Handler, and net/http itself rely on, whether it is written down or not.
//
// Every Transport of this module passes [Client], alone and nested with the others, and whatever
// can refuse a call passes [Refusal] too; every Handler passes [Server]. The contract is a table of
// clauses, one subtest each.
//
// The client half puts the policy over a scripted base that keeps the books: which attempts reached
// it, with which request, and what became of every body it handed out. The scripts provoke further
// attempts (503 first, an error first, no answer for an hour), because it is in the second attempt
// that a policy breaks the contract. A clause holds for a policy that makes one attempt as for one
// that makes several; no clause demands a second one.
//
// A suite that passes proves nothing unless it can fail. For every clause there is a twin, a correct
// policy with one flaw, and [Fails] runs the clause against it and demands that it fails.
//
// Time is virtual: clauses run in synctest bubbles, over the scripted base or over a network in
// memory, except for the few that are about sockets. Leaving the bubble is a check of its own: no
// goroutine may be left.
//
// The package is imported by tests only. A clause uses its policy from as many goroutines as its
// subject demands; the functions of this package belong to the goroutine of the test.
package rttest
