package rttest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/internal/memnet"
)

// noted is a reader that remembers when it was first read.
type noted struct {
	io.Reader
	at atomic.Pointer[time.Time]
}

func (n *noted) Read(p []byte) (int, error) {
	now := time.Now()
	n.at.CompareAndSwap(nil, &now)
	return n.Reader.Read(p)
}

// expectContinueWaits: the server decides whether it wants the body, so that nobody may read it
// before.
func expectContinueWaits(tb TB, p policy) {
	const thought = 100 * time.Millisecond

	transport := memnet.Server(tb, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(thought)
		if r.URL.Path == "/refused" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.Copy(w, r.Body)
	}))
	transport.ExpectContinueTimeout = time.Hour
	rt := p.over(transport)

	begin := time.Now()
	res, body := expect(tb, rt, "/wanted")
	if got := res.finish(tb); got != "body" {
		tb.Errorf("the server got the body %q", got)
	}
	if at := body.at.Load(); at == nil || at.Sub(begin) < thought {
		tb.Errorf("the body was read before the server asked for it")
	}

	res, body = expect(tb, rt, "/refused")
	res.drop()
	if res.resp.StatusCode != http.StatusUnauthorized {
		tb.Errorf("status %d, want 401", res.resp.StatusCode)
	}
	if body.at.Load() != nil {
		tb.Errorf("the body was read although the server refused it")
	}
}

func expect(tb TB, rt http.RoundTripper, path string) (result, *noted) {
	tb.Helper()
	body := &noted{Reader: strings.NewReader("body")}
	req := newRequest(newCaller(), tb, http.MethodPost)
	req.URL.Path = path
	req.Header.Set("Expect", "100-continue")
	req.Body, req.ContentLength = io.NopCloser(body), 4
	res := call(tb, rt, req)
	if res.err != nil {
		tb.Fatalf("%s: %v", path, res.err)
	}
	return res, body
}

// closeIdleReachesTheBase: http.Client finds the method by a type assertion and is silent where it
// finds none. A base may lack it, too.
func closeIdleReachesTheBase(tb TB, p policy) {
	b := newBase(answer(http.StatusOK))
	(&http.Client{Transport: p.over(b)}).CloseIdleConnections()
	if b.idle != 1 {
		tb.Errorf("CloseIdleConnections reached the base %d times, want once", b.idle)
	}
	bare := struct{ http.RoundTripper }{b}
	(&http.Client{Transport: p.over(bare)}).CloseIdleConnections()
}

// eventsStream: an event is worth something when it comes, not when the handler ends.
func eventsStream(tb TB, p policy) {
	transport := memnet.Server(tb, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for n := range 3 {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", n)
			_ = http.NewResponseController(w).Flush()
			time.Sleep(time.Hour)
		}
	}))
	begin := time.Now()
	res := call(tb, p.over(transport), newRequest(newCaller(), tb, http.MethodGet))
	if res.err != nil {
		tb.Fatalf("no response: %v", res.err)
	}
	event := make([]byte, len("data: 0\n\n"))
	for n := range 3 {
		if _, err := io.ReadFull(res.resp.Body, event); err != nil || string(event) != fmt.Sprintf("data: %d\n\n", n) {
			tb.Fatalf("event %d is %q: %v", n, event, err)
		}
		if late := time.Since(begin) - time.Duration(n)*time.Hour; late > time.Second {
			tb.Errorf("event %d came %v after it was sent", n, late)
		}
	}
	res.finish(tb)
}

// longDownload: what bounds the wait for an answer must not bound the answer.
func longDownload(tb TB, p policy) {
	const chunk = 16 << 10

	transport := memnet.Server(tb, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 60 {
			_, _ = w.Write(make([]byte, chunk))
			_ = http.NewResponseController(w).Flush()
			time.Sleep(time.Minute)
		}
	}))
	res := call(tb, p.over(transport), newRequest(newCaller(), tb, http.MethodGet))
	if got := len(res.finish(tb)); got != 60*chunk {
		tb.Errorf("%d bytes arrived, want %d", got, 60*chunk)
	}
}

// cookiesAndRedirects runs the policy under a real http.Client, which sends every hop through it.
func cookiesAndRedirects(tb TB, p policy) {
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "42"})
		http.Redirect(w, r, "/post", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/post", func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie("session")
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %s with %s", r.Method, body, cookie.Value)
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		tb.Fatalf("make a jar: %v", err)
	}
	client := &http.Client{Transport: p.over(memnet.Server(tb, mux)), Jar: jar}
	req, sent := newUpload(newCaller(), tb, http.MethodPost)
	req.URL.Path = "/login"

	var res result
	res.resp, res.err = client.Do(req)
	if res.err != nil {
		tb.Fatalf("no response: %v", res.err)
	}
	if got, want := res.finish(tb), "POST "+sent.content+" with 42"; got != want {
		tb.Errorf("the server got %q, want %q", got, want)
	}
	if path := res.resp.Request.URL.Path; path != "/post" {
		tb.Errorf("the response is said to be that of %s", path)
	}
}

// clientTimeout arrives as a deadline and as Request.Cancel at once, before the answer and within.
func clientTimeout(tb TB, p policy) {
	transport := memnet.Server(tb, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	}))
	client := &http.Client{Transport: p.over(transport), Timeout: time.Second}

	for _, path := range []string{"/headers", "/body"} {
		tb := in(tb, "%s", path)
		begin := time.Now()
		req := newRequest(newCaller(), tb, http.MethodGet)
		req.URL.Path = path
		resp, err := client.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		var late net.Error
		if !errors.As(err, &late) || !late.Timeout() {
			tb.Errorf("the error is no timeout: %v", err)
		}
		if took := time.Since(begin); took != time.Second {
			tb.Errorf("the call took %v, want 1s", took)
		}
	}
}
