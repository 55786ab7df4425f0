package rt_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/memnet"
	"github.com/failsoft/failsoft/internal/rt"
)

func put(t *testing.T, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://cart.test/1", body)
	require.NoError(t, err)
	return req
}

func TestReplayable(t *testing.T) {
	trailing := func(req *http.Request) *http.Request {
		req.Trailer = http.Header{"Checksum": nil}
		return req
	}
	onceOnly := func() io.Reader { return io.NopCloser(strings.NewReader("x")) }
	cases := map[string]struct {
		req           *http.Request
		body, another bool
	}{
		"no body":                      {put(t, nil), false, true},
		"http.NoBody":                  {put(t, http.NoBody), false, true},
		"empty reader":                 {put(t, strings.NewReader("")), false, true}, // NewRequest makes it NoBody
		"string":                       {put(t, strings.NewReader("x")), true, true},
		"buffer":                       {put(t, bytes.NewBufferString("x")), true, true},
		"body without GetBody":         {put(t, onceOnly()), true, false},
		"no body, trailers":            {trailing(put(t, nil)), false, false},
		"GetBody, trailers":            {trailing(put(t, strings.NewReader("x"))), true, false},
		"body without it, trailers":    {trailing(put(t, onceOnly())), true, false},
		"as a server has received it":  {&http.Request{Body: http.NoBody}, false, true},
		"as a server, with a body":     {&http.Request{Body: io.NopCloser(strings.NewReader("x"))}, true, false},
		"GetBody, but nothing to send": {&http.Request{GetBody: func() (io.ReadCloser, error) { return http.NoBody, nil }}, false, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.body, rt.HasBody(c.req))
			assert.Equal(t, c.another, rt.Replayable(c.req))
		})
	}
}

func TestReplayWithoutABodyKeepsWhatStandsForNone(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, 1)
	for name, none := range map[string]io.ReadCloser{"nil": nil, "http.NoBody": http.NoBody} {
		t.Run(name, func(t *testing.T) {
			req := put(t, nil)
			req.Body = none
			req.GetBody = func() (io.ReadCloser, error) {
				t.Error("there is no body to get")
				return http.NoBody, nil
			}
			again, err := rt.Replay(ctx, req)
			require.NoError(t, err)
			assert.Equal(t, none, again.Body)
			assert.Equal(t, ctx, again.Context())
		})
	}
}

func TestReplayHasABodyOfItsOwn(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, 1)
	first := newBody("first", io.EOF)
	req := put(t, first)
	gets := 0
	req.GetBody = func() (io.ReadCloser, error) {
		gets++
		return io.NopCloser(strings.NewReader("again")), nil
	}
	req.ContentLength = 5
	req.Header.Set("X-Caller", "kept")
	before := *req

	again, err := rt.Replay(ctx, req)
	require.NoError(t, err)
	content, err := io.ReadAll(again.Body)
	require.NoError(t, err)
	assert.Equal(t, "again", string(content))
	assert.Equal(t, 1, gets)
	assert.Equal(t, ctx, again.Context())
	assert.Equal(t, int64(5), again.ContentLength)
	assert.NotSame(t, req, again)
	assert.Same(t, req.URL, again.URL)
	assert.Equal(t, "kept", again.Header.Get("X-Caller"))

	assert.Same(t, first, req.Body, "the caller's request stays as it was")
	assert.Equal(t, before.Context(), req.Context())
	assert.Zero(t, first.reads.Load())
	assert.False(t, first.isClosed(), "the first body belongs to the attempt that sent it")
}

func TestReplayWhenTheBodyIsLost(t *testing.T) {
	errGone := errors.New("file is gone")
	req := put(t, strings.NewReader("x"))
	req.GetBody = func() (io.ReadCloser, error) { return nil, errGone }
	again, err := rt.Replay(t.Context(), req)
	require.ErrorIs(t, err, errGone)
	assert.Nil(t, again)
	assert.EqualError(t, err, "get the request body again: file is gone")
}

// Hedged attempts are made from one request at the same time.
func TestReplayByManyAtOnce(t *testing.T) {
	req := put(t, strings.NewReader("the same for all"))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			again, err := rt.Replay(t.Context(), req)
			if assert.NoError(t, err) {
				content, err := io.ReadAll(again.Body)
				assert.NoError(t, err)
				assert.Equal(t, "the same for all", string(content))
			}
		})
	}
	all.Wait()
}

func TestReplayReachesTheServerWhole(t *testing.T) {
	for name, serve := range networks() {
		t.Run(name, func(t *testing.T) {
			var got []string
			transport := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				content, err := io.ReadAll(r.Body)
				assert.NoError(t, err)
				got = append(got, string(content))
			}))
			req := put(t, strings.NewReader("all of it"))
			for range 3 {
				resp, err := transport.RoundTrip(req)
				require.NoError(t, err)
				rt.Discard(t.Context(), resp, nil)
				req, err = rt.Replay(t.Context(), req)
				require.NoError(t, err)
			}
			assert.Equal(t, []string{"all of it", "all of it", "all of it"}, got)
		})
	}
}

func networks() map[string]func(memnet.TB, http.Handler) *http.Transport {
	return map[string]func(memnet.TB, http.Handler) *http.Transport{
		"HTTP/1": memnet.Server, "HTTP/2": memnet.ServerH2C,
	}
}
