package rttest

import (
	"net/http"
	"slices"
	"testing"
	"time"
)

// Server runs the contract that every Handler of ours keeps: the handler inside of it, the server
// around it and the client cannot tell that it is there.
//
// Each clause is a subtest, with one subtest more for each protocol of net/http in which it means
// something. wrap is called once for each of these, so that no state outlives them. It should
// return a middleware that lets everything in, with the least capacity that admits eight requests
// at a time, and that two panics do not close. The subtests use real sockets and do not run in
// parallel.
//
// Of the facts, Detaches says that requests without a body run on a writer that the middleware has
// made: what they write passes through memory, where no sendfile can take a short cut, and neither how
// it is cut into chunks nor the order of the header's fields is the handler's.
func Server(t *testing.T, wrap func(next http.Handler) http.Handler, facts ...Fact) {
	t.Helper()

	for _, clause := range serverClauses() {
		t.Run(clause.name, func(t *testing.T) {
			for _, proto := range clause.protocols {
				t.Run(proto.name, func(t *testing.T) {
					clause.check(&stage{
						TB: t, protocol: proto, wrap: wrap, patience: 30 * time.Second,
						detaches: slices.Contains(facts, Detaches),
					})
				})
			}
		})
	}
}

// serverClause is one promise. Its check calls wrap once.
type serverClause struct {
	name      string
	protocols []protocol
	check     func(*stage)
}

func serverClauses() []serverClause {
	http1 := []protocol{overHTTP1()}
	http2 := []protocol{overHTTP2(), overH2C()}
	all := slices.Concat(http1, http2)

	return []serverClause{
		{"flushes stream", all, judgeFlush},
		{"events arrive one by one", all, judgeEvents},
		{"ReadFrom is offered where the base has it", all, judgeReadFrom},
		{"early hints arrive and are not final", all, judgeEarlyHints},
		{"trailers arrive", all, judgeTrailers},
		{"the answer is unchanged", all, judgeAnswer},
		{"a second WriteHeader is ignored", all, judgeWriteHeaderTwice},

		{"the connection can be hijacked", http1, judgeHijack},
		{"no hijack is offered over HTTP2", http2, judgeNoHijack},
		{"the read deadline can be set", all, judgeReadDeadline},
		{"the write deadline can be set", all, judgeWriteDeadline},

		{"the request is unchanged", all, judgeRequest},
		{"patterns and path values are kept", all, judgePatterns},
		{"the request body streams", all, judgeRequestBody},
		{"full duplex works", all, judgeFullDuplex},
		{"100 Continue waits for the handler", http1, judgeContinue},

		{"http.ErrAbortHandler is passed on", all, judgeAbort},
		{"a panic is passed on unchanged", all, judgePanic},
		{"Goexit ends the goroutine", all, judgeGoexit},
		{"the context ends when the client leaves", all, judgeClientLeaves},
		{"write errors reach the handler", all, judgeWriteErrors},
		{"it returns with the handler", all, judgeReturn},
		{"nothing is left behind", all, judgeNothingLeft},
		{"requests run concurrently and apart", all, judgeConcurrent},
	}
}
