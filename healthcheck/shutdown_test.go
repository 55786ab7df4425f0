package healthcheck_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/internal/memnet"
)

// diary is what happened when.
type diary struct {
	mu    sync.Mutex
	begun time.Time
	lines []string
}

func (d *diary) note(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, time.Since(d.begun).String()+" "+what)
}

// closer returns one that notes that it was called.
func (d *diary) closer(what string, err error) func(context.Context) error {
	return func(context.Context) error {
		d.note(what)
		return err
	}
}

// serve runs a server over a network in memory, and returns it with a client. The
// server is closed when the test ends.
func serve(t *testing.T, h http.Handler) (*http.Server, *http.Client) {
	t.Helper()
	listener := memnet.Listen()
	server := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	transport := &http.Transport{DialContext: listener.Dial}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	return server, &http.Client{Transport: transport}
}

// get reads an answer to the end.
func get(t *testing.T, client *http.Client, path string) (*http.Response, string) {
	t.Helper()
	resp, err := client.Get("http://shop" + path)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

// quietly is get for goroutines, which cannot end the test: it returns the code
// and the body, or what went wrong.
func quietly(client *http.Client, path string) string {
	resp, err := client.Get("http://shop" + path)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return strconv.Itoa(resp.StatusCode) + " " + string(body)
}

// service is a mux with the endpoints, and InBand around everything.
func service(c *healthcheck.Checker, path string, h http.HandlerFunc) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /livez", c.Handler(healthcheck.Live))
	mux.Handle("GET /readyz", c.Handler(healthcheck.Ready))
	mux.Handle("GET /startupz", c.Handler(healthcheck.Startup))
	mux.Handle("GET /orders", orders())
	mux.HandleFunc(path, h)
	return c.InBand(mux)
}

func TestShutdownInOrder(t *testing.T) {
	bubble(t, "readiness, delay, server, probes, dependencies", func(t *testing.T) {
		d := &diary{begun: time.Now()}
		c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{
			"quick": {Probe: passing, Groups: []string{healthcheck.Live, healthcheck.Ready, healthcheck.Startup}},
			"slow": {
				Probe: func(ctx context.Context) healthcheck.Result {
					<-ctx.Done()
					d.note("probe ended")
					return healthcheck.Result{Err: ctx.Err()}
				},
				Timeout: time.Hour, Impact: healthcheck.Informational,
			},
		})
		server, client := serve(t, service(c, "GET /long", func(http.ResponseWriter, *http.Request) {
			time.Sleep(8 * time.Second)
			d.note("request served")
		}))
		resp, _ := get(t, client, "/readyz")
		require.Equal(t, 200, resp.StatusCode)
		assert.Equal(t, "pass", resp.Header.Get(healthcheck.HealthHeader))
		assert.False(t, resp.Close)

		statuses, stop, err := c.Watch(healthcheck.Ready)
		require.NoError(t, err)
		defer stop()
		<-statuses
		alive := func() int { return ask(t, c.Handler(healthcheck.Live), "/livez").Code }
		over := make(chan error, 1)
		go func() {
			over <- c.Shutdown(t.Context(), server, 5*time.Second,
				d.closer("first dependency closed", nil),
				func(context.Context) error {
					assert.Equal(t, 200, alive(), "while dependencies are closed")
					d.note("second dependency closed")
					return nil
				})
		}()
		go func() {
			<-c.Stopping()
			d.note("stopping")
		}()
		synctest.Wait()
		assert.Equal(t, healthcheck.Fail, <-statuses, "first of all")

		for range 4 { // seconds in which balancers find out
			for path, want := range map[string]int{"/readyz": 503, "/livez": 200, "/startupz": 200, "/orders": 200} {
				resp, _ := get(t, client, path)
				assert.Equal(t, want, resp.StatusCode, path)
				assert.Equal(t, "drain", resp.Header.Get(healthcheck.HealthHeader), path)
				assert.True(t, resp.Close, "Connection: close of %s", path)
			}
			time.Sleep(time.Second)
		}
		long := make(chan string, 1)
		go func() {
			long <- quietly(client, "/long") // begins at 4 s
		}()
		time.Sleep(2 * time.Second)
		_, err = client.Get("http://shop/orders")
		assert.Error(t, err, "the listener is closed")
		assert.Equal(t, 200, alive(), "while the server waits for requests")
		require.NoError(t, <-over)
		assert.Equal(t, "200 ", <-long)
		assert.Equal(t, 200, alive(), "to the end")

		d.mu.Lock()
		defer d.mu.Unlock()
		require.Len(t, d.lines, 5)
		assert.Equal(t, "5s stopping", d.lines[0])
		assert.Equal(t, "12s request served", d.lines[1])
		for i, what := range []string{"probe ended", "first dependency closed", "second dependency closed"} {
			assert.True(t, strings.HasSuffix(d.lines[i+2], what), d.lines)
		}
	})
}

func TestDrain(t *testing.T) {
	bubble(t, "once, and for good", func(t *testing.T) {
		l := &log{}
		c := begin(t, healthcheck.Config{Observe: l.observe}, map[string]healthcheck.Check{
			name: {Probe: passing, Groups: []string{healthcheck.Ready, "own"}},
		})
		ask(t, c.Details(), "/")
		var all sync.WaitGroup
		for range 10 {
			all.Go(c.Drain)
		}
		all.Wait()
		assert.Len(t, l.of(healthcheck.Draining), 1)
		assert.True(t, c.Snapshot().Draining)
		time.Sleep(time.Hour)
		is(t, c, healthcheck.Ready, healthcheck.Fail)
		is(t, c, "own", healthcheck.Fail)
		is(t, c, healthcheck.Live, healthcheck.Pass)
		is(t, c, name, healthcheck.Pass, "a check has nothing to do with it")
	})
	bubble(t, "before Start", func(t *testing.T) {
		c := healthcheck.MustNew(healthcheck.Config{})
		c.MustAdd(name, healthcheck.Check{Probe: passing})
		c.Drain()
		start(t, c)
		ask(t, c.Details(), "/")
		is(t, c, healthcheck.Ready, healthcheck.Fail)
	})
	for title, network := range map[string]func(memnet.TB, http.Handler) *http.Transport{
		"HTTP/1.1": memnet.Server, "HTTP/2, which has GOAWAY for it": memnet.ServerH2C,
	} {
		bubble(t, "connections end one by one over "+title, func(t *testing.T) {
			c := single(t, healthcheck.Check{Probe: passing})
			ask(t, c.Details(), "/")
			var remotes []string
			client := &http.Client{Transport: network(t, c.InBand(http.HandlerFunc(
				func(_ http.ResponseWriter, r *http.Request) { remotes = append(remotes, r.RemoteAddr) },
			)))}
			for i := range 5 {
				if i == 2 {
					c.Drain()
				}
				resp, _ := get(t, client, "/orders")
				assert.Equal(t, 200, resp.StatusCode, "no request is lost")
				assert.Equal(t, i >= 2, resp.Header.Get(healthcheck.HealthHeader) == "drain")
				assert.Equal(t, i >= 2 && resp.ProtoMajor == 1, resp.Close)
				assert.Empty(t, resp.Header.Get("Connection"), "HTTP/2 forbids it, and the client of HTTP/1 takes it out")
				synctest.Wait() // for a GOAWAY to arrive
			}
			require.Len(t, remotes, 5)
			assert.Equal(t, remotes[0], remotes[1], "one connection while nothing is wrong")
			assert.Equal(t, remotes[1], remotes[2], "on which it is told to go")
			assert.NotEqual(t, remotes[2], remotes[3])
			assert.NotEqual(t, remotes[3], remotes[4])
		})
	}
}

func TestInBandWords(t *testing.T) {
	bubble(t, "pass, warn, drain", func(t *testing.T) {
		c := healthcheck.MustNew(healthcheck.Config{})
		c.MustAdd(name, healthcheck.Check{Impact: healthcheck.Critical})
		h := c.InBand(orders())
		word := func() string { return ask(t, h, "/").Header().Get(healthcheck.HealthHeader) }
		assert.Equal(t, "warn", word(), "not started")
		start(t, c)
		for _, row := range []struct {
			status healthcheck.Status
			want   string
		}{{healthcheck.Pass, "pass"}, {healthcheck.Warn, "warn"}, {healthcheck.Fail, "warn"}, {healthcheck.Pass, "pass"}} {
			require.NoError(t, c.Report(name, healthcheck.Result{Status: row.status}))
			assert.Equal(t, row.want, word(), row.status)
			assert.Empty(t, ask(t, h, "/").Header().Get("Connection"))
		}
		c.Drain()
		assert.Equal(t, "drain", word())
		assert.Equal(t, "close", ask(t, h, "/").Header().Get("Connection"))
	})
}

// What is said is how the service is when the response goes out.
func TestInBandSpeaksLate(t *testing.T) {
	bubble(t, "of a drain that began meanwhile", func(t *testing.T) {
		for _, writes := range []func(http.ResponseWriter){
			func(w http.ResponseWriter) { w.WriteHeader(http.StatusAccepted) },
			func(w http.ResponseWriter) { _, _ = io.WriteString(w, "orders") },
			func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() },
			func(http.ResponseWriter) {},
		} {
			c := single(t, healthcheck.Check{Probe: passing})
			ask(t, c.Details(), "/")
			_, client := serve(t, c.InBand(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				assert.Empty(t, w.Header(), "nothing is said yet")
				time.Sleep(time.Second)
				writes(w)
			})))
			time.AfterFunc(500*time.Millisecond, c.Drain)
			resp, _ := get(t, client, "/orders")
			assert.Equal(t, "drain", resp.Header.Get(healthcheck.HealthHeader))
			assert.True(t, resp.Close)
		}
	})
	bubble(t, "and not what a service behind has said of itself", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: passing})
		ask(t, c.Details(), "/")
		h := c.InBand(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()[healthcheck.HealthHeader] = []string{"drain", "warn"}
			w.WriteHeader(http.StatusNotFound)
		}))
		assert.Equal(t, []string{"pass"}, ask(t, h, "/").Result().Header[healthcheck.HealthHeader])
	})
	bubble(t, "nor with early hints, which are not the answer", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: passing})
		ask(t, c.Details(), "/")
		h := c.InBand(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			assert.Empty(t, w.Header().Get(healthcheck.HealthHeader))
			c.Drain()
		}))
		assert.Equal(t, "drain", ask(t, h, "/").Header().Get(healthcheck.HealthHeader))
	})
}

func TestShutdownIsBounded(t *testing.T) {
	bubble(t, "by its context, while requests hang", func(t *testing.T) {
		d := &diary{begun: time.Now()}
		c := single(t, healthcheck.Check{Probe: passing})
		server, client := serve(t, service(c, "GET /hang", func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done() // which closing the connection ends
			d.note("request cut off")
		}))
		cut := make(chan error, 1)
		go func() {
			resp, err := client.Get("http://shop/hang")
			if err == nil {
				resp.Body.Close()
			}
			cut <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		err := c.Shutdown(ctx, server, time.Second, d.closer("closed", nil))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 3*time.Second, time.Since(d.begun))
		require.Error(t, <-cut)
		synctest.Wait()
		assert.ElementsMatch(t, []string{"3s request cut off", "3s closed"}, d.lines)
		require.ErrorIs(t, c.Close(t.Context()), healthcheck.ErrClosed, "probes have ended")
	})
	bubble(t, "by its context, during the delay", func(t *testing.T) {
		d := &diary{begun: time.Now()}
		c := single(t, healthcheck.Check{Probe: passing})
		server, _ := serve(t, c.InBand(orders()))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_ = c.Shutdown(ctx, server, time.Hour, d.closer("closed", nil))
		assert.Equal(t, []string{"3s closed"}, d.lines)
	})
	bubble(t, "and names a probe that hangs", func(t *testing.T) {
		f := &fake{}
		release := f.hang(t)
		c := healthcheck.MustNew(healthcheck.Config{})
		c.MustAdd(name, healthcheck.Check{Probe: f.probe})
		require.NoError(t, c.Start())
		d := &diary{begun: time.Now()}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		err := c.Shutdown(ctx, nil, 2*time.Second, d.closer("closed", nil))
		stuck, ok := errors.AsType[*healthcheck.StuckError](err)
		require.True(t, ok, err)
		assert.Equal(t, name, stuck.Check)
		assert.Equal(t, 5*time.Second, stuck.For)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, []string{"5s closed"}, d.lines, "all the same")
		release()
	})
}

func TestShutdownWithout(t *testing.T) {
	bubble(t, "a server", func(t *testing.T) {
		d := &diary{begun: time.Now()}
		c := single(t, healthcheck.Check{Probe: passing})
		require.NoError(t, c.Shutdown(t.Context(), nil, 2*time.Second, d.closer("closed", nil)))
		assert.Equal(t, []string{"2s closed"}, d.lines)
	})
	bubble(t, "a delay or closers", func(t *testing.T) {
		for _, delay := range []time.Duration{0, -time.Second} {
			begun := time.Now()
			c := single(t, healthcheck.Check{Probe: passing})
			require.NoError(t, c.Shutdown(t.Context(), nil, delay))
			assert.Zero(t, time.Since(begun))
		}
	})
	bubble(t, "having started", func(t *testing.T) {
		d := &diary{begun: time.Now()}
		c := healthcheck.MustNew(healthcheck.Config{})
		require.NoError(t, c.Shutdown(t.Context(), nil, time.Second, d.closer("closed", nil)))
		assert.Equal(t, []string{"1s closed"}, d.lines)
		require.ErrorIs(t, c.Start(), healthcheck.ErrClosed, "a service that has ended does not begin")
	})
	bubble(t, "a closer that survives", func(t *testing.T) {
		d := &diary{begun: time.Now()}
		c := single(t, healthcheck.Check{Probe: passing})
		err := c.Shutdown(t.Context(), nil, 0, func(context.Context) error { panic("a closer") }, d.closer("closed", nil))
		panicked, ok := errors.AsType[*healthcheck.PanicError](err)
		require.True(t, ok, err)
		assert.Equal(t, "a closer", panicked.Value)
		assert.Equal(t, []string{"0s closed"}, d.lines, "all the same")
	})
	bubble(t, "an end to errors", func(t *testing.T) {
		d := &diary{begun: time.Now()}
		errFirst, errSecond := errors.New("first"), errors.New("second")
		c := single(t, healthcheck.Check{Probe: passing})
		err := c.Shutdown(t.Context(), nil, 0, d.closer("a", errFirst), d.closer("b", nil), d.closer("c", errSecond))
		require.ErrorIs(t, err, errFirst)
		require.ErrorIs(t, err, errSecond)
		assert.Equal(t, []string{"0s a", "0s b", "0s c"}, d.lines)
	})
	bubble(t, "being the first", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: passing})
		require.NoError(t, c.Shutdown(t.Context(), nil, time.Second))
		require.ErrorIs(t, c.Shutdown(t.Context(), nil, time.Second), healthcheck.ErrClosed)
	})
}

// A stream never ends by itself, and the server would wait for it; of a connection
// that was taken over it does not even know.
func TestStreamsEndByStopping(t *testing.T) {
	bubble(t, "server-sent events", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: passing})
		server, client := serve(t, service(c, "GET /events", func(w http.ResponseWriter, r *http.Request) {
			ticker := time.NewTicker(time.Second)
			defer ticker.Stop()
			for {
				select {
				case <-ticker.C:
					_, _ = io.WriteString(w, "data: tick\n\n")
					_ = http.NewResponseController(w).Flush()
				case <-c.Stopping():
					_, _ = io.WriteString(w, "data: bye\n\n")
					return
				case <-r.Context().Done():
					return
				}
			}
		}))
		events := make(chan string, 1)
		go func() {
			events <- quietly(client, "/events")
		}()
		synctest.Wait()
		begun := time.Now()
		require.NoError(t, c.Shutdown(t.Context(), server, 2500*time.Millisecond))
		assert.Less(t, time.Since(begun), 4*time.Second)
		assert.Equal(t, "200 data: tick\n\ndata: tick\n\ndata: bye\n\n", <-events)
	})
	bubble(t, "a connection that was taken over", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: passing})
		server, client := serve(t, service(c, "GET /socket", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\nConnection: Upgrade\r\n\r\nhello\n")
			<-c.Stopping()
			_, _ = io.WriteString(conn, "bye\n")
		}))
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://shop/socket", http.NoBody)
		require.NoError(t, err)
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "chat")
		resp, err := client.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
		lines := bufio.NewReader(resp.Body)
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, "hello\n", line)
		require.NoError(t, c.Shutdown(t.Context(), server, time.Second))
		line, err = lines.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, "bye\n", line)
		_, err = lines.ReadString('\n')
		require.ErrorIs(t, err, io.EOF)
	})
	bubble(t, "not before", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: passing})
		c.Drain()
		select {
		case <-c.Stopping():
			assert.Fail(t, "a drain is no stop")
		default:
		}
	})
}

// An operator's "up" is about checks; a process that ends is not ready, or its last
// requests are refused connections.
func TestShutdownOfAServiceThatIsHeldUp(t *testing.T) {
	bubble(t, "fails readiness", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: failing, Impact: healthcheck.Critical})
		require.NoError(t, c.Override(healthcheck.Ready, healthcheck.Override{Status: healthcheck.Pass}))
		assert.Equal(t, 200, ask(t, c.Handler(healthcheck.Ready), "/").Code)
		c.Drain()
		assert.Equal(t, 503, ask(t, c.Handler(healthcheck.Ready), "/").Code)
	})
}
