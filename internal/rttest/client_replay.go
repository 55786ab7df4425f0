package rttest

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing/synctest"
)

// bodyIsReplayed gives every attempt the whole body, whatever became of the one before: read to its
// end, to the middle, or not at all. The first reader cannot be used twice, since http.Transport
// may go on reading it after it has returned.
func bodyIsReplayed(tb TB, p policy) {
	firstUploads := map[string]func(io.Reader) ([]byte, error){"whole": io.ReadAll, "part": part, "unread": nothing}
	for _, s := range scenarios() {
		for name, upload := range firstUploads {
			for _, known := range []bool{true, false} {
				tb := in(tb, "%s, first body %s, length known %t", s.name, name, known)
				checkReplay(tb, p, s.script, upload, known)
			}
		}
	}
}

func checkReplay(tb TB, p policy, s script, firstUpload func(io.Reader) ([]byte, error), known bool) {
	tb.Helper()

	req, sent := newUpload(newCaller(), tb, http.MethodPut)
	if !known {
		req.ContentLength = -1
	}
	length := req.ContentLength
	var uploaded atomic.Int64
	b := newBase(s)
	b.upload = func(body io.Reader) ([]byte, error) {
		if uploaded.Add(1) == 1 {
			return firstUpload(body)
		}
		return io.ReadAll(body)
	}
	call(tb, p.over(b), req).finish(tb)
	synctest.Wait()
	sent.checkUse(tb)

	for _, t := range b.seen() {
		if t.req.ContentLength != length {
			tb.Errorf("attempt %d has content length %d, want %d", t.n, t.req.ContentLength, length)
		}
		if t.n > 1 && string(t.sent) != sent.content {
			tb.Errorf("attempt %d sent the body %q", t.n, t.sent)
		}
	}
}

// bodyWithoutGetBodyIsSentOnce holds even where the base has not read a byte of it: the policy
// cannot know.
func bodyWithoutGetBodyIsSentOnce(tb TB, p policy) {
	for _, s := range scenarios() {
		tb := in(tb, "%s", s.name)
		req, sent := newUpload(newCaller(), tb, http.MethodPut)
		req.GetBody = nil
		b := newBase(s.script)
		call(tb, p.over(b), req).finish(tb)
		synctest.Wait()
		checkSentOnce(tb, b)
		sent.checkUse(tb)
	}
}

func checkSentOnce(tb TB, b *base) {
	tb.Helper()
	if n := b.count(); n != 1 {
		tb.Errorf("%d attempts reached the base, want 1", n)
	}
}

// failingGetBodyLosesNoAnswer is about the order of things: who throws the first answer away before
// he has the second body is left with nothing.
func failingGetBodyLosesNoAnswer(tb TB, p policy) {
	refuse := errors.New("rttest: no second body")

	req, sent := newUpload(newCaller(), tb, http.MethodPut)
	sent.refuse = refuse
	call(tb, p.over(newBase(answer(http.StatusServiceUnavailable))), req).
		checkAnswer(in(tb, "503"), http.StatusServiceUnavailable)

	req, sent = newUpload(newCaller(), tb, http.MethodPut)
	sent.refuse = refuse
	res := call(tb, p.over(newBase(fail(errBase))), req)
	if !errors.Is(res.err, errBase) {
		tb.Errorf("the error of the base was lost: %v", res.err)
	}
	synctest.Wait()
	sent.checkClosed(tb)
}
