// Package tools pins the programs that check this repository, so that every machine runs the same
// ones. It holds no code: its go.mod names them in tool directives, in a module of its own, so that
// nobody who imports failsoft inherits what a linter needs.
package tools
