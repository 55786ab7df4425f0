package stale_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale"
)

// socket is a server on a loopback socket with a Cache in front of its handler.
type socket struct {
	t      *testing.T
	server *httptest.Server
	cache  *stale.Cache
	asked  atomic.Int64 // requests that reached the handler
}

// overSockets runs test over both protocols.
func overSockets(t *testing.T, cfg stale.Config, handler http.HandlerFunc, test func(t *testing.T, s *socket)) {
	t.Helper()
	for _, proto := range []string{"HTTP1", "HTTP2"} {
		t.Run(proto, func(t *testing.T) {
			s := &socket{t: t, cache: stale.MustNew(cfg)}
			s.listen(s.cache.Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				s.asked.Add(1)
				handler(w, req)
			})), proto == "HTTP2", nil)
			test(t, s)
		})
	}
}

// listen starts the server; it ends with the test, as does all that the Cache does.
func (s *socket) listen(handler http.Handler, http2 bool, change func(*http.Server)) {
	s.server = httptest.NewUnstartedServer(handler)
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if change != nil {
		change(s.server.Config)
	}
	if s.server.EnableHTTP2 = http2; http2 {
		s.server.StartTLS()
	} else {
		s.server.Start()
	}
	s.t.Cleanup(func() {
		s.server.CloseClientConnections()
		s.server.Close()
		if s.cache != nil {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			assert.NoError(s.t, s.cache.Close(ctx))
		}
	})
}

// send sends a request with these fields and returns the response, of which the header is there.
func (s *socket) send(client *http.Client, method, path string, fields ...string) *http.Response {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	s.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, s.server.URL+path, http.NoBody)
	require.NoError(s.t, err)
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := client.Do(req)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func (s *socket) get(path string, fields ...string) *http.Response {
	s.t.Helper()
	return s.send(s.server.Client(), http.MethodGet, path, fields...)
}

// whole reads what is left of a response.
func (s *socket) whole(resp *http.Response) string {
	s.t.Helper()
	body, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return string(body)
}

// reads takes just as much as it expects.
func (s *socket) reads(resp *http.Response, want string) {
	s.t.Helper()
	got := make([]byte, len(want))
	_, err := io.ReadFull(resp.Body, got)
	require.NoError(s.t, err)
	require.Equal(s.t, want, string(got))
}

// stored waits until an answer of the path is in the Store.
func (s *socket) stored(path string) {
	s.t.Helper()
	asked := s.asked.Load()
	require.Eventually(s.t, func() bool {
		s.whole(s.get(path, "Cache-Control", "only-if-cached"))
		return s.get(path, "Cache-Control", "only-if-cached").StatusCode != http.StatusGatewayTimeout
	}, 10*time.Second, 5*time.Millisecond)
	require.Equal(s.t, asked, s.asked.Load())
}

func cacheable(w http.ResponseWriter) { w.Header().Set("Cache-Control", "max-age=60") }

func flushed(w http.ResponseWriter, text string) {
	_, _ = io.WriteString(w, text)
	_ = http.NewResponseController(w).Flush()
}

// Miss: the first byte at once, to all who ask meanwhile, from one request.
func TestRequirement7MissStreamsToAllWhileItFills(t *testing.T) {
	gate := make(chan struct{})
	overSockets(t, stale.Config{}, func(w http.ResponseWriter, _ *http.Request) {
		cacheable(w)
		flushed(w, "first ")
		<-gate
		_, _ = io.WriteString(w, "second")
	}, func(t *testing.T, s *socket) {
		one, two := s.get("/"), s.get("/")
		s.reads(one, "first ")
		s.reads(two, "first ")
		assert.Contains(t, two.Header.Get("Cache-Status"), "collapsed")
		gate <- struct{}{}
		assert.Equal(t, "second", s.whole(one))
		assert.Equal(t, "second", s.whole(two))
		s.stored("/")
		hit := s.get("/")
		assert.Equal(t, "first second", s.whole(hit))
		assert.Contains(t, hit.Header.Get("Cache-Status"), "hit")
		assert.EqualValues(t, 1, s.asked.Load())
	})
}

func TestRequirement4LeaderMayLeave(t *testing.T) {
	gate := make(chan struct{})
	overSockets(t, stale.Config{}, func(w http.ResponseWriter, req *http.Request) {
		cacheable(w)
		if req.URL.Path == "/after" {
			flushed(w, "a")
		}
		<-gate
		assert.NoError(t, req.Context().Err())
		_, _ = io.WriteString(w, "b")
	}, func(t *testing.T, s *socket) {
		leader := s.get("/after")
		follower := s.get("/after")
		s.reads(leader, "a")
		_ = leader.Body.Close()
		s.reads(follower, "a")
		gate <- struct{}{}
		assert.Equal(t, "b", s.whole(follower))

		// Before the headers, too.
		ctx, leave := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.URL+"/before", http.NoBody)
		require.NoError(t, err)
		left := make(chan error, 1)
		go func() {
			resp, err := s.server.Client().Do(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			left <- err
		}()
		require.Eventually(t, func() bool { return s.asked.Load() == 2 }, 10*time.Second, time.Millisecond)
		leave()
		require.Error(t, <-left)
		gate <- struct{}{}
		s.stored("/before")
		assert.EqualValues(t, 2, s.asked.Load())
	})
}

// Who does not read holds up neither the handler nor other clients.
func TestRequirement4SlowClientHoldsNobody(t *testing.T) {
	const size = 900 << 10
	done := make(chan struct{}, 8)
	overSockets(t, stale.Config{}, func(w http.ResponseWriter, _ *http.Request) {
		cacheable(w)
		for range size / 1024 {
			_, _ = w.Write(make([]byte, 1024))
		}
		done <- struct{}{}
	}, func(t *testing.T, s *socket) {
		slow := s.get("/") // and reads nothing
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("the handler is held up")
		}
		assert.Len(t, s.whole(s.get("/")), size)
		assert.Len(t, s.whole(slow), size)
		assert.EqualValues(t, 1, s.asked.Load())
	})
}

// What is too large to be kept is as fast as its readers, and complete.
func TestRequirement4LargeAnswersStreamUnstored(t *testing.T) {
	const size = 8 << 20
	var ahead atomic.Int64
	overSockets(t, stale.Config{}, func(w http.ResponseWriter, _ *http.Request) {
		cacheable(w)
		ahead.Store(0)
		for range size >> 16 {
			n, err := w.Write(make([]byte, 1<<16))
			if err != nil {
				return
			}
			ahead.Add(int64(n))
		}
	}, func(t *testing.T, s *socket) {
		for range 2 {
			assert.Len(t, s.whole(s.get("/")), size)
		}
		assert.EqualValues(t, 2, s.asked.Load())

		leaves := s.get("/other")
		s.reads(leaves, "\x00")
		_ = leaves.Body.Close()
		require.Eventually(t, func() bool { return s.cache.Close(t.Context()) == nil }, 10*time.Second, time.Millisecond)
	})
}

// Requests with an Accept of text/event-stream run on the real writer, and others soon turn out to
// be for one client.
func TestRequirement7EventsStreamAndEndWithTheirClient(t *testing.T) {
	happens, left := make(chan struct{}), make(chan struct{}, 1)
	overSockets(t, stale.Config{}, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", req.Header.Get("Wanted"))
		_ = http.NewResponseController(w).Flush()
		for {
			select {
			case <-happens:
				flushed(w, "data: x\n\n")
			case <-req.Context().Done():
				left <- struct{}{}
				return
			}
		}
	}, func(t *testing.T, s *socket) {
		for _, fields := range [][]string{
			{"Accept", "text/event-stream"}, {"Accept", "*/*"}, {"Wanted", "no-cache"}, {"Wanted", "max-age=60"},
		} {
			resp := s.get("/"+fields[1], fields...)
			for range 3 {
				happens <- struct{}{}
				s.reads(resp, "data: x\n\n")
			}
			_ = resp.Body.Close()
			select {
			case <-left:
			case <-time.After(10 * time.Second):
				t.Fatalf("%v: the handler has not learned that the client left", fields)
			}
		}
	})
}

func TestRequirement7TrailersOnMissAndHit(t *testing.T) {
	overSockets(t, stale.Config{}, func(w http.ResponseWriter, _ *http.Request) {
		cacheable(w)
		w.Header().Set("Trailer", "Announced")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("Announced", "1")
		w.Header().Set(http.TrailerPrefix+"Sudden", "2")
	}, func(t *testing.T, s *socket) {
		for range 3 {
			resp := s.get("/")
			assert.Equal(t, "body", s.whole(resp))
			assert.Equal(t, http.Header{"Announced": {"1"}, "Sudden": {"2"}}, resp.Trailer)
			s.stored("/")
		}
		assert.EqualValues(t, 1, s.asked.Load())
	})
}

func TestRequirement7PartsConditionsAndHeadFromWhatIsStored(t *testing.T) {
	const modified = "Sun, 01 Nov 2026 10:00:00 GMT"
	overSockets(t, stale.Config{}, func(w http.ResponseWriter, _ *http.Request) {
		cacheable(w)
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Last-Modified", modified)
		_, _ = io.WriteString(w, "0123456789")
	}, func(t *testing.T, s *socket) {
		miss := s.get("/", "If-None-Match", `"1"`)
		assert.Equal(t, http.StatusNotModified, miss.StatusCode, "the client's condition is met on a miss, too")
		assert.Empty(t, s.whole(miss))
		s.stored("/")
		for _, tt := range []struct {
			fields []string
			status int
			body   string
		}{
			{[]string{"Range", "bytes=2-4"}, 206, "234"},
			{[]string{"Range", "bytes=-2"}, 206, "89"},
			{[]string{"Range", "bytes=2-4", "If-Range", `"1"`}, 206, "234"},
			{[]string{"Range", "bytes=2-4", "If-Range", `"2"`}, 200, "0123456789"},
			{[]string{"Range", "bytes=20-"}, 416, "invalid range: failed to overlap\n"},
			{[]string{"If-None-Match", `"1"`}, 304, ""},
			{[]string{"If-None-Match", `"2"`}, 200, "0123456789"},
			{[]string{"If-Modified-Since", modified}, 304, ""},
		} {
			resp := s.get("/", tt.fields...)
			assert.Equal(t, tt.status, resp.StatusCode, tt.fields)
			assert.Equal(t, tt.body, s.whole(resp), tt.fields)
		}
		head := s.send(s.server.Client(), http.MethodHead, "/")
		assert.EqualValues(t, 10, head.ContentLength)
		assert.Equal(t, `"1"`, head.Header.Get("ETag"))
		assert.EqualValues(t, 1, s.asked.Load())

		// Where nothing is stored, a part is the handler's business.
		part := s.get("/other", "Range", "bytes=2-4")
		assert.Equal(t, "0123456789", s.whole(part))
		assert.EqualValues(t, 2, s.asked.Load())
	})
}

// A panic is that of the client who asked first; who reads along gets a broken answer; nothing is
// stored.
func TestRequirement4PanicOfTheLeaderOverSockets(t *testing.T) {
	gate := make(chan struct{})
	var good atomic.Bool
	overSockets(t, stale.Config{}, func(w http.ResponseWriter, _ *http.Request) {
		cacheable(w)
		flushed(w, "half")
		if good.Load() {
			return
		}
		<-gate
		panic(http.ErrAbortHandler)
	}, func(t *testing.T, s *socket) {
		good.Store(false)
		one, two := s.get("/"), s.get("/")
		s.reads(one, "half")
		s.reads(two, "half")
		gate <- struct{}{}
		for _, resp := range []*http.Response{one, two} {
			_, err := io.ReadAll(resp.Body)
			require.Error(t, err)
		}
		good.Store(true)
		assert.Equal(t, "half", s.whole(s.get("/")))
		assert.EqualValues(t, 2, s.asked.Load())
	})
}

// A handler that promises more than it writes has not written an answer that others may get.
func TestRequirement6LyingContentLengthIsNotStored(t *testing.T) {
	overSockets(t, stale.Config{}, func(w http.ResponseWriter, _ *http.Request) {
		cacheable(w)
		w.Header().Set("Content-Length", "10")
		flushed(w, "half")
	}, func(t *testing.T, s *socket) {
		for n := range 2 {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.server.URL, http.NoBody)
			require.NoError(t, err)
			resp, err := s.server.Client().Do(req)
			if err == nil { // over HTTP/2 the end may be there before the header has been read
				_, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
			}
			require.Error(t, err)
			assert.EqualValues(t, n+1, s.asked.Load())
		}
	})
}

// A type that is found out from a body is found out from as much of it as without the Cache.
func TestTypeIsFoundOutFromPieces(t *testing.T) {
	overSockets(t, stale.Config{}, func(w http.ResponseWriter, _ *http.Request) {
		cacheable(w)
		for _, piece := range []string{"\n", " ", "<", "html", ">"} {
			_, _ = io.WriteString(w, piece)
		}
	}, func(t *testing.T, s *socket) {
		for range 2 {
			resp := s.get("/")
			assert.Equal(t, "text/html; charset=utf-8", resp.Header.Get("Content-Type"))
			assert.Equal(t, "\n <html>", s.whole(resp))
			s.stored("/")
		}
	})
}

func TestStoredAnswersWithoutABody(t *testing.T) {
	overSockets(t, stale.Config{}, func(w http.ResponseWriter, req *http.Request) {
		cacheable(w)
		status, _ := strconv.Atoi(req.URL.Path[1:])
		w.WriteHeader(status)
	}, func(t *testing.T, s *socket) {
		for _, status := range []int{200, 204, 301, 404} {
			path := "/" + strconv.Itoa(status)
			client := *s.server.Client()
			client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			for range 2 {
				resp := s.send(&client, http.MethodGet, path)
				assert.Equal(t, status, resp.StatusCode)
				assert.Empty(t, s.whole(resp))
				assert.EqualValues(t, 0, resp.ContentLength, path)
				if status == http.StatusNoContent {
					assert.Empty(t, resp.Header["Content-Length"])
				}
			}
		}
		assert.EqualValues(t, 4, s.asked.Load())
	})
}

// What handlers further out have set is not lost where the answer adds to it.
func TestFieldsOfOuterHandlersAreKept(t *testing.T) {
	cache := stale.MustNew(stale.Config{})
	inner := cache.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		cacheable(w)
		w.Header().Set("Vary", "Accept-Encoding")
	}))
	handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Vary", "Origin")
		http.SetCookie(w, &http.Cookie{Name: "outer", Value: "1"})
		inner.ServeHTTP(w, req)
	})
	for range 2 {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody))
		assert.Equal(t, []string{"Origin", "Accept-Encoding"}, w.Header()["Vary"])
		assert.Equal(t, []string{"outer=1"}, w.Header()["Set-Cookie"])
	}
}

// Deadlines that a handler sets are set where its answer is written. The server's own may have
// passed before, on a machine that stands still: then it gets a longer one.
func TestDeadlinesReachTheConnection(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for _, path := range []string{"/before", "/after"} {
			t.Run(fmt.Sprint("HTTP2 ", http2, " ", path), func(t *testing.T) {
				want := []string{"ab", "ab"}
				var got []string
				for limit := 300 * time.Millisecond; limit < 5*time.Second; limit *= 4 {
					if got = twoOutlive(t, limit, http2, path); slices.Equal(got, want) {
						break
					}
				}
				assert.Equal(t, want, got)
			})
		}
	}
}

// twoOutlive returns what two clients get of an answer that takes twice as long as the server
// grants.
func twoOutlive(t *testing.T, limit time.Duration, http2 bool, path string) (bodies []string) {
	t.Helper()
	s := &socket{t: t, cache: stale.MustNew(stale.Config{})}
	s.listen(s.cache.Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		cacheable(w)
		controller := http.NewResponseController(w)
		if req.URL.Path == "/before" {
			assert.NoError(t, controller.SetWriteDeadline(time.Time{}))
		}
		flushed(w, "a")
		assert.NoError(t, controller.SetWriteDeadline(time.Time{}))
		timer := time.NewTimer(2 * limit)
		defer timer.Stop()
		<-timer.C
		flushed(w, "b")
	})), http2, func(server *http.Server) { server.WriteTimeout = limit })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var reads []func() string
	for range 2 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.URL+path, http.NoBody)
		require.NoError(t, err)
		resp, err := s.server.Client().Do(req)
		if err != nil {
			return append(bodies, err.Error())
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		reads = append(reads, func() string {
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				return err.Error()
			}
			return string(body)
		})
	}
	for _, read := range reads {
		bodies = append(bodies, read())
	}
	return bodies
}

// Informational responses come before the final one, all of them, also where the final one is
// there at once.
func TestRequirement7InformationalResponses(t *testing.T) {
	s := &socket{t: t, cache: stale.MustNew(stale.Config{})}
	s.listen(s.cache.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for n := range 3 {
			w.Header().Set("Link", fmt.Sprint("</", n, ">"))
			w.WriteHeader(http.StatusEarlyHints)
		}
		w.Header().Del("Link")
		cacheable(w)
		_, _ = io.WriteString(w, "final")
	})), false, nil)
	for n := range 50 {
		raw := s.talk("GET /" + strconv.Itoa(n) + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		require.Equal(t, 3, strings.Count(raw, "HTTP/1.1 103 Early Hints\r\nLink: </"), raw)
		require.Contains(t, raw, "\r\n\r\nfinal")
	}
}

// talk sends a request as it is and returns all that comes back.
func (s *socket) talk(request string) string {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
	require.NoError(s.t, err)
	defer conn.Close()
	require.NoError(s.t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, request)
	require.NoError(s.t, err)
	all, err := io.ReadAll(bufio.NewReader(conn))
	require.NoError(s.t, err)
	return string(all)
}

// Requests that nobody could share run where they can do all that net/http can.
func TestRequirement4InlineWritersCanDoAll(t *testing.T) {
	s := &socket{t: t, cache: stale.MustNew(stale.Config{})}
	s.listen(s.cache.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, hijacks := w.(http.Hijacker)
		_, reads := w.(io.ReaderFrom)
		_, unwraps := w.(interface{ Unwrap() http.ResponseWriter })
		_, _ = fmt.Fprint(w, hijacks && reads && unwraps, hijacks || reads || unwraps)
	})), false, nil)
	const all, none = "true true", "false false" //nolint:dupword // two answers
	for want, fields := range map[string][][]string{
		all:  {{"Upgrade", "x"}, {"Range", "bytes=0-"}, {"Accept", "text/event-stream"}, {"Cookie", "session=1"}},
		none: {{"Accept", "text/html"}},
	} {
		for _, pair := range fields {
			assert.Equal(t, want, s.whole(s.get("/"+pair[0], pair...)), pair)
		}
	}
	assert.Equal(t, all, s.whole(s.send(s.server.Client(), http.MethodPost, "/")))
	assert.Equal(t, all, s.whole(s.get("/Accept")), "what turned out to be for one is run inline from then on")
}

// filing is a ResponseWriter that can take a file as one.
type filing struct {
	*httptest.ResponseRecorder

	files int
}

func (f *filing) ReadFrom(src io.Reader) (int64, error) {
	f.files++
	return io.Copy(f.ResponseRecorder, src)
}

// A file for one client is sent as one, which only net/http can; one that is read along with passes
// through memory.
func TestRequirement4FilesInlineAreSentAsOne(t *testing.T) {
	const size = 100 << 10
	handler := stale.MustNew(stale.Config{}).Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/public" {
			w.Header().Set("Cache-Control", "public, max-age=60")
		}
		_, err := io.Copy(w, struct{ io.Reader }{strings.NewReader(strings.Repeat("x", size))})
		assert.NoError(t, err)
	}))
	send := func(path, field string) *filing {
		w := &filing{ResponseRecorder: httptest.NewRecorder()}
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
		req.Header.Set(field, "session=1")
		handler.ServeHTTP(w, req)
		assert.Len(t, w.Body.String(), size, path)
		return w
	}
	assert.Equal(t, 1, send("/mine", "Cookie").files)
	assert.Equal(t, 1, send("/part", "Range").files)
	assert.Equal(t, 0, send("/public", "Cookie").files)
	assert.Contains(t, send("/public", "Cookie").Header().Get("Cache-Status"), "; hit")
}

// Nothing is left when all have got their answers, or have left, and the Cache is closed.
func TestNothingIsLeftBehind(t *testing.T) {
	mark := fmt.Sprintf("%p", t)
	pprof.Do(t.Context(), pprof.Labels("left", mark), func(context.Context) {
		var all sync.WaitGroup
		overSockets(t, stale.Config{FetchTimeout: time.Second, MaxObject: 64 << 10}, func(w http.ResponseWriter, req *http.Request) {
			if strings.Contains(req.URL.Path, "c") {
				cacheable(w)
			}
			for range 1 + len(req.URL.Path)*8 {
				if _, err := w.Write(make([]byte, 8<<10)); err != nil {
					return
				}
			}
		}, func(t *testing.T, s *socket) {
			for n := range 60 {
				all.Go(func() {
					path := "/" + strings.Repeat("c", n%4) + strings.Repeat("p", n%3)
					req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.server.URL+path, http.NoBody)
					resp, err := s.server.Client().Do(req)
					if assert.NoError(t, err) {
						if n%2 == 0 {
							_, _ = io.Copy(io.Discard, resp.Body)
						}
						_ = resp.Body.Close()
					}
				})
			}
			all.Wait()
		})
	})
	var found string
	assert.Eventually(t, func() bool {
		var profile strings.Builder
		_ = pprof.Lookup("goroutine").WriteTo(&profile, 1)
		found = ""
		for stack := range strings.SplitSeq(profile.String(), "\n\n") {
			if strings.Contains(stack, mark) && strings.Contains(stack, "failsoft/stale.") &&
				!strings.Contains(stack, "stale_test.TestNothingIsLeftBehind") {
				found += stack + "\n\n"
			}
		}
		return found == ""
	}, 10*time.Second, 10*time.Millisecond)
	assert.Empty(t, found)
}
