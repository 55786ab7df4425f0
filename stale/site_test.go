package stale_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/memnet"
	"github.com/failsoft/failsoft/internal/rw"
	"github.com/failsoft/failsoft/stale"
)

const ms = time.Millisecond

// The doors of a Cache, and what it is behind them.
const (
	ofHandler   = "handler"
	ofGateway   = "gateway" // a Transport that is shared
	ofUserAgent = "user agent"
)

// shared are the doors of shared caches.
func shared() []string { return []string{ofHandler, ofGateway} }

func allDoors() []string { return append(shared(), ofUserAgent) }

// site is an origin with a Cache in front of it.
type site struct {
	t     *testing.T
	door  string
	cache *stale.Cache
	ask   func(req *http.Request) got

	mu     sync.Mutex
	asked  []*http.Request
	answer http.HandlerFunc
	events []stale.Event
	hears  func(stale.Event)
}

// got is what a client gets.
type got struct {
	status  int
	header  http.Header
	trailer http.Header
	body    string
	err     error
	value   any // of a panic; goexit if the goroutine was ended
	headed  time.Duration
	took    time.Duration
}

// pause lets time pass, and what is due then happen.
func pause(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// pauseAlone lets time pass for one goroutine of a bubble.
func pauseAlone(d time.Duration) { _ = nap(context.Background(), d) }

const goexit = "the goroutine was ended"

// detail is what Cache-Status says of why a stale response answers.
func (g *got) detail() string {
	_, after, _ := bytes.Cut([]byte(g.header.Get("Cache-Status")), []byte("detail="))
	return string(after)
}

// failed reports whether no answer of the origin's has arrived.
func (g *got) failed() bool { return g.err != nil || g.value != nil || g.status >= 500 }

// at runs test in virtual time for each of the doors.
func at(t *testing.T, doors []string, name string, cfg stale.Config, test func(t *testing.T, s *site)) {
	t.Helper()
	for _, door := range doors {
		t.Run(name+"/"+door, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, newSite(t, door, cfg)) })
		})
	}
}

// newSite opens a site. When the test is over, nothing may be left of what went on.
func newSite(t *testing.T, door string, cfg stale.Config) *site {
	t.Helper()
	s := &site{t: t, door: door}
	observe := cfg.Observe
	cfg.Observe = func(ctx context.Context, e stale.Event) {
		s.mu.Lock()
		s.events = append(s.events, e)
		hears := s.hears
		s.mu.Unlock()
		if hears != nil {
			hears(e)
		}
		if observe != nil {
			observe(ctx, e)
		}
	}
	cfg.Shared = door == ofGateway
	s.cache = stale.MustNew(cfg)
	origin := http.HandlerFunc(s.serve)
	if door == ofHandler {
		h := s.cache.Handler(origin)
		s.ask = func(req *http.Request) got { return askHandler(h, req) }
	} else {
		s.through(memnet.Server(t, origin))
	}
	t.Cleanup(s.settle)
	return s
}

// through puts base behind the Transport.
func (s *site) through(base http.RoundTripper) {
	if over, ok := base.(*http.Transport); ok {
		over.DisableKeepAlives = true // or it tries again by itself
	}
	transport := s.cache.Transport(base)
	s.ask = func(req *http.Request) got { return askTransport(transport, req) }
}

func (s *site) settle() {
	assert.NoError(s.t, s.cache.Close(context.Background()))
	synctest.Wait()
	shot := s.cache.Snapshot()
	assert.Zero(s.t, shot.Unattended, "places of requests that nobody waits for")
	assert.Zero(s.t, shot.Filling, "bytes reserved")
	assert.Zero(s.t, shot.InFlight)
}

func (s *site) serve(w http.ResponseWriter, req *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, req.Clone(context.WithoutCancel(req.Context())))
	answer := s.answer
	s.mu.Unlock()
	answer(w, req)
}

// answers sets what the origin does.
func (s *site) answers(answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// hits is how many requests the origin has seen.
func (s *site) hits() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// latest is the latest of these.
func (s *site) latest() *http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[len(s.asked)-1]
}

// told returns the events of a kind.
func (s *site) told(kind stale.Kind) (found []stale.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

// get asks for a path; header is a list of names and values.
func (s *site) get(path string, header ...string) *got { return new(s.ask(s.request(path, header...))) }

func (s *site) request(path string, header ...string) *http.Request {
	req := httptest.NewRequest(http.MethodGet, "http://shop.test"+path, http.NoBody).WithContext(s.t.Context())
	req.RequestURI = path
	if s.door != ofHandler {
		req.RequestURI = ""
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return req
}

// gets asks for a path and requires this body, in this time.
func (s *site) gets(path, body string, in time.Duration, header ...string) *got {
	s.t.Helper()
	g := s.get(path, header...)
	synctest.Wait() // or the answer might not be stored yet
	require.NoError(s.t, g.err)
	require.Nil(s.t, g.value)
	require.Equal(s.t, body, g.body, "%d %v", g.status, g.header)
	require.Equal(s.t, in, g.took)
	return g
}

// together asks n times at once.
func (s *site) together(n int, req func(i int) *http.Request) []got {
	all := make([]got, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { all[i] = s.ask(req(i)) })
	}
	wg.Wait()
	return all
}

// herd asks for the same n times at once.
func (s *site) herd(n int, path string, header ...string) []got {
	return s.together(n, func(int) *http.Request { return s.request(path, header...) })
}

func bodies(all []got) []string {
	set := map[string]bool{}
	for _, g := range all {
		set[g.body] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// client is a ResponseWriter that knows when it was written to.
type client struct {
	*httptest.ResponseRecorder
	begun  time.Time
	headed time.Duration
}

func (c *client) WriteHeader(status int) {
	if c.headed == 0 {
		c.headed = time.Since(c.begun)
	}
	c.ResponseRecorder.WriteHeader(status)
}

func askHandler(h http.Handler, req *http.Request) got {
	var g got
	w := &client{ResponseRecorder: httptest.NewRecorder(), begun: time.Now()}
	done := make(chan struct{})
	go func() {
		returned := false
		defer close(done)
		defer func() {
			if value := recover(); value != nil {
				g.value = value
			} else if !returned {
				g.value = goexit
			}
		}()
		h.ServeHTTP(w, req)
		returned = true
	}()
	<-done
	g.headed, g.took = w.headed, time.Since(w.begun)
	if req.Context().Err() == nil || w.Body.Len() > 0 {
		resp := w.Result()
		g.status, g.header, g.body, g.trailer = resp.StatusCode, resp.Header, w.Body.String(), resp.Trailer
	}
	return g
}

func askTransport(transport http.RoundTripper, req *http.Request) got {
	var g got
	begun := time.Now()
	done := make(chan struct{})
	go func() {
		returned := false
		defer close(done)
		defer func() {
			g.took = time.Since(begun)
			if value := recover(); value != nil {
				g.value = value
			} else if !returned {
				g.value = goexit
			}
		}()
		var resp *http.Response
		if resp, g.err = transport.RoundTrip(req); g.err == nil {
			g.status, g.header, g.headed = resp.StatusCode, resp.Header, time.Since(begun)
			var body []byte
			body, g.err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			g.body, g.trailer = string(body), resp.Trailer
		}
		returned = true
	}()
	<-done
	return g
}

// says answers with a body; header is a list of names and values.
func says(body string, header ...string) http.HandlerFunc { return replies(200, body, header...) }

func replies(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// counts answers with the number of the request.
func (s *site) counts(header ...string) {
	s.answers(func(w http.ResponseWriter, req *http.Request) {
		says("v"+strconv.Itoa(s.hits()), header...)(w, req)
	})
}

// after answers d later, unless the request ends.
func after(d time.Duration, answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if nap(req.Context(), d) == nil {
			answer(w, req)
		}
	}
}

// hangs answers never.
func hangs(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() }

// breaks ends without an answer.
func breaks(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// refuses is a policy of ours that lets nobody in.
func refuses(w http.ResponseWriter, req *http.Request) {
	rw.Refuse(w, req, http.StatusServiceUnavailable, time.Second, "refused")
}

// refuse makes the site refuse, as policies of ours do at its door.
func (s *site) refuse() {
	s.answers(refuses)
	if s.door != ofHandler {
		s.through(roundTrip(func(*http.Request) (*http.Response, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.asked = append(s.asked, nil)
			return nil, refusal{}
		}))
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) {
	return f(req)
}

func end() { runtime.Goexit() }

var errTest = errors.New("boom")

// inProcess is what a handler answers, as a transport's.
func inProcess(h http.Handler, req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	resp := w.Result()
	resp.Request = req
	return resp, nil
}

var errStore = errors.New("the store is down")

// brokenStore fails always.
type brokenStore struct{}

func (brokenStore) Get(context.Context, stale.Key) (*stale.Entry, error) { return nil, errStore }
func (brokenStore) Epoch(context.Context) (stale.Epoch, error)           { return 0, errStore }
func (brokenStore) Purge(context.Context, string, bool) error            { return errStore }
func (brokenStore) PurgeAll(context.Context, bool) error                 { return errStore }
func (brokenStore) Set(context.Context, stale.Key, *stale.Entry, stale.Epoch) error {
	return errStore
}

func newRecorder() *httptest.ResponseRecorder { return httptest.NewRecorder() }

// leaves asks for a path and leaves d later.
func (s *site) leaves(path string, d time.Duration) got {
	ctx, cancel := context.WithTimeout(s.t.Context(), d)
	defer cancel()
	g := s.ask(s.request(path).WithContext(ctx))
	synctest.Wait()
	return g
}

type contextOf = context.Context

func reader(text string) io.Reader { return strings.NewReader(text) }

// observing calls hears for each event, but for those that it causes.
func (s *site) observing(hears func(stale.Event)) {
	var before atomic.Bool
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hears = func(e stale.Event) {
		if e.Kind == stale.Stored && before.CompareAndSwap(false, true) {
			hears(e)
		}
	}
}

func newRequest(path string) *http.Request {
	return httptest.NewRequest(http.MethodGet, "http://shop.test"+path, http.NoBody)
}
