package rttest_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/internal/rttest"
)

// serverTwin is a pass-through with one flaw, and what the clause must say of it.
type serverTwin struct {
	name   string
	wrap   func(t *testing.T, next http.Handler) http.Handler
	report string
	only   []string // The protocols in which it is a flaw. None means all that the clause is about.
}

// serverTwins has at least one twin for every clause and protocol, which the test checks.
func serverTwins() map[string][]serverTwin {
	return map[string][]serverTwin{
		"flushes stream": {
			{"hides Flush", writing(hide), "no http.Flusher", nil},
			{"does not flush", writing(deaf), "deadline exceeded", nil},
		},
		"events arrive one by one": {
			{"does not flush", writing(deaf), "deadline exceeded", nil},
			{"outlives the client", detached, "not learned that the client left", nil},
		},
		"ReadFrom is offered where the base has it": {
			{"hides ReadFrom", writing(hideAllButController), "io.ReaderFrom", []string{"HTTP1"}},
			{"claims ReadFrom", writing(claim), "io.ReaderFrom", []string{"HTTP2", "h2c"}},
		},
		"early hints arrive and are not final": {
			{"drops them", writing(dropInformational), "0 early hints", nil},
			{"takes the first for final", writing(once), "final response: 200", nil},
		},
		"trailers arrive": {
			{"has a header of its own", writing(ownHeader), "trailer", nil},
		},
		"the answer is unchanged": {
			{"adds a header", answering(func(w http.ResponseWriter) { w.Header().Set("Via", "us") }), "Via", nil},
			{"swallows errors", writing(swallow), "the handler of answer", nil},
			{"is eager", answering(func(w http.ResponseWriter) { w.WriteHeader(http.StatusOK) }), "became", nil},
		},
		"a second WriteHeader is ignored": {
			{"the last one wins", writing(lastStatus), "became", nil},
			{"does not tell net/http", writing(once), "superfluous", []string{"HTTP1"}},
		},

		"the connection can be hijacked": {
			{"hides Hijack", writing(hideAllButController), "no http.Hijacker", nil},
			{"loses what was read", writing(func(w http.ResponseWriter) http.ResponseWriter {
				return forgetful{w, w.(http.Hijacker)}
			}), `expected "early\n"`, nil},
		},
		"no hijack is offered over HTTP2": {
			{"claims Hijack", writing(claim), "is an http.Hijacker", nil},
		},
		"the read deadline can be set": {
			{"hides it", writing(hide), "SetReadDeadline", nil},
			{"reads the body before", requesting(buffered), "deadline exceeded", nil},
		},
		"the write deadline can be set": {
			{"hides it", writing(hide), "SetWriteDeadline", nil},
			{"swallows errors", writing(swallow), "past the deadline works", nil},
		},

		"the request is unchanged": {
			{"adds a header", requesting(func(r *http.Request) *http.Request {
				r = r.Clone(r.Context())
				r.Header.Set("Via", "us")
				return r
			}), "the handler's request", nil},
			{"changes the caller's", requesting(func(r *http.Request) *http.Request {
				inner := r.Clone(r.Context())
				r.Header.Del("Cookie")
				return inner
			}), "the caller's request", nil},
			{"loses the body", requesting(bodiless), "body of the request", nil},
			{"loses the trailers", requesting(func(r *http.Request) *http.Request {
				return r.Clone(r.Context()) // Deep enough to be missed by net/http.
			}), "trailer of the request", nil},
		},
		"patterns and path values are kept": {
			{"passes a copy", requesting(func(r *http.Request) *http.Request {
				return r.WithContext(r.Context())
			}), "not seen outside", nil},
			{"passes a new one", requesting(func(r *http.Request) *http.Request {
				return &http.Request{Method: r.Method, URL: r.URL, Header: r.Header, Body: r.Body}
			}), "what the outer mux matched", nil},
		},
		"the request body streams": {
			{"reads it before", requesting(buffered), "has not read", nil},
		},
		"full duplex works": {
			{"hides it", writing(hide), "EnableFullDuplex", nil},
			{"reads the body before", requesting(buffered), "deadline exceeded", nil},
		},
		"100 Continue waits for the handler": {
			{"reads the body before", requesting(buffered), "403", nil},
			{"loses the body", requesting(bodiless), "100", nil},
		},

		"http.ErrAbortHandler is passed on": {
			{"answers instead", recovering(func(w http.ResponseWriter, _ any) {
				w.WriteHeader(http.StatusInternalServerError)
			}), "panicked with <nil>", nil},
			{"dresses it up", recovering(func(_ http.ResponseWriter, v any) {
				panic(fmt.Errorf("ours: %w", v.(error)))
			}), "panicked with ours", nil},
		},
		"a panic is passed on unchanged": {
			{"answers instead", recovering(func(w http.ResponseWriter, _ any) {
				w.WriteHeader(http.StatusInternalServerError)
			}), "panicked with <nil>", nil},
			{"makes it an abort", recovering(func(http.ResponseWriter, any) {
				panic(http.ErrAbortHandler)
			}), "did not log the panic", nil},
		},
		"Goexit ends the goroutine": {
			{"has one of its own", elsewhere, "as if the handler had", nil},
		},
		"the context ends when the client leaves": {
			{"outlives the client", detached, "without the client", nil},
		},
		"write errors reach the handler": {
			{"swallows errors", writing(swallow), "a client that left", nil},
		},
		"it returns with the handler": {
			{"leaves early", leavingEarly, "returned before the handler", nil},
		},
		"nothing is left behind": {
			{"leaves a goroutine", leaking, "goroutines are left", nil},
			{"lingers", lingering, "used after ServeHTTP: Header", nil},
		},
		"requests run concurrently and apart": {
			{"one at a time", serial(), "run at the same time", nil},
			{"mixes them up", mixing(), "has the body", nil},
		},
	}
}

func TestServerTwinsFail(t *testing.T) {
	t.Parallel()

	twins := serverTwins()
	for _, c := range rttest.ServerCases() {
		t.Run(c.Clause+"/"+c.Protocol, func(t *testing.T) {
			t.Parallel()

			tried := 0
			for _, twin := range twins[c.Clause] {
				if twin.only != nil && !slices.Contains(twin.only, c.Protocol) {
					continue
				}
				tried++
				t.Run(twin.name, func(t *testing.T) {
					t.Parallel()

					wrap := func(next http.Handler) http.Handler { return twin.wrap(t, next) }
					report := c.Fails(t, wrap, 250*time.Millisecond)
					if !strings.Contains(report, twin.report) {
						report = c.Fails(t, wrap, 10*time.Second) // Perhaps the machine was just slow.
					}
					assert.Contains(t, report, twin.report)
				})
			}
			assert.Positive(t, tried, "a clause without a twin may be one that cannot fail")
		})
	}
}

func TestServerTwinsBelongToClauses(t *testing.T) {
	t.Parallel()

	var clauses []string
	for _, c := range rttest.ServerCases() {
		clauses = append(clauses, c.Clause)
	}
	for clause := range serverTwins() {
		assert.Contains(t, clauses, clause)
	}
}
