package hedge_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/hedge"
)

const ms = time.Millisecond

var errBoom = errors.New("boom")

// bubble runs test in virtual time.
func bubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

// script is what an attempt comes to.
type script func(req *http.Request) (*http.Response, error)

// answers makes a response; header is a list of names and values.
func answers(status int, header ...string) script {
	return func(req *http.Request) (*http.Response, error) {
		h := make(http.Header)
		for i := 0; i+1 < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		const body = "an answer"
		return &http.Response{
			StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req,
		}, nil
	}
}

func fails(err error) script {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

func panics(value any) script {
	return func(*http.Request) (*http.Response, error) { panic(value) }
}

// after waits before it goes on with s, unless the attempt ends before that.
func after(d time.Duration, s script) script {
	return func(req *http.Request) (*http.Response, error) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return s(req)
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
}

// deaf is after for a transport that does not heed its context.
func deaf(d time.Duration, s script) script {
	return func(req *http.Request) (*http.Response, error) {
		<-time.NewTimer(d).C
		return s(req)
	}
}

// onEnd goes on with s when the attempt has ended.
func onEnd(s script) script {
	return func(req *http.Request) (*http.Response, error) {
		<-req.Context().Done()
		return s(req)
	}
}

// hangs waits for the end of the attempt and returns its error.
func hangs(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// base is a transport that follows a script per attempt of a call, the last one
// for all further. It records what it is asked for.
type base struct {
	legs  []script
	begun time.Time

	mu    sync.Mutex
	trips []*trip
}

// trip is one attempt, as the base saw it.
type trip struct {
	attempt int
	at      time.Duration // since the base was made
	ctx     context.Context
	req     *http.Request
	sent    string // the request's body

	mu   sync.Mutex
	left time.Duration // when it came back
	body *body         // the response's
}

func newBase(legs ...script) *base { return &base{legs: legs, begun: time.Now()} }

func (b *base) RoundTrip(req *http.Request) (*http.Response, error) {
	tr := &trip{attempt: hedge.Attempt(req.Context()), at: time.Since(b.begun), ctx: req.Context(), req: req}
	if req.Body != nil {
		sent, _ := io.ReadAll(req.Body)
		_ = req.Body.Close()
		tr.sent = string(sent)
	}
	b.mu.Lock()
	b.trips = append(b.trips, tr)
	b.mu.Unlock()
	resp, err := b.legs[min(tr.attempt, len(b.legs))-1](req)
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.left = time.Since(b.begun)
	if resp != nil && resp.Body != nil && resp.Body != http.NoBody {
		tr.body = &body{under: resp.Body}
		resp.Body = tr.body
	}
	return resp, err
}

// seen returns what was asked for so far, by the number of the attempt where one
// came with another.
func (b *base) seen() []*trip {
	b.mu.Lock()
	defer b.mu.Unlock()
	trips := slices.Clone(b.trips)
	slices.SortStableFunc(trips, func(a, b *trip) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return a.attempt - b.attempt
	})
	return trips
}

func (b *base) times() []time.Duration {
	var at []time.Duration
	for _, tr := range b.seen() {
		at = append(at, tr.at)
	}
	return at
}

// hosts returns where attempts went.
func (b *base) hosts() []string {
	var hosts []string
	for _, tr := range b.seen() {
		hosts = append(hosts, tr.req.URL.Host)
	}
	return hosts
}

func (tr *trip) back() time.Duration {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.left
}

// answer returns the body of the response, if there is one by now.
func (tr *trip) answer() *body {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.body
}

// tally is a list that several attempts write to.
type tally struct {
	mu      sync.Mutex
	entries []int
}

func (l *tally) add(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, n)
}

func (l *tally) all() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.entries)
}

// body tells what became of a response body.
type body struct {
	under io.ReadCloser

	mu            sync.Mutex
	ended, closed bool
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.under.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = b.ended || err == io.EOF
	return n, err
}

func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return b.under.Close()
}

func (b *body) isClosed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed
}

func (b *body) isDrained() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended
}

// assertDrained says that nobody has forgotten a response.
func (tr *trip) assertDrained(t *testing.T) {
	t.Helper()
	answer := tr.answer()
	require.NotNil(t, answer)
	assert.True(t, answer.isDrained(), "the body of attempt %d was drained", tr.attempt)
	assert.True(t, answer.isClosed(), "the body of attempt %d was closed", tr.attempt)
}

func request(t *testing.T, method, content string) *http.Request {
	t.Helper()
	var reader io.Reader
	if content != "" {
		reader = strings.NewReader(content)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://shop.test/prices", reader)
	require.NoError(t, err)
	return req
}

func get(t *testing.T) *http.Request {
	t.Helper()
	return request(t, http.MethodGet, "")
}

type reply struct {
	status int
	err    error
	took   time.Duration
	from   int // the attempt that the response is of
}

// call makes a call and reads the response.
func call(t *testing.T, rt http.RoundTripper, req *http.Request) reply {
	t.Helper()
	start := time.Now()
	resp, err := rt.RoundTrip(req)
	got := reply{err: err, took: time.Since(start)}
	require.NotEqual(t, err == nil, resp == nil, "exactly one of response and error")
	if resp != nil {
		got.status = resp.StatusCode
		got.from = hedge.Attempt(resp.Request.Context())
		content, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		if resp.Body != http.NoBody {
			require.Equal(t, "an answer", string(content), "the body of the answer is readable")
		}
	}
	return got
}

// fixed hedges every call after 10 ms, whatever else cfg says.
func fixed(cfg hedge.Config) hedge.Config {
	cfg.Delay, cfg.Percent = 10*ms, 100
	if cfg.Budget == nil {
		cfg.Budget = rich()
	}
	return cfg
}

// diary records events.
type diary struct {
	mu  sync.Mutex
	all []hedge.Event
}

func (d *diary) observe(_ context.Context, e hedge.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, e)
}

func (d *diary) events() []hedge.Event {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.all)
}

// kinds returns what was told, in order.
func (d *diary) kinds() []hedge.Kind {
	var kinds []hedge.Kind
	for _, e := range d.events() {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// reasons returns why attempts were refused, in order.
func (d *diary) reasons() []hedge.Reason {
	var reasons []hedge.Reason
	for _, e := range d.events() {
		if e.Kind == hedge.Refused {
			reasons = append(reasons, e.Reason)
		}
	}
	return reasons
}

// shot returns what is known of the only key.
func shot(t *testing.T, h *hedge.Hedger) hedge.KeySnapshot {
	t.Helper()
	keys := h.Snapshot().Keys
	require.Len(t, keys, 1)
	return keys[0]
}

// refusal is an error as our own policies make it.
type refusal struct{ after time.Duration }

func (refusal) Error() string               { return "limiter: full" }
func (refusal) Unsent() bool                { return true }
func (r refusal) RetryAfter() time.Duration { return r.after }
