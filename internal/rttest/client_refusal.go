package rttest

import (
	"net/http"
	"testing"
)

// Refusal runs the part of the contract that is about calls a policy does not let through: wrap
// makes one that refuses the first call it gets, with an error.
func Refusal(t *testing.T, wrap func(next http.RoundTripper) http.RoundTripper) {
	t.Helper()
	t.Run("a refusal leaves nothing behind", func(t *testing.T) {
		Bubble(t, func(tb TB) { refusalLeavesNothing(tb, newPolicy(wrap, nil)) })
	})
}

// refusalLeavesNothing: who refuses a request still owes it what http.Transport would have done.
func refusalLeavesNothing(tb TB, p policy) {
	ctx := newCaller()
	req, sent := newUpload(ctx, tb, http.MethodPut)
	before := takeSnapshot(req)
	b := newBase(answer(http.StatusOK))
	res := call(tb, p.over(b), req)
	res.drop()
	before.check(tb, req)

	if n := b.count(); n > 0 {
		tb.Errorf("the base was reached %d times", n)
	}
	if res.err == nil || res.resp != nil {
		tb.Errorf("a refusal is an error and no response, not %+v", res)
	}
	ctx.checkReleased(tb)
	sent.checkClosed(tb)
}
