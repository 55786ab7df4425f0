package rttest

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// protocol is a way to speak HTTP to a server of net/http.
type protocol struct {
	name  string
	start func(*httptest.Server)
}

func overHTTP1() protocol {
	return protocol{"HTTP1", func(s *httptest.Server) { s.Start() }}
}

func overHTTP2() protocol {
	return protocol{"HTTP2", func(s *httptest.Server) {
		s.EnableHTTP2 = true
		s.StartTLS()
	}}
}

func overH2C() protocol {
	return protocol{"h2c", func(s *httptest.Server) {
		var only http.Protocols
		only.SetUnencryptedHTTP2(true)
		s.Config.Protocols = &only
		s.Start()
		s.Client().Transport.(*http.Transport).Protocols = &only
	}}
}

// stage is where a clause is played: a test, a protocol and the middleware that is judged.
type stage struct {
	TB

	protocol protocol
	wrap     func(next http.Handler) http.Handler
	patience time.Duration // How long to wait for what a broken middleware may never do.
	detaches bool
}

// peer is a running server, seen from the client.
type peer struct {
	*stage

	server *httptest.Server
	log    *logBuffer
	runs   sync.RWMutex // Handlers read-lock it as long as they run: over HTTP/2, no server waits for them.
	once   sync.Once
}

// serve starts a server. Whatever the middleware does, it is gone when the test ends.
func (s *stage) serve(handler http.Handler) *peer {
	s.Helper()

	p := &peer{stage: s, log: &logBuffer{}}
	p.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.runs.TryRLock() {
			defer p.runs.RUnlock()
			handler.ServeHTTP(w, r)
		}
	}))
	p.server.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(p.log, nil), slog.LevelError)
	s.protocol.start(p.server)
	s.Cleanup(p.stop)
	return p
}

// stop returns when no handler runs any more and none will. It closes the connections first, so that
// none of them waits for a client.
func (p *peer) stop() {
	p.once.Do(func() {
		p.server.CloseClientConnections()
		p.server.Close()
		p.runs.Lock()
	})
}

// request makes a request that ends with the stage's patience.
func (p *peer) request(method, path string, body io.Reader) *http.Request {
	p.Helper()

	ctx, cancel := context.WithTimeout(p.Context(), p.patience)
	p.Cleanup(cancel)

	req, err := http.NewRequestWithContext(ctx, method, p.server.URL+path, body)
	if err != nil {
		p.Fatalf("request: %v", err)
	}
	return req
}

// upload makes a request whose body is written bit by bit. The body ends with the request, because
// net/http's client would wait for it over HTTP/1.
func (p *peer) upload(path string) (*http.Request, *io.PipeWriter) {
	p.Helper()

	body, pipe := io.Pipe()
	req := p.request(http.MethodPost, path, body)
	context.AfterFunc(req.Context(), func() { pipe.CloseWithError(req.Context().Err()) })
	return req, pipe
}

// do sends the request. The response is closed when the test ends.
func (p *peer) do(req *http.Request) *http.Response {
	p.Helper()

	resp, err := p.server.Client().Do(req)
	if err != nil {
		p.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	p.Cleanup(func() { resp.Body.Close() })
	return resp
}

func (p *peer) get(path string) *http.Response {
	p.Helper()
	return p.do(p.request(http.MethodGet, path, http.NoBody))
}

// fails sends a request whose answer is cut off, before or after its header.
func (p *peer) fails(req *http.Request) {
	p.Helper()

	resp, err := p.server.Client().Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()

	if _, err = io.Copy(io.Discard, resp.Body); err == nil {
		p.Errorf("the client got a whole answer: %s", resp.Status)
	}
}

// dial opens a connection without a client. It is closed when the test ends.
func (p *peer) dial() (net.Conn, *bufio.Reader) {
	p.Helper()

	conn, err := net.Dial("tcp", p.server.Listener.Addr().String())
	if err != nil {
		p.Fatalf("dial: %v", err)
	}
	p.Cleanup(func() { conn.Close() })

	if err := conn.SetDeadline(time.Now().Add(p.patience)); err != nil {
		p.Fatalf("deadline: %v", err)
	}
	return conn, bufio.NewReader(conn)
}

// send writes to a connection or to a request body.
func (s *stage) send(to io.Writer, text string) {
	s.Helper()

	if _, err := io.WriteString(to, text); err != nil {
		s.Fatalf("sending %q: %v", text, err)
	}
}

// expect reads just as much as it expects.
func (s *stage) expect(from io.Reader, want string) {
	s.Helper()

	got := make([]byte, len(want))
	if n, err := io.ReadFull(from, got); err != nil {
		s.Fatalf("expected %q, got %q: %v", want, got[:n], err)
	}
	if string(got) != want {
		s.Fatalf("expected %q, got %q", want, got)
	}
}

// expectEnd reads to the end and expects nothing but want.
func (s *stage) expectEnd(from io.Reader, want string) {
	s.Helper()

	got, err := io.ReadAll(from)
	if err != nil || string(got) != want {
		s.Fatalf("expected %q and the end, got %q, %v", want, got, err)
	}
}

// signal lets a handler go on that waits for it.
func (s *stage) signal(handler chan<- struct{}) {
	s.Helper()

	timer := time.NewTimer(s.patience)
	defer timer.Stop()

	select {
	case handler <- struct{}{}:
	case <-timer.C:
		s.Fatalf("the handler is not there any more")
	}
}

// await waits for a signal in the test's goroutine: longer than any handler waits.
func await[T any](s *stage, signal <-chan T, what string) T {
	s.Helper()

	timer := time.NewTimer(3 * s.patience)
	defer timer.Stop()

	select {
	case v := <-signal:
		return v
	case <-timer.C:
		s.Fatalf("nothing happened: %s", what)
		panic("unreachable")
	}
}

// within waits for a signal in a handler, which must not end the test and must end with it. A
// handler is more patient than the client, so that it is the client that sees what is missing.
func (s *stage) within(r *http.Request, signal <-chan struct{}) bool {
	timer := time.NewTimer(2 * s.patience)
	defer timer.Stop()

	select {
	case <-signal:
		return true
	case <-r.Context().Done():
		return false
	case <-timer.C:
		return false
	}
}

// eventually asks again and again, for what nothing tells of.
func (s *stage) eventually(ask func() bool) bool {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()

	for begin := time.Now(); !ask(); <-tick.C {
		if time.Since(begin) > s.patience {
			return false
		}
	}
	return true
}

// logBuffer keeps what the server logs.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()

	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()

	return b.text.String()
}
