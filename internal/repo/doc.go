// Package repo holds the tests about the repository as a whole: which package may import which,
// where a panic or a sleep may stand, how long a file may be, and whether the documentation still
// shows the code that runs. It exports nothing and nobody imports it.
//
// Every check is a pure function from a tree of files to its findings. It runs twice: over this
// repository, where it must find nothing, and over a small tree that breaks its rule, where it must
// find exactly that. The linter asserts some of the same rules with better positions; the checks
// here cannot be silenced by a nolint directive.
package repo
