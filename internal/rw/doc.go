// Package rw wraps an http.ResponseWriter for every Handler of ours: it sees
// what becomes of a response without being in its way. It also writes the
// refusals, whose headers are the same in all packages.
//
// # What is seen
//
// The final status, the bytes of the body, whether the response was flushed or
// the connection hijacked, and the first write error. [Hooks] are told as it
// happens; the one for the header runs before the header leaves, and may change
// it. Informational responses (1xx) pass without being taken for the final one.
// 101 is final, as it is for net/http on HTTP/1; HTTP/2 has no 101.
//
// # What is kept
//
// The wrapper is an http.Flusher, http.Hijacker or io.ReaderFrom if, and only
// if, the writer below can do it: HTTP/2 can neither be hijacked nor read from.
// Everything else that an [http.ResponseController] offers is reached through
// Unwrap. What the controller does is seen, too. io.Copy from a file still ends
// in sendfile, unless a body hook wants to see the bytes.
//
// Three things are not kept. http.Pusher, because browsers have given up HTTP/2
// push and handlers must do without it anyway; http.CloseNotifier, because the
// request's context replaced it; and the unexported method by which
// http.MaxBytesReader marks the connection to be closed, which no wrapper can
// forward (the body is limited all the same).
//
// # Concurrency
//
// As with any http.ResponseWriter, one goroutine at a time; what was seen is
// read on the goroutine that writes, or after the handler has returned. Only
// informational responses may be sent while another goroutine writes, because
// httputil.ReverseProxy does so: that path touches no state.
package rw
