package outcome_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/memnet"
	"github.com/failsoft/failsoft/internal/outcome"
)

// exchange sends a GET through base and returns what became of it, the body included.
func exchange(ctx context.Context, t *testing.T, base http.RoundTripper, to string) (outcome.Kind, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to, http.NoBody)
	require.NoError(t, err)
	resp, err := base.RoundTrip(req)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, resp.Body.Close())
	}
	return outcome.Of(ctx, resp, err), err
}

// deadAddress is a loopback address where nobody listens any more.
func deadAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

func own(t *testing.T, transport *http.Transport) *http.Transport {
	t.Helper()
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func tlsServer(t *testing.T, version uint16) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the request has reached a server that is not trusted")
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.TLS = &tls.Config{MinVersion: version, MaxVersion: version}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// What net/http really returns, so that a new version of Go cannot quietly change what we see in it.
func TestRealErrorsBeforeTheRequestWasSent(t *testing.T) {
	dead := deadAddress(t)
	proxy := http.ProxyURL(&url.URL{Scheme: "http", Host: dead})
	resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, io.ErrClosedPipe
	}}
	unresolved := (&net.Dialer{Resolver: resolver}).DialContext
	trusting := func(s *httptest.Server) *tls.Config {
		return s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	}
	wrongName := tlsServer(t, tls.VersionTLS13)
	misnamed := trusting(wrongName)
	misnamed.ServerName = "elsewhere.test"

	cases := map[string]struct {
		transport *http.Transport
		to        string
	}{
		"refused":                   {&http.Transport{}, "http://" + dead},
		"refused before TLS":        {&http.Transport{}, "https://" + dead},
		"no name server":            {&http.Transport{DialContext: unresolved}, "http://cart.test"},
		"proxy refused":             {&http.Transport{Proxy: proxy}, "http://cart.test"},
		"proxy refused before TLS":  {&http.Transport{Proxy: proxy}, "https://cart.test"},
		"unknown authority":         {&http.Transport{}, tlsServer(t, tls.VersionTLS13).URL},
		"unknown authority, HTTP/2": {&http.Transport{ForceAttemptHTTP2: true}, tlsServer(t, tls.VersionTLS13).URL},
		"unknown authority, 1.2":    {&http.Transport{}, tlsServer(t, tls.VersionTLS12).URL},
		"wrong name":                {&http.Transport{TLSClientConfig: misnamed}, wrongName.URL},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			kind, err := exchange(t.Context(), t, own(t, c.transport), c.to)
			assert.Equal(t, outcome.Unsent, kind, "%v", err)
		})
	}
}

func TestRealErrorsAfterTheRequestWasSent(t *testing.T) {
	promising := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "the first of it")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	silent := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	cases := map[string]struct {
		serve func(memnet.TB, http.Handler) *http.Transport
		with  http.HandlerFunc
	}{
		"no answer":                  {memnet.Server, silent},
		"no answer, HTTP/2":          {memnet.ServerH2C, silent},
		"cut off in the body":        {memnet.Server, promising},
		"cut off in the body, HTTP2": {memnet.ServerH2C, promising},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			kind, err := exchange(t.Context(), t, c.serve(t, c.with), "http://cart.test")
			assert.Equal(t, outcome.Broken, kind, "%v", err)
		})
	}
}

func TestRealTimeouts(t *testing.T) {
	hang := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	for name, serve := range map[string]func(memnet.TB, http.Handler) *http.Transport{
		"HTTP/1": memnet.Server, "HTTP/2": memnet.ServerH2C,
	} {
		t.Run(name+", caller's deadline", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				kind, err := exchange(ctx, t, serve(t, hang), "http://cart.test")
				assert.Equal(t, outcome.Timeout, kind, "%v", err)
			})
		})
		t.Run(name+", transport's own", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				transport := serve(t, hang)
				transport.ResponseHeaderTimeout = time.Second
				kind, err := exchange(t.Context(), t, transport, "http://cart.test")
				assert.Equal(t, outcome.Timeout, kind, "%v", err)
			})
		})
		t.Run(name+", timeout as the cause", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Second, func() { cancel(timeoutError{is: true}) })
				kind, err := exchange(ctx, t, serve(t, hang), "http://cart.test")
				assert.Equal(t, outcome.Timeout, kind, "%v", err)
			})
		})
		t.Run(name+", caller left", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				kind, err := exchange(ctx, t, serve(t, hang), "http://cart.test")
				assert.Equal(t, outcome.Canceled, kind, "%v", err)
			})
		})
	}
}
