package hedge_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/hedge"
)

// In virtual time nothing happens at the same moment. Here it does: servers take about as long as
// the delay, so that answers, timers and callers who leave meet in every order there is.

// ledger is a transport that keeps the books of its responses.
type ledger struct {
	*http.Transport

	sent, answered, open atomic.Int64
}

func (l *ledger) RoundTrip(req *http.Request) (*http.Response, error) {
	l.sent.Add(1)
	resp, err := l.Transport.RoundTrip(req)
	if err == nil && resp.Body != http.NoBody {
		l.answered.Add(1)
		l.open.Add(1)
		resp.Body = &entry{ReadCloser: resp.Body, ledger: l}
	}
	return resp, err
}

type entry struct {
	io.ReadCloser

	ledger *ledger
	once   sync.Once
}

func (e *entry) Close() error {
	e.once.Do(func() { e.ledger.open.Add(-1) })
	return e.ReadCloser.Close()
}

// lasting is a context that never ends, as that of a worker hardly does, and counts who waits for its
// end. Package context asks a parent that is not its own for AfterFunc.
type lasting struct {
	context.Context

	done    chan struct{}
	waiting atomic.Int64
}

func newLasting() *lasting {
	return &lasting{Context: context.Background(), done: make(chan struct{})}
}

func (c *lasting) Done() <-chan struct{} { return c.done }

func (c *lasting) AfterFunc(func()) (stop func() bool) {
	c.waiting.Add(1)
	var stopped atomic.Bool
	return func() bool {
		first := stopped.CompareAndSwap(false, true)
		if first {
			c.waiting.Add(-1)
		}
		return first
	}
}

// pause waits like time.Sleep, unless ctx ends before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// comesTo waits until a count is what it should be.
func comesTo[N int | int64](t *testing.T, want N, count func() N, what string) {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); count() != want && time.Now().Before(limit); {
		pause(t.Context(), time.Millisecond)
	}
	assert.Equal(t, want, count(), what)
}

// noMoreGoroutines waits until there are no more than there were.
func noMoreGoroutines(t *testing.T, before int) {
	t.Helper()
	more := func() int { return max(runtime.NumGoroutine()-before, 0) }
	comesTo(t, 0, more, "goroutines left behind")
}

// listening serves a handler, over HTTP/2 if so, and returns its URL and a transport that reaches it.
// close ends both.
func listening(handler http.Handler, http2 bool) (url string, l *ledger, closeAll func()) {
	server := httptest.NewUnstartedServer(handler)
	l = &ledger{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	if http2 {
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(true)
		server.Config.Protocols, l.Protocols = protocols, protocols
	}
	server.Start()
	return server.URL, l, func() {
		l.CloseIdleConnections()
		server.Close()
	}
}

// goods serves /<n> with the text of item n and a trailer that names it, in about a millisecond. What
// comes with a body must come whole.
func goods(wrong *atomic.Int64, failEvery int) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		n := strings.TrimPrefix(req.URL.Path, "/")
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // it was canceled on its way
		}
		if want := textOf(n, int(req.ContentLength)); string(body) != want {
			wrong.Add(1)
		}
		if !pause(req.Context(), rand.N(2*time.Millisecond)) {
			return
		}
		w.Header().Set("Trailer", "Item")
		if failEvery > 0 && rand.IntN(failEvery) == 0 {
			w.WriteHeader(http.StatusBadGateway)
		}
		_, _ = io.WriteString(w, textOf(n, 5000))
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, textOf(n, 5000))
		w.Header().Set("Item", n)
	}
}

func textOf(item string, length int) string {
	return strings.Repeat(item+" ", length/(len(item)+1)+1)[:max(length, 0)]
}

// shopper makes calls and checks that what it gets is what it asked for.
type shopper struct {
	url    string
	client *http.Client
	life   context.Context // of the callers that stay
	failed atomic.Int64
	left   atomic.Int64
}

// buy makes one call: a read or an upload, of somebody who stays, or leaves, or reads a part only.
func (s *shopper) buy(t *testing.T, item int) {
	n := strconv.Itoa(item)
	ctx, leaves := s.life, true
	switch rand.IntN(8) {
	case 0:
		own, cancel := context.WithCancel(ctx)
		defer cancel()
		timer := time.AfterFunc(rand.N(4*time.Millisecond), cancel)
		defer timer.Stop()
		ctx = own
	case 1:
		own, cancel := context.WithTimeout(ctx, rand.N(4*time.Millisecond))
		defer cancel()
		ctx = own
	default:
		leaves = false
	}
	method, body := http.MethodGet, ""
	if rand.IntN(2) == 0 {
		method, body = http.MethodPost, textOf(n, 1+rand.IntN(50_000))
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url+"/"+n, strings.NewReader(body))
	if !assert.NoError(t, err) {
		return
	}
	req.Header.Set("Idempotency-Key", n)
	resp, err := s.client.Do(req)
	if err != nil {
		assert.ErrorIs(t, err, endOf(ctx), "%s %d", method, item)
		assert.True(t, leaves, "%s %d: %v", method, item, err)
		s.left.Add(1)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		s.failed.Add(1)
	}
	if rand.IntN(8) == 0 {
		_, _ = io.CopyN(io.Discard, resp.Body, 100)
		return
	}
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		assert.True(t, leaves, "%s %d: %v", method, item, err)
		return
	}
	assert.Equal(t, textOf(n, 5000)+textOf(n, 5000), string(got))
	assert.Equal(t, n, resp.Trailer.Get("Item"))
}

func TestTiesOnSockets(t *testing.T) {
	const calls, callers = 320, 16
	for name, c := range map[string]struct {
		cfg       hedge.Config
		http2     bool
		failEvery int
	}{
		"HTTP/1, three attempts": {hedge.Config{Delay: time.Millisecond, MaxAttempts: 3}, false, 0},
		"HTTP/1, grace": {
			hedge.Config{Delay: time.Millisecond, MaxAttempts: 3, LoserGrace: 2 * time.Millisecond}, false, 0,
		},
		"HTTP/1, failures":       {hedge.Config{Delay: time.Millisecond, MaxAttempts: 3}, false, 20},
		"HTTP/1, found delay":    {hedge.Config{}, false, 0},
		"HTTP/1, at once":        {hedge.Config{Delay: hedge.AtOnce}, false, 0},
		"HTTP/2, three attempts": {hedge.Config{Delay: time.Millisecond, MaxAttempts: 3}, true, 0},
		"HTTP/2, grace, failures": {
			hedge.Config{Delay: time.Millisecond, LoserGrace: 2 * time.Millisecond}, true, 20,
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			var wrong atomic.Int64
			url, base, closeAll := listening(goods(&wrong, c.failEvery), c.http2)
			if c.cfg.Delay != hedge.AtOnce {
				c.cfg.Percent = 50
			}
			if c.cfg.Delay > 0 {
				c.cfg.Percent = 100
			}
			c.cfg.Budget = rich()
			hedger, life := hedge.MustNew(c.cfg), newLasting()
			s := &shopper{url: url, client: &http.Client{Transport: hedger.Transport(base)}, life: life}
			called := int64(0)
			ties := func() bool { return base.answered.Load() > called-s.left.Load() }
			for called == 0 || called < 20*calls && !ties() { // a busy machine can be without for a while
				var all sync.WaitGroup
				for i := range callers {
					all.Go(func() {
						for j := range calls / callers {
							s.buy(t, i*1000+j)
						}
					})
				}
				all.Wait()
				called += calls
			}

			comesTo(t, 0, base.open.Load, "response bodies not closed")
			comesTo(t, 0, life.waiting.Load, "contexts that are still children of the caller's")
			var key hedge.KeySnapshot
			underWay := func() int64 {
				key = hedger.Snapshot().Keys[0]
				return int64(key.Sent - key.Won - key.Lost)
			}
			comesTo(t, 0, underWay, "attempts whose end was not told")
			t.Logf("%d calls, %d left, %d failed; %d attempts, %d answered; %+v",
				called, s.left.Load(), s.failed.Load(), base.sent.Load(), base.answered.Load(), key)
			assert.Zero(t, wrong.Load(), "request bodies that were not the caller's")
			assert.Positive(t, key.Won)
			assert.Positive(t, key.Lost)
			assert.True(t, ties(), "nothing was answered twice")
			assert.LessOrEqual(t, s.failed.Load(), called/20)
			closeAll()
			noMoreGoroutines(t, before)
		})
	}
}

// What lost on HTTP/1 costs its connection, unless it may finish.
func TestGraceKeepsConnections(t *testing.T) {
	const calls = 200
	for name, c := range map[string]struct {
		grace       time.Duration
		slow        time.Duration // takes every fourth: where it is canceled, it must not answer before
		least, most int64
	}{
		"without grace": {0, 30 * time.Second, calls / 4, 2 * calls},
		"with grace":    {30 * time.Second, 20 * time.Millisecond, 2, calls / 8},
	} {
		t.Run(name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			var requests, conns atomic.Int64
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if hedge.RequestAttempt(req) == 1 && requests.Add(1)%4 == 0 {
					pause(req.Context(), c.slow)
				}
				_, _ = io.WriteString(w, textOf("a", 5000))
			}))
			server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					conns.Add(1)
				}
			}
			server.Start()
			base, life := &ledger{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}, newLasting()
			hedger := hedge.MustNew(hedge.Config{
				Delay: 2 * time.Millisecond, Percent: 100, Budget: rich(), LoserGrace: c.grace, AttemptHeader: true,
			})
			client := &http.Client{Transport: hedger.Transport(base)}
			for range calls {
				req, err := http.NewRequestWithContext(life, http.MethodGet, server.URL, nil)
				require.NoError(t, err)
				resp, err := client.Do(req)
				require.NoError(t, err)
				_, err = io.Copy(io.Discard, resp.Body)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
			}
			comesTo(t, 0, base.open.Load, "response bodies not closed")
			comesTo(t, 0, life.waiting.Load, "contexts that are still children of the caller's")
			t.Logf("%d connections for %d attempts", conns.Load(), base.sent.Load())
			assert.GreaterOrEqual(t, conns.Load(), c.least)
			assert.LessOrEqual(t, conns.Load(), c.most)
			client.CloseIdleConnections() // which reaches the base
			server.Close()
			noMoreGoroutines(t, before)
		})
	}
}

// The stream that won goes on when the call is over, and for as long as somebody reads it.
func TestEventsStreamPastTheCall(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			first, heard, gone := make(chan struct{}), make(chan struct{}), make(chan struct{}, 2)
			url, base, closeAll := listening(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				defer func() { gone <- struct{}{} }()
				if hedge.RequestAttempt(req) == 1 {
					close(first)
					<-req.Context().Done()
					return
				}
				<-first // or it is canceled on its way, and nobody hears of it here
				w.Header().Set("Content-Type", "text/event-stream")
				for n := 0; ; n++ {
					_, _ = fmt.Fprintf(w, "data: %d\n\n", n)
					_ = http.NewResponseController(w).Flush()
					select {
					case <-heard:
					case <-req.Context().Done():
						return
					}
				}
			}), http2)
			hedger := hedge.MustNew(hedge.Config{
				Delay: 2 * time.Millisecond, Percent: 100, LoserGrace: 5 * time.Millisecond, AttemptHeader: true,
			})
			client := &http.Client{Transport: hedger.Transport(base)}
			req, err := http.NewRequestWithContext(newLasting(), http.MethodGet, url, nil)
			require.NoError(t, err)
			resp, err := client.Do(req)
			require.NoError(t, err)
			<-gone // the first attempt, after its grace
			events := bufio.NewReader(resp.Body)
			for n := range 10 {
				line, err := events.ReadString('\n')
				require.NoError(t, err)
				assert.Equal(t, fmt.Sprintf("data: %d\n", n), line)
				_, err = events.ReadString('\n')
				require.NoError(t, err)
				heard <- struct{}{}
			}
			require.NoError(t, resp.Body.Close())
			<-gone // the server hears of it
			comesTo(t, 0, base.open.Load, "response bodies not closed")
			closeAll()
			noMoreGoroutines(t, before)
		})
	}
}

// Half of a conversation cannot be had twice.
func TestUpgradeIsSentOnceAndStaysAConnection(t *testing.T) {
	before := runtime.NumGoroutine()
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		requests.Add(1)
		pause(req.Context(), 10*time.Millisecond)
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		for {
			line, err := rw.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = fmt.Fprintf(conn, "you said %s", line)
		}
	}))
	base := new(http.Transport)
	hedger := hedge.MustNew(hedge.Config{Delay: time.Millisecond, Percent: 100, MaxAttempts: 3})
	req, err := http.NewRequestWithContext(newLasting(), http.MethodGet, server.URL, nil)
	require.NoError(t, err)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	resp, err := (&http.Client{Transport: hedger.Transport(base)}).Do(req)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	conn, ok := resp.Body.(io.ReadWriteCloser)
	require.True(t, ok, "%T", resp.Body)
	answers := bufio.NewReader(conn)
	for range 3 {
		_, err = io.WriteString(conn, "hello\n")
		require.NoError(t, err)
		line, err := answers.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, "you said hello\n", line)
	}
	require.NoError(t, conn.Close())
	assert.EqualValues(t, 1, requests.Load())
	assert.Empty(t, hedger.Snapshot().Keys, "it was not even counted")
	base.CloseIdleConnections()
	server.Close()
	noMoreGoroutines(t, before)
}

// A caller who ran out of time hears of that, whichever way the attempts were ended.
func TestDeadlineOfTheCallerIsToldAsSuch(t *testing.T) {
	const calls = 30
	for name, c := range map[string]struct {
		grace time.Duration
		http2 bool
	}{
		"HTTP/1": {0, false}, "HTTP/1, grace": {time.Second, false},
		"HTTP/2": {0, true}, "HTTP/2, grace": {time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			url, base, closeAll := listening(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				<-req.Context().Done()
			}), c.http2)
			hedger := hedge.MustNew(hedge.Config{
				Delay: 2 * time.Millisecond, Percent: 100, Budget: rich(), LoserGrace: c.grace,
			})
			transport, life := hedger.Transport(base), newLasting()
			for i := range calls {
				ctx, cancel := context.WithTimeout(life, time.Duration(i%5)*time.Millisecond)
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
				require.NoError(t, err)
				_, err = transport.RoundTrip(req)
				cancel()
				assert.ErrorIs(t, err, context.DeadlineExceeded)
			}
			comesTo(t, 0, life.waiting.Load, "contexts that are still children of the caller's")
			closeAll()
			noMoreGoroutines(t, before)
		})
	}
}

// endOf returns how a context ended. The timer of its deadline may be late.
func endOf(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}
