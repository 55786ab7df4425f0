package rt_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/memnet"
	"github.com/failsoft/failsoft/internal/rt"
)

func TestHookIsToldOfTheEnd(t *testing.T) {
	readAll := func(b io.ReadCloser) { _, _ = io.ReadAll(b) }
	closeIt := func(b io.ReadCloser) { _ = b.Close() }
	readSome := func(b io.ReadCloser) { _, _ = b.Read(make([]byte, 1)) }
	cases := map[string]struct {
		end   error
		steps []func(io.ReadCloser)
		want  []error
	}{
		"nothing was done":       {io.EOF, nil, nil},
		"read a part":            {io.EOF, []func(io.ReadCloser){readSome}, nil},
		"read to the end":        {io.EOF, []func(io.ReadCloser){readAll}, []error{nil}},
		"read, then closed":      {io.EOF, []func(io.ReadCloser){readAll, closeIt}, []error{nil}},
		"read past the end":      {io.EOF, []func(io.ReadCloser){readAll, readAll, readSome}, []error{nil}},
		"closed unread":          {io.EOF, []func(io.ReadCloser){closeIt}, []error{nil}},
		"closed half-read":       {io.EOF, []func(io.ReadCloser){readSome, closeIt}, []error{nil}},
		"closed twice":           {io.EOF, []func(io.ReadCloser){closeIt, closeIt}, []error{nil}},
		"read after it":          {io.EOF, []func(io.ReadCloser){closeIt, readAll}, []error{nil}},
		"broke":                  {errReset, []func(io.ReadCloser){readAll}, []error{errReset}},
		"broke, read on, closed": {errReset, []func(io.ReadCloser){readAll, readAll, closeIt}, []error{errReset}},
		"cut off":                {io.ErrUnexpectedEOF, []func(io.ReadCloser){readAll}, []error{io.ErrUnexpectedEOF}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			hook, resp := &told{}, chunked(newBody("overload", c.end))
			rt.OnBodyEnd(resp, nil, hook)
			assert.Empty(t, hook.all())
			for _, step := range c.steps {
				step(resp.Body)
			}
			assert.Equal(t, c.want, hook.all())
		})
	}
}

func TestHookedBodyReadsAndClosesLikeItsOwn(t *testing.T) {
	b := newBody("overload", errReset)
	resp := chunked(b)
	rt.OnBodyEnd(resp, nil, &told{})
	content, err := io.ReadAll(resp.Body)
	assert.Equal(t, "overload", string(content))
	require.ErrorIs(t, err, errReset)
	require.EqualError(t, resp.Body.Close(), "the connection is gone already")
	assert.Equal(t, int32(1), b.closes.Load())
	assert.Error(t, resp.Body.Close(), "each Close goes down")
	assert.Equal(t, int32(2), b.closes.Load())
}

// A reader may hand over its last bytes together with io.EOF, and that must be the io.EOF itself.
func TestHookedBodyHandsOverDataWithTheEnd(t *testing.T) {
	hook := &told{}
	resp := chunked(io.NopCloser(iotest.DataErrReader(strings.NewReader("overload"))))
	rt.OnBodyEnd(resp, nil, hook)
	p := make([]byte, 8)
	n, err := resp.Body.Read(p)
	assert.Equal(t, "overload", string(p[:n]))
	assert.Equal(t, io.EOF, err)
	assert.Equal(t, []error{nil}, hook.all())
}

func TestReadAndCloseAtOnceTellOnce(t *testing.T) {
	for range 200 {
		hook, outer := &told{}, &told{}
		resp := chunked(newBody("overload", nil)) // whose Read waits for Close
		rt.OnBodyEnd(resp, nil, hook)
		rt.OnBodyEnd(resp, nil, outer)
		var all sync.WaitGroup
		all.Go(func() { _, _ = io.ReadAll(resp.Body) })
		all.Go(func() { _ = resp.Body.Close() })
		all.Go(func() { _ = resp.Body.Close() })
		all.Wait()
		assert.Len(t, hook.all(), 1)
		assert.Len(t, outer.all(), 1)
	}
}

func TestNoBodyEndsAtOnce(t *testing.T) {
	store := new(rt.Body)
	for name, resp := range map[string]*http.Response{
		"no response": nil, "no body": chunked(nil), "http.NoBody": chunked(http.NoBody),
	} {
		t.Run(name, func(t *testing.T) {
			var before io.ReadCloser
			if resp != nil {
				before = resp.Body
			}
			first, second := &told{}, &told{}
			rt.OnBodyEnd(resp, nil, first)
			rt.OnBodyEnd(resp, store, second)
			assert.Equal(t, []error{nil}, first.all())
			assert.Equal(t, []error{nil}, second.all())
			if resp != nil {
				assert.Equal(t, before, resp.Body)
			}
		})
	}
}

func TestNestedHooksShareOneBodyInnermostFirst(t *testing.T) {
	for name, end := range map[string]error{"well": io.EOF, "badly": errReset} {
		t.Run(name, func(t *testing.T) {
			var order []string
			resp := chunked(newBody("overload", end))
			hooks := []*told{{name: "route", log: &order}, {name: "breaker", log: &order}, {name: "retry", log: &order}}
			rt.OnBodyEnd(resp, nil, hooks[0])
			first := resp.Body
			for _, hook := range hooks[1:] {
				rt.OnBodyEnd(resp, new(rt.Body), hook)
				assert.Same(t, first, resp.Body)
			}
			_, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			assert.Equal(t, []string{"route", "breaker", "retry"}, order)
			for _, hook := range hooks {
				assert.Equal(t, []error{err}, hook.all())
			}
		})
	}
}

// Between two policies of ours somebody else may wrap the body.
func TestForeignWrapperBetweenHooks(t *testing.T) {
	var order []string
	inner, outer := &told{name: "inner", log: &order}, &told{name: "outer", log: &order}
	resp := chunked(newBody("overload", io.EOF))
	rt.OnBodyEnd(resp, nil, inner)
	resp.Body = struct{ io.ReadCloser }{resp.Body}
	rt.OnBodyEnd(resp, nil, outer)
	_, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, []string{"inner", "outer"}, order)
}

func TestBodyIsKeptInTheStore(t *testing.T) {
	var store rt.Body
	resp := chunked(newBody("overload", io.EOF))
	rt.OnBodyEnd(resp, &store, &told{})
	assert.Same(t, &store, resp.Body)
	content, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, "overload", string(content))
}

func TestHookingWithAStoreAllocatesNothing(t *testing.T) {
	const runs = 100
	hook := &told{}
	stores, responses := make([]rt.Body, runs+1), make([]*http.Response, runs+1)
	for i := range responses {
		responses[i] = chunked(newBody("", io.EOF))
	}
	i := 0
	assert.Zero(t, testing.AllocsPerRun(runs, func() {
		rt.OnBodyEnd(responses[i], &stores[i], hook)
		i++
	}))
}

func TestBodyThatCannotBeWrittenToStaysSo(t *testing.T) {
	resp := chunked(newBody("overload", io.EOF))
	rt.OnBodyEnd(resp, nil, &told{})
	assert.NotImplements(t, (*io.Writer)(nil), resp.Body)
}

// connection is what a 101 hands over.
type connection struct {
	*body

	written bytes.Buffer
}

func (c *connection) Write(p []byte) (int, error) { return c.written.Write(p) }

func TestUpgradedBodyStaysAConnection(t *testing.T) {
	for name, store := range map[string]*rt.Body{"without a store": nil, "with a store": new(rt.Body)} {
		t.Run(name, func(t *testing.T) {
			var order []string
			inner, outer := &told{name: "inner", log: &order}, &told{name: "outer", log: &order}
			conn := &connection{body: newBody("hello", errReset)}
			resp := &http.Response{StatusCode: http.StatusSwitchingProtocols, Body: conn}
			rt.OnBodyEnd(resp, store, inner)
			first := resp.Body
			rt.OnBodyEnd(resp, nil, outer)
			assert.Same(t, first, resp.Body, "one body for all hooks")

			require.Implements(t, (*io.ReadWriteCloser)(nil), resp.Body)
			_, err := io.WriteString(resp.Body.(io.Writer), "bonjour")
			require.NoError(t, err)
			assert.Equal(t, "bonjour", conn.written.String())
			assert.Empty(t, order, "writing ends nothing")
			content, err := io.ReadAll(resp.Body)
			require.ErrorIs(t, err, errReset)
			assert.Equal(t, "hello", string(content))
			_ = resp.Body.Close()
			assert.True(t, conn.isClosed())
			assert.Equal(t, []string{"inner", "outer"}, order)
			assert.Equal(t, []error{errReset}, inner.all())
			assert.Equal(t, []error{errReset}, outer.all())
		})
	}
}

// echo switches protocols and says what it hears.
func echo(w http.ResponseWriter, _ *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	line, _ := rw.ReadString('\n')
	_, _ = fmt.Fprintf(conn, "you said %s", line)
}

func TestRealUpgradePassesThroughHooks(t *testing.T) {
	hook := &told{}
	transport := memnet.Server(t, http.HandlerFunc(echo))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://cart.test", http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	resp, err := transport.RoundTrip(req)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	rt.OnBodyEnd(resp, nil, hook)
	_, err = io.WriteString(resp.Body.(io.ReadWriteCloser), "hello\n")
	require.NoError(t, err)
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "you said hello\n", line)
	require.NoError(t, resp.Body.Close())
	assert.Len(t, hook.all(), 1)
}

// net/http fills in the trailers of the response that it made, so that a copy would miss them.
func TestTrailersArriveInAHookedResponse(t *testing.T) {
	for network, serve := range networks() {
		t.Run(network, func(t *testing.T) {
			resp, _ := get(t, serve(t, answers()["with trailer"]), "http://cart.test")
			seen := make(chan string, 1)
			rt.OnBodyEnd(resp, nil, hookFunc(func(error) { seen <- resp.Trailer.Get("Checksum") }))
			assert.Empty(t, resp.Trailer.Get("Checksum"))
			_, err := io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			assert.Equal(t, "1234", resp.Trailer.Get("Checksum"))
			assert.Equal(t, "1234", <-seen, "a hook sees them, too")
		})
	}
}

func TestBrokenAnswerIsToldAsSuch(t *testing.T) {
	for network, serve := range networks() {
		t.Run(network, func(t *testing.T) {
			hook := &told{}
			resp, _ := get(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, "the first of it")
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			})), "http://cart.test")
			rt.OnBodyEnd(resp, nil, hook)
			_, err := io.ReadAll(resp.Body)
			require.Error(t, err)
			assert.Equal(t, []error{err}, hook.all())
		})
	}
}

type halfClosable struct {
	*body

	closedWrite bool
}

func (*halfClosable) Write(p []byte) (int, error) { return len(p), nil }

func (h *halfClosable) CloseWrite() error {
	h.closedWrite = true
	return nil
}

func TestUpgradedBodyKeepsCloseWrite(t *testing.T) {
	conn := &halfClosable{body: newBody("", io.EOF)}
	resp := &http.Response{Body: conn}
	rt.OnBodyEnd(resp, nil, hookFunc(func(error) {}))
	ends := 0
	rt.OnBodyEnd(resp, nil, hookFunc(func(error) { ends++ }))
	half, ok := resp.Body.(interface{ CloseWrite() error })
	require.True(t, ok)
	require.NoError(t, half.CloseWrite())
	assert.True(t, conn.closedWrite)
	_, writes := resp.Body.(io.Writer)
	assert.True(t, writes)
	_ = resp.Body.Close()
	assert.Equal(t, 1, ends)
}

func TestHookOfABodyThatHasEndedIsToldAtOnce(t *testing.T) {
	resp := &http.Response{Body: newBody("", io.EOF)}
	rt.OnBodyEnd(resp, nil, hookFunc(func(error) {}))
	_, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	told := false
	rt.OnBodyEnd(resp, nil, hookFunc(func(error) { told = true }))
	assert.True(t, told)
}

func TestRoundTripMendsCarelessTransports(t *testing.T) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://shop.test", nil)
	require.NoError(t, err)
	nothing := roundTripperFunc(func(*http.Request) (*http.Response, error) { return nil, nil })
	_, err = rt.RoundTrip(nothing, req)
	require.ErrorContains(t, err, "neither a response nor an error")
	bodiless := roundTripperFunc(func(*http.Request) (*http.Response, error) { return &http.Response{}, nil })
	resp, err := rt.RoundTrip(bodiless, req)
	require.NoError(t, err)
	assert.Equal(t, http.NoBody, resp.Body)
}

type roundTripperFunc func(*http.Request) (*http.Response, error)

func (f roundTripperFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

type hookFunc func(error)

func (f hookFunc) BodyEnd(err error) { f(err) }
