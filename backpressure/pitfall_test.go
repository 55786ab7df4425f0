package backpressure_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/backpressure"
	"github.com/failsoft/failsoft/internal/outcome"
)

// What goes wrong with others, by name. Those of the algorithm (collapse, drift, short
// windows) are tested with it, in adaptive_internal_test.go.

func TestPitfallPanicAtLimitOneKeepsServing(t *testing.T) {
	l := backpressure.MustNew(impatient(1))
	server := httptest.NewServer(l.Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/abort":
			panic(http.ErrAbortHandler)
		case "/goexit":
			runtime.Goexit()
		}
		_, _ = io.WriteString(w, "fine")
	})))
	defer server.Close()
	for range 3 {
		for _, path := range []string{"/abort", "/goexit"} {
			_, err := server.Client().Get(server.URL + path)
			require.Error(t, err)
		}
		require.Eventually(t, func() bool { return shot(t, l, "").InFlight == 0 }, 30*time.Second, time.Millisecond)
		resp, err := server.Client().Get(server.URL)
		require.NoError(t, err)
		assert.Equal(t, 200, resp.StatusCode)
		_ = resp.Body.Close()
		require.Eventually(t, func() bool { return shot(t, l, "").InFlight == 0 }, 30*time.Second, time.Millisecond)
	}
}

func TestPitfallDisconnectWhileQueued(t *testing.T) {
	cfg := fixed(1)
	cfg.MaxWait = time.Minute
	l := backpressure.MustNew(cfg)
	holder := admitted(t, l, backpressure.Request{})
	var served atomic.Int64
	server := httptest.NewServer(l.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) })))
	defer server.Close()
	const leavers = 5
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range leavers {
		all.Go(func() {
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
			_, err := server.Client().Do(req)
			assert.ErrorIs(t, err, context.Canceled)
		})
	}
	require.Eventually(t, func() bool { return shot(t, l, "").Queued == leavers }, 30*time.Second, time.Millisecond)
	cancel()
	all.Wait()
	require.Eventually(t, func() bool { return shot(t, l, "").Queued == 0 }, 30*time.Second, time.Millisecond,
		"who has left does not wait")
	holder.Done(backpressure.Success)
	resp, err := server.Client().Get(server.URL)
	require.NoError(t, err)
	_ = resp.Body.Close()
	assert.Equal(t, int64(1), served.Load(), "nothing is done for who has left")
	require.Eventually(t, func() bool { return shot(t, l, "").InFlight == 0 }, 30*time.Second, time.Millisecond)
}

// A place that becomes free in the very moment in which the waiter leaves goes to the
// next: many times, under the race detector.
func TestPitfallGrantRacesDeparture(t *testing.T) {
	cfg := fixed(1)
	cfg.MaxWait = time.Minute
	l := backpressure.MustNew(cfg)
	for range 300 {
		holder := admitted(t, l, backpressure.Request{})
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if p, err := l.Acquire(ctx, backpressure.Request{}); err == nil {
				p.Done(backpressure.Success)
			}
		})
		all.Go(cancel)
		all.Go(func() { holder.Done(backpressure.Success) })
		all.Wait()
		atRest(t, l)
	}
}

func TestPitfallNewestFirstKeepsDeadlines(t *testing.T) {
	bubble(t, "the one that came first is not forgotten", func(t *testing.T) {
		cfg := fixed(1)
		cfg.NewestFirst, cfg.MaxWait = true, 100*ms
		l, permits := full(t, cfg, 1)
		var all sync.WaitGroup
		var order []int
		var mu sync.Mutex
		for n := range 3 {
			all.Go(func() {
				p, err := l.Acquire(t.Context(), backpressure.Request{})
				if !assert.NoError(t, err) {
					return
				}
				mu.Lock()
				order = append(order, n)
				mu.Unlock()
				p.Done(backpressure.Success)
			})
			synctest.Wait()
		}
		permits[0].Done(backpressure.Success)
		all.Wait()
		assert.Equal(t, []int{2, 1, 0}, order)
	})
	bubble(t, "a deadline is heeded by who waits below others", func(t *testing.T) {
		cfg := fixed(1)
		cfg.NewestFirst, cfg.MaxWait = true, time.Second
		l, permits := full(t, cfg, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 20*ms)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			start := time.Now()
			_, err := l.Acquire(ctx, backpressure.Request{})
			assert.Equal(t, backpressure.WaitedTooLong, limited(t, err).Refusal)
			assert.Equal(t, 10*ms, time.Since(start), "the other half is for doing without")
		})
		synctest.Wait()
		time.Sleep(ms)
		all.Go(func() {
			p, err := l.Acquire(t.Context(), backpressure.Request{})
			assert.NoError(t, err)
			p.Done(backpressure.Success)
		})
		time.Sleep(50 * ms)
		permits[0].Done(backpressure.Success)
		all.Wait()
		atRest(t, l)
	})
}

func TestPitfallDeadlineShorterThanTheWait(t *testing.T) {
	bubble(t, "refuses at once what could not be finished", func(t *testing.T) {
		cfg := fixed(1)
		cfg.MaxWait = time.Minute
		l := backpressure.MustNew(cfg)
		paced(t, l)
		defer admitted(t, l, backpressure.Request{}).Done(backpressure.Ignore)
		ctx, cancel := context.WithTimeout(t.Context(), 150*ms)
		defer cancel()
		start := time.Now()
		_, err := l.Acquire(ctx, backpressure.Request{})
		refusal := limited(t, err)
		assert.Equal(t, backpressure.AtLimit, refusal.Refusal)
		assert.Zero(t, time.Since(start))
		assert.InDelta(t, 100*ms, refusal.After, float64(30*ms), "it says when to come back")
	})
}

// TestClassHeader has the other absurd values.
func TestPitfallHeaderLevel99999(t *testing.T) {
	cfg := impatient(1)
	cfg.ClassHeader = "Criticality"
	l, _ := full(t, cfg, 1)
	for _, value := range []string{"99999", "-99999", "1e99", "\x00", "critical\r\nX: y"} {
		req := visitor(t, "/")
		req.Header["Criticality"] = []string{value}
		assert.Equal(t, 503, handle(l.Handler(ok), req).Code, "%q does not let anybody in", value)
	}
	assert.Equal(t, [4]uint64{5, 0, 0, 0}, shot(t, l, "").Counts.Refused)
}

func TestPitfallStreamsDoNotStopTheRest(t *testing.T) {
	l := backpressure.MustNew(fixed(2))
	stop := make(chan struct{})
	server := httptest.NewServer(l.Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: 1\n\n")
			_ = http.NewResponseController(w).Flush()
			<-stop
		case "/socket":
			conn, _, err := http.NewResponseController(w).Hijack()
			if assert.NoError(t, err) {
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
				<-stop
				_ = conn.Close()
			}
		}
	})))
	defer server.Close()
	var bodies []io.Closer
	for n := range 10 {
		path := "/events"
		if n%2 == 0 {
			path = "/socket"
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		require.NoError(t, err)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "x")
		resp, err := server.Client().Do(req)
		require.NoError(t, err)
		bodies = append(bodies, resp.Body)
		require.Less(t, resp.StatusCode, 300, "stream %d", n)
	}
	assert.Equal(t, 10, shot(t, l, "").Streams)
	resp, err := server.Client().Get(server.URL + "/")
	require.NoError(t, err)
	_ = resp.Body.Close()
	assert.Equal(t, 200, resp.StatusCode)
	close(stop)
	for _, body := range bodies {
		_ = body.Close()
	}
	require.Eventually(t, func() bool { return shot(t, l, "").Streams == 0 }, 30*time.Second, time.Millisecond)
}

func TestPitfallSlowReaders(t *testing.T) {
	l := backpressure.MustNew(impatient(1))
	answer := make([]byte, 64<<20) // more than the kernel takes
	released := make(chan struct{})
	server := httptest.NewServer(l.Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/large" {
			backpressure.ReleaseEarly(w)
			close(released)
			_, _ = w.Write(answer)
		}
	})))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n") // and reads nothing
	require.NoError(t, err)
	<-released
	resp, err := server.Client().Get(server.URL)
	require.NoError(t, err)
	_ = resp.Body.Close()
	assert.Equal(t, 200, resp.StatusCode)
}

func TestPitfallPriorityInversion(t *testing.T) {
	const limit = 10
	classes := []backpressure.Class{backpressure.Background, backpressure.Sheddable, backpressure.Default}
	t.Run("who matters less leaves places free", func(t *testing.T) {
		l := backpressure.MustNew(impatient(limit))
		var admitted [4]int
		for _, class := range append(classes, backpressure.Critical) {
			for {
				if _, err := l.TryAcquire(t.Context(), backpressure.Request{Class: class}); err != nil {
					break
				}
				admitted[class]++
			}
		}
		assert.Positive(t, admitted[backpressure.Background])
		assert.Positive(t, admitted[backpressure.Sheddable], "on top of Background")
		assert.Positive(t, admitted[backpressure.Default], "on top of Sheddable")
		assert.LessOrEqual(t, shot(t, l, "").InFlight, limit)
	})
	bubble(t, "who matters more is served first", func(t *testing.T) {
		cfg := fixed(1)
		cfg.MaxWait = time.Second
		l, permits := full(t, cfg, 1)
		var all sync.WaitGroup
		var order []backpressure.Class
		var mu sync.Mutex
		for _, class := range append(classes, backpressure.Critical) {
			all.Go(func() {
				p, err := l.Acquire(t.Context(), backpressure.Request{Class: class})
				if !assert.NoError(t, err, class.String()) {
					return
				}
				mu.Lock()
				order = append(order, class)
				mu.Unlock()
				time.Sleep(ms)
				p.Done(backpressure.Success)
			})
			synctest.Wait()
		}
		permits[0].Done(backpressure.Success)
		all.Wait()
		assert.Equal(t, []backpressure.Class{
			backpressure.Critical, backpressure.Default, backpressure.Sheddable, backpressure.Background,
		}, order)
		atRest(t, l)
	})
	bubble(t, "adaptive limits have places for Critical alone", func(t *testing.T) {
		l := backpressure.MustNew(backpressure.Config{StartLimit: 20, CPUThreshold: backpressure.Off, MaxWait: backpressure.Off})
		for range 20 {
			admitted(t, l, backpressure.Request{})
		}
		_ = refused(t, l, backpressure.Request{})
		admitted(t, l, backpressure.Request{Class: backpressure.Critical})
		admitted(t, l, backpressure.Request{Class: backpressure.Critical})
		_ = refused(t, l, backpressure.Request{Class: backpressure.Critical})
	})
}

func TestPitfallBackgroundNeverStarves(t *testing.T) {
	bubble(t, "while others take all they can", func(t *testing.T) {
		cfg := impatient(10)
		l := backpressure.MustNew(cfg)
		stop := make(chan struct{})
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if p, err := l.Acquire(t.Context(), backpressure.Request{}); err == nil {
						time.Sleep(7 * ms)
						p.Done(backpressure.Success)
					}
					time.Sleep(ms)
				}
			})
		}
		done := 0
		for range 600 { // a minute
			time.Sleep(100 * ms)
			if p, err := l.Acquire(t.Context(), backpressure.Request{Class: backpressure.Background}); err == nil {
				done++
				time.Sleep(7 * ms)
				p.Done(backpressure.Success)
			}
		}
		close(stop)
		all.Wait()
		assert.Greater(t, done, 20)
		t.Logf("%d of 600", done)
	})
}

func TestPitfallAMillionTenantsAndKeys(t *testing.T) {
	if testing.Short() {
		t.Skip("a million calls")
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	for name, request := range map[string]func(n int) backpressure.Request{
		"tenants": func(n int) backpressure.Request { return backpressure.Request{Tenant: strconv.Itoa(n)} },
		"keys":    func(n int) backpressure.Request { return backpressure.Request{Key: strconv.Itoa(n)} },
	} {
		t.Run(name, func(t *testing.T) {
			l := backpressure.MustNew(impatient(10))
			before := heap()
			for n := range manyKeys {
				p, err := l.Acquire(t.Context(), request(n))
				if err != nil {
					t.Fatal(err)
				}
				p.Done(backpressure.Success)
			}
			assert.Less(t, int64(heap())-int64(before), int64(4<<20))
			assert.LessOrEqual(t, len(l.Snapshot().Keys), backpressure.DefaultMaxKeys+2)
		})
	}
}

// A rejection that reads the body first costs what it is to save, and a client that
// asks before it sends is told before it sends.
func TestPitfallRejectionBeforeTheBody(t *testing.T) {
	l, _ := full(t, impatient(1), 1)
	server := httptest.NewServer(l.Handler(ok))
	defer server.Close()
	for name, head := range map[string]string{
		"which is waited for":       "Content-Length: 10\r\nExpect: 100-continue\r\n",
		"which is large":            "Content-Length: 100000000\r\n",
		"which is large, asked for": "Content-Length: 100000000\r\nExpect: 100-continue\r\n",
		"of unknown length":         "Transfer-Encoding: chunked\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			require.NoError(t, err)
			defer conn.Close()
			require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
			_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\n"+head+"\r\n") // and no body
			require.NoError(t, err)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err)
			assert.Equal(t, 503, resp.StatusCode, "and no 100 before it")
			assert.NotEmpty(t, resp.Header.Get("Retry-After"))
			_ = resp.Body.Close()
		})
	}
	t.Run("and keeps the connection where there is none", func(t *testing.T) {
		var conns sync.Map
		server := httptest.NewUnstartedServer(l.Handler(ok))
		server.Config.ConnState = func(c net.Conn, state http.ConnState) {
			if state == http.StateNew {
				conns.Store(c, true)
			}
		}
		server.Start()
		defer server.Close()
		n := 0
		// On a busy machine net/http itself gives one up whose writer it has not heard from in 50 ms.
		for try := 0; try < 5 && n != 1; try++ {
			server.Client().CloseIdleConnections()
			conns.Clear()
			for range 5 {
				resp, err := server.Client().Get(server.URL)
				require.NoError(t, err)
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				assert.Equal(t, 503, resp.StatusCode)
			}
			n = 0
			conns.Range(func(any, any) bool { n++; return true })
		}
		assert.Equal(t, 1, n)
	})
}

func TestPitfallRetryAfterIsJittered(t *testing.T) {
	l, _ := full(t, impatient(1), 1)
	seen := map[string]int{}
	for range 200 {
		seen[handle(l.Handler(ok), visitor(t, "/")).Header().Get("Retry-After")]++
	}
	assert.Len(t, seen, 2, "%v", seen)
	assert.Greater(t, seen["1"], 50)
	assert.Greater(t, seen["2"], 50)
}

// The refusal of a layer further in is none of a dependency's doing.
func TestPitfallStackedLayers(t *testing.T) {
	bubble(t, "an outer limit does not count the refusals of an inner one", func(t *testing.T) {
		outer := backpressure.MustNew(backpressure.Config{CPUThreshold: backpressure.Off, StartLimit: 4})
		inner, _ := full(t, impatient(1), 1)
		for range 500 {
			err := outer.Run(t.Context(), "", func(ctx context.Context) error {
				time.Sleep(ms)
				return inner.Run(ctx, "", func(context.Context) error { return nil })
			})
			assert.Equal(t, outcome.Refused, outcome.OfError(t.Context(), err))
		}
		assert.Equal(t, 4, shot(t, outer, "").Limit)
		assert.Zero(t, shot(t, outer, "").Latency)
	})
	bubble(t, "a throttle does not count the refusals of a limit", func(t *testing.T) {
		th := backpressure.MustNewThrottle(backpressure.ThrottleConfig{})
		inner, _ := full(t, impatient(1), 1)
		for range 500 {
			err := th.Run(t.Context(), "", func(ctx context.Context) error {
				return inner.Run(ctx, "", func(context.Context) error { return nil })
			})
			assert.Equal(t, backpressure.AtLimit, limited(t, err).Refusal, "the throttle lets all of them go")
		}
	})
	bubble(t, "429 of a handler for one caller does not cut the limit of all", func(t *testing.T) {
		l := backpressure.MustNew(backpressure.Config{CPUThreshold: backpressure.Off, StartLimit: 4, MinLimit: 2})
		tooMany := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(ms)
			w.WriteHeader(http.StatusTooManyRequests)
		})
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 300 {
					handle(l.Handler(tooMany), visitor(t, "/"))
				}
			})
		}
		all.Wait()
		assert.Equal(t, 4, shot(t, l, "").Limit)
	})
}
