package rt_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/rt"
)

func TestBase(t *testing.T) {
	assert.Same(t, http.DefaultTransport, rt.Base(nil))
	own := &http.Transport{}
	assert.Same(t, own, rt.Base(own))
}

type closer struct {
	http.RoundTripper

	closed int
}

func (c *closer) CloseIdleConnections() { c.closed++ }

func TestCloseIdleReachesTheTransportBelow(t *testing.T) {
	below := &closer{}
	rt.CloseIdle(below)
	assert.Equal(t, 1, below.closed)
}

func TestCloseIdleOfATransportWithoutIt(t *testing.T) {
	assert.NotPanics(t, func() {
		rt.CloseIdle(roundTripper(nil))
		rt.CloseIdle(nil)
	})
}

func TestCloseIdleClosesRealConnections(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	reused := func() bool {
		resp, reused := get(t, transport, server.URL)
		_, _ = io.Copy(io.Discard, resp.Body)
		require.NoError(t, resp.Body.Close())
		return reused
	}
	assert.False(t, reused())
	again := false
	for i := 0; i < 20 && !again; i++ { // net/http closes one whose writing goroutine it has not heard from in 50 ms
		again = reused()
	}
	assert.True(t, again)
	rt.CloseIdle(transport)
	assert.False(t, reused())
	rt.CloseIdle(transport)
}
