package stale_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale"
)

// behind runs test with a client that has a Cache, private and shared, over both protocols.
func behind(t *testing.T, handler http.HandlerFunc, test func(t *testing.T, s *socket, client *http.Client)) {
	t.Helper()
	for _, http2 := range []bool{false, true} {
		for _, shared := range []bool{false, true} {
			t.Run(fmt.Sprintf("HTTP2 %t, shared %t", http2, shared), func(t *testing.T) {
				s := &socket{t: t, cache: stale.MustNew(stale.Config{Shared: shared})}
				s.listen(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					s.asked.Add(1)
					handler(w, req)
				}), http2, nil)
				test(t, s, &http.Client{Transport: s.cache.Transport(s.server.Client().Transport)})
			})
		}
	}
}

// kept waits until an answer of the path is in the Store.
func (s *socket) kept(client *http.Client, path string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		return s.send(client, http.MethodGet, path, "Cache-Control", "only-if-cached").StatusCode != http.StatusGatewayTimeout
	}, 10*time.Second, 5*time.Millisecond)
}

func TestTransportMissLooksLikeWhatCame(t *testing.T) {
	behind(t, func(w http.ResponseWriter, _ *http.Request) {
		cacheable(w)
		w.Header().Set("Trailer", "Announced")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("Announced", "1")
		w.Header().Set(http.TrailerPrefix+"Sudden", "2")
	}, func(t *testing.T, s *socket, client *http.Client) {
		bare := s.send(s.server.Client(), http.MethodGet, "/")
		miss := s.send(client, http.MethodGet, "/")
		assert.Equal(t, bare.Proto, miss.Proto)
		assert.Equal(t, bare.ProtoMajor, miss.ProtoMajor)
		assert.Equal(t, bare.TLS != nil, miss.TLS != nil)
		assert.Equal(t, bare.ContentLength, miss.ContentLength)
		assert.Equal(t, bare.Trailer, miss.Trailer, "the names are known before the body")
		assert.Equal(t, "body", s.whole(bare))
		trailer := miss.Trailer
		assert.Equal(t, "body", s.whole(miss))
		assert.Equal(t, bare.Trailer, miss.Trailer)
		assert.Equal(t, "1", trailer.Get("Announced"), "they are filled in where they were announced")
		s.kept(client, "/")
		hit := s.send(client, http.MethodGet, "/")
		assert.Equal(t, "body", s.whole(hit))
		assert.Equal(t, bare.Trailer, hit.Trailer)
		assert.EqualValues(t, 2, s.asked.Load())
	})
}

func TestTransportUnzipsWhatIsStored(t *testing.T) {
	behind(t, func(w http.ResponseWriter, req *http.Request) {
		cacheable(w)
		w.Header().Set("Vary", "Accept-Encoding")
		if !strings.Contains(req.Header.Get("Accept-Encoding"), "gzip") {
			_, _ = io.WriteString(w, "plain")
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		zip := gzip.NewWriter(w)
		defer zip.Close()
		_, _ = io.WriteString(zip, "zipped")
	}, func(t *testing.T, s *socket, client *http.Client) {
		for n := range 2 {
			resp := s.send(client, http.MethodGet, "/")
			assert.Equal(t, n == 0, resp.Uncompressed)
			assert.Equal(t, "zipped", s.whole(resp))
			assert.Empty(t, resp.Header["Content-Encoding"])
			s.kept(client, "/")
		}
		assert.Equal(t, "plain", s.whole(s.send(client, http.MethodGet, "/", "Accept-Encoding", "br")))
		assert.EqualValues(t, 2, s.asked.Load())
	})
}

func TestClientWithJarAndRedirects(t *testing.T) {
	behind(t, func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/login":
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "42", Path: "/"})
			http.Redirect(w, req, "/moved", http.StatusFound)
		case "/moved":
			cacheable(w)
			http.Redirect(w, req, "/home", http.StatusMovedPermanently)
		default:
			w.Header().Set("Cache-Control", "private, max-age=60")
			cookie, _ := req.Cookie("session")
			_, _ = fmt.Fprint(w, "home of ", cookie)
		}
	}, func(t *testing.T, s *socket, client *http.Client) {
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		client.Jar = jar
		for range 2 {
			resp := s.send(client, http.MethodGet, "/login")
			assert.Equal(t, "home of session=42", s.whole(resp))
			assert.Equal(t, "/home", resp.Request.URL.Path)
		}
	})
}

func TestClientTimeoutOnMissAndWhileReading(t *testing.T) {
	left := make(chan struct{}, 1) // the client has
	behind(t, func(w http.ResponseWriter, req *http.Request) {
		cacheable(w)
		if req.URL.Path == "/body" {
			flushed(w, "a")
		}
		select {
		case <-req.Context().Done():
		case <-left:
		}
		_, _ = io.WriteString(w, "b")
	}, func(t *testing.T, s *socket, client *http.Client) {
		client.Timeout = 200 * time.Millisecond
		for _, path := range []string{"/header", "/body"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.server.URL+path, http.NoBody)
			require.NoError(t, err)
			resp, err := client.Do(req)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
			}
			late, ok := errors.AsType[net.Error](err)
			require.True(t, ok, "%v", err)
			assert.True(t, late.Timeout())
			left <- struct{}{}
			client.Timeout = 0
			s.kept(client, path) // the fetch has gone on
			client.Timeout = 200 * time.Millisecond
		}
		assert.EqualValues(t, 2, s.asked.Load())
	})
}

// Close ends a Read that waits, as it does for a body of http.Transport.
func TestCloseEndsARead(t *testing.T) {
	gate := make(chan struct{})
	behind(t, func(w http.ResponseWriter, _ *http.Request) {
		cacheable(w)
		flushed(w, "a")
		<-gate
	}, func(t *testing.T, s *socket, client *http.Client) {
		resp := s.send(client, http.MethodGet, "/")
		s.reads(resp, "a")
		ended := make(chan error, 1)
		go func() {
			_, err := resp.Body.Read(make([]byte, 1))
			ended <- err
		}()
		time.AfterFunc(20*time.Millisecond, func() { _ = resp.Body.Close() })
		select {
		case err := <-ended:
			require.Error(t, err)
			require.NotErrorIs(t, err, io.EOF)
		case <-time.After(10 * time.Second):
			t.Fatal("the Read goes on")
		}
		gate <- struct{}{}
	})
}

// The request is the caller's again when RoundTrip has returned, whatever still goes on.
func TestRequestIsTheCallersAgain(t *testing.T) {
	var slow atomic.Bool
	returned := make(chan struct{}, 1) // RoundTrip has, before the answer
	behind(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Cache-Control", "max-age=0, stale-if-error=60")
		w.Header().Set("Vary", "X-Mine")
		if slow.Load() {
			select {
			case <-returned:
			case <-req.Context().Done():
			}
		}
		assert.Equal(t, "1", req.Header.Get("X-Mine"))
		_, _ = io.WriteString(w, "x")
	}, func(t *testing.T, s *socket, client *http.Client) {
		slow.Store(false)
		get := func() (*http.Request, *http.Response) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.server.URL, http.NoBody)
			require.NoError(t, err)
			req.Header.Set("X-Mine", "1")
			resp, err := client.Transport.RoundTrip(req)
			require.NoError(t, err)
			assert.Same(t, req, resp.Request)
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			return req, resp
		}
		get()
		require.Eventually(t, func() bool { return s.cache.Snapshot().Entries > 0 }, 10*time.Second, time.Millisecond)
		slow.Store(true)
		req, resp := get()
		assert.Contains(t, resp.Header.Get("Cache-Status"), "detail=slow")
		returned <- struct{}{} // before what follows: the race detector is to know of no order between them
		for range 100 {        // it sees who else reads
			req.Header.Set("X-Mine", "2")
			req.URL.Path = "/changed"
		}
		require.NoError(t, s.cache.Close(t.Context()))
	})
}

// http.Transport answers a request without a header by an error; so does a Cache in front of it, also
// with something stored that is to be revalidated.
func TestRequestWithoutAHeaderIsAnError(t *testing.T) {
	behind(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("ETag", `"1"`)
	}, func(t *testing.T, s *socket, client *http.Client) {
		for range 3 {
			s.whole(s.send(client, http.MethodGet, "/"))
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.server.URL+"/", http.NoBody)
			require.NoError(t, err)
			req.Header = nil
			resp, err := client.Transport.RoundTrip(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			require.Error(t, err)
		}
	})
}

func TestPartsOverTransport(t *testing.T) {
	behind(t, func(w http.ResponseWriter, _ *http.Request) {
		cacheable(w)
		_, _ = io.WriteString(w, "0123456789")
	}, func(t *testing.T, s *socket, client *http.Client) {
		s.whole(s.send(client, http.MethodGet, "/"))
		s.kept(client, "/")
		part := s.send(client, http.MethodGet, "/", "Range", "bytes=2-4")
		assert.Equal(t, 206, part.StatusCode)
		assert.EqualValues(t, 3, part.ContentLength)
		assert.Equal(t, "bytes 2-4/10", part.Header.Get("Content-Range"))
		assert.Equal(t, "234", s.whole(part))
		several := s.send(client, http.MethodGet, "/", "Range", "bytes=0-1,8-9")
		assert.Equal(t, 206, several.StatusCode)
		assert.Contains(t, several.Header.Get("Content-Type"), "multipart/byteranges")
		head := s.send(client, http.MethodHead, "/")
		assert.EqualValues(t, 10, head.ContentLength)
		assert.Empty(t, s.whole(head))
		assert.EqualValues(t, 1, s.asked.Load())
	})
}

// proxied is a ReverseProxy with a Cache in front of it, or behind.
func proxied(t *testing.T, origin http.HandlerFunc, test func(t *testing.T, s *socket)) {
	t.Helper()
	for name, build := range map[string]func(*stale.Cache, *httputil.ReverseProxy) http.Handler{
		"handler": func(cache *stale.Cache, proxy *httputil.ReverseProxy) http.Handler { return cache.Handler(proxy) },
		"gateway": func(cache *stale.Cache, proxy *httputil.ReverseProxy) http.Handler {
			proxy.Transport = cache.Transport(proxy.Transport)
			return proxy
		},
	} {
		t.Run(name, func(t *testing.T) {
			back := &socket{t: t}
			s := &socket{t: t, cache: stale.MustNew(stale.Config{Shared: true})}
			back.listen(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				s.asked.Add(1)
				origin(w, req)
			}), false, nil)
			target, err := url.Parse(back.server.URL)
			require.NoError(t, err)
			proxy := &httputil.ReverseProxy{
				Rewrite:   func(pr *httputil.ProxyRequest) { pr.SetURL(target) },
				Transport: back.server.Client().Transport, ErrorLog: back.server.Config.ErrorLog,
			}
			s.listen(build(s.cache, proxy), false, nil)
			test(t, s)
		})
	}
}

func TestRequirement7UpgradeThroughAProxy(t *testing.T) {
	proxied(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, wire, err := http.NewResponseController(w).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		defer conn.Close()
		_, _ = wire.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = wire.Flush()
		_, _ = io.Copy(conn, wire)
	}, func(t *testing.T, s *socket) {
		for range 2 {
			conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
			require.NoError(t, err)
			require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
			_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
			require.NoError(t, err)
			wire := bufio.NewReader(conn)
			resp, err := http.ReadResponse(wire, nil)
			require.NoError(t, err)
			require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
			for range 3 {
				_, err = io.WriteString(conn, "ping\n")
				require.NoError(t, err)
				line, err := wire.ReadString('\n')
				require.NoError(t, err)
				assert.Equal(t, "ping\n", line)
			}
			require.NoError(t, conn.Close())
		}
	})
}

func TestRequirement7EventsHintsAndTrailersThroughAProxy(t *testing.T) {
	nexts := map[string]chan struct{}{"*/*": make(chan struct{}), "text/event-stream": make(chan struct{})}
	proxied(t, func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			for {
				flushed(w, "data: x\n\n")
				select {
				case <-nexts[req.Header.Get("Accept")]: // not shared: the one before may not know yet that it is over

				case <-req.Context().Done():
					return
				}
			}
		case "/hints":
			w.Header().Set("Link", "</style.css>")
			w.WriteHeader(http.StatusEarlyHints)
			cacheable(w)
			_, _ = io.WriteString(w, "hinted")
		default:
			cacheable(w)
			w.Header().Set("Trailer", "Announced")
			flushed(w, "body")
			w.Header().Set("Announced", "1")
			w.Header().Set(http.TrailerPrefix+"Sudden", "2")
		}
	}, func(t *testing.T, s *socket) {
		for _, accept := range []string{"*/*", "text/event-stream"} {
			events := s.get("/events", "Accept", accept)
			for range 3 {
				s.reads(events, "data: x\n\n")
				nexts[accept] <- struct{}{}
			}
			_ = events.Body.Close()
		}

		hints := 0
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, _ textproto.MIMEHeader) error { hints += code; return nil },
		})
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.URL+"/hints", http.NoBody)
		require.NoError(t, err)
		resp, err := s.server.Client().Do(req)
		require.NoError(t, err)
		assert.Equal(t, "hinted", s.whole(resp))
		_ = resp.Body.Close()
		assert.Equal(t, http.StatusEarlyHints, hints)

		for range 3 {
			resp := s.get("/trailers")
			assert.Equal(t, "body", s.whole(resp))
			assert.Equal(t, http.Header{"Announced": {"1"}, "Sudden": {"2"}}, resp.Trailer)
			s.kept(s.server.Client(), "/trailers")
		}
	})
}

// An origin that breaks off in the midst of an answer is seen to do so by its clients, and nothing
// of it is stored.
func TestBrokenAnswersThroughAProxy(t *testing.T) {
	var whole atomic.Bool
	content := bytes.Repeat([]byte("x"), 100<<10)
	proxied(t, func(w http.ResponseWriter, _ *http.Request) {
		cacheable(w)
		if !whole.Load() {
			flushed(w, string(content[:50<<10]))
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(content)
	}, func(t *testing.T, s *socket) {
		whole.Store(false)
		_, err := io.ReadAll(s.get("/").Body)
		require.Error(t, err)
		whole.Store(true)
		assert.Len(t, s.whole(s.get("/")), len(content))
	})
}

// Connections to the origin are reused: nothing of an answer is left unread.
func TestConnectionsAreReusedByFetches(t *testing.T) {
	var conns atomic.Int64
	s := &socket{t: t, cache: stale.MustNew(stale.Config{FetchTimeout: 5 * time.Second})}
	s.listen(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Query().Get("kind") {
		case "stored":
			cacheable(w)
		case "failed":
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = w.Write(make([]byte, 20<<10))
	}), false, func(server *http.Server) {
		server.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
			conns.Add(1)
			return ctx
		}
	})
	client := &http.Client{Transport: s.cache.Transport(s.server.Client().Transport)}
	for n := range 60 {
		kind := []string{"stored", "failed", "private"}[n%3]
		s.whole(s.send(client, http.MethodGet, fmt.Sprintf("/%d?kind=%s", n, kind)))
	}
	assert.LessOrEqual(t, conns.Load(), int64(2))
}
