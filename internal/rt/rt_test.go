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
	assert.True(t, reused())
	rt.CloseIdle(transport)
	assert.False(t, reused())
	rt.CloseIdle(transport)
}
