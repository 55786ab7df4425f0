package rttest

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/failsoft/failsoft/internal/memnet"
)

// responseIsNoError: what the server said is the caller's to judge, after the last attempt as after
// the first.
func responseIsNoError(tb TB, p policy) {
	statuses := []int{200, 201, 204, 206, 301, 304, 400, 401, 403, 404, 408, 409, 425, 429, 500, 501, 502, 503, 504, 599}
	for _, status := range statuses {
		for _, method := range []string{http.MethodGet, http.MethodPut} {
			tb := in(tb, "%d to %s", status, method)
			req, _ := newUpload(newCaller(), tb, method)
			call(tb, p.over(newBase(answer(status))), req).checkAnswer(tb, status)
		}
	}
}

// eitherResponseOrError: http.Client drops a response that comes with an error, and with it the
// connection.
func eitherResponseOrError(tb TB, p policy) {
	for _, s := range scenarios() {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			tb := in(tb, "%s to %s", method, s.name)
			req, _ := newUpload(newCaller(), tb, method)
			res := call(tb, p.over(newBase(s.script)), req)
			res.drop()
			switch {
			case res.err == nil && res.resp == nil:
				tb.Errorf("neither a response nor an error")
			case res.err != nil && res.resp != nil:
				tb.Errorf("a response and the error %v", res.err)
			case res.resp != nil && res.resp.Body == nil:
				tb.Errorf("a response without a body")
			}
		}
	}
}

// timeout is an error as that of a dialer. It can be found by its identity only.
type timeout struct{ _ byte }

func (*timeout) Error() string { return "rttest: the base timed out" }
func (*timeout) Timeout() bool { return true }

// errorIsTheBases asks for Timeout on the error itself and not on what it wraps, because that is
// what the error of an http.Client does.
func errorIsTheBases(tb TB, p policy) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		tb := in(tb, "%s", method)
		res := call(tb, p.over(newBase(fail(errBase))), newRequest(newCaller(), tb, method))
		if res.drop(); !errors.Is(res.err, errBase) {
			tb.Errorf("the error of the base is lost: %v", res.err)
		}

		late := &timeout{}
		res = call(tb, p.over(newBase(fail(late))), newRequest(newCaller(), tb, method))
		if res.drop(); !errors.Is(res.err, late) {
			tb.Errorf("the error of the base is lost: %v", res.err)
		}
		if asked, ok := res.err.(interface{ Timeout() bool }); !ok || !asked.Timeout() {
			tb.Errorf("the timeout of the base is no timeout any more: %v", res.err)
		}
	}
}

// discardedAreDrained: a connection is reused only if its response was read to the end, and before
// the next attempt needs one.
func discardedAreDrained(tb TB, p policy) {
	for _, s := range scenarios() {
		tb := in(tb, "%s", s.name)
		b := newBase(func(t *trip) (*http.Response, error) {
			if !p.overlaps {
				checkDrained(in(tb, "when attempt %d arrived", t.n), t.base.seen()[:t.n-1])
			}
			return s.script(t)
		})
		call(tb, p.over(b), newRequest(newCaller(), tb, http.MethodGet)).finish(tb)
		p.checkSettled(tb, b)
	}
}

func checkDrained(tb TB, trips []*trip) {
	tb.Helper()
	for _, t := range trips {
		if t.answer == nil {
			continue
		}
		if _, whole, closed := t.answer.state(); !whole || !closed {
			tb.Errorf("the response of attempt %d: drained %t, closed %t", t.n, whole, closed)
		}
	}
}

// The bounds of discarding, with some room for a buffer that reads ahead.
const (
	drainBytes = 64<<10 + 1024
	drainTime  = 50 * time.Millisecond
)

// endlessDiscardedBody: a body that never ends must not be read for ever, nor be left open.
func endlessDiscardedBody(tb TB, p policy) {
	s := first(flowing(http.StatusServiceUnavailable, endless()), answer(http.StatusOK))
	checkDiscard(tb, p, s)
}

// stalledDiscardedBody is the same for a body that does not come, or not in time. The bound is one
// on the whole discarding, as each read of a dripping body is fast.
func stalledDiscardedBody(tb TB, p policy) {
	for name, f := range map[string]flow{"stalled": stalled(), "dripping": dripping()} {
		s := first(flowing(http.StatusServiceUnavailable, f), answer(http.StatusOK))
		checkDiscard(in(tb, "%s", name), p, s)
	}
}

func checkDiscard(tb TB, p policy, s script) {
	tb.Helper()

	b := newBase(s)
	res := call(tb, p.over(b), newRequest(newCaller(), tb, http.MethodGet))
	if res.took >= time.Second {
		tb.Errorf("the call took %v", res.took)
	}
	res.drop()
	time.Sleep(drainTime) // A policy may discard what it does not wait for in the background.
	p.checkSettled(tb, b)
	if taken, _, _ := b.seen()[0].answer.state(); taken > drainBytes && !p.detaches {
		tb.Errorf("%d bytes of a discarded body were read, at most 64 KiB are worth a connection", taken)
	}
}

// upgradeStaysReadWriteCloser: the body of a 101 is the connection.
func upgradeStaysReadWriteCloser(tb TB, p policy) {
	near, far := memnet.Pipe()
	defer func() { _ = near.Close(); _ = far.Close() }()

	b := newBase(func(t *trip) (*http.Response, error) {
		resp := t.respond(http.StatusSwitchingProtocols, -1, nil)
		resp.Body = near
		return resp, nil
	})
	ctx := newCaller()
	req := newRequest(ctx, tb, http.MethodGet)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")

	res := call(tb, p.over(b), req)
	defer res.drop()
	if res.err != nil || res.resp.StatusCode != http.StatusSwitchingProtocols {
		tb.Fatalf("no upgrade: %+v", res)
	}
	conn, ok := res.resp.Body.(io.ReadWriteCloser)
	if !ok {
		tb.Fatalf("the body of a 101 is %T, which is no io.ReadWriteCloser", res.resp.Body)
	}
	time.Sleep(time.Hour)
	checkTalk(in(tb, "to the server"), conn, far)
	checkTalk(in(tb, "to the client"), far, conn)
	if err := conn.Close(); err != nil {
		tb.Errorf("close: %v", err)
	}
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		tb.Errorf("Close did not reach the connection: %v", err)
	}
	ctx.checkReleased(tb)
}

func checkTalk(tb TB, from io.Writer, to io.Reader) {
	tb.Helper()
	if _, err := io.WriteString(from, "hello"); err != nil {
		tb.Fatalf("write: %v", err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(to, got); err != nil || string(got) != "hello" {
		tb.Fatalf("read: %q, %v", got, err)
	}
}

// trailersArrive: net/http fills them into the response that it returned, when the body has been
// read. A policy that hands out a copy of that response loses those that were not announced.
func trailersArrive(tb TB, p policy) {
	announced := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Checksum")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("Checksum", "42")
	}
	unannounced := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "body")
		_ = http.NewResponseController(w).Flush() // HTTP/1.1 knows trailers in chunked bodies only.
		w.Header().Set(http.TrailerPrefix+"Checksum", "42")
	}
	servers := map[string]*http.Transport{
		"HTTP/1.1, announced":   memnet.Server(tb, http.HandlerFunc(announced)),
		"HTTP/1.1, unannounced": memnet.Server(tb, http.HandlerFunc(unannounced)),
		"HTTP/2, announced":     memnet.ServerH2C(tb, http.HandlerFunc(announced)),
		"HTTP/2, unannounced":   memnet.ServerH2C(tb, http.HandlerFunc(unannounced)),
	}
	for name, transport := range servers {
		tb := in(tb, "%s", name)
		res := call(tb, p.over(transport), newRequest(newCaller(), tb, http.MethodGet))
		if res.finish(tb); res.err != nil {
			tb.Fatalf("no response: %v", res.err)
		}
		if got := res.resp.Trailer.Get("Checksum"); got != "42" {
			tb.Errorf("the trailer is %q", got)
		}
	}
}
