package rttest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing/synctest"
	"time"
)

// scoped names the case that a clause is at.
type scoped struct {
	TB
	scope string
}

// in returns a TB whose failures begin with the scope. A bubble has no subtests.
func in(tb TB, format string, args ...any) TB {
	return scoped{TB: tb, scope: fmt.Sprintf(format, args...)}
}

func (s scoped) Errorf(format string, args ...any) {
	s.Helper()
	s.TB.Errorf("%s: %s", s.scope, fmt.Sprintf(format, args...))
}

func (s scoped) Fatalf(format string, args ...any) {
	s.Helper()
	s.TB.Fatalf("%s: %s", s.scope, fmt.Sprintf(format, args...))
}

// newRequest makes a request without a body.
func newRequest(ctx context.Context, tb TB, method string) *http.Request {
	tb.Helper()
	req, err := http.NewRequestWithContext(ctx, method, "http://base.example/path?query=1", http.NoBody)
	if err != nil {
		tb.Fatalf("make a request: %v", err)
	}
	req.Body, req.GetBody = nil, nil
	req.Header.Set("Accept", "text/plain")
	return req
}

// newUpload makes a request with a body that can be replayed.
func newUpload(ctx context.Context, tb TB, method string) (*http.Request, *uploads) {
	tb.Helper()
	all := &uploads{content: "a request body that takes a while to read"}
	req := newRequest(ctx, tb, method)
	req.Body, req.GetBody, req.ContentLength = all.next(), all.getBody, int64(len(all.content))
	return req, all
}

// result is what became of a call.
type result struct {
	resp     *http.Response
	err      error
	took     time.Duration
	returned bool
	panicked any
}

// call makes a call that must return.
func call(tb TB, rt http.RoundTripper, req *http.Request) result {
	tb.Helper()
	res := observe(rt, req)
	if res.panicked != nil {
		tb.Fatalf("the policy panicked: %v", res.panicked)
	}
	if !res.returned {
		tb.Fatalf("the policy ended the goroutine of its caller")
	}
	return res
}

// observe makes a call on a goroutine of its own: only so can it be seen how it ends, if not by return.
func observe(rt http.RoundTripper, req *http.Request) result {
	var res result

	begin := time.Now()
	done := make(chan struct{})

	go func() {
		defer close(done)
		defer func() { res.took = time.Since(begin) }()
		defer func() { res.panicked = recover() }()
		res.resp, res.err = rt.RoundTrip(req)
		res.returned = true
	}()
	<-done
	return res
}

// finish reads the body of a response to its end and closes it.
func (r result) finish(tb TB) string {
	tb.Helper()
	if r.resp == nil {
		return ""
	}
	content, err := io.ReadAll(r.resp.Body)
	if err != nil {
		tb.Errorf("read the response body: %v", err)
	}
	if err := r.resp.Body.Close(); err != nil {
		tb.Errorf("close the response body: %v", err)
	}
	return string(content)
}

// drop closes the body of a response without a look at it.
func (r result) drop() {
	if r.resp != nil {
		_ = r.resp.Body.Close()
	}
}

// checkAnswer reports a call that did not bring the response of one of the trips, with that status.
func (r result) checkAnswer(tb TB, status int) {
	tb.Helper()
	if r.err != nil || r.resp == nil {
		tb.Fatalf("no response: %v", r.err)
	}
	if r.resp.StatusCode != status {
		tb.Errorf("status %d, want %d", r.resp.StatusCode, status)
	}
	trip, err := strconv.Atoi(r.resp.Header.Get("Trip"))
	if err != nil {
		tb.Errorf("the header of the response is not the base's: %v", r.resp.Header)
	}
	want := contentOf(trip)
	if r.resp.Body == http.NoBody {
		want = ""
	}
	if got := r.finish(tb); got != want {
		tb.Errorf("the body of the response is not the base's: %d bytes, want %d", len(got), len(want))
	}
}

// checkSettled reports what a finished call has left open at the base.
func (b *base) checkSettled(tb TB) {
	tb.Helper()
	synctest.Wait()

	for _, t := range b.seen() {
		if !t.hasEnded() {
			tb.Errorf("attempt %d still runs", t.n)
		}
		if t.answer == nil {
			continue
		}
		if _, _, closed := t.answer.state(); !closed {
			tb.Errorf("the response body of attempt %d was not closed", t.n)
		}
	}
}

// caller is a context that counts who is registered with it. Package context asks a parent that is
// not its own for AfterFunc, and is left no other way to hear of its end.
//
// It never ends: what waits for its end is then left in the bubble, and seen when that is left.
type caller struct {
	done chan struct{}

	mu    sync.Mutex
	last  int
	funcs map[int]func()
}

func newCaller() *caller {
	return &caller{done: make(chan struct{}), funcs: map[int]func(){}}
}

func (c *caller) Deadline() (time.Time, bool) { return time.Time{}, false }
func (c *caller) Done() <-chan struct{}       { return c.done }
func (c *caller) Err() error                  { return nil }
func (c *caller) Value(any) any               { return nil }

// AfterFunc registers fn; stop takes it back.
func (c *caller) AfterFunc(fn func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.last++
	id := c.last
	c.funcs[id] = fn
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, found := c.funcs[id]
		delete(c.funcs, id)
		return found
	}
}

// checkReleased reports who is still registered.
func (c *caller) checkReleased(tb TB) {
	tb.Helper()
	synctest.Wait()

	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.funcs) > 0 {
		tb.Errorf("%d still registered with the caller's context", len(c.funcs))
	}
}
