package rttest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing/synctest"
)

// everyAttemptIsTheRequest: a policy may add headers and change the host, and nothing else.
func everyAttemptIsTheRequest(tb TB, p policy) {
	type key struct{}

	for _, s := range scenarios() {
		tb := in(tb, "%s", s.name)
		req, _ := newUpload(context.WithValue(newCaller(), key{}, "value"), tb, http.MethodPut)
		req.Host = "virtual.example"
		req.Header["X-Many"] = []string{"one", "two"}
		req.Close = true
		b := newBase(s.script)
		call(tb, p.over(b), req).finish(tb)
		synctest.Wait()

		for _, t := range b.seen() {
			tb := in(tb, "attempt %d", t.n)
			if t.req.Method != req.Method || t.req.Host != req.Host || t.req.Close != req.Close {
				tb.Errorf("it is %s to %s (close %t)", t.req.Method, t.req.Host, t.req.Close)
			}
			if t.url.Path != req.URL.Path || t.url.RawQuery != req.URL.RawQuery {
				tb.Errorf("it asks for %s", &t.url)
			}
			for name, values := range req.Header {
				if !slices.Equal(t.header[name], values) {
					tb.Errorf("its header %s is %q", name, t.header[name])
				}
			}
			if t.req.Context().Value(key{}) != "value" {
				tb.Errorf("its context lacks the values of the caller's")
			}
		}
	}
}

// requestBodyIsClosed counts the bodies that GetBody made, too: each is the policy's to close.
func requestBodyIsClosed(tb TB, p policy) {
	for _, s := range scenarios() {
		tb := in(tb, "%s", s.name)
		req, sent := newUpload(newCaller(), tb, http.MethodPut)
		call(tb, p.over(newBase(s.script)), req).finish(tb)
		synctest.Wait()
		sent.checkClosed(tb)
	}
}

// requestBodyIsClosedUnsent is about the call that ends before it began: no base sees it, perhaps,
// and nobody else is left to close the body.
func requestBodyIsClosedUnsent(tb TB, p policy) {
	for _, end := range endings() {
		tb := in(tb, "%s", end.name)
		req, sent := newUpload(newCaller(), tb, http.MethodPut)
		req = end.arrange(req, 0)
		res := call(tb, p.over(newBase(answer(http.StatusOK))), req)
		res.drop()
		if res.err == nil {
			tb.Errorf("the call went on although its caller had left")
		}
		synctest.Wait()
		sent.checkClosed(tb)
	}
}

// requestWithTrailersIsSentOnce: the caller fills in the values while the body is read, in the map
// that the request had, and there is no GetBody for that.
func requestWithTrailersIsSentOnce(tb TB, p policy) {
	for _, s := range scenarios() {
		tb := in(tb, "%s", s.name)
		req, sent := newUpload(newCaller(), tb, http.MethodPut)
		trailer := http.Header{"X-Checksum": nil}
		req.Trailer = trailer
		sent.atEOF = func() { trailer.Set("X-Checksum", "42") }
		b := newBase(s.script)
		call(tb, p.over(b), req).finish(tb)
		synctest.Wait()
		checkSentOnce(tb, b)

		for _, t := range b.seen() {
			if got := t.trailer.Get("X-Checksum"); got != "42" {
				tb.Errorf("attempt %d sent the trailer %q, want the one that was set at the end of the body", t.n, got)
			}
		}
	}
}

// noBodyStaysNoBody: http.Transport and http.Client recognise http.NoBody by its identity, and send
// anything else in chunks.
func noBodyStaysNoBody(tb TB, p policy) {
	empty := func(t *trip) (*http.Response, error) { return t.respond(http.StatusOK, 0, nil), nil }

	for _, s := range []script{empty, first(fail(errBase), empty)} {
		for name, body := range map[string]io.ReadCloser{"http.NoBody": http.NoBody, "nil": nil} {
			tb := in(tb, "%s", name)
			req := newRequest(newCaller(), tb, http.MethodPut)
			req.Body = body
			if body != nil {
				req.GetBody = func() (io.ReadCloser, error) { return http.NoBody, nil }
			}
			b := newBase(s)
			res := call(tb, p.over(b), req)
			res.drop()
			if res.resp != nil && res.resp.Body != http.NoBody {
				tb.Errorf("the body of the response is no longer http.NoBody")
			}
			for _, t := range b.seen() {
				if t.req.Body != body {
					tb.Errorf("attempt %d has the body %T, want %s", t.n, t.req.Body, name)
				}
			}
		}
	}
}

// unsafeMethodsAreSentOnce: an error or a 503 does not say that nothing was done.
func unsafeMethodsAreSentOnce(tb TB, p policy) {
	for _, method := range []string{http.MethodPost, http.MethodPatch} {
		for _, s := range scenarios() {
			tb := in(tb, "%s, %s", method, s.name)
			req, _ := newUpload(newCaller(), tb, method)
			b := newBase(s.script)
			call(tb, p.over(b), req).finish(tb)
			synctest.Wait()
			checkSentOnce(tb, b)
		}
	}
}

// idempotencyKeyIsSentAlong allows further attempts, and demands that all of them are the same
// request to the server.
func idempotencyKeyIsSentAlong(tb TB, p policy) {
	for _, key := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		for _, s := range scenarios() {
			tb := in(tb, "%s, %s", key, s.name)
			req, sent := newUpload(newCaller(), tb, http.MethodPost)
			req.Header.Set(key, "key-1")
			b := newBase(s.script)
			call(tb, p.over(b), req).finish(tb)
			synctest.Wait()

			for _, t := range b.seen() {
				if got := t.header.Get(key); got != "key-1" {
					tb.Errorf("attempt %d has the key %q", t.n, got)
				}
				overtaken := p.multiple && t.n > 1 && len(t.sent) == 0 // before it could read the body
				if !bytes.Equal(t.sent, []byte(sent.content)) && !overtaken {
					tb.Errorf("attempt %d sent the body %q", t.n, t.sent)
				}
			}
		}
	}
}

// brokenRequestIsAnError: http.Transport returns an error for each of these; a policy that looks at
// the URL or writes a header must not panic first.
func brokenRequestIsAnError(tb TB, p policy) {
	breaks := map[string]func(*http.Request){
		"nil URL":    func(r *http.Request) { r.URL = nil },
		"empty URL":  func(r *http.Request) { r.URL = &url.URL{} },
		"nil Header": func(r *http.Request) { r.Header = nil },
		"bad method": func(r *http.Request) { r.Method = "BAD METHOD" },
		"bad scheme": func(r *http.Request) { r.URL.Scheme = "gopher" },
		"bad header": func(r *http.Request) { r.Header["Bad Name"] = []string{strings.Repeat("\n", 3)} },
	}
	// A policy may mend the header. It goes no further: what net keeps of a lookup must not be
	// made in a bubble, or the next one, in another, crashes.
	base := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("there is no network here")
	}}
	for name, harm := range breaks {
		tb := in(tb, "%s", name)
		req, sent := newUpload(newCaller(), tb, http.MethodPut)
		harm(req)
		res := call(tb, p.over(base), req)
		res.drop()
		if res.err == nil {
			tb.Errorf("no error")
		}
		synctest.Wait()
		sent.checkClosed(tb)
	}
}
